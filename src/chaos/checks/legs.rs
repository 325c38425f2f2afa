//! The legs that the local exchange has, against the journal: each with exactly its terms, none sent before its replace was on
//! the journal, and never two of one order open at once.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::chaos::checks::venue::{read_list, split_leg};
use crate::chaos::journal_model::{JournalModel, ModelVersion, last_replaces};
use crate::chaos::rest_caller::RestCaller;
use crate::chaos::violation::FoundViolations;
use crate::domain::decimal::Decimal;
use crate::domain::replace::{ReplaceMethod, ReplaceState};
use crate::wire::settled_legs::SettlementReplace;

/// The statuses of an order that can trade.
const OPEN_STATUSES: [&str; 2] = ["NEW", "PARTIALLY_FILLED"];

/// An order of the exchange. An amended one has its latest id and quantity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VenueLeg {
    client_order_id: String,
    price: Decimal,
    orig_qty: Decimal,
    status: String,
    /// When it was accepted, in milliseconds since 1970.
    time: i64,
    /// When it last changed, in milliseconds since 1970.
    update_time: i64,
}

#[derive(Debug, Deserialize)]
struct VenueOrders {
    orders: Vec<VenueLeg>,
}

/// The legs of one order at the exchange, by their numbers.
type LegsOfOrder = BTreeMap<u8, VenueLeg>;

/// Checks the legs of every order of the exchange.
///
/// # Errors
/// When they cannot be read.
pub(in crate::chaos) async fn check_legs(
    venue: &RestCaller,
    model: &JournalModel,
    found: &mut FoundViolations,
) -> anyhow::Result<()> {
    let list: VenueOrders = read_list(venue, "/control/orders").await?;
    let mut by_order: BTreeMap<String, LegsOfOrder> = BTreeMap::new();
    for one in list.orders {
        let id = one.client_order_id.clone();
        if OPEN_STATUSES.contains(&one.status.as_str()) {
            found.add("leg_left_open", format!("{id} is {} at the venue", one.status));
        }
        let (order_id, leg) = split_leg(&id);
        if by_order.entry(order_id).or_default().insert(leg.get(), one).is_some() {
            found.add("leg_twice", format!("the venue has two orders {id}"));
        }
    }
    for order in model.orders.values().filter(|order| !order.is_denied()) {
        let legs = by_order.remove(order.order_id()).unwrap_or_default();
        for (check, problem) in leg_problems(&order.versions, &legs) {
            found.add(check, format!("{}: {problem}", order.order_id()));
        }
    }
    for id in by_order.keys() {
        found.add(
            "leg_differs",
            format!("the venue has {id}, which the journal does not have"),
        );
    }
    Ok(())
}

/// Returns what is wrong with the legs that the venue has of one order, whose versions are these.
fn leg_problems(versions: &[ModelVersion], legs: &LegsOfOrder) -> Vec<(&'static str, String)> {
    let replaces = last_replaces(versions);
    let mut problems = Vec::new();
    for (leg, expected) in expected_legs(replaces) {
        match legs.get(&leg) {
            None => problems.push(("leg_differs", format!("the venue does not have leg {leg}"))),
            Some(held) if (held.price, held.orig_qty) != expected => {
                let (held, expected) = ((held.price, held.orig_qty), expected);
                problems.push((
                    "leg_differs",
                    format!("leg {leg} is {held:?} at the venue, not {expected:?}"),
                ));
            }
            Some(_) => {}
        }
    }
    for (leg, held) in legs.iter().filter(|(leg, _)| **leg > 1) {
        let replace = replaces.iter().find(|replace| replace.leg == *leg);
        match replace {
            Some(replace) if replace.state == ReplaceState::Done => {}
            other => {
                let state = other.map(|replace| replace.state);
                problems.push((
                    "leg_differs",
                    format!("the venue has leg {leg}, whose replace is {state:?}"),
                ));
            }
        }
        if let Some(announced_at) = announced_at(versions, *leg)
            && held.time < announced_at
        {
            let text = format!("leg {leg} was placed at {}, journaled at {announced_at} ms", held.time);
            problems.push(("sent_before_journal", text));
        }
    }
    let mut by_time: Vec<(&u8, &VenueLeg)> = legs.iter().collect();
    by_time.sort_by_key(|(leg, held)| (held.time, **leg));
    for pair in by_time.windows(2) {
        let [(first, earlier), (second, later)] = pair else {
            continue;
        };
        if earlier.update_time > later.time {
            let (until, from) = (earlier.update_time, later.time);
            let text = format!("leg {first} was open until {until}, leg {second} from {from} ms");
            problems.push(("two_legs_open", text));
        }
    }
    problems
}

/// Returns price and quantity of each leg that the venue has to have under its id, from leg 2 on: an amended leg has the id of
/// the next one.
fn expected_legs(replaces: &[SettlementReplace]) -> BTreeMap<u8, (Decimal, Decimal)> {
    let mut expected = BTreeMap::new();
    let mut working = 1;
    for replace in replaces.iter().filter(|replace| replace.state == ReplaceState::Done) {
        if replace.method == ReplaceMethod::Amend {
            expected.remove(&working);
        }
        working = replace.leg;
        // A quantity that cannot be subtracted is no leg's.
        let quantity = replace
            .quantity
            .checked_sub(replace.filled_before)
            .unwrap_or(Decimal::ZERO);
        expected.insert(working, (replace.price, quantity));
    }
    expected
}

/// Returns when the journal stored the version that announces the request which places a leg, in milliseconds since 1970;
/// `None` for a leg that no request of its own places.
fn announced_at(versions: &[ModelVersion], leg: u8) -> Option<i64> {
    let mut versions = versions.iter();
    let announces = versions.find(|version| {
        let replace = version.replaces.iter().find(|replace| replace.leg == leg);
        replace.is_some_and(|replace| replace.method != ReplaceMethod::CancelFirst || replace.is_placing)
    })?;
    let replace = announces.replaces.iter().find(|replace| replace.leg == leg)?;
    (replace.method != ReplaceMethod::Amend).then(|| announces.stored_at.as_milliseconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::checks::replaces::test_versions::{replace, version};

    fn leg(quantity: i64, (from, until): (i64, i64)) -> VenueLeg {
        VenueLeg {
            client_order_id: String::new(),
            price: Decimal::from(100),
            orig_qty: Decimal::from(quantity),
            status: "CANCELED".to_owned(),
            time: from,
            update_time: until,
        }
    }

    fn problems(versions: &[ModelVersion], legs: &[(u8, VenueLeg)]) -> Vec<&'static str> {
        let legs = legs.iter().cloned().collect();
        let problems = leg_problems(versions, &legs);
        problems.into_iter().map(|(check, _)| check).collect()
    }

    #[test]
    fn legs_are_as_journaled_one_after_the_other_and_never_before_the_journal() {
        let done = [
            version(10, 5, vec![]),
            version(20, 5, vec![replace(2, ReplaceState::Pending, 7)]),
            version(30, 7, vec![replace(2, ReplaceState::Done, 7)]),
        ];
        let first = (1, leg(5, (10, 24)));
        assert_eq!(problems(&done, &[first.clone(), (2, leg(7, (25, 40)))]), [""; 0]);
        // Another quantity, none at all, one before its journal entry, and one beside the leg before it.
        assert_eq!(
            problems(&done, &[first.clone(), (2, leg(6, (25, 40)))]),
            ["leg_differs"]
        );
        assert_eq!(problems(&done, std::slice::from_ref(&first)), ["leg_differs"]);
        let early = [(1, leg(5, (10, 18))), (2, leg(7, (19, 40)))];
        assert_eq!(problems(&done, &early), ["sent_before_journal"]);
        let beside = [(1, leg(5, (10, 26))), (2, leg(7, (25, 40)))];
        assert_eq!(problems(&done, &beside), ["two_legs_open"]);
        // A leg whose replace was not made, and one without a replace.
        let not_made = [version(10, 5, vec![replace(2, ReplaceState::NotReplaced, 7)])];
        assert_eq!(
            problems(&not_made, &[first.clone(), (2, leg(7, (25, 40)))]),
            ["leg_differs"]
        );
        assert_eq!(problems(&done[..1], &[first, (2, leg(7, (25, 40)))]), ["leg_differs"]);
    }
}
