//! The trading day: one look at everything its figures are made of (`lua/day_look.lua`), and its beginning
//! (`lua/begin_day.lua`).

use bytes::Bytes;
use serde::Serialize;

use crate::domain::daily_pnl::DayStartEquity;
use crate::domain::equity::PositionSums;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::time::TradingDate;
use crate::store::connection::Store;
use crate::store::control::snapshot::{StoredControl, decode_control};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::{CASH_INSTRUMENT, UNATTRIBUTED_EQUITY_FIELD, UNKNOWN_EQUITY_PREFIX};
use crate::store::rebuild::epoch::StoreRebuild;
use crate::store::script::{READ_DAY_INPUTS, ROLL_DAY, ScriptReply, corrupt, day_ttl_ms, to_json};

/// The most hashes of sums of one mode that are looked at. One look reads them all while Redis does nothing else: some
/// ten milliseconds at this bound.
pub const MAX_HOLDINGS: usize = 10_000;

/// What a day's figures are made of, as it stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayInputs {
    /// The control.
    pub stored_control: StoredControl,
    /// The sums of the mode that was asked for.
    pub holdings: Vec<PositionSums>,
    /// When it was taken, by Redis' clock, in milliseconds since 1970.
    pub taken_at_ms: i64,
    /// What its accounts were worth at the start of the day that was asked for; `None` where that day has not begun.
    pub day_start: Option<DayStartEquity>,
}

/// The beginning of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRoll {
    /// The day.
    pub trading_date: TradingDate,
    /// What accounts are worth at its start, by mode; a mode that is not in it has none.
    pub starts: Vec<(Mode, DayStartEquity)>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayRollOutcome {
    /// The day has begun.
    Rolled,
    /// This day, or a later one, had begun before.
    AlreadyRolled(TradingDate),
    /// The day before is another one than was named.
    Superseded(Option<TradingDate>),
}

#[derive(Serialize)]
struct DayStartCommand {
    a: Vec<(String, String)>,
    s: Vec<(String, String)>,
}

impl Store {
    /// Looks at everything a day's figures of one mode are made of.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::NotExecuted`] where there are more than [`MAX_HOLDINGS`].
    pub async fn read_day_inputs(&self, mode: Mode, date: TradingDate) -> Result<DayInputs, StoreError> {
        let epoch = self.connection.epoch()?;
        let fixed = [
            keys::meta(),
            keys::operator_state(),
            keys::locks(),
            keys::sums_names(mode),
        ];
        let mut command =
            READ_DAY_INPUTS.evalsha_command(epoch, &[fixed.as_slice(), &[keys::day_start(mode, date)]].concat());
        command.arg(keys::sums_prefix(mode)).arg(MAX_HOLDINGS);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let mut reply = self.connection.clear_epoch_if_stale(epoch, reply)?;
        match reply.verdict.as_str() {
            "day" => decode_day_inputs(&mut reply),
            "many" => {
                let count = reply.next_text()?;
                Err(StoreError::NotExecuted(format!(
                    "there are {count} positions in mode {mode}, and the day's figures are made of at most {MAX_HOLDINGS}"
                )))
            }
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Begins a day, if the day in force still is `previous` and lies before it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn roll_day(&self, previous: Option<TradingDate>, roll: &DayRoll) -> Result<DayRollOutcome, StoreError> {
        let epoch = self.connection.epoch()?;
        let begun = self.roll_day_in_epoch(&epoch.to_string(), previous, roll).await;
        self.connection.clear_epoch_if_stale(epoch, begun)
    }

    /// As [`Store::begin_day`], in a store that is being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn roll_day_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        previous: Option<TradingDate>,
        roll: &DayRoll,
    ) -> Result<DayRollOutcome, StoreError> {
        self.roll_day_in_epoch(&rebuild.epoch, previous, roll).await
    }

    async fn roll_day_in_epoch(
        &self,
        epoch: &str,
        previous: Option<TradingDate>,
        roll: &DayRoll,
    ) -> Result<DayRollOutcome, StoreError> {
        let mut keys = vec![keys::meta(), keys::operator_state()];
        keys.extend(Mode::ALL.iter().map(|mode| keys::day_start(*mode, roll.trading_date)));
        let before = previous.unwrap_or_else(|| roll.trading_date.previous());
        keys.extend(Mode::ALL.iter().map(|mode| keys::day_start(*mode, before)));
        let mut command = ROLL_DAY.evalsha_command(epoch, &keys);
        command.arg(roll.trading_date.to_string());
        command.arg(previous.map_or_else(String::new, |date| date.to_string()));
        command.arg(day_ttl_ms());
        for mode in Mode::ALL {
            let start = roll.starts.iter().find(|(of, _)| of == mode);
            let nothing = DayStartEquity {
                total_remainder: Some(Micros::ZERO),
                ..DayStartEquity::default()
            };
            command.arg(to_json(&encode_day_start(start.map_or(&nothing, |(_, start)| start)))?);
        }
        let mut reply = self.connection.query(command).await.and_then(ScriptReply::from_value)?;
        let date = reply.next_text()?;
        let date = Some(date).filter(|date| !date.is_empty());
        let date = date.map(|date| TradingDate::parse(&date).ok_or_else(|| corrupt("the trading date is none")));
        match (reply.verdict.as_str(), date.transpose()?) {
            ("begun", _) => Ok(DayRollOutcome::Rolled),
            ("kept", Some(date)) => Ok(DayRollOutcome::AlreadyRolled(date)),
            ("superseded", date) => Ok(DayRollOutcome::Superseded(date)),
            _ => Err(reply.unexpected_verdict()),
        }
    }
}

fn encode_day_start(start: &DayStartEquity) -> DayStartCommand {
    let (mut added, mut set) = (Vec::new(), Vec::new());
    for (account, equity) in &start.accounts {
        match equity {
            Some(equity) => added.push((account.to_string(), equity.units().to_string())),
            None => set.push((format!("{UNKNOWN_EQUITY_PREFIX}{account}"), "1".to_owned())),
        }
    }
    let beyond = start.total_remainder.map_or_else(
        || UNKNOWN_EQUITY_PREFIX.to_string(),
        |beyond| beyond.units().to_string(),
    );
    set.push((UNATTRIBUTED_EQUITY_FIELD.to_owned(), beyond));
    DayStartCommand { a: added, s: set }
}

fn decode_day_inputs(reply: &mut ScriptReply) -> Result<DayInputs, StoreError> {
    let control = decode_control(reply)?;
    let mut latches = Vec::new();
    for _ in 0..reply.next_integer::<usize>()? {
        latches.push(Bytes::from(reply.next_bytes()?));
    }
    let taken_at_ms = reply.next_integer()?;
    let mut holdings = Vec::new();
    for _ in 0..reply.next_integer::<usize>()? {
        let holding = decode_holding(reply)?;
        // Deposits and withdrawals are no profit: they are no part of what a day is measured by.
        if (holding.venue.as_str(), holding.symbol.as_str()) != CASH_INSTRUMENT {
            holdings.push(holding);
        }
    }
    Ok(DayInputs {
        stored_control: StoredControl {
            control,
            lock_documents: latches,
        },
        taken_at_ms,
        holdings,
        day_start: decode_day_start(reply)?,
    })
}

fn decode_holding(reply: &mut ScriptReply) -> Result<PositionSums, StoreError> {
    let name = reply.next_text()?;
    let of_name = || {
        let mut parts = name.splitn(3, ':');
        let (account, venue, symbol) = (parts.next()?, parts.next()?, parts.next()?);
        Some((
            AccountId::new(account).ok()?,
            VenueId::new(venue).ok()?,
            Symbol::parse(symbol).ok()?,
        ))
    };
    let (account_id, venue, symbol) = of_name().ok_or_else(|| corrupt(&format!("{name:?} is no name of sums")))?;
    Ok(PositionSums {
        account_id,
        venue,
        symbol,
        position_lots: reply.next_integer()?,
        cash_flow: reply.next_integer()?,
        fees: reply.next_integer()?,
        base_fees: reply.next_integer()?,
    })
}

/// Reads a day's start; one without the field that every start has is that of a day that has not begun.
fn decode_day_start(reply: &mut ScriptReply) -> Result<Option<DayStartEquity>, StoreError> {
    let wrong = |field: &str| corrupt(&format!("the field {field:?} of a day's start"));
    let (mut start, mut unknown, mut has_begun) = (DayStartEquity::default(), Vec::new(), false);
    while reply.has_more() {
        let (field, value) = (reply.next_text()?, reply.next_text()?);
        let amount = || value.parse().ok().and_then(Micros::new).ok_or_else(|| wrong(&field));
        let account = |name: &str| AccountId::new(name).map_err(|_| wrong(&field));
        if field == UNATTRIBUTED_EQUITY_FIELD {
            has_begun = true;
            start.total_remainder = if value.starts_with(UNKNOWN_EQUITY_PREFIX) {
                None
            } else {
                Some(amount()?)
            };
        } else if let Some(name) = field.strip_prefix(UNKNOWN_EQUITY_PREFIX) {
            unknown.push(account(name)?);
        } else {
            start.accounts.insert(account(&field)?, Some(amount()?));
        }
    }
    start
        .accounts
        .extend(unknown.into_iter().map(|account| (account, None)));
    Ok(has_begun.then_some(start))
}
