//! What orders are judged by beyond the settings, as one consistent look (`lua/control.lua`).

use bytes::Bytes;

use crate::domain::control::ControlState;
use crate::domain::money::Micros;
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::TradingDate;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::script::{READ_CONTROL, ScriptReply, corrupt};

/// The control as it stands in the store. The latches are documents, which the worker reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredControl {
    /// Everything but the latches.
    pub control: ControlState,
    /// The latches' documents.
    pub lock_documents: Vec<Bytes>,
}

impl Store {
    /// Returns everything that orders are judged by beyond the settings.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_control(&self) -> Result<StoredControl, StoreError> {
        let epoch = self.connection.epoch()?;
        let command = READ_CONTROL.evalsha_command(epoch, &[keys::meta(), keys::operator_state(), keys::locks()]);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        decode_stored_control(self.connection.clear_epoch_if_stale(epoch, reply)?)
    }
}

fn decode_stored_control(mut reply: ScriptReply) -> Result<StoredControl, StoreError> {
    let control = decode_control(&mut reply)?;
    let mut latches = Vec::new();
    while reply.has_more() {
        latches.push(Bytes::from(reply.next_bytes()?));
    }
    Ok(StoredControl {
        control,
        lock_documents: latches,
    })
}

/// Reads everything but the latches.
pub(in crate::store) fn decode_control(reply: &mut ScriptReply) -> Result<ControlState, StoreError> {
    let (generation, version) = (reply.next_integer()?, reply.next_integer()?);
    let mode = decode_optional(reply, Mode::parse)?.unwrap_or(Mode::Paper);
    let trading_state = decode_optional(reply, TradingState::parse)?.unwrap_or(TradingState::Active);
    let daily_notional_limit = decode_optional(reply, parse_micros)?;
    let daily_loss_limit = decode_optional(reply, parse_micros)?;
    let trading_date = decode_optional(reply, TradingDate::parse)?;
    Ok(ControlState {
        generation,
        version,
        mode,
        trading_state,
        daily_notional_limit,
        daily_loss_limit,
        trading_date,
        locks: Vec::new(),
    })
}

pub(in crate::store) fn parse_micros(text: &str) -> Option<Micros> {
    text.parse().ok().and_then(Micros::new)
}

pub(in crate::store) fn decode_optional<T>(
    reply: &mut ScriptReply,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let text = reply.next_text()?;
    if text.is_empty() {
        return Ok(None);
    }
    parse(&text)
        .map(Some)
        .ok_or_else(|| corrupt(&format!("the shared state holds {text:?}")))
}
