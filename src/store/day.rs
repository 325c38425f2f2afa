//! The trading day: one look at everything its figures are made of (`lua/day_look.lua`), and its beginning
//! (`lua/begin_day.lua`).

use bytes::Bytes;
use serde::Serialize;

use super::connection::Store;
use super::control::{StoredControl, decode_fields};
use super::epoch::Healing;
use super::error::StoreError;
use super::keys::{self, BEYOND, CASH, UNKNOWN};
use super::script::{BEGIN_DAY, DAY_LOOK, Reply, corrupt, day_ttl_ms, json};
use crate::domain::day::DayStart;
use crate::domain::equity::Holding;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::Micros;
use crate::domain::terms::Mode;
use crate::domain::time::TradingDate;

/// The most hashes of sums of one mode that are looked at. One look reads them all while Redis does nothing else: some
/// ten milliseconds at this bound.
pub const MAX_HOLDINGS: usize = 10_000;

/// What a day's figures are made of, as it stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayLook {
    /// The control.
    pub stored: StoredControl,
    /// The sums of the mode that was asked for.
    pub holdings: Vec<Holding>,
    /// When it was taken, by Redis' clock, in milliseconds since 1970.
    pub taken_at_ms: i64,
    /// What its accounts were worth at the start of the day that was asked for; `None` where that day has not begun.
    pub start: Option<DayStart>,
}

/// The beginning of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayBeginning {
    /// The day.
    pub trading_date: TradingDate,
    /// What accounts are worth at its start, by mode; a mode that is not in it has none.
    pub starts: Vec<(Mode, DayStart)>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayBegun {
    /// The day has begun.
    Begun,
    /// This day, or a later one, had begun before.
    Kept(TradingDate),
    /// The day before is another one than was named.
    Superseded(Option<TradingDate>),
}

#[derive(Serialize)]
struct StartCommand {
    a: Vec<(String, String)>,
    s: Vec<(String, String)>,
}

impl Store {
    /// Looks at everything a day's figures of one mode are made of.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::NotExecuted`] where there are more than [`MAX_HOLDINGS`].
    pub async fn day_look(&self, mode: Mode, date: TradingDate) -> Result<DayLook, StoreError> {
        let epoch = self.core.epoch()?;
        let fixed = [keys::meta(), keys::state(), keys::latches(), keys::sums_names(mode)];
        let mut command = DAY_LOOK.call(epoch, &[fixed.as_slice(), &[keys::day_start(mode, date)]].concat());
        command.arg(keys::sums_prefix(mode)).arg(MAX_HOLDINGS);
        let reply = self.core.query(command).await.and_then(Reply::of);
        let mut reply = self.core.noting(epoch, reply)?;
        match reply.verdict.as_str() {
            "day" => decode(&mut reply),
            "many" => {
                let count = reply.text()?;
                Err(StoreError::NotExecuted(format!(
                    "there are {count} positions in mode {mode}, and the day's figures are made of at most {MAX_HOLDINGS}"
                )))
            }
            _ => Err(reply.unexpected()),
        }
    }

    /// Begins a day, if the day in force still is `previous` and lies before it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn begin_day(&self, previous: Option<TradingDate>, day: &DayBeginning) -> Result<DayBegun, StoreError> {
        let epoch = self.core.epoch()?;
        let begun = self.begin_day_in(&epoch.to_string(), previous, day).await;
        self.core.noting(epoch, begun)
    }

    /// As [`Store::begin_day`], in a store that is being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn begin_day_to_heal(
        &self,
        healing: &Healing,
        previous: Option<TradingDate>,
        day: &DayBeginning,
    ) -> Result<DayBegun, StoreError> {
        self.begin_day_in(&healing.epoch, previous, day).await
    }

    async fn begin_day_in(
        &self,
        epoch: &str,
        previous: Option<TradingDate>,
        day: &DayBeginning,
    ) -> Result<DayBegun, StoreError> {
        let mut keys = vec![keys::meta(), keys::state()];
        keys.extend(Mode::ALL.iter().map(|mode| keys::day_start(*mode, day.trading_date)));
        let before = previous.unwrap_or_else(|| day.trading_date.yesterday());
        keys.extend(Mode::ALL.iter().map(|mode| keys::day_start(*mode, before)));
        let mut command = BEGIN_DAY.call(epoch, &keys);
        command.arg(day.trading_date.to_string());
        command.arg(previous.map_or_else(String::new, |date| date.to_string()));
        command.arg(day_ttl_ms());
        for mode in Mode::ALL {
            let start = day.starts.iter().find(|(of, _)| of == mode);
            let nothing = DayStart {
                beyond: Some(Micros::ZERO),
                ..DayStart::default()
            };
            command.arg(json(&encode(start.map_or(&nothing, |(_, start)| start)))?);
        }
        let mut reply = self.core.query(command).await.and_then(Reply::of)?;
        let date = reply.text()?;
        let date = Some(date).filter(|date| !date.is_empty());
        let date = date.map(|date| TradingDate::parse(&date).ok_or_else(|| corrupt("the trading date is none")));
        match (reply.verdict.as_str(), date.transpose()?) {
            ("begun", _) => Ok(DayBegun::Begun),
            ("kept", Some(date)) => Ok(DayBegun::Kept(date)),
            ("superseded", date) => Ok(DayBegun::Superseded(date)),
            _ => Err(reply.unexpected()),
        }
    }
}

fn encode(start: &DayStart) -> StartCommand {
    let (mut added, mut set) = (Vec::new(), Vec::new());
    for (account, equity) in &start.accounts {
        match equity {
            Some(equity) => added.push((account.to_string(), equity.units().to_string())),
            None => set.push((format!("{UNKNOWN}{account}"), "1".to_owned())),
        }
    }
    let beyond = start
        .beyond
        .map_or_else(|| UNKNOWN.to_string(), |beyond| beyond.units().to_string());
    set.push((BEYOND.to_owned(), beyond));
    StartCommand { a: added, s: set }
}

fn decode(reply: &mut Reply) -> Result<DayLook, StoreError> {
    let control = decode_fields(reply)?;
    let mut latches = Vec::new();
    for _ in 0..reply.integer::<usize>()? {
        latches.push(Bytes::from(reply.bytes()?));
    }
    let taken_at_ms = reply.integer()?;
    let mut holdings = Vec::new();
    for _ in 0..reply.integer::<usize>()? {
        let holding = decode_holding(reply)?;
        // Deposits and withdrawals are no profit: they are no part of what a day is measured by.
        if (holding.venue.as_str(), holding.symbol.as_str()) != CASH {
            holdings.push(holding);
        }
    }
    Ok(DayLook {
        stored: StoredControl { control, latches },
        taken_at_ms,
        holdings,
        start: decode_start(reply)?,
    })
}

fn decode_holding(reply: &mut Reply) -> Result<Holding, StoreError> {
    let name = reply.text()?;
    let of_name = || {
        let mut parts = name.splitn(3, ':');
        let (account, venue, symbol) = (parts.next()?, parts.next()?, parts.next()?);
        Some((
            AccountId::new(account).ok()?,
            VenueId::new(venue).ok()?,
            Symbol::normalised(symbol).ok()?,
        ))
    };
    let (account_id, venue, symbol) = of_name().ok_or_else(|| corrupt(&format!("{name:?} is no name of sums")))?;
    Ok(Holding {
        account_id,
        venue,
        symbol,
        position: reply.integer()?,
        cash_flow: reply.integer()?,
        fees: reply.integer()?,
        base_fees: reply.integer()?,
    })
}

/// Reads a day's start; one without the field that every start has is that of a day that has not begun.
fn decode_start(reply: &mut Reply) -> Result<Option<DayStart>, StoreError> {
    let wrong = |field: &str| corrupt(&format!("the field {field:?} of a day's start"));
    let (mut start, mut unknown, mut has_begun) = (DayStart::default(), Vec::new(), false);
    while reply.has_more() {
        let (field, value) = (reply.text()?, reply.text()?);
        let amount = || value.parse().ok().and_then(Micros::new).ok_or_else(|| wrong(&field));
        let account = |name: &str| AccountId::new(name).map_err(|_| wrong(&field));
        if field == BEYOND {
            has_begun = true;
            start.beyond = if value.starts_with(UNKNOWN) {
                None
            } else {
                Some(amount()?)
            };
        } else if let Some(name) = field.strip_prefix(UNKNOWN) {
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
