//! The dead man's switches (`lua/heartbeat.lua`): armed at once and kept in step with the journal, restarted by heartbeats,
//! and fired by Redis' clock.

use bytes::Bytes;

use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::{MAX_DEAD_MAN_SWITCHES, MAX_EXPIRED_SWITCHES, MAX_UNJOURNALED_SWITCHES, SWITCHES_PAGE};
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::script::{HEARTBEAT, ScriptReply};

/// The effect of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatOutcome {
    /// The switch starts its time again.
    Armed(ArmedSwitch),
    /// The account has no armed switch.
    Disarmed,
    /// The switch has fired, and its account's orders are still being cancelled. The heartbeat does not count.
    Fired,
    /// The switch starts its own time again, which is longer than the heartbeat's.
    Tighter,
    /// The switch starts its own time again, which is shorter than the heartbeat's.
    Looser,
}

/// The result of arming a switch, or of shortening its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArmOutcome {
    /// It is armed.
    Armed(ArmedSwitch),
    /// Another caller has armed it meanwhile with this time or a shorter one. Nothing is changed.
    ArmedByOther,
    /// It has fired. Nothing is changed.
    Fired,
    /// There are [`MAX_DEAD_MAN_SWITCHES`] already.
    TooManySwitches,
}

/// An armed switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArmedSwitch {
    /// When it fires without another heartbeat, by Redis' clock.
    pub expires_at: Timestamp,
    /// Whether the event that armed it is still to be journaled.
    pub is_awaiting_journal: bool,
}

/// A switch as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSwitch {
    /// Its time, in milliseconds.
    pub timeout_ms: u64,
    /// The journal document that it was armed with.
    pub document: Bytes,
    /// Whether the document is still to be journaled.
    pub is_awaiting_journal: bool,
    /// Whether it has fired.
    pub has_fired: bool,
}

/// A switch that has fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiredSwitch {
    /// Its account.
    pub account_id: AccountId,
    /// Its time, in milliseconds.
    pub timeout_ms: u64,
    /// Whether its account was locked.
    pub is_locked: bool,
}

/// A journaled event of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledSwitchEvent {
    /// The account.
    pub account_id: AccountId,
    /// The time of an armed switch, in milliseconds; `None` where the event ends it.
    pub armed_ms: Option<u64>,
    /// The event's document.
    pub document: Bytes,
}

impl Store {
    /// Takes a heartbeat. A switch whose time differs from `timeout_ms` keeps its own.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] the heartbeat may count.
    pub async fn take_heartbeat(
        &self,
        account_id: &AccountId,
        timeout_ms: u64,
    ) -> Result<HeartbeatOutcome, StoreError> {
        let arguments = ["beat".into(), text(account_id), text(timeout_ms)];
        let mut reply = self.call_switch_script(None, &arguments).await?;
        match reply.verdict.as_str() {
            "armed" => read_armed(&mut reply).map(HeartbeatOutcome::Armed),
            "disarmed" => Ok(HeartbeatOutcome::Disarmed),
            "fired" => Ok(HeartbeatOutcome::Fired),
            "tighter" => Ok(HeartbeatOutcome::Tighter),
            "looser" => Ok(HeartbeatOutcome::Looser),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Arms a switch, or shortens its time. It works at once; `document` is still to be journaled.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] it may be armed.
    pub async fn arm_switch(
        &self,
        account_id: &AccountId,
        timeout_ms: u64,
        document: &Bytes,
    ) -> Result<ArmOutcome, StoreError> {
        let arguments = [
            "arm".into(),
            text(account_id),
            text(timeout_ms),
            document.clone(),
            text(MAX_DEAD_MAN_SWITCHES),
        ];
        let mut reply = self.call_switch_script(None, &arguments).await?;
        match reply.verdict.as_str() {
            "armed" => read_armed(&mut reply).map(ArmOutcome::Armed),
            "moved" => Ok(ArmOutcome::ArmedByOther),
            "fired" => Ok(ArmOutcome::Fired),
            "full" => Ok(ArmOutcome::TooManySwitches),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Returns the switch of an account.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn find_switch(&self, account_id: &AccountId) -> Result<Option<StoredSwitch>, StoreError> {
        let mut reply = self
            .call_switch_script(None, &["find".into(), text(account_id)])
            .await?;
        let timeout_ms = reply.next_text()?;
        if timeout_ms.is_empty() {
            return Ok(None);
        }
        let unreadable = |_| StoreError::corrupt(format!("the switch of {account_id} has no time"));
        Ok(Some(StoredSwitch {
            timeout_ms: timeout_ms.parse().map_err(unreadable)?,
            document: reply.next_bytes()?.into(),
            is_awaiting_journal: !reply.next_text()?.is_empty(),
            has_fired: !reply.next_text()?.is_empty(),
        }))
    }

    /// Returns those of some accounts that have no switch.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_accounts_without_switch(&self, accounts: &[AccountId]) -> Result<Vec<AccountId>, StoreError> {
        let mut without = Vec::new();
        for page in accounts.chunks(SWITCHES_PAGE) {
            let mut arguments: Vec<Bytes> = vec!["absent".into()];
            arguments.extend(page.iter().map(text));
            let mut reply = self.call_switch_script(None, &arguments).await?;
            while reply.has_more() {
                without.push(read_account(&mut reply)?);
            }
        }
        Ok(without)
    }

    /// Returns accounts whose switches are not journaled yet, at most [`MAX_UNJOURNALED_SWITCHES`], in no order: a later call
    /// returns others.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_unjournaled_switches(&self) -> Result<Vec<AccountId>, StoreError> {
        let (_, mut reply) = self.call_waiting(None, MAX_UNJOURNALED_SWITCHES).await?;
        let mut accounts = Vec::new();
        while reply.has_more() {
            accounts.push(read_account(&mut reply)?);
        }
        Ok(accounts)
    }

    /// Returns the journal sequence up to which every event of a switch is applied.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_switch_watermark(&self, rebuild: Option<&StoreRebuild>) -> Result<u64, StoreError> {
        Ok(self.call_waiting(rebuild, 0).await?.0)
    }

    async fn call_waiting(
        &self,
        rebuild: Option<&StoreRebuild>,
        most: usize,
    ) -> Result<(u64, ScriptReply), StoreError> {
        let mut reply = self
            .call_switch_script(rebuild, &["waiting".into(), text(most)])
            .await?;
        Ok((reply.next_integer()?, reply))
    }

    /// Applies journaled events in the journal's order, where the store's watermark is `from`, and raises the watermark to
    /// `to`. A switch that an event arms starts its whole time. Returns whether the watermark was `from`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn apply_switch_events(
        &self,
        rebuild: Option<&StoreRebuild>,
        (from, to): (u64, u64),
        events: &[JournaledSwitchEvent],
    ) -> Result<bool, StoreError> {
        let mut arguments: Vec<Bytes> = vec!["apply".into(), text(from), text(to)];
        for event in events {
            let kind = if event.armed_ms.is_some() { "armed" } else { "disarmed" };
            let timeout_ms = event.armed_ms.unwrap_or(0);
            arguments.extend([
                kind.into(),
                text(&event.account_id),
                text(timeout_ms),
                event.document.clone(),
            ]);
        }
        let reply = self.call_switch_script(rebuild, &arguments).await?;
        match reply.verdict.as_str() {
            "applied" => Ok(true),
            "moved" => Ok(false),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Lets switches fire whose time is over, at most [`MAX_EXPIRED_SWITCHES`], and returns them. Where no worker has called
    /// this for `gap_ms`, no heartbeat may have been heard either: each switch gets its whole time again. The first turn at a
    /// switch that has fired is due after `turn_ms`.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] switches may have fired, whose turns workers take.
    pub async fn expire_switches(&self, gap_ms: u64, turn_ms: u64) -> Result<Vec<FiredSwitch>, StoreError> {
        let arguments = ["expire".into(), text(gap_ms), text(MAX_EXPIRED_SWITCHES), text(turn_ms)];
        let mut reply = self.call_switch_script(None, &arguments).await?;
        let mut expired = Vec::new();
        while reply.has_more() {
            expired.push(FiredSwitch {
                account_id: read_account(&mut reply)?,
                timeout_ms: reply.next_integer()?,
                is_locked: false,
            });
        }
        Ok(expired)
    }

    /// Takes turns of `turn_ms` at switches that have fired, at most `most`: until its turn is over, no other worker gets a
    /// switch, unless it is marked as locked.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] the turns may be taken, and end by themselves.
    pub async fn take_switch_turns(&self, turn_ms: u64, most: usize) -> Result<Vec<FiredSwitch>, StoreError> {
        let arguments = ["turns".into(), text(turn_ms), text(most)];
        let mut reply = self.call_switch_script(None, &arguments).await?;
        let mut turns = Vec::new();
        while reply.has_more() {
            turns.push(FiredSwitch {
                account_id: read_account(&mut reply)?,
                timeout_ms: reply.next_integer()?,
                is_locked: !reply.next_text()?.is_empty(),
            });
        }
        Ok(turns)
    }

    /// Marks the account of a switch that has fired as locked: it is not locked again for the same expiry. `is_turn_next`
    /// makes its next turn due now.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn mark_switch_locked(&self, account_id: &AccountId, is_turn_next: bool) -> Result<(), StoreError> {
        let arguments = [
            "locked".into(),
            text(account_id),
            if is_turn_next { "1" } else { "" }.into(),
        ];
        self.call_switch_script(None, &arguments).await.map(drop)
    }

    async fn call_switch_script(
        &self,
        rebuild: Option<&StoreRebuild>,
        arguments: &[Bytes],
    ) -> Result<ScriptReply, StoreError> {
        let keys = [
            keys::meta(),
            keys::dead_man_switches(),
            keys::unjournaled_switches(),
            keys::switch_expiries(),
            keys::fired_switches(),
            keys::fired_switch_turns(),
            keys::switch_sweeps(),
        ];
        let mut call = self.connection.script_call(&HEARTBEAT, rebuild, &keys)?;
        for argument in arguments {
            call.arg(&argument[..]);
        }
        self.connection.run(call).await
    }
}

fn text(value: impl std::fmt::Display) -> Bytes {
    value.to_string().into()
}

fn read_account(reply: &mut ScriptReply) -> Result<AccountId, StoreError> {
    let account = reply.next_text()?;
    AccountId::new(&account).map_err(|_| StoreError::corrupt(format!("{account:?} is not the account of a switch")))
}

fn read_armed(reply: &mut ScriptReply) -> Result<ArmedSwitch, StoreError> {
    Ok(ArmedSwitch {
        expires_at: Timestamp::from_milliseconds(reply.next_integer()?),
        is_awaiting_journal: !reply.next_text()?.is_empty(),
    })
}
