//! Journal entries and alerts as server-sent events (WHATWG HTML, "Server-sent events").

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::Deserialize;

use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::id::AccountId;
use crate::sidecar::event_stream::cursor::EventCursor;
use crate::wire::report::ExecutionReport;

/// The kinds of journal events that clients receive. The others are internal.
const PUBLISHED_EVENT_KINDS: &[&str] = &[
    subjects::STATE_EVENT_KIND,
    subjects::LOCK_EVENT_KIND,
    subjects::ADJUSTMENT_EVENT_KIND,
    subjects::NOTE_EVENT_KIND,
    subjects::DAY_EVENT_KIND,
];
/// How long a client waits before it reconnects, in milliseconds.
const RECONNECT_DELAY_MS: u32 = 2_000;
/// What is sent when no event occurs for the heartbeat interval: a comment, which clients ignore.
pub(in crate::sidecar) const HEARTBEAT: &[u8] = b": heartbeat\n\n";

/// Returns the subject filters of the journal. No two of them match the same subject.
pub(in crate::sidecar) fn journal_filters(accounts: Option<&[AccountId]>) -> Vec<String> {
    let mut filters = BTreeSet::new();
    match accounts {
        None => {
            filters.insert(subjects::REPORTS_WILDCARD.to_owned());
            filters.extend(
                PUBLISHED_EVENT_KINDS
                    .iter()
                    .map(|kind| subjects::event_kind_wildcard(kind)),
            );
        }
        Some(accounts) => {
            filters.extend(accounts.iter().map(subjects::account_reports_wildcard));
            for kind in PUBLISHED_EVENT_KINDS {
                filters.insert(subjects::event(kind, None));
                // An account may have the name that means no account: the set removes the duplicate.
                filters.extend(accounts.iter().map(|account| subjects::event(kind, Some(account))));
            }
        }
    }
    filters.into_iter().collect()
}

/// Returns the subject filters of the alerts. Empty for all alerts.
pub(in crate::sidecar) fn alert_filters(accounts: Option<&[AccountId]>) -> Vec<String> {
    let Some(accounts) = accounts else { return Vec::new() };
    let own = accounts
        .iter()
        .map(|account| subjects::account_alerts_wildcard(Some(account)));
    let filters: BTreeSet<String> = own.chain([subjects::account_alerts_wildcard(None)]).collect();
    filters.into_iter().collect()
}

/// Returns the first lines of a stream: the reconnect delay and the event id to resume from.
pub(in crate::sidecar) fn encode_preamble(cursor: &EventCursor) -> Bytes {
    format!("retry: {RECONNECT_DELAY_MS}\nid: {cursor}\n\n").into()
}

/// Returns the event for a journal entry, or `None` for an entry that the client does not receive.
pub(in crate::sidecar) fn encode_journal_entry(
    entry: &StoredEntry,
    accounts: Option<&[AccountId]>,
    cursor: &EventCursor,
) -> Option<Bytes> {
    if is_of_other_account(entry, accounts) {
        return None;
    }
    let Some(kind) = subjects::parse_event_kind(&entry.subject) else {
        let mut report = match ExecutionReport::decode(&entry.body) {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!(%error, sequence = entry.sequence, "invalid journal entry: the event stream omits a report");
                return None;
            }
        };
        report.settlement = None;
        return Some(encode_event("report", &report.encode(), cursor));
    };
    let kind = PUBLISHED_EVENT_KINDS.iter().find(|known| **known == kind)?;
    Some(encode_event(kind, &entry.body, cursor))
}

/// Returns the event for an alert, or `None` for an alert that the client does not receive.
pub(in crate::sidecar) fn encode_alert(
    entry: &StoredEntry,
    accounts: Option<&[AccountId]>,
    cursor: &EventCursor,
) -> Option<Bytes> {
    (!is_of_other_account(entry, accounts)).then(|| encode_event("alert", &entry.body, cursor))
}

/// Returns whether an entry under the name that means no account belongs to an account of that name, and to none of
/// `accounts`.
fn is_of_other_account(entry: &StoredEntry, accounts: Option<&[AccountId]>) -> bool {
    #[derive(Deserialize)]
    struct EntryOwner {
        #[serde(default)]
        account_id: Option<String>,
    }
    let Some(accounts) = accounts.filter(|_| subjects::has_no_account(&entry.subject)) else {
        return false;
    };
    let owner = serde_json::from_slice::<EntryOwner>(&entry.body)
        .ok()
        .and_then(|entry| entry.account_id);
    owner.is_some_and(|owner| accounts.iter().all(|account| account.as_str() != owner))
}

/// Returns the event that marks a gap: the next event does not continue what the client received of a stream.
pub(in crate::sidecar) fn encode_reset(stream: &'static str, reason: &'static str, cursor: &EventCursor) -> Bytes {
    let body = serde_json::json!({"stream": stream, "reason": reason}).to_string();
    encode_event("reset", body.as_bytes(), cursor)
}

/// Returns an event with its data as one line of JSON.
fn encode_event(name: &str, body: &[u8], cursor: &EventCursor) -> Bytes {
    let mut text = format!("event: {name}\nid: {cursor}\ndata: ").into_bytes();
    // In JSON a bare line end can only be between tokens, where a space has the same meaning.
    text.extend(
        body.iter()
            .map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }),
    );
    text.extend_from_slice(b"\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::order_terms::Mode;
    use crate::domain::time::{Timestamp, TradingDate};
    use crate::wire::day::{DayEvent, DayMark, ModeDayStart};

    fn accounts(names: &[&str]) -> Vec<AccountId> {
        names.iter().map(|name| AccountId::new(name).unwrap()).collect()
    }

    fn encode_test_entry(subject: String, body: &str, account_names: Option<&[&str]>) -> Option<String> {
        let entry = StoredEntry {
            subject,
            sequence: 7,
            body: Bytes::copy_from_slice(body.as_bytes()),
            stored_at: Timestamp::from_milliseconds(0),
        };
        let accounts = account_names.map(accounts);
        let cursor = EventCursor::parse("7-2").unwrap();
        let bytes = encode_journal_entry(&entry, accounts.as_deref(), &cursor)?;
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn no_two_filters_match_the_same_subject() {
        assert_eq!(
            journal_filters(Some(&accounts(&["a", "_"]))),
            [
                "orders.events.adjustment._",
                "orders.events.adjustment.a",
                "orders.events.day._",
                "orders.events.day.a",
                "orders.events.lock._",
                "orders.events.lock.a",
                "orders.events.note._",
                "orders.events.note.a",
                "orders.events.state._",
                "orders.events.state.a",
                "orders.reports.*._",
                "orders.reports.*.a",
            ]
        );
        assert_eq!(journal_filters(None).len(), 6);
        assert_eq!(
            alert_filters(Some(&accounts(&["a", "_"]))),
            ["risk.alerts.*._", "risk.alerts.*.a"]
        );
        assert_eq!(alert_filters(Some(&[])), ["risk.alerts.*._"]);
        assert!(alert_filters(None).is_empty());
    }

    #[test]
    fn event_is_one_line_of_json_with_unchanged_numbers() {
        let state = subjects::event(subjects::STATE_EVENT_KIND, None);
        let body = "{\"daily_loss_limit\":\r\n0.10}";
        let event = encode_test_entry(state, body, None).unwrap();
        assert_eq!(event, "event: state\nid: 7-2\ndata: {\"daily_loss_limit\":  0.10}\n\n");
        for (kind, is_published) in [("submitting", false), ("released", false), ("note", true)] {
            assert_eq!(
                encode_test_entry(subjects::event(kind, None), "{}", None).is_some(),
                is_published,
                "{kind}"
            );
        }
        let account = AccountId::new("a").unwrap();
        let report = subjects::report(&crate::domain::id::BrokerId::new("binance").unwrap(), &account);
        assert_eq!(encode_test_entry(report, "not a report", None), None);
    }

    #[test]
    fn day_event_has_no_account_and_goes_to_every_client() {
        let mark = DayMark {
            venue: "binance.spot".into(),
            symbol: "BTCUSDT".into(),
            price: "30000.5".parse().unwrap(),
        };
        let event = DayEvent {
            trading_date: TradingDate::parse("2026-03-02").unwrap(),
            starts: vec![ModeDayStart {
                mode: Mode::Paper,
                marks: vec![mark],
            }],
            timestamp: Timestamp::from_milliseconds(0),
        };
        let body = serde_json::to_string(&event).unwrap();
        assert!(!body.contains("account"), "{body}");
        let day = || subjects::event(subjects::DAY_EVENT_KIND, None);
        for client in [None, Some(&["a"][..]), Some(&[])] {
            let sent = encode_test_entry(day(), &body, client).unwrap();
            assert_eq!(sent, format!("event: day\nid: 7-2\ndata: {body}\n\n"));
        }
    }
}
