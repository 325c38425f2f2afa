//! What a run was asked to have at least, against what it had.

use crate::chaos::options::LeastCounts;
use crate::chaos::summary::ChaosSummary;
use crate::chaos::violation::FoundViolations;

/// Checks the orders, the faults of each kind, and the share of the exchange's requests and events that faults met.
pub(in crate::chaos) fn check_coverage(
    (least, venue_fault_percent): (&LeastCounts, Option<u8>),
    summary: &ChaosSummary,
    found: &mut FoundViolations,
) {
    if summary.orders < least.orders {
        let text = format!("{} orders, and at least {} are asked for", summary.orders, least.orders);
        found.add("too_few_orders", text);
    }
    for (kind, count) in &least.faults {
        let kind = kind.as_str();
        let injected = summary.faults_by_kind.get(kind).copied().unwrap_or(0);
        if injected < *count {
            let text = format!("{injected} {kind}, and at least {count} are asked for");
            found.add("too_few_faults", text);
        }
    }
    let share = summary.venue_faults.as_ref().map(|faults| faults.share_in_hundredths());
    if let (Some(percent), Some(share)) = (venue_fault_percent, share)
        && share < u64::from(percent) * 100
    {
        let (whole, rest) = (share / 100, share % 100);
        let text = format!("faults met {whole}.{rest:02} % at the exchange, and at least {percent} % are asked for");
        found.add("too_few_faults", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::schedule::FaultKind;
    use crate::chaos::venue_faults::VenueFaultCounts;

    fn found(orders: u64, killed: u64, struck: u64) -> Vec<&'static str> {
        let least = LeastCounts {
            orders: 20_000,
            faults: vec![(FaultKind::WorkerKilled, 10)],
        };
        let summary = ChaosSummary {
            orders,
            faults_by_kind: [("worker_killed", killed)].into(),
            venue_faults: Some(VenueFaultCounts {
                requests: 60_000,
                events: 40_000,
                by_kind: [("banned".to_owned(), struck)].into(),
            }),
            ..ChaosSummary::default()
        };
        let mut found = FoundViolations::default();
        check_coverage((&least, Some(5)), &summary, &mut found);
        found.into_kept().into_iter().map(|violation| violation.check).collect()
    }

    #[test]
    fn run_with_less_than_it_was_asked_for_is_a_violation() {
        assert!(found(20_000, 10, 5_000).is_empty());
        assert_eq!(found(19_999, 10, 5_000), ["too_few_orders"]);
        assert_eq!(found(20_000, 9, 5_000), ["too_few_faults"]);
        assert_eq!(found(20_000, 10, 4_999), ["too_few_faults"]);
    }
}
