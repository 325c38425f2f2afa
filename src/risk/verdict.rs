//! From the rules' words and the store's figures to one decision.

use super::approved::Approved;
use super::cap::{Bound, Cap, Observed, Sight};
use super::limits::{Duplicates, Limits, RateLimits};
use super::{duplicate_order, order_rate};
use crate::domain::metadata::{Figure, Metadata};
use crate::domain::reason::Reason;
use crate::domain::signal::{Level, Signal};

/// What the rules say of an intent before the shared sums have been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    limits: Judged,
    words: Vec<Word>,
    caps: Vec<Cap>,
}

/// The limits a decision is judged by after the store has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Judged {
    alerts: super::limits::AlertLevels,
    rates: RateLimits,
    duplicates: Option<Duplicates>,
}

/// A rule's signal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    signal: Signal,
    spares_reductions: bool,
}

/// Which orders may be claimed, as far as the rules can tell before the sums are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admits {
    /// Any that finds room.
    All,
    /// Only what turns out to be a reduction.
    Reductions,
    /// None.
    Nothing,
}

/// What becomes of an intent.
#[derive(Debug)]
pub enum Decision<T> {
    /// It may go to its broker. The signals are the alerts that are new.
    Approved(Approved<T>, Vec<Signal>),
    /// It stops here, and its id is used up: the reason is the first lock in the rules' order; every signal is kept.
    Denied(Reason, Vec<Signal>),
    /// It stops here, and may be tried again under the same id.
    Refused(Reason, Vec<Signal>),
}

impl Assessment {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: Judged {
                alerts: limits.alerts,
                rates: limits.order_rates,
                duplicates: limits.duplicates,
            },
            words: Vec::new(),
            caps: Vec::new(),
        }
    }

    /// Adds a lock that no order passes.
    pub(super) fn lock(&mut self, signal: Signal) {
        self.words.push(Word {
            signal,
            spares_reductions: false,
        });
    }

    /// Adds a lock that reductions pass.
    pub(super) fn lock_openings(&mut self, signal: Signal) {
        self.words.push(Word {
            signal,
            spares_reductions: true,
        });
    }

    pub(super) fn cap(&mut self, cap: Cap) {
        self.caps.push(cap);
    }

    /// Returns which orders may be claimed.
    pub fn admits(&self) -> Admits {
        let locks = || self.words.iter().filter(|word| word.signal.level == Level::Lock);
        match (locks().any(|word| !word.spares_reductions), locks().next()) {
            (true, _) => Admits::Nothing,
            (false, Some(_)) => Admits::Reductions,
            (false, None) => Admits::All,
        }
    }

    /// Returns the caps the store is to compare, in the order it is to answer in.
    pub fn caps(&self) -> &[Cap] {
        &self.caps
    }

    /// Returns the figures of every cap, for the journal.
    pub fn figures(&self, sight: &Sight) -> Metadata {
        let start = if sight.is_reduction {
            Metadata::new().with("reduction", "yes")
        } else {
            Metadata::new()
        };
        let caps = self.caps.iter().zip(&sight.caps);
        caps.fold(start, |figures, (cap, seen)| {
            let value = i64::try_from(cap.value(seen.before)).unwrap_or(i64::MAX);
            figures
                .with(cap.figure_name("value"), cap.unit.figure(value))
                .with(cap.figure_name("limit"), cap.unit.figure(cap.limit))
        })
    }

    /// Returns the decision, from what the store saw. Without a figure for every cap the order is denied: a check is
    /// never skipped because its input is missing.
    pub fn decide<T>(self, inner: T, sight: &Sight) -> Decision<T> {
        let is_lock = |signal: &Signal| signal.level == Level::Lock;
        let mut signals = Vec::new();
        for word in &self.words {
            if !(word.spares_reductions && sight.is_reduction && is_lock(&word.signal)) {
                signals.push(word.signal.clone());
            }
        }
        let mut crossings = Vec::new();
        for (at, cap) in self.caps.iter().enumerate() {
            let Some(seen) = sight.caps.get(at) else {
                signals.push(unseen(cap));
                continue;
            };
            if let Some(signal) = self.judge(cap, *seen, sight.is_reduction) {
                if !is_lock(&signal) && seen.is_crossing {
                    crossings.push(signal.clone());
                }
                signals.push(signal);
            }
        }
        signals.extend(order_rate::judge(self.limits.rates, sight.rates));
        let duplicate = duplicate_order::judge(self.limits.duplicates, sight.is_duplicate);
        crossings.extend(duplicate.clone().filter(|signal| !is_lock(signal)));
        signals.extend(duplicate);
        let places = super::precedence();
        signals.sort_by_key(|signal| places.get(signal.rule_id).copied().unwrap_or(usize::MAX));
        match signals.iter().find(|signal| is_lock(signal)) {
            Some(lock) if lock.code.uses_up_the_id() => Decision::Denied(lock.reason(), signals),
            Some(lock) => Decision::Refused(lock.reason(), signals),
            None => Decision::Approved(Approved::mint(inner), crossings),
        }
    }

    fn judge(&self, cap: &Cap, seen: Observed, is_reduction: bool) -> Option<Signal> {
        let (value, limit) = (cap.value(seen.before), i128::from(cap.limit));
        let is_over = match cap.bound {
            Bound::UpTo => value > limit,
            Bound::Below => value >= limit,
        };
        let percent = self.limits.alerts.percent;
        let level = if is_over && !(cap.spares_reductions && is_reduction) {
            Level::Lock
        } else if limit > 0 && value * 100 >= limit * i128::from(percent) {
            Level::Alert
        } else {
            return None;
        };
        let metadata = Metadata::new()
            .with("value", cap.unit.figure(i64::try_from(value).unwrap_or(i64::MAX)))
            .with("limit", cap.unit.figure(cap.limit))
            .with("before", cap.unit.figure(seen.before.saturating_add(cap.offset)));
        let shown = |name| metadata.get(name).map(text_of).unwrap_or_default();
        let (what, value, limit) = (cap.what, shown("value"), shown("limit"));
        let message = match (level, cap.bound) {
            (Level::Lock, Bound::UpTo) => format!("{what} would be {value}, above the limit of {limit}"),
            (Level::Lock, Bound::Below) => format!("{what} is {value} and has reached the limit of {limit}"),
            (Level::Alert, _) => format!("{what} is {value}, at or above {percent} % of the limit of {limit}"),
        };
        Some(Signal {
            rule_id: cap.rule_id,
            level,
            code: cap.code,
            message,
            metadata,
        })
    }
}

fn unseen(cap: &Cap) -> Signal {
    Signal {
        rule_id: cap.rule_id,
        level: Level::Lock,
        code: cap.code,
        message: format!(
            "{} could not be read; the order is refused rather than sent unchecked",
            cap.what
        ),
        metadata: Metadata::new(),
    }
}

fn text_of(figure: &Figure) -> String {
    match figure {
        Figure::Number(number) => number.to_string(),
        Figure::Text(text) => text.clone(),
    }
}
