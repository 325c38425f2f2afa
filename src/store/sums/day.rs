//! The trading day: one snapshot of everything its measurements are made of (`lua/day_look.lua`), and the day roll
//! (`lua/begin_day.lua`).

use bytes::Bytes;
use serde::Serialize;

use crate::domain::daily_pnl::DayStartEquity;
use crate::domain::equity::PositionSums;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::symbol::Symbol;
use crate::domain::time::TradingDate;
use crate::store::client::Store;
use crate::store::control::snapshot::{StoredControl, decode_control};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::{CASH_INSTRUMENT, UNATTRIBUTED_EQUITY_FIELD, UNKNOWN_EQUITY_PREFIX};
use crate::store::limits::MAX_HOLDINGS;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::retention::day_ttl_ms;
use crate::store::script::{READ_DAY_INPUTS, ROLL_DAY, ScriptReply, to_json};

/// What a day's measurements are made of, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayInputs {
    /// The control state and the locks.
    pub stored_control: StoredControl,
    /// The position sums of the requested mode.
    pub holdings: Vec<PositionSums>,
    /// When the snapshot was taken, in milliseconds since 1970 by Redis' clock.
    pub taken_at_ms: i64,
    /// What the accounts were worth at the start of the requested day; `None` where that day has not been rolled.
    pub day_start: Option<DayStartEquity>,
}

/// The start of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRoll {
    /// The day.
    pub trading_date: TradingDate,
    /// What the accounts are worth at its start, by mode; a mode that is missing has no accounts.
    pub starts: Vec<(Mode, DayStartEquity)>,
}

/// The result of a day roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayRollOutcome {
    /// The day is active.
    Rolled,
    /// This day, or the later one given here, was already active.
    AlreadyRolled(TradingDate),
    /// The active day is not the expected one.
    Superseded(Option<TradingDate>),
}

#[derive(Serialize)]
struct DayStartCommand {
    /// Accounts and their equity (1e-6).
    #[serde(rename = "a")]
    equities: Vec<(String, String)>,
    /// Fields that are no amount of an account, and their values.
    #[serde(rename = "s")]
    fields: Vec<(String, String)>,
}

impl Store {
    /// Returns everything that a day's measurements in one mode are made of.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::NotExecuted`] where there are more than [`MAX_HOLDINGS`] position sums.
    pub async fn read_day_inputs(&self, mode: Mode, date: TradingDate) -> Result<DayInputs, StoreError> {
        let keys = [
            keys::meta(),
            keys::operator_state(),
            keys::locks(),
            keys::sums_names(mode),
            keys::day_start(mode, date),
        ];
        let mut call = self.connection.script_call(&READ_DAY_INPUTS, None, &keys)?;
        call.arg(keys::sums_prefix(mode)).arg(MAX_HOLDINGS);
        let mut reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "day" => decode_day_inputs(&mut reply),
            "many" => {
                let count = reply.next_text()?;
                Err(StoreError::NotExecuted(format!(
                    "mode {mode} has {count} positions; the day's measurements cover at most {MAX_HOLDINGS}"
                )))
            }
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Activates a day, if the active day still is `previous` and precedes it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn roll_day(&self, previous: Option<TradingDate>, roll: &DayRoll) -> Result<DayRollOutcome, StoreError> {
        self.roll_day_in_epoch(None, previous, roll).await
    }

    /// As [`Store::roll_day`], during a rebuild.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn roll_day_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        previous: Option<TradingDate>,
        roll: &DayRoll,
    ) -> Result<DayRollOutcome, StoreError> {
        self.roll_day_in_epoch(Some(rebuild), previous, roll).await
    }

    async fn roll_day_in_epoch(
        &self,
        rebuild: Option<&StoreRebuild>,
        previous: Option<TradingDate>,
        roll: &DayRoll,
    ) -> Result<DayRollOutcome, StoreError> {
        let mut keys = vec![keys::meta(), keys::operator_state()];
        keys.extend(Mode::ALL.iter().map(|mode| keys::day_start(*mode, roll.trading_date)));
        let before = previous.unwrap_or_else(|| roll.trading_date.previous());
        keys.extend(Mode::ALL.iter().map(|mode| keys::day_start(*mode, before)));
        let mut call = self.connection.script_call(&ROLL_DAY, rebuild, &keys)?;
        call.arg(roll.trading_date.to_string())
            .arg(previous.map_or_else(String::new, |date| date.to_string()))
            .arg(day_ttl_ms());
        let no_accounts = DayStartEquity {
            total_remainder: Some(Micros::ZERO),
            ..DayStartEquity::default()
        };
        for mode in Mode::ALL {
            let start = roll.starts.iter().find(|(of, _)| of == mode);
            let start = start.map_or(&no_accounts, |(_, start)| start);
            call.arg(to_json(&encode_day_start(start))?);
        }
        let mut reply = self.connection.run(call).await?;
        let date = Some(reply.next_text()?).filter(|date| !date.is_empty());
        let date = date.map(|text| {
            TradingDate::parse(&text).ok_or_else(|| StoreError::corrupt(format!("{text:?} is not a trading date")))
        });
        match (reply.verdict.as_str(), date.transpose()?) {
            ("begun", _) => Ok(DayRollOutcome::Rolled),
            ("kept", Some(date)) => Ok(DayRollOutcome::AlreadyRolled(date)),
            ("superseded", date) => Ok(DayRollOutcome::Superseded(date)),
            _ => Err(reply.unexpected_verdict()),
        }
    }
}

fn encode_day_start(start: &DayStartEquity) -> DayStartCommand {
    let (mut equities, mut fields) = (Vec::new(), Vec::new());
    for (account, equity) in &start.accounts {
        match equity {
            Some(equity) => equities.push((account.to_string(), equity.units().to_string())),
            None => fields.push((format!("{UNKNOWN_EQUITY_PREFIX}{account}"), "1".to_owned())),
        }
    }
    let unattributed = start.total_remainder.map_or_else(
        || UNKNOWN_EQUITY_PREFIX.to_string(),
        |remainder| remainder.units().to_string(),
    );
    fields.push((UNATTRIBUTED_EQUITY_FIELD.to_owned(), unattributed));
    DayStartCommand { equities, fields }
}

fn decode_day_inputs(reply: &mut ScriptReply) -> Result<DayInputs, StoreError> {
    let control = decode_control(reply)?;
    let mut lock_documents = Vec::new();
    for _ in 0..reply.next_integer::<usize>()? {
        lock_documents.push(Bytes::from(reply.next_bytes()?));
    }
    let taken_at_ms = reply.next_integer()?;
    let mut holdings = Vec::new();
    for _ in 0..reply.next_integer::<usize>()? {
        let holding = decode_holding(reply)?;
        // Deposits and withdrawals are not profit: the day's measurements leave cash out.
        if (holding.venue.as_str(), holding.symbol.as_str()) != CASH_INSTRUMENT {
            holdings.push(holding);
        }
    }
    Ok(DayInputs {
        stored_control: StoredControl {
            control,
            lock_documents,
        },
        taken_at_ms,
        holdings,
        day_start: decode_day_start(reply)?,
    })
}

fn decode_holding(reply: &mut ScriptReply) -> Result<PositionSums, StoreError> {
    let name = reply.next_text()?;
    let parse_name = || {
        let mut parts = name.splitn(3, ':');
        let (account, venue, symbol) = (parts.next()?, parts.next()?, parts.next()?);
        Some((
            AccountId::new(account).ok()?,
            VenueId::new(venue).ok()?,
            Symbol::parse(symbol).ok()?,
        ))
    };
    let (account_id, venue, symbol) =
        parse_name().ok_or_else(|| StoreError::corrupt(format!("{name:?} is not a name of position sums")))?;
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

/// Decodes a day's start. A day that has not been rolled lacks the field that every start has.
fn decode_day_start(reply: &mut ScriptReply) -> Result<Option<DayStartEquity>, StoreError> {
    let invalid = |field: &str| StoreError::corrupt(format!("the field {field:?} of a day's start is not valid"));
    let (mut start, mut unknown, mut is_rolled) = (DayStartEquity::default(), Vec::new(), false);
    while reply.has_more() {
        let (field, value) = (reply.next_text()?, reply.next_text()?);
        let amount = || value.parse().ok().and_then(Micros::new).ok_or_else(|| invalid(&field));
        let account = |name: &str| AccountId::new(name).map_err(|_| invalid(&field));
        if field == UNATTRIBUTED_EQUITY_FIELD {
            is_rolled = true;
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
    Ok(is_rolled.then_some(start))
}
