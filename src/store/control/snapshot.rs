//! Everything that orders are evaluated by, in one consistent snapshot (`lua/control.lua`).

use bytes::Bytes;

use crate::domain::control::ControlState;
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::TradingDate;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::script::{READ_CONTROL, ScriptReply, decode_optional, parse_micros};

/// The control state as stored. The locks are journal documents, which the worker decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredControl {
    /// The control state, without its locks.
    pub control: ControlState,
    /// The hash of the limits in force; empty while there are none.
    pub limits_hash: String,
    /// The journal event of the limits in force; empty where the caller has those of this hash.
    pub limits_document: Bytes,
    /// The documents of the locks.
    pub lock_documents: Vec<Bytes>,
}

impl Store {
    /// Returns everything that orders are evaluated by. `known_limits` is the hash of the limits that the caller has, or
    /// empty: their document is not read again.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_control(&self, known_limits: &str) -> Result<StoredControl, StoreError> {
        let keys = [keys::meta(), keys::operator_state(), keys::locks(), keys::limits()];
        let mut call = self.connection.script_call(&READ_CONTROL, None, &keys)?;
        call.arg(known_limits);
        let mut reply = self.connection.run(call).await?;
        let control = decode_control(&mut reply)?;
        let (limits_hash, limits_document) = (reply.next_text()?, Bytes::from(reply.next_bytes()?));
        let mut lock_documents = Vec::new();
        while reply.has_more() {
            lock_documents.push(Bytes::from(reply.next_bytes()?));
        }
        Ok(StoredControl {
            control,
            limits_hash,
            limits_document,
            lock_documents,
        })
    }
}

/// Decodes the control state, without its locks.
pub(in crate::store) fn decode_control(reply: &mut ScriptReply) -> Result<ControlState, StoreError> {
    Ok(ControlState {
        generation: reply.next_integer()?,
        version: reply.next_integer()?,
        mode: decode_optional(reply, Mode::parse)?.unwrap_or(Mode::Paper),
        trading_state: decode_optional(reply, TradingState::parse)?.unwrap_or(TradingState::Active),
        daily_notional_limit: decode_optional(reply, parse_micros)?,
        daily_loss_limit: decode_optional(reply, parse_micros)?,
        trading_date: decode_optional(reply, TradingDate::parse)?,
        locks: Vec::new(),
    })
}
