//! The table of faults: each has one name, and says where it strikes.

use serde::{Deserialize, Serialize};

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultScope {
    /// Requests that place, cancel, replace or amend orders, unless the fault names others.
    Trading,
    /// Every request, unless the fault names some.
    Request,
    /// Queries of one order, unless the fault names others.
    Query,
    /// Events of the user data stream.
    Event,
}

macro_rules! fault_kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $scope:ident, $duration_ms:literal, $text:literal;)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FaultKind { $($(#[$doc])* #[serde(rename = $name)] $kind),+ }

        impl FaultKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Returns the name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// Returns where the fault strikes.
            pub const fn scope(self) -> FaultScope {
                match self { $(Self::$kind => FaultScope::$scope),+ }
            }

            /// Returns the duration where none is given, in milliseconds; 0 for a fault without one.
            pub const fn default_duration_ms(self) -> i64 {
                match self { $(Self::$kind => $duration_ms),+ }
            }

            /// Returns what the fault does.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$kind => $text),+ }
            }
        }
    };
}

fault_kinds! {
    /// See [`FaultKind::text`].
    RequestLost = "request_lost", Trading, 0, "the connection is reset before the request is executed";
    /// See [`FaultKind::text`].
    AnswerLost = "answer_lost", Trading, 0, "the request is executed, then the connection is reset without an answer";
    /// See [`FaultKind::text`].
    ErrorBefore = "error_before", Trading, 0, "503 with code -1000, and nothing is executed";
    /// See [`FaultKind::text`].
    ErrorAfter = "error_after", Trading, 0, "the request is executed, the answer is 500 with code -1000";
    /// See [`FaultKind::text`].
    TimeoutBefore = "timeout_before", Trading, 0, "504 with code -1007 (status unknown), and nothing is executed";
    /// See [`FaultKind::text`].
    TimeoutAfter = "timeout_after", Trading, 0, "the request is executed, the answer is 504 with code -1007";
    /// See [`FaultKind::text`].
    RequestDelayed = "request_delayed", Trading, 1_000, "the request waits before it is judged and executed";
    /// See [`FaultKind::text`].
    AnswerDelayed = "answer_delayed", Trading, 1_000, "the request is executed, its answer waits";
    /// See [`FaultKind::text`].
    OrderHidden = "order_hidden", Query, 2_000, "queries do not find an order (-2013) for this long after its placement";
    /// See [`FaultKind::text`].
    EventDuplicated = "event_duplicated", Event, 0, "an event is sent twice";
    /// See [`FaultKind::text`].
    EventReordered = "event_reordered", Event, 250, "an event is sent after the next one, or after this long";
    /// See [`FaultKind::text`].
    EventLate = "event_late", Event, 1_000, "an event is sent this much later";
    /// See [`FaultKind::text`].
    EventLost = "event_lost", Event, 0, "an event is not sent";
    /// See [`FaultKind::text`].
    StreamCut = "stream_cut", Event, 0, "the account's streams are reset instead of an event; what happens until a client subscribes again is missed";
    /// See [`FaultKind::text`].
    ClockSkew = "clock_skew", Request, 2_000, "the venue's clock is ahead by this much, or behind by a negative one";
    /// See [`FaultKind::text`].
    RateLimited = "rate_limited", Request, 1_000, "429 with code -1003 and Retry-After of this long";
    /// See [`FaultKind::text`].
    Banned = "banned", Request, 120_000, "418 with code -1003: the address is banned for this long";
    /// See [`FaultKind::text`].
    PartialFills = "partial_fills", Trading, 200, "an order that rests is filled in four parts, one each time this long has passed";
    /// See [`FaultKind::text`].
    CancelFillRace = "cancel_fill_race", Trading, 0, "the order is filled just before its cancel is executed";
    /// See [`FaultKind::text`].
    Maintenance = "maintenance", Request, 0, "503 with code -1016 on everything, and no symbol trades";
    /// See [`FaultKind::text`].
    SymbolsHalted = "symbols_halted", Request, 0, "every symbol is HALT: orders and cancels are refused";
}

impl FaultScope {
    /// Returns where a fault of this scope strikes.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Trading => "requests that change orders",
            Self::Request => "every request",
            Self::Query => "queries of one order",
            Self::Event => "events",
        }
    }
}

impl FaultKind {
    /// Returns the kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_lists_every_fault() {
        let page = include_str!("../../../docs/venue.md");
        for kind in FaultKind::ALL {
            let duration = match kind.default_duration_ms() {
                0 => "–".to_owned(),
                milliseconds => milliseconds.to_string(),
            };
            let (name, scope, text) = (kind.name(), kind.scope().text(), kind.text());
            let row = format!("| `{name}` | {scope} | {duration} | {text} |");
            assert!(page.contains(&row), "docs/venue.md lacks {row}");
            assert_eq!(FaultKind::parse(name), Some(*kind));
        }
    }
}
