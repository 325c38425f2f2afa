//! The outbox of alerts (`lua/alerts.lua`): an alert is in it from the step that marks what it is about until the stream of
//! alerts has acknowledged it.

use std::time::Duration;

use bytes::Bytes;

use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::retention::saturating_ms;
use crate::store::script::{ALERTS, ScriptReply};

/// The most alerts that one call returns.
pub const MAX_LISTED_ALERTS: usize = 64;

/// An alert that is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingAlert {
    /// Its name, which its id is made of.
    pub name: String,
    /// Its JSON, or the facts that it is made of.
    pub document: Bytes,
}

impl Store {
    /// Returns alerts that have waited for at least a time, at most [`MAX_LISTED_ALERTS`], the longest waiting first.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_waiting_alerts(&self, waited: Duration) -> Result<Vec<WaitingAlert>, StoreError> {
        let arguments = [
            "list".to_owned(),
            saturating_ms(waited).to_string(),
            MAX_LISTED_ALERTS.to_string(),
        ];
        let mut reply = self.call_alerts_script(&arguments).await?;
        let mut waiting = Vec::new();
        while reply.has_more() {
            waiting.push(WaitingAlert {
                name: reply.next_text()?,
                document: reply.next_bytes()?.into(),
            });
        }
        Ok(waiting)
    }

    /// Takes published alerts out of the outbox.
    ///
    /// # Errors
    /// Any [`StoreError`]; they are then published again under the same ids.
    pub async fn remove_waiting_alerts(&self, names: &[String]) -> Result<(), StoreError> {
        let mut arguments = vec!["remove".to_owned()];
        arguments.extend_from_slice(names);
        self.call_alerts_script(&arguments).await.map(drop)
    }

    async fn call_alerts_script(&self, arguments: &[String]) -> Result<ScriptReply, StoreError> {
        let keys = [keys::meta(), keys::waiting_alerts(), keys::waiting_alert_names()];
        let mut call = self.connection.script_call(&ALERTS, None, &keys)?;
        call.arg(arguments);
        self.connection.run(call).await
    }
}
