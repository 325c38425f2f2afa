//! The shared state an operator sets (`lua/state.lua`): the same for all workers from the next order on.

use bytes::Bytes;

use super::connection::Store;
use super::control::{micros, optional};
use super::epoch::Healing;
use super::error::StoreError;
use super::keys;
use super::script::{Reply, STATE};
use crate::domain::control::OperatorValues;
use crate::domain::money::Micros;
use crate::domain::terms::{Mode, TradingState};
use crate::domain::time::TradingDate;

/// What stands in the shared state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedState {
    /// Counts the changes; 0 while the settings' values are in force.
    pub version: u64,
    /// What operators have set.
    pub values: OperatorValues,
    /// The journal document of the last change.
    pub document: Bytes,
    /// The version that is on the journal.
    pub journaled_version: u64,
}

/// A change of the shared state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSet {
    /// The version it builds on.
    pub builds_on: u64,
    /// The version it makes.
    pub version: u64,
    /// What operators have set, after the change.
    pub values: OperatorValues,
    /// Its journal document.
    pub document: Bytes,
    /// Whether the document is on the journal already.
    pub is_journaled: bool,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateOutcome {
    /// It is in force.
    Changed(SharedState),
    /// Another change came first; what stands now.
    Superseded(SharedState),
}

impl Store {
    /// Returns the shared state.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn state(&self) -> Result<SharedState, StoreError> {
        match self
            .state_call(self.core.epoch()?.to_string(), &["read".into()])
            .await?
        {
            StateOutcome::Changed(state) | StateOutcome::Superseded(state) => Ok(state),
        }
    }

    /// Changes the shared state, if it still is the version the change builds on.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn set_state(&self, change: &StateSet) -> Result<StateOutcome, StoreError> {
        self.state_call(self.core.epoch()?.to_string(), &arguments(change))
            .await
    }

    /// As [`Store::set_state`], for a store that is being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn set_state_to_heal(&self, healing: &Healing, change: &StateSet) -> Result<StateOutcome, StoreError> {
        self.state_call(healing.epoch.clone(), &arguments(change)).await
    }

    /// Returns the shared state of a store that is being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn state_to_heal(&self, healing: &Healing) -> Result<SharedState, StoreError> {
        match self.state_call(healing.epoch.clone(), &["read".into()]).await? {
            StateOutcome::Changed(state) | StateOutcome::Superseded(state) => Ok(state),
        }
    }

    /// Marks a version of the shared state as being on the journal.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn mark_state_journaled(&self, version: u64) -> Result<(), StoreError> {
        let arguments = ["mark".into(), version.to_string().into()];
        self.state_call(self.core.epoch()?.to_string(), &arguments)
            .await
            .map(|_| ())
    }

    /// Returns what has been routed on a day, over all accounts.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn notional_routed(&self, mode: Mode, date: TradingDate) -> Result<Micros, StoreError> {
        self.core.epoch()?;
        let mut command = redis::cmd("HGET");
        command.arg(keys::day(mode, date)).arg(keys::DAILY_NOTIONAL);
        let units = match self.core.query(command).await? {
            redis::Value::BulkString(text) => String::from_utf8_lossy(&text).parse::<i64>().ok(),
            redis::Value::Nil => Some(0),
            _ => None,
        };
        units
            .and_then(Micros::new)
            .ok_or_else(|| StoreError::Corrupt("a day's notional is no integer".to_owned()))
    }

    async fn state_call(&self, epoch: String, arguments: &[Bytes]) -> Result<StateOutcome, StoreError> {
        let mut command = STATE.call(&epoch, &[keys::meta(), keys::state()]);
        for argument in arguments {
            command.arg(&argument[..]);
        }
        let reply = self.core.query(command).await.and_then(Reply::of);
        let mut reply = match epoch.parse::<i64>() {
            Ok(epoch) => self.core.noting(epoch, reply)?,
            Err(_) => reply?,
        };
        let version = reply.integer()?;
        let values = OperatorValues {
            mode: optional(&mut reply, Mode::parse)?,
            trading_state: optional(&mut reply, TradingState::parse)?,
            daily_notional_limit: optional(&mut reply, micros)?,
            daily_loss_limit: optional(&mut reply, micros)?,
        };
        let document = Bytes::from(reply.bytes()?);
        let state = SharedState {
            version,
            values,
            document,
            journaled_version: reply.integer()?,
        };
        match reply.verdict.as_str() {
            "state" => Ok(StateOutcome::Changed(state)),
            "superseded" => Ok(StateOutcome::Superseded(state)),
            _ => Err(reply.unexpected()),
        }
    }
}

fn arguments(change: &StateSet) -> [Bytes; 9] {
    let values = &change.values;
    let limit = |limit: Option<Micros>| limit.map_or_else(Bytes::new, |limit| limit.units().to_string().into());
    [
        "set".into(),
        change.builds_on.to_string().into(),
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
