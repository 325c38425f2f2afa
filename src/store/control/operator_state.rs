//! The state that operators set (`lua/state.lua`): the same for all workers from the next order on.

use bytes::Bytes;

use crate::domain::control::OperatorOverrides;
use crate::domain::money::Micros;
use crate::domain::order_terms::{Mode, TradingState};
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::script::{OPERATOR_STATE, ScriptReply, decode_optional, parse_micros};

/// The operator state as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorState {
    /// The number of changes; 0 while the values of the settings are active.
    pub version: u64,
    /// What operators have set.
    pub values: OperatorOverrides,
    /// The journal document of the last change.
    pub document: Bytes,
    /// The highest version known to be journaled.
    pub journaled_version: u64,
}

/// A change of the operator state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorStateChange {
    /// The version that the change requires.
    pub base_version: u64,
    /// The version after the change.
    pub version: u64,
    /// What operators have set, after the change.
    pub values: OperatorOverrides,
    /// Its journal document.
    pub document: Bytes,
    /// Whether the document is already journaled.
    pub is_journaled: bool,
}

/// The result of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorStateOutcome {
    /// The change is active.
    Changed(OperatorState),
    /// Another change came first; holds the current state.
    Superseded(OperatorState),
}

impl Store {
    /// Returns the operator state.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_operator_state(&self) -> Result<OperatorState, StoreError> {
        decode_current(self.call_operator_state_script(None, &["read".into()]).await?)
    }

    /// As [`Store::read_operator_state`], during a rebuild.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_operator_state_for_rebuild(&self, rebuild: &StoreRebuild) -> Result<OperatorState, StoreError> {
        decode_current(self.call_operator_state_script(Some(rebuild), &["read".into()]).await?)
    }

    /// Changes the operator state, if its version still is the one that the change requires.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn set_operator_state(&self, change: &OperatorStateChange) -> Result<OperatorStateOutcome, StoreError> {
        decode_outcome(self.call_operator_state_script(None, &encode_change(change)).await?)
    }

    /// As [`Store::set_operator_state`], during a rebuild.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn set_operator_state_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        change: &OperatorStateChange,
    ) -> Result<OperatorStateOutcome, StoreError> {
        let arguments = encode_change(change);
        decode_outcome(self.call_operator_state_script(Some(rebuild), &arguments).await?)
    }

    /// Marks a version of the operator state as journaled.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn mark_operator_state_journaled(&self, version: u64) -> Result<(), StoreError> {
        let arguments = ["mark".into(), version.to_string().into()];
        decode_current(self.call_operator_state_script(None, &arguments).await?).map(drop)
    }

    async fn call_operator_state_script(
        &self,
        rebuild: Option<&StoreRebuild>,
        arguments: &[Bytes],
    ) -> Result<ScriptReply, StoreError> {
        let keys = [keys::meta(), keys::operator_state()];
        let mut call = self.connection.script_call(&OPERATOR_STATE, rebuild, &keys)?;
        for argument in arguments {
            call.arg(&argument[..]);
        }
        self.connection.run(call).await
    }
}

fn encode_change(change: &OperatorStateChange) -> [Bytes; 9] {
    let values = &change.values;
    let encode_limit = |limit: Option<Micros>| limit.map_or_else(Bytes::new, |limit| limit.units().to_string().into());
    [
        "set".into(),
        change.base_version.to_string().into(),
        change.version.to_string().into(),
        values.mode.map_or("", Mode::as_str).into(),
        values.trading_state.map_or("", TradingState::as_str).into(),
        encode_limit(values.daily_notional_limit),
        encode_limit(values.daily_loss_limit),
        change.document.clone(),
        if change.is_journaled { "journaled" } else { "" }.into(),
    ]
}

/// Decodes the reply to a call that changes no value: it always holds the current state.
fn decode_current(mut reply: ScriptReply) -> Result<OperatorState, StoreError> {
    match reply.verdict.as_str() {
        "state" => decode_operator_state(&mut reply),
        _ => Err(reply.unexpected_verdict()),
    }
}

fn decode_outcome(mut reply: ScriptReply) -> Result<OperatorStateOutcome, StoreError> {
    match reply.verdict.as_str() {
        "state" => decode_operator_state(&mut reply).map(OperatorStateOutcome::Changed),
        "superseded" => decode_operator_state(&mut reply).map(OperatorStateOutcome::Superseded),
        _ => Err(reply.unexpected_verdict()),
    }
}

fn decode_operator_state(reply: &mut ScriptReply) -> Result<OperatorState, StoreError> {
    Ok(OperatorState {
        version: reply.next_integer()?,
        values: OperatorOverrides {
            mode: decode_optional(reply, Mode::parse)?,
            trading_state: decode_optional(reply, TradingState::parse)?,
            daily_notional_limit: decode_optional(reply, parse_micros)?,
            daily_loss_limit: decode_optional(reply, parse_micros)?,
        },
        document: Bytes::from(reply.next_bytes()?),
        journaled_version: reply.next_integer()?,
    })
}
