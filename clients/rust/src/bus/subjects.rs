//! Every subject, stream, consumer and service name. A test refuses a literal anywhere else.

use crate::domain::id::{AccountId, BrokerId};

/// The work queue of the durable door.
pub const STREAM_INTENTS: &str = "ORDER_INTENTS";
/// The journal.
pub const STREAM_REPORTS: &str = "ORDER_REPORTS";
/// The journal's archive: segments of entries that the journal may have dropped.
pub const STREAM_ARCHIVE: &str = "ORDER_ARCHIVE";
/// Snapshots of the shared state.
pub const STREAM_SNAPSHOTS: &str = "ORDER_SNAPSHOTS";
/// Intents that the durable door could not process.
pub const STREAM_DEAD_LETTERS: &str = "ORDER_DEAD";
/// Signals of the risk rules, of both levels.
pub const STREAM_ALERTS: &str = "RISK_ALERTS";

/// The name of the NATS service.
pub const SERVICE_NAME: &str = "order-router";
/// The queue group whose members share the requests.
pub const QUEUE_GROUP: &str = "order-router";
/// Where services reply to discovery (NATS ADR-32).
const SERVICE_DISCOVERY_PREFIX: &str = "$SRV";

/// What the subjects of requests to the JetStream server begin with.
pub const SERVER_API_PREFIX: &str = "$JS.API.";

/// Every report.
pub const REPORTS_WILDCARD: &str = "orders.reports.>";
/// Every event of the journal that is no report.
pub const EVENTS_WILDCARD: &str = "orders.events.>";
/// Every dead letter.
pub const DEAD_LETTERS_WILDCARD: &str = "orders.dead.>";
/// The segments of the journal's archive.
pub const ARCHIVE_SEGMENTS: &str = "orders.archive.segments";
/// The parts and manifests of snapshots of the shared state.
pub const SNAPSHOTS_WILDCARD: &str = "orders.snapshots.>";
/// Every alert.
pub const ALERTS_WILDCARD: &str = "risk.alerts.>";
/// Every reference price.
pub const QUOTES_WILDCARD: &str = "market.quotes.>";

/// Reads mode, trading state and limits.
pub const STATE_GET: &str = "router.state.get";
/// Changes mode, trading state and limits.
pub const STATE_SET: &str = "router.state.set";
/// Reads the limits in force.
pub const LIMITS_GET: &str = "router.limits.get";
/// Changes the limits in force.
pub const LIMITS_SET: &str = "router.limits.set";
/// Lists the active locks.
pub const LOCKS_LIST: &str = "router.locks.list";
/// Sets a lock on an account, a symbol, a broker or everything.
pub const LOCKS_SET: &str = "router.locks.set";
/// Lifts a lock.
pub const LOCKS_LIFT: &str = "router.locks.lift";
/// Books an adjustment.
pub const ADJUST: &str = "router.adjust";
/// Lists the brokers.
pub const BROKERS: &str = "router.brokers";
/// Reads whether the worker that replies takes orders.
pub const HEALTH: &str = "router.health";

/// Submissions to every broker and of every account.
pub const SUBMIT_WILDCARD: &str = "orders.submit.*.*";
/// Order queries, as [`SUBMIT_WILDCARD`].
pub const GET_WILDCARD: &str = "orders.get.*.*";
/// Cancels, as [`SUBMIT_WILDCARD`].
pub const CANCEL_WILDCARD: &str = "orders.cancel.*.*";
/// Replaces, as [`SUBMIT_WILDCARD`].
pub const REPLACE_WILDCARD: &str = "orders.replace.*.*";
/// Cancels of all orders, as [`SUBMIT_WILDCARD`].
pub const CANCEL_ALL_WILDCARD: &str = "orders.cancel_all.*.*";
/// Heartbeats of every account.
pub const HEARTBEAT_WILDCARD: &str = "orders.heartbeat.*";
/// Notes, as [`SUBMIT_WILDCARD`].
pub const NOTE_WILDCARD: &str = "orders.note.*.*";

/// The kind of event that records a change of the operator state.
pub const STATE_EVENT_KIND: &str = "state";
/// The kind of event that records the limits in force.
pub const LIMITS_EVENT_KIND: &str = "limits";
/// The kind of event that records a lock that was set or lifted.
pub const LOCK_EVENT_KIND: &str = "lock";
/// The kind of event that records a change of a dead man's switch.
pub const HEARTBEAT_EVENT_KIND: &str = "heartbeat";
/// The kind of event that records a note on an order.
pub const NOTE_EVENT_KIND: &str = "note";

/// The reason of a dead letter that was delivered too often.
pub const DEAD_REASON_MAX_DELIVER: &str = "max_deliver";
/// The account token of an event without an account, and of a request that names its order by order id alone.
pub const NO_ACCOUNT: &str = "_";

/// The kind of event that records an adjustment.
pub const ADJUSTMENT_EVENT_KIND: &str = "adjustment";
/// The kind of event that records a day roll.
pub const DAY_EVENT_KIND: &str = "day";
/// The kind of event that records what became of the journal itself: an accepted loss.
pub const JOURNAL_EVENT_KIND: &str = "journal";

const INTENTS_PREFIX: &str = "orders.intents.";
const HEARTBEAT_PREFIX: &str = "orders.heartbeat.";
const INBOX_PREFIX: &str = "_INBOX.";
const REPLIES_PREFIX: &str = "orders.replies.";
const FENCE_PREFIX: &str = "router.fence.";

/// Returns the subject of the manifest of one of the kept snapshots.
pub fn snapshot_manifest(slot: u32) -> String {
    format!("orders.snapshots.manifest.{slot}")
}

/// Returns the subject of a part of a snapshot.
pub fn snapshot_part(slot: u32) -> String {
    format!("orders.snapshots.part.{slot}")
}

/// Returns the request subject of a submission.
pub fn submit(broker: &BrokerId, account: &AccountId) -> String {
    format!("orders.submit.{broker}.{account}")
}

/// Returns the durable subject of a submission.
pub fn intent(broker: &BrokerId, account: &AccountId) -> String {
    format!("{INTENTS_PREFIX}{broker}.{account}")
}

/// Returns the durable subjects of a broker.
pub fn broker_intents_wildcard(broker: &BrokerId) -> String {
    format!("{INTENTS_PREFIX}{broker}.*")
}

/// Returns the broker of a subject made by [`broker_intents_wildcard`]; `None` for any other subject.
pub fn parse_broker_intents_wildcard(subject: &str) -> Option<BrokerId> {
    let broker = subject.strip_prefix(INTENTS_PREFIX)?.strip_suffix(".*")?;
    BrokerId::new(broker).ok()
}

/// Returns the name of a broker's consumer on the work queue.
pub fn intents_consumer(broker: &BrokerId) -> String {
    format!("workers-{broker}")
}

/// Returns the subjects of service discovery for a verb such as `PING`: all services, those of this name, this instance.
pub fn service_discovery(verb: &str, instance_id: &str) -> [String; 3] {
    let all = format!("{SERVICE_DISCOVERY_PREFIX}.{verb}");
    [
        all.clone(),
        format!("{all}.{SERVICE_NAME}"),
        format!("{all}.{SERVICE_NAME}.{instance_id}"),
    ]
}

/// Returns the subject of service discovery that every worker replies to.
pub fn service_ping() -> String {
    format!("{SERVICE_DISCOVERY_PREFIX}.PING.{SERVICE_NAME}")
}

/// Returns the server's subject for pull requests to a consumer of a stream.
pub fn pull_request(stream: &str, consumer: &str) -> String {
    format!("{SERVER_API_PREFIX}CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

/// Returns the server's subject for a request about a stream, such as `STREAM.INFO`.
pub fn server_request(verb: &str, stream: &str) -> String {
    format!("{SERVER_API_PREFIX}{verb}.{stream}")
}

/// Returns the request subject of an order query; for `None`, of an order of any account.
pub fn get(broker: &BrokerId, account: Option<&AccountId>) -> String {
    format!("orders.get.{broker}.{}", account_token(account))
}

/// Returns the request subject that cancels an order; for `None`, an order of any account.
pub fn cancel(broker: &BrokerId, account: Option<&AccountId>) -> String {
    format!("orders.cancel.{broker}.{}", account_token(account))
}

/// Returns the request subject that replaces the terms of an order; for `None`, of an order of any account.
pub fn replace(broker: &BrokerId, account: Option<&AccountId>) -> String {
    format!("orders.replace.{broker}.{}", account_token(account))
}

/// Returns the request subject that cancels all orders.
pub fn cancel_all(broker: &BrokerId, account: &AccountId) -> String {
    format!("orders.cancel_all.{broker}.{account}")
}

/// Returns the request subject of an account's heartbeats.
pub fn heartbeat(account: &AccountId) -> String {
    format!("{HEARTBEAT_PREFIX}{account}")
}

/// Returns the request subject that adds a note to an order.
pub fn note(broker: &BrokerId, account: &AccountId) -> String {
    format!("orders.note.{broker}.{account}")
}

/// Returns the journal's subject of an account's reports.
pub fn report(broker: &BrokerId, account: &AccountId) -> String {
    format!("orders.reports.{broker}.{account}")
}

/// Returns a subject for a message to the connection itself (see [`crate::bus::connection::Bus::round_trip`]). It is no
/// inbox: only workers may publish to inboxes. It lies below the same tokens as the inboxes of the connection, so that a user
/// with inboxes of its own has fences of its own.
pub fn fence(inbox_prefix: &str) -> String {
    let id = uuid::Uuid::new_v4().simple();
    match inbox_prefix.strip_prefix(INBOX_PREFIX) {
        Some(own) => format!("{FENCE_PREFIX}{own}.{id}"),
        None => format!("{FENCE_PREFIX}{id}"),
    }
}

/// Returns what the inboxes of a user that is fenced into an account begin with.
pub fn account_inbox_prefix(account: &AccountId) -> String {
    format!("{INBOX_PREFIX}{account}")
}

/// Returns the subjects that a user who is fenced into an account may publish to: requests and intents of the account at
/// every broker, and its heartbeats. `*` stands for the broker.
pub fn account_user_publishes(account: &AccountId) -> Vec<String> {
    let requests = [
        SUBMIT_WILDCARD,
        GET_WILDCARD,
        CANCEL_WILDCARD,
        REPLACE_WILDCARD,
        CANCEL_ALL_WILDCARD,
    ];
    let requests = requests.map(|wildcard| format!("{}{account}", wildcard.trim_end_matches('*')));
    let others = [
        format!("{INTENTS_PREFIX}*.{account}"),
        heartbeat(account),
        BROKERS.to_owned(),
        format!("{FENCE_PREFIX}{account}.>"),
    ];
    [&requests[..], &others].concat()
}

/// Returns the subjects of the events that concern every account: changes of the state, and of locks that are no account's.
pub fn public_events() -> [String; 2] {
    [STATE_EVENT_KIND, LOCK_EVENT_KIND].map(|kind| event(kind, None))
}

/// Returns the subjects that a user who is fenced into an account may subscribe to: its replies, the reports, events and
/// alerts of the account, and the events that concern every account.
pub fn account_user_subscriptions(account: &AccountId) -> Vec<String> {
    let [state, locks] = public_events();
    vec![
        state,
        locks,
        format!("{}.>", account_inbox_prefix(account)),
        account_reports_wildcard(account),
        account_events_wildcard(Some(account)),
        format!("{REPLIES_PREFIX}{account}.>"),
        account_alerts_wildcard(Some(account)),
        format!("{FENCE_PREFIX}{account}.>"),
    ]
}

/// Reports whether a journal subject carries an order's report.
pub fn is_report(subject: &str) -> bool {
    subject.starts_with(REPORTS_WILDCARD.trim_end_matches('>'))
}

/// Returns the wildcard subject of an account's reports from every broker.
pub fn account_reports_wildcard(account: &AccountId) -> String {
    format!("orders.reports.*.{account}")
}

/// Returns the journal's subject of an event; `kind` is one token.
pub fn event(kind: &str, account: Option<&AccountId>) -> String {
    format!("orders.events.{}.{}", encode_token(kind), account_token(account))
}

/// Returns the journal's subject of an event that belongs to something else than an account, by its name.
pub fn named_event(kind: &str, name: &str) -> String {
    format!("orders.events.{}.{}", encode_token(kind), encode_token(name))
}

/// Returns the wildcard subject of all events of a kind.
pub fn event_kind_wildcard(kind: &str) -> String {
    format!("orders.events.{}.*", encode_token(kind))
}

/// Returns the wildcard subject of an account's events of every kind; for `None`, of the events without an account.
pub fn account_events_wildcard(account: Option<&AccountId>) -> String {
    format!("orders.events.*.{}", account_token(account))
}

/// Returns the kind of a journal event; `None` for a subject that carries a report.
pub fn parse_event_kind(subject: &str) -> Option<&str> {
    subject
        .strip_prefix(EVENTS_WILDCARD.trim_end_matches('>'))?
        .split('.')
        .next()
}

/// Reports whether a subject matches a pattern, in which `*` stands for one token and a last `>` for one or more.
pub fn matches_pattern(pattern: &str, subject: &str) -> bool {
    let (mut wanted, mut tokens) = (pattern.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), tokens.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Returns the journal's subject of an account's adjustments.
pub fn adjustment(account: &AccountId) -> String {
    event(ADJUSTMENT_EVENT_KIND, Some(account))
}

/// Reports whether a journal subject carries an adjustment.
pub fn is_adjustment(subject: &str) -> bool {
    parse_event_kind(subject) == Some(ADJUSTMENT_EVENT_KIND)
}

/// Reports whether a journal subject carries the event of a lock.
pub fn is_lock(subject: &str) -> bool {
    parse_event_kind(subject) == Some(LOCK_EVENT_KIND)
}

/// Reports whether a journal subject carries the event of a dead man's switch.
pub fn is_heartbeat(subject: &str) -> bool {
    parse_event_kind(subject) == Some(HEARTBEAT_EVENT_KIND)
}

/// Returns the subject of a dead letter.
pub fn dead_letter(reason: &str) -> String {
    format!("orders.dead.{}", encode_token(reason))
}

/// Returns the subject of an alert; `level` is `alert` or `lock`.
pub fn alert(level: &str, account: Option<&AccountId>) -> String {
    format!("risk.alerts.{}.{}", encode_token(level), account_token(account))
}

/// Returns the wildcard subject of an account's alerts of every level; for `None`, of the alerts without an account.
pub fn account_alerts_wildcard(account: Option<&AccountId>) -> String {
    format!("risk.alerts.*.{}", account_token(account))
}

/// Returns the subject of a reference price. A dot in the venue separates tokens.
pub fn quote(venue: &str, symbol: &str) -> String {
    let venue: Vec<String> = venue.split('.').map(encode_token).collect();
    format!("market.quotes.{}.{}", venue.join("."), encode_token(symbol))
}

/// Returns broker and account of a subject that ends with both, such as `orders.submit.{broker}.{account}`.
pub fn parse_broker_and_account(subject: &str) -> Option<(&str, &str)> {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens[..] {
        ["orders", _, broker, account] if !broker.is_empty() && !account.is_empty() => Some((broker, account)),
        _ => None,
    }
}

/// Returns the account of the subject of a request, which is its last token.
pub fn parse_account(subject: &str) -> Option<&str> {
    match subject.strip_prefix(HEARTBEAT_PREFIX) {
        Some(account) => Some(account).filter(|account| !account.is_empty() && !account.contains('.')),
        None => parse_broker_and_account(subject).map(|(_, account)| account),
    }
}

/// Reports whether a worker may reply to `reply`: a subject below `_INBOX.` or the account's own `orders.replies.`, without
/// wildcards.
///
/// Any other subject would let a caller use a worker to publish where the caller itself may not.
pub fn is_allowed_reply(reply: &str, account: Option<&str>) -> bool {
    let is_plain = |rest: &str| {
        rest.split('.').all(|token| {
            !token.is_empty()
                && !token
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || "*>".contains(c))
        })
    };
    if let Some(rest) = reply.strip_prefix(INBOX_PREFIX) {
        return is_plain(rest);
    }
    let own = |account| {
        reply
            .strip_prefix(REPLIES_PREFIX)?
            .strip_prefix(account)?
            .strip_prefix('.')
    };
    account
        .filter(|account| is_plain(account))
        .and_then(own)
        .is_some_and(is_plain)
}

fn account_token(account: Option<&AccountId>) -> &str {
    account.map_or(NO_ACCOUNT, AccountId::as_str)
}

/// Returns a text as one subject token: every byte but letters, digits, `_` and `-` is percent-encoded.
fn encode_token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("%{byte:02X}"));
        }
    }
    token
}

#[cfg(test)]
#[path = "subjects_tests.rs"]
mod tests;
