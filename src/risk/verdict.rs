//! From the rules' words and the store's figures to one decision.

use super::approved::Approved;
use super::cap::{Cap, Observed};
use crate::domain::metadata::Metadata;
use crate::domain::reason::Reason;
use crate::domain::signal::{Level, Signal};

/// What the rules say of an intent before the shared sums have been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    alert_percent: i64,
    signals: Vec<Signal>,
    caps: Vec<Cap>,
}

/// What becomes of an intent.
#[derive(Debug)]
pub enum Decision<T> {
    /// It may go to its broker; the signals are alerts.
    Approved(Approved<T>, Vec<Signal>),
    /// It stops here: the reason is the first lock in the rules' order; every signal is kept.
    Denied(Reason, Vec<Signal>),
}

impl Assessment {
    pub(super) fn new(alert_percent: i64) -> Self {
        Self {
            alert_percent,
            signals: Vec::new(),
            caps: Vec::new(),
        }
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.signals.push(signal);
    }

    pub(super) fn cap(&mut self, cap: Cap) {
        self.caps.push(cap);
    }

    /// From which share of a limit on the rules alert, in per cent.
    pub(super) fn alert_percent(&self) -> i64 {
        self.alert_percent
    }

    /// Whether a rule has stopped the order without looking at the shared sums.
    pub fn is_locked(&self) -> bool {
        self.signals.iter().any(|signal| signal.level == Level::Lock)
    }

    /// Returns the caps the store is to compare, in the order it is to answer in.
    pub fn caps(&self) -> &[Cap] {
        &self.caps
    }

    /// Returns the figures of every cap, for the journal.
    pub fn figures(&self, observed: &[Observed]) -> Metadata {
        self.caps
            .iter()
            .zip(observed)
            .fold(Metadata::new(), |figures, (cap, seen)| {
                figures
                    .with(
                        format!("{}.value", cap.rule_id),
                        cap.unit.figure(seen.before.saturating_add(cap.delta)),
                    )
                    .with(format!("{}.limit", cap.rule_id), cap.unit.figure(seen.limit))
            })
    }

    /// Returns the decision, from what the store saw of each cap. Without a figure for every cap the order is denied:
    /// a check is never skipped because its input is missing.
    pub fn decide<T>(mut self, inner: T, observed: &[Observed]) -> Decision<T> {
        let caps = std::mem::take(&mut self.caps);
        for (at, cap) in caps.iter().enumerate() {
            let signal = match observed.get(at) {
                Some(seen) => self.judge(cap, *seen),
                None => Some(unseen(cap)),
            };
            self.signals.extend(signal);
        }
        let places = super::precedence();
        self.signals
            .sort_by_key(|signal| places.get(signal.rule_id).copied().unwrap_or(usize::MAX));
        match self.signals.iter().find(|signal| signal.level == Level::Lock) {
            Some(lock) => Decision::Denied(lock.reason(), self.signals),
            None => Decision::Approved(Approved::mint(inner), self.signals),
        }
    }

    fn judge(&self, cap: &Cap, seen: Observed) -> Option<Signal> {
        let after = i128::from(seen.before) + i128::from(cap.delta);
        let limit = i128::from(seen.limit);
        let level = if after > limit {
            Level::Lock
        } else if after * 100 >= limit * i128::from(self.alert_percent) {
            Level::Alert
        } else {
            return None;
        };
        let value = cap.unit.figure(i64::try_from(after).unwrap_or(i64::MAX));
        let limit = cap.unit.figure(seen.limit);
        let metadata = Metadata::new()
            .with("value", value)
            .with("limit", limit)
            .with("before", cap.unit.figure(seen.before));
        let shown = |name| metadata.get(name).map(text_of).unwrap_or_default();
        let message = match level {
            Level::Lock => format!(
                "{} would be {}, above the limit of {}",
                cap.what,
                shown("value"),
                shown("limit")
            ),
            Level::Alert => {
                let (value, limit) = (shown("value"), shown("limit"));
                format!(
                    "{} is {value}, at or above {} % of the limit of {limit}",
                    cap.what, self.alert_percent
                )
            }
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

fn text_of(figure: &crate::domain::metadata::Figure) -> String {
    match figure {
        crate::domain::metadata::Figure::Number(number) => number.to_string(),
        crate::domain::metadata::Figure::Text(text) => text.clone(),
    }
}
