//! What a client is told, as server-sent events (WHATWG HTML, "Server-sent events").

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::Deserialize;

use super::place::Place;
use crate::bus::journal::Stored;
use crate::bus::subjects;
use crate::domain::id::AccountId;
use crate::wire::day::DayEvent;
use crate::wire::report::ExecutionReport;

/// Kinds of events of the journal that are told; the others are the router's own.
const KINDS: &[&str] = &[
    subjects::STATE_EVENT,
    subjects::LOCK_EVENT,
    subjects::ADJUSTMENT_EVENT,
    subjects::NOTE_EVENT,
    subjects::DAY_EVENT,
];
/// How long a client waits before it connects anew, in milliseconds.
const RETRY_MS: u32 = 2_000;
/// What is said when nothing has been for a while: a comment, which clients pass over.
pub(super) const HEARTBEAT: &[u8] = b": still here\n\n";

/// Returns the patterns of what is told of the journal: no two of them cover the same subject.
pub(super) fn journal_filters(accounts: Option<&[AccountId]>) -> Vec<String> {
    let mut filters = BTreeSet::new();
    match accounts {
        None => {
            filters.insert(subjects::REPORTS_ALL.to_owned());
            filters.extend(KINDS.iter().map(|kind| subjects::events_of_kind(kind)));
        }
        Some(accounts) => {
            filters.extend(accounts.iter().map(subjects::reports_of));
            for kind in KINDS {
                filters.insert(subjects::event(kind, None));
                // An account may have the name that stands for none.
                filters.extend(accounts.iter().map(|account| subjects::event(kind, Some(account))));
            }
        }
    }
    filters.into_iter().collect()
}

/// Returns the patterns of the alerts that are told.
pub(super) fn alert_filters(accounts: Option<&[AccountId]>) -> Vec<String> {
    let Some(accounts) = accounts else { return Vec::new() };
    let own = accounts.iter().map(|account| subjects::alerts_of(Some(account)));
    let filters: BTreeSet<String> = own.chain([subjects::alerts_of(None)]).collect();
    filters.into_iter().collect()
}

/// Returns the beginning of a stream: how soon to come back, and from where to go on.
pub(super) fn head(place: &Place) -> Bytes {
    format!("retry: {RETRY_MS}\nid: {place}\n\n").into()
}

/// Returns the event that tells of an entry of the journal; `None` for one that is not told.
pub(super) fn of_journal(entry: &Stored, accounts: Option<&[AccountId]>, place: &Place) -> Option<Bytes> {
    if is_foreign(entry, accounts) {
        return None;
    }
    let Some(kind) = subjects::event_kind(&entry.subject) else {
        let mut report = match ExecutionReport::decode(&entry.body) {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!(%error, sequence = entry.sequence, "a report of the journal cannot be read and is not told");
                return None;
            }
        };
        report.settlement = None;
        return Some(event("report", &report.encode(), place));
    };
    let kind = KINDS.iter().find(|known| **known == kind)?;
    match accounts {
        Some(accounts) if *kind == subjects::DAY_EVENT => {
            let body = day_of(&entry.body, accounts);
            if body.is_none() {
                tracing::warn!(
                    sequence = entry.sequence,
                    "a day of the journal cannot be read and is not told"
                );
            }
            body.map(|body| event(kind, &body, place))
        }
        _ => Some(event(kind, &entry.body, place)),
    }
}

/// Returns the beginning of a day with the worth of these accounts alone.
fn day_of(body: &[u8], accounts: &[AccountId]) -> Option<Vec<u8>> {
    let mut day: DayEvent = serde_json::from_slice(body).ok()?;
    for start in &mut day.starts {
        let is_told = |name: &String| accounts.iter().any(|account| account.as_str() == name);
        start.accounts.retain(|name, _| is_told(name));
        // What all accounts are worth together is not one account's to know.
        start.total = None;
    }
    serde_json::to_vec(&day).ok()
}

/// Returns the event that tells of an alert; `None` for one that is not told.
pub(super) fn of_alert(entry: &Stored, accounts: Option<&[AccountId]>, place: &Place) -> Option<Bytes> {
    (!is_foreign(entry, accounts)).then(|| event("alert", &entry.body, place))
}

/// Whether an entry that stands under the name for no account is an account's of that very name, and not one of these.
fn is_foreign(entry: &Stored, accounts: Option<&[AccountId]>) -> bool {
    #[derive(Deserialize)]
    struct Owned {
        #[serde(default)]
        account_id: Option<String>,
    }
    let Some(accounts) = accounts.filter(|_| subjects::is_of_no_account(&entry.subject)) else {
        return false;
    };
    let owner = serde_json::from_slice::<Owned>(&entry.body)
        .ok()
        .and_then(|owned| owned.account_id);
    owner.is_some_and(|owner| accounts.iter().all(|account| account.as_str() != owner))
}

/// Returns the event that says that what a client has seen of a stream is no longer what precedes the next event.
pub(super) fn reset(stream: &'static str, reason: &'static str, place: &Place) -> Bytes {
    let body = serde_json::json!({"stream": stream, "reason": reason}).to_string();
    event("reset", body.as_bytes(), place)
}

/// Returns an event whose data are one line of JSON.
fn event(name: &str, body: &[u8], place: &Place) -> Bytes {
    let mut text = format!("event: {name}\nid: {place}\ndata: ").into_bytes();
    // Within JSON a bare line end stands between tokens only: a space there changes nothing.
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
    use crate::domain::time::Timestamp;

    fn accounts(names: &[&str]) -> Vec<AccountId> {
        names.iter().map(|name| AccountId::new(name).unwrap()).collect()
    }

    fn told(subject: String, body: &str, of: Option<&[&str]>) -> Option<String> {
        let entry = Stored {
            subject,
            sequence: 7,
            body: Bytes::copy_from_slice(body.as_bytes()),
            time: Timestamp::from_milliseconds(0),
        };
        let accounts = of.map(accounts);
        let place = Place::parse("7-2").unwrap();
        let bytes = of_journal(&entry, accounts.as_deref(), &place)?;
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn no_two_filters_cover_the_same_subject() {
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
    fn an_event_is_one_line_of_json_with_its_numbers_as_they_were() {
        let state = subjects::event(subjects::STATE_EVENT, None);
        let body = "{\"daily_loss_limit\":\r\n0.10}";
        let event = told(state, body, None).unwrap();
        assert_eq!(event, "event: state\nid: 7-2\ndata: {\"daily_loss_limit\":  0.10}\n\n");
        for (kind, is_told) in [("submitting", false), ("released", false), ("note", true)] {
            assert_eq!(
                told(subjects::event(kind, None), "{}", None).is_some(),
                is_told,
                "{kind}"
            );
        }
        let account = AccountId::new("a").unwrap();
        let report = subjects::reports(&crate::domain::id::BrokerId::new("binance").unwrap(), &account);
        assert_eq!(told(report, "no report", None), None);
    }

    #[test]
    fn a_day_tells_an_account_of_itself_alone() {
        let body = r#"{"trading_date":"2026-03-02","starts":[{"mode":"paper","total":1.5,"accounts":{"a":1.25,"b":0.25},"marks":[]}],"timestamp":"2026-03-02T00:00:00.000000Z"}"#;
        let day = || subjects::event(subjects::DAY_EVENT, None);
        assert!(told(day(), body, None).unwrap().contains(body));
        let own = told(day(), body, Some(&["a"])).unwrap();
        assert!(
            own.contains(&body.replace(r#","b":0.25"#, "").replace("1.5,", "null,")),
            "{own}"
        );
        assert_eq!(told(day(), "{}", Some(&["a"])), None);
    }
}
