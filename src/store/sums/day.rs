//! The trading day: its roll (`lua/begin_day.lua`), and the marks at its start (`lua/day_marks.lua`).

use crate::domain::mark_prices::MarkPrices;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::time::TradingDate;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::retention::day_ttl_ms;
use crate::store::script::{READ_DAY_MARKS, ROLL_DAY};

/// The start of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRoll {
    /// The day.
    pub trading_date: TradingDate,
    /// The marks at its start, by mode.
    pub marks: Vec<(Mode, MarkPrices)>,
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

impl Store {
    /// Returns the marks at the start of the active day in one mode; `None` where another day is active.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_day_marks(&self, mode: Mode, date: TradingDate) -> Result<Option<MarkPrices>, StoreError> {
        let keys = [keys::meta(), keys::operator_state(), keys::day_marks(mode, date)];
        let mut call = self.connection.script_call(&READ_DAY_MARKS, None, &keys)?;
        call.arg(date.to_string());
        let mut reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "not_begun" => return Ok(None),
            "marks" => {}
            _ => return Err(reply.unexpected_verdict()),
        }
        let mut marks = MarkPrices::new();
        while reply.has_more() {
            let (name, price) = (reply.next_text()?, reply.next_text()?);
            let mark = || Some((keys::parse_holding_name(&name)?, Price::new(price.parse().ok()?).ok()?));
            let (instrument, price) =
                mark().ok_or_else(|| StoreError::corrupt(format!("{name} = {price} is no mark of a day's start")))?;
            marks.insert(instrument, price);
        }
        Ok(Some(marks))
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
        keys.extend(Mode::ALL.iter().map(|mode| keys::day_marks(*mode, roll.trading_date)));
        let before = previous.unwrap_or_else(|| roll.trading_date.previous());
        keys.extend(Mode::ALL.iter().map(|mode| keys::day_marks(*mode, before)));
        let mut call = self.connection.script_call(&ROLL_DAY, rebuild, &keys)?;
        call.arg(roll.trading_date.to_string())
            .arg(previous.map_or_else(String::new, |date| date.to_string()))
            .arg(day_ttl_ms());
        for mode in Mode::ALL {
            let marks = roll.marks.iter().find(|(of, _)| of == mode).map(|(_, marks)| marks);
            call.arg(marks.map_or(0, |marks| 2 * marks.len()));
            for ((venue, symbol), price) in marks.into_iter().flatten() {
                call.arg(keys::holding_name(venue, symbol)).arg(price.to_string());
            }
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
