//! What the local exchange of a run does wrong (docs/venue.md), and how often it did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The faults of a run that asks for no share: dense at the orders, none that meets the whole exchange.
const DENSE: &str = "request_lost=0.01,answer_lost=0.02,error_before=0.01,error_after=0.01,timeout_before=0.01,\
                     timeout_after=0.01,request_delayed=0.02:700,answer_delayed=0.03:900,order_hidden=0.02:1500,\
                     event_duplicated=0.05,event_reordered=0.05:250,event_late=0.05:800,event_lost=0.02,stream_cut=0.005,\
                     partial_fills=0.1:200,cancel_fill_race=0.1";

/// The operations that the adapter calls.
const OPERATIONS: &str = "time+exchange_info+place+query_order+cancel+cancel_replace+amend+open_orders+all_orders+\
                          my_trades+account+key_permissions+subscribe_signed";

/// What the parts of one share sum up to.
const PARTS: u32 = 100;
/// The units of a probability.
const PROBABILITY_UNITS: u64 = 100_000_000;

/// One fault of a share.
struct FaultPart {
    name: &'static str,
    /// Its part of the share, in hundredths.
    parts: u32,
    /// Its duration in milliseconds, where it has one.
    duration_ms: Option<i32>,
}

const fn part(name: &'static str, parts: u32, duration_ms: Option<i32>) -> FaultPart {
    FaultPart {
        name,
        parts,
        duration_ms,
    }
}

/// What strikes at every request: the parts make up the whole share.
const AT_REQUESTS: &[FaultPart] = &[
    part("request_lost", 10, None),
    part("answer_lost", 10, None),
    part("error_before", 10, None),
    part("error_after", 10, None),
    part("timeout_before", 10, None),
    part("timeout_after", 10, None),
    part("request_delayed", 10, Some(700)),
    part("answer_delayed", 10, Some(900)),
    part("clock_skew", 4, Some(2_000)),
    part("clock_skew", 4, Some(-2_000)),
    part("rate_limited", 6, Some(1_000)),
    part("banned", 2, Some(1_500)),
    part("maintenance", 4, None),
];

/// What strikes at every event: the parts make up the whole share.
const AT_EVENTS: &[FaultPart] = &[
    part("event_duplicated", 25, None),
    part("event_reordered", 25, Some(250)),
    part("event_late", 25, Some(800)),
    part("event_lost", 20, None),
    part("stream_cut", 5, None),
];

/// What only some requests can meet, such as the cancel of an order that rests: on top of the share.
const AT_SOME_REQUESTS: &[FaultPart] = &[
    part("order_hidden", PARTS, Some(1_500)),
    part("partial_fills", PARTS, Some(200)),
    part("cancel_fill_race", PARTS, None),
    part("symbols_halted", 20, None),
];

/// The faults of the exchange since the run began, over all of its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VenueFaultCounts {
    /// The requests that faults could meet.
    pub requests: u64,
    /// The events that faults could meet.
    pub events: u64,
    /// How often each kind struck.
    pub by_kind: BTreeMap<String, u64>,
}

/// The part of `GET /control/faults` that counts.
#[derive(Debug, Deserialize)]
pub(in crate::chaos) struct ListedFaults {
    met: MetCounts,
    injected: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct MetCounts {
    requests: u64,
    events: u64,
}

impl VenueFaultCounts {
    /// Adds what one process of the exchange has counted.
    pub(in crate::chaos) fn add(&mut self, listed: ListedFaults) {
        self.requests += listed.met.requests;
        self.events += listed.met.events;
        for (kind, count) in listed.injected {
            *self.by_kind.entry(kind).or_default() += count;
        }
    }

    /// Returns how often any kind struck.
    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// Returns the share of requests and events that were struck, in hundredths of a percent, rounded down.
    pub fn share_in_hundredths(&self) -> u64 {
        let met = self.requests.saturating_add(self.events);
        self.total().saturating_mul(10_000).checked_div(met).unwrap_or(0)
    }
}

/// Returns the flag `--faults` of the exchange: at least this share of its requests and of its events, in percent, over
/// every kind; the dense faults where no share is asked for.
pub(in crate::chaos) fn venue_faults(percent: Option<u8>) -> String {
    let Some(percent) = percent else {
        return DENSE.to_owned();
    };
    let at_requests = AT_REQUESTS.iter().map(|part| part.plan(percent, Some(OPERATIONS)));
    let others = AT_EVENTS.iter().chain(AT_SOME_REQUESTS);
    let plans: Vec<String> = at_requests.chain(others.map(|part| part.plan(percent, None))).collect();
    plans.join(",")
}

impl FaultPart {
    fn plan(&self, percent: u8, operations: Option<&str>) -> String {
        let units = PROBABILITY_UNITS / 100 * u64::from(percent) * u64::from(self.parts) / u64::from(PARTS);
        let operations = operations.map_or(String::new(), |operations| format!("@{operations}"));
        let duration = self
            .duration_ms
            .map_or(String::new(), |duration| format!(":{duration}"));
        format!("{}{operations}=0.{units:08}{duration}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_names_every_fault_of_the_exchange_and_is_whole() {
        let page = include_str!("../../docs/venue.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| fault |")).skip(2);
        let kinds: Vec<&str> = rows
            .map_while(|row| row.strip_prefix("| `")?.split('`').next())
            .collect();
        assert!(kinds.len() > 20, "{kinds:?}");
        let plans = venue_faults(Some(5));
        for kind in kinds {
            assert!(plans.split(',').any(|plan| plan.starts_with(kind)), "{kind}: {plans}");
        }
        for group in [AT_REQUESTS, AT_EVENTS] {
            assert_eq!(group.iter().map(|part| part.parts).sum::<u32>(), PARTS);
        }
        assert!(
            plans.contains("stream_cut=0.00250000,order_hidden=0.05000000:1500"),
            "{plans}"
        );
        assert!(plans.contains("clock_skew@time+"), "{plans}");
    }

    #[test]
    fn counts_of_several_processes_make_one_share() {
        let text = r#"{"met":{"requests":150,"events":50},"injected":{"banned":3,"event_lost":6}}"#;
        let mut counts = VenueFaultCounts::default();
        assert_eq!(counts.share_in_hundredths(), 0);
        for _ in 0..2 {
            counts.add(serde_json::from_str(text).unwrap());
        }
        assert_eq!((counts.total(), counts.share_in_hundredths()), (18, 450));
        assert_eq!(counts.by_kind["banned"], 6);
    }
}
