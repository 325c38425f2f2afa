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
use crate::store::script::{READ_DAY_MARKS, ROLL_DAY, WRITE_DAY_MARKS};

/// How many marks one call writes, and about how many one reads: some tenths of a millisecond of Redis.
const MARKS_PAGE: usize = 500;
/// How long marks wait for their day to begin, in milliseconds.
const WRITTEN_MARKS_TTL_MS: i64 = 60_000;

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
    /// Returns the marks at the start of the active day in one mode; `None` where another day is active. They are read in
    /// pages: once a day has begun they do not change.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_day_marks(&self, mode: Mode, date: TradingDate) -> Result<Option<MarkPrices>, StoreError> {
        if !self.has_begun(None, date).await? {
            return Ok(None);
        }
        let key = keys::day_marks(mode, date);
        let listed = self.connection.scan_key("HSCAN", &key, MARKS_PAGE).await?;
        let mut marks = MarkPrices::new();
        for [name, price] in listed.as_chunks().0 {
            let mark = || Some((keys::parse_holding_name(name)?, Price::new(price.parse().ok()?).ok()?));
            let (instrument, price) =
                mark().ok_or_else(|| StoreError::corrupt(format!("{name} = {price} is no mark of a day's start")))?;
            marks.insert(instrument, price);
        }
        // Redis may have been emptied in between.
        Ok(self.has_begun(None, date).await?.then_some(marks))
    }

    async fn has_begun(&self, rebuild: Option<&StoreRebuild>, date: TradingDate) -> Result<bool, StoreError> {
        let keys = [keys::meta(), keys::operator_state()];
        let mut call = self.connection.script_call(&READ_DAY_MARKS, rebuild, &keys)?;
        call.arg(date.to_string());
        let reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "begun" => Ok(true),
            "not_begun" => Ok(false),
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
        if self.has_begun(rebuild, roll.trading_date).await? {
            return Ok(DayRollOutcome::AlreadyRolled(roll.trading_date));
        }
        let token = uuid::Uuid::new_v4().to_string();
        let before = previous.unwrap_or_else(|| roll.trading_date.previous());
        let mut keys = vec![keys::meta(), keys::operator_state()];
        let mut counts = Vec::new();
        for mode in Mode::ALL {
            let marks = roll.marks.iter().find(|(of, _)| of == mode).map(|(_, marks)| marks);
            let written = keys::written_day_marks(*mode, roll.trading_date, &token);
            if let Some(marks) = marks {
                self.write_day_marks(rebuild, &written, marks).await?;
            }
            counts.push(marks.map_or(0, MarkPrices::len));
            keys.extend([
                keys::day_marks(*mode, roll.trading_date),
                keys::day_marks(*mode, before),
                written,
            ]);
        }
        let mut call = self.connection.script_call(&ROLL_DAY, rebuild, &keys)?;
        call.arg(roll.trading_date.to_string())
            .arg(previous.map_or_else(String::new, |date| date.to_string()))
            .arg(day_ttl_ms())
            .arg(counts);
        let mut reply = self.connection.run(call).await?;
        let date = match reply.has_more() {
            true => Some(reply.next_text()?).filter(|date| !date.is_empty()),
            false => None,
        };
        let date = date.map(|text| {
            TradingDate::parse(&text).ok_or_else(|| StoreError::corrupt(format!("{text:?} is not a trading date")))
        });
        match (reply.verdict.as_str(), date.transpose()?) {
            ("begun", _) => Ok(DayRollOutcome::Rolled),
            ("kept", Some(date)) => Ok(DayRollOutcome::AlreadyRolled(date)),
            ("superseded", date) => Ok(DayRollOutcome::Superseded(date)),
            ("unwritten", _) => Err(StoreError::NotExecuted(
                "the marks of the new day were gone before it began; try again".to_owned(),
            )),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Writes marks under a key of their own, in pages, until the day begins. They end by themselves where it does not.
    async fn write_day_marks(
        &self,
        rebuild: Option<&StoreRebuild>,
        key: &str,
        marks: &MarkPrices,
    ) -> Result<(), StoreError> {
        let marks: Vec<(String, String)> = marks
            .iter()
            .map(|((venue, symbol), price)| (keys::holding_name(venue, symbol), price.to_string()))
            .collect();
        let mut pages = Vec::new();
        for page in marks.chunks(MARKS_PAGE) {
            let keys = [keys::meta(), key.to_owned()];
            let mut call = self.connection.script_call(&WRITE_DAY_MARKS, rebuild, &keys)?;
            call.arg(WRITTEN_MARKS_TTL_MS).arg(page);
            pages.push(self.connection.run(call));
        }
        futures_util::future::try_join_all(pages).await.map(drop)
    }
}
