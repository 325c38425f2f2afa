//! What a comparison of the venue's balances with the journal changes in a key's ledger. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::decimal::Decimal;
use crate::domain::time::Timestamp;
use crate::wire::balance::{AssetBalance, BalanceChange, BalanceDifference, BalanceEvent};

/// The most assets that a reason names.
const MAX_NAMED: usize = 5;

/// A balance that is another one than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) expected: Decimal,
    pub(super) venue: Decimal,
}

/// The assets that two readings agree on. Those that fills moved meanwhile are in neither part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) differing: BTreeMap<String, Found>,
    pub(super) equal: BTreeSet<String>,
}

/// What a judgement depends on beside the balances.
pub(super) struct JudgementContext<'a> {
    pub(super) now: Timestamp,
    /// When the balances were read, by the venue's clock.
    pub(super) read_at: Timestamp,
    pub(super) lock_after: Duration,
    /// Whether an instrument moves an asset.
    pub(super) is_used: &'a dyn Fn(&str) -> bool,
    /// Whether no lock of an asset's symbols is in force any more.
    pub(super) is_lifted: &'a dyn Fn(&str) -> bool,
    /// What operators have adjusted of an asset since a moment; `None` where they have not.
    pub(super) explained: &'a dyn Fn(&str, Timestamp) -> Option<Decimal>,
}

/// What follows from a comparison.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// The ledger after it; `None` where nothing changes.
    pub(super) event: Option<BalanceEvent>,
    /// Differences to publish alerts for.
    pub(super) alerts: Vec<(String, Found)>,
    /// Assets whose symbols are to be locked.
    pub(super) locks: Vec<(String, Found)>,
}

impl Found {
    /// Returns what the venue has more than expected.
    pub(super) fn difference(self) -> Option<Decimal> {
        self.venue.checked_sub(self.expected)
    }

    /// Returns the sentence that describes it.
    pub(super) fn describe(self, asset: &str) -> String {
        format!(
            "the venue holds {} {asset}, and {} are expected",
            self.venue, self.expected
        )
    }
}

/// Returns what a comparison changes. Each change is its own step: a difference is found, lasts, and is accepted.
pub(super) fn judge(state: &BalanceEvent, seen: &Comparison, context: &JudgementContext<'_>) -> Judgement {
    let mut next = state.clone();
    let mut judgement = Judgement::default();
    let mut changes: Vec<(BalanceChange, String)> = Vec::new();
    for (asset, found) in &seen.differing {
        let Some(difference) = found.difference() else { continue };
        let entry = next.assets.entry(asset.clone()).or_insert_with(|| AssetBalance {
            amount: Decimal::ZERO,
            read_at: context.read_at,
            difference: None,
        });
        let accept = |entry: &mut AssetBalance| {
            if let Some(amount) = entry.amount.checked_add(difference) {
                entry.amount = amount;
                entry.read_at = context.read_at;
                entry.difference = None;
            }
        };
        if !(context.is_used)(asset) {
            accept(entry);
            let reason = format!("no instrument uses {asset}: its balance is taken over");
            changes.push((BalanceChange::Accepted, reason));
            continue;
        }
        match &mut entry.difference {
            None => {
                entry.difference = Some(BalanceDifference {
                    amount: difference,
                    since: context.now,
                    locked_at: None,
                });
                changes.push((BalanceChange::Differs, found.describe(asset)));
                judgement.alerts.push((asset.clone(), *found));
            }
            Some(known) if (context.explained)(asset, known.since) == Some(difference) => {
                accept(entry);
                let reason = format!("an adjustment explains {difference} {asset}: {}", found.describe(asset));
                changes.push((BalanceChange::Accepted, reason));
            }
            Some(known) if known.locked_at.is_none() => {
                if context.now.saturating_duration_since(known.since) >= context.lock_after {
                    known.locked_at = Some(context.now);
                    changes.push((BalanceChange::Locked, found.describe(asset)));
                    judgement.locks.push((asset.clone(), *found));
                }
            }
            Some(_) if (context.is_lifted)(asset) => {
                accept(entry);
                let reason = format!("the locks of {asset} were lifted: {}", found.describe(asset));
                changes.push((BalanceChange::Accepted, reason));
            }
            Some(_) => {}
        }
    }
    for asset in &seen.equal {
        if let Some(entry) = next.assets.get_mut(asset)
            && entry.difference.take().is_some()
        {
            changes.push((BalanceChange::Checked, format!("{asset} is as expected again")));
        }
    }
    judgement.event = summary(&changes).map(|(event, reason)| BalanceEvent {
        event,
        reason,
        timestamp: context.now,
        ..next
    });
    judgement
}

/// Returns the gravest of the changes, and a reason that names the first of them.
fn summary(changes: &[(BalanceChange, String)]) -> Option<(BalanceChange, String)> {
    let gravest = [
        BalanceChange::Locked,
        BalanceChange::Differs,
        BalanceChange::Accepted,
        BalanceChange::Checked,
    ];
    let event = gravest
        .into_iter()
        .find(|kind| changes.iter().any(|(change, _)| change == kind))?;
    let named: Vec<&str> = changes
        .iter()
        .take(MAX_NAMED)
        .map(|(_, reason)| reason.as_str())
        .collect();
    let more = match changes.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some((event, format!("{}{more}", named.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_milliseconds(1_772_443_000_000 + seconds * 1_000)
    }

    fn ledger() -> BalanceEvent {
        let entry = AssetBalance {
            amount: number("10"),
            read_at: at(0),
            difference: None,
        };
        BalanceEvent {
            event: BalanceChange::Opened,
            key: "k".to_owned(),
            broker: "binance".to_owned(),
            venue: "binance.spot".to_owned(),
            accounts: vec!["a".to_owned()],
            sequence: 7,
            assets: [("BTC".to_owned(), entry)].into(),
            transfers: Vec::new(),
            actor: "order-router".to_owned(),
            reason: String::new(),
            timestamp: at(0),
        }
    }

    fn differs(asset: &str, expected: &str, venue: &str) -> Comparison {
        let found = Found {
            expected: number(expected),
            venue: number(venue),
        };
        Comparison {
            differing: [(asset.to_owned(), found)].into(),
            equal: BTreeSet::new(),
        }
    }

    fn judged(state: &BalanceEvent, seen: &Comparison, second: i64, is_lifted: bool) -> Judgement {
        judged_after(state, seen, second, (is_lifted, None))
    }

    /// Judges after an adjustment of this amount.
    fn judged_after(
        state: &BalanceEvent,
        seen: &Comparison,
        second: i64,
        (is_lifted, adjusted): (bool, Option<&str>),
    ) -> Judgement {
        judge(
            state,
            seen,
            &JudgementContext {
                now: at(second),
                read_at: at(second),
                lock_after: Duration::from_secs(60),
                is_used: &|asset| asset == "BTC",
                is_lifted: &|_| is_lifted,
                explained: &|_, since| adjusted.filter(|_| since == at(10)).map(number),
            },
        )
    }

    #[test]
    fn difference_alerts_then_locks_and_is_accepted_by_a_lift() {
        let seen = differs("BTC", "11", "11.5");
        let found = judged(&ledger(), &seen, 10, true);
        let event = found.event.unwrap();
        assert_eq!(
            (event.event, found.alerts.len(), found.locks.len()),
            (BalanceChange::Differs, 1, 0)
        );
        assert!(event.reason.contains("11.5 BTC"), "{}", event.reason);
        // Before the time is over nothing changes, whatever locks there are.
        assert!(judged(&event, &seen, 69, true).event.is_none());
        let locked = judged(&event, &seen, 70, true);
        let event = locked.event.unwrap();
        assert_eq!(
            (event.event, locked.alerts.len(), locked.locks.len()),
            (BalanceChange::Locked, 0, 1)
        );
        assert!(judged(&event, &seen, 71, false).event.is_none());
        let accepted = judged(&event, &seen, 80, true).event.unwrap();
        assert_eq!(accepted.event, BalanceChange::Accepted);
        assert_eq!(accepted.assets["BTC"].amount, number("10.5"));
        assert_eq!(
            (
                accepted.assets["BTC"].read_at,
                accepted.assets["BTC"].difference.clone()
            ),
            (at(80), None)
        );
    }

    #[test]
    fn adjustment_of_exactly_the_difference_takes_the_balance_over_before_and_after_the_lock() {
        let seen = differs("BTC", "11", "11.5");
        let found = judged_after(&ledger(), &seen, 10, (false, Some("0.5"))).event.unwrap();
        assert_eq!(found.event, BalanceChange::Differs);
        let locked = judged(&found, &seen, 70, false).event.unwrap();
        for event in [found, locked] {
            let other = judged_after(&event, &seen, 71, (false, Some("0.4")));
            assert!(other.event.is_none_or(|other| other.event == BalanceChange::Locked));
            let accepted = judged_after(&event, &seen, 71, (false, Some("0.5")));
            assert!(accepted.locks.is_empty());
            let accepted = accepted.event.unwrap();
            assert_eq!(accepted.event, BalanceChange::Accepted);
            assert_eq!(accepted.assets["BTC"].amount, number("10.5"));
            assert_eq!(accepted.assets["BTC"].difference, None);
        }
    }

    #[test]
    fn difference_that_is_gone_is_forgotten_and_a_later_one_begins_again() {
        let event = judged(&ledger(), &differs("BTC", "11", "12"), 10, false).event.unwrap();
        let equal = Comparison {
            equal: ["BTC".to_owned()].into(),
            ..Comparison::default()
        };
        let event = judged(&event, &equal, 20, false).event.unwrap();
        assert_eq!(
            (event.event, event.assets["BTC"].difference.clone()),
            (BalanceChange::Checked, None)
        );
        assert!(judged(&event, &equal, 30, false).event.is_none());
        let again = judged(&event, &differs("BTC", "11", "12"), 100, false);
        assert_eq!(
            (again.event.unwrap().event, again.locks.len()),
            (BalanceChange::Differs, 0)
        );
        // What moved between two readings is neither.
        let moving = judged(&event, &Comparison::default(), 100, false);
        assert!(moving.event.is_none());
    }

    #[test]
    fn asset_without_an_instrument_is_taken_over() {
        let taken = judged(&ledger(), &differs("AIRDROP", "0", "42"), 10, false);
        let event = taken.event.unwrap();
        assert_eq!((event.event, taken.alerts.len()), (BalanceChange::Accepted, 0));
        assert_eq!(event.assets["AIRDROP"].amount, number("42"));
    }
}
