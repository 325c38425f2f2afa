//! The shared state an operator sets (`lua/state.lua`): the same for all workers from the next order on.

use bytes::Bytes;

use crate::domain::control::OperatorOverrides;
use crate::domain::money::Micros;
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::TradingDate;
use crate::store::connection::Store;
use crate::store::control::snapshot::{decode_optional, parse_micros};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::epoch::StoreRebuild;
use crate::store::script::{OPERATOR_STATE, ScriptReply};

/// What stands in the shared state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorState {
    /// Counts the changes; 0 while the settings' values are in force.
    pub version: u64,
    /// What operators have set.
    pub values: OperatorOverrides,
    /// The journal document of the last change.
    pub document: Bytes,
    /// The version that is on the journal.
    pub journaled_version: u64,
}

/// A change of the shared state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorStateChange {
    /// The version it builds on.
    pub base_version: u64,
    /// The version it makes.
    pub version: u64,
    /// What operators have set, after the change.
    pub values: OperatorOverrides,
    /// Its journal document.
    pub document: Bytes,
    /// Whether the document is on the journal already.
    pub is_journaled: bool,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorStateOutcome {
    /// It is in force.
    Changed(OperatorState),
    /// Another change came first; what stands now.
    Superseded(OperatorState),
}

impl Store {
    /// Returns the shared state.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_operator_state(&self) -> Result<OperatorState, StoreError> {
        match self
            .call_operator_state_script(self.connection.epoch()?.to_string(), &["read".into()])
            .await?
        {
            OperatorStateOutcome::Changed(state) | OperatorStateOutcome::Superseded(state) => Ok(state),
        }
    }

    /// Changes the shared state, if it still is the version the change builds on.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn set_operator_state(&self, change: &OperatorStateChange) -> Result<OperatorStateOutcome, StoreError> {
        self.call_operator_state_script(self.connection.epoch()?.to_string(), &encode_change(change))
            .await
    }

    /// As [`Store::set_state`], for a store that is being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn set_operator_state_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        change: &OperatorStateChange,
    ) -> Result<OperatorStateOutcome, StoreError> {
        self.call_operator_state_script(rebuild.epoch.clone(), &encode_change(change))
            .await
    }

    /// Returns the shared state of a store that is being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_operator_state_for_rebuild(&self, rebuild: &StoreRebuild) -> Result<OperatorState, StoreError> {
        match self
            .call_operator_state_script(rebuild.epoch.clone(), &["read".into()])
            .await?
        {
            OperatorStateOutcome::Changed(state) | OperatorStateOutcome::Superseded(state) => Ok(state),
        }
    }

    /// Marks a version of the shared state as being on the journal.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn mark_operator_state_journaled(&self, version: u64) -> Result<(), StoreError> {
        let arguments = ["mark".into(), version.to_string().into()];
        self.call_operator_state_script(self.connection.epoch()?.to_string(), &arguments)
            .await
            .map(|_| ())
    }

    /// Returns what has been routed on a day, over all accounts.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_notional_routed(&self, mode: Mode, date: TradingDate) -> Result<Micros, StoreError> {
        self.connection.epoch()?;
        let mut command = redis::cmd("HGET");
        command
            .arg(keys::daily_totals(mode, date))
            .arg(keys::DAILY_NOTIONAL_FIELD);
        let units = match self.connection.query(command).await? {
            redis::Value::BulkString(text) => String::from_utf8_lossy(&text).parse::<i64>().ok(),
            redis::Value::Nil => Some(0),
            _ => None,
        };
        units
            .and_then(Micros::new)
            .ok_or_else(|| StoreError::Corrupt("a day's notional is no integer".to_owned()))
    }

    async fn call_operator_state_script(
        &self,
        epoch: String,
        arguments: &[Bytes],
    ) -> Result<OperatorStateOutcome, StoreError> {
        let mut command = OPERATOR_STATE.evalsha_command(&epoch, &[keys::meta(), keys::operator_state()]);
        for argument in arguments {
            command.arg(&argument[..]);
        }
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let mut reply = match epoch.parse::<i64>() {
            Ok(epoch) => self.connection.clear_epoch_if_stale(epoch, reply)?,
            Err(_) => reply?,
        };
        let version = reply.next_integer()?;
        let values = OperatorOverrides {
            mode: decode_optional(&mut reply, Mode::parse)?,
            trading_state: decode_optional(&mut reply, TradingState::parse)?,
            daily_notional_limit: decode_optional(&mut reply, parse_micros)?,
            daily_loss_limit: decode_optional(&mut reply, parse_micros)?,
        };
        let document = Bytes::from(reply.next_bytes()?);
        let state = OperatorState {
            version,
            values,
            document,
            journaled_version: reply.next_integer()?,
        };
        match reply.verdict.as_str() {
            "state" => Ok(OperatorStateOutcome::Changed(state)),
            "superseded" => Ok(OperatorStateOutcome::Superseded(state)),
            _ => Err(reply.unexpected_verdict()),
        }
    }
}

fn encode_change(change: &OperatorStateChange) -> [Bytes; 9] {
    let values = &change.values;
    let limit = |limit: Option<Micros>| limit.map_or_else(Bytes::new, |limit| limit.units().to_string().into());
    [
        "set".into(),
        change.base_version.to_string().into(),
        change.version.to_string().into(),
        values.mode.map_or("", Mode::as_str).into(),
        values.trading_state.map_or("", TradingState::as_str).into(),
        limit(values.daily_notional_limit),
        limit(values.daily_loss_limit),
        change.document.clone(),
        if change.is_journaled {
            "journaled".into()
        } else {
            "".into()
        },
    ]
}
