//! What orders are judged by beyond the settings, as one consistent look (`lua/control.lua`).

use bytes::Bytes;

use super::connection::Store;
use super::error::StoreError;
use super::keys;
use super::script::{CONTROL, Reply, corrupt};
use crate::domain::control::Control;
use crate::domain::money::Micros;
use crate::domain::terms::{Mode, TradingState};
use crate::domain::time::TradingDate;

/// The control as it stands in the store. The latches are documents, which the worker reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredControl {
    /// Everything but the latches.
    pub control: Control,
    /// The latches' documents.
    pub latches: Vec<Bytes>,
}

impl Store {
    /// Returns everything that orders are judged by beyond the settings.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn control(&self) -> Result<StoredControl, StoreError> {
        let epoch = self.core.epoch()?;
        let command = CONTROL.call(epoch, &[keys::meta(), keys::state(), keys::latches()]);
        let reply = self.core.query(command).await.and_then(Reply::of);
        decode(self.core.noting(epoch, reply)?)
    }
}

fn decode(mut reply: Reply) -> Result<StoredControl, StoreError> {
    let control = decode_fields(&mut reply)?;
    let mut latches = Vec::new();
    while reply.has_more() {
        latches.push(Bytes::from(reply.bytes()?));
    }
    Ok(StoredControl { control, latches })
}

/// Reads everything but the latches.
pub(super) fn decode_fields(reply: &mut Reply) -> Result<Control, StoreError> {
    let (generation, version) = (reply.integer()?, reply.integer()?);
    let mode = optional(reply, Mode::parse)?.unwrap_or(Mode::Paper);
    let trading_state = optional(reply, TradingState::parse)?.unwrap_or(TradingState::Active);
    let daily_notional_limit = optional(reply, micros)?;
    let daily_loss_limit = optional(reply, micros)?;
    let trading_date = optional(reply, TradingDate::parse)?;
    Ok(Control {
        generation,
        version,
        mode,
        trading_state,
        daily_notional_limit,
        daily_loss_limit,
        trading_date,
        latches: Vec::new(),
    })
}

pub(super) fn micros(text: &str) -> Option<Micros> {
    text.parse().ok().and_then(Micros::new)
}

pub(super) fn optional<T>(reply: &mut Reply, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, StoreError> {
    let text = reply.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    read(&text)
        .map(Some)
        .ok_or_else(|| corrupt(&format!("the shared state holds {text:?}")))
}
