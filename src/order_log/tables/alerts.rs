//! The alerts of the risk rules: the newest million, body by body as they were published.

use rusqlite::{Connection, params, params_from_iter};

use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::domain::rule_signal::SignalLevel;
use crate::order_log::ingest::entry::{OrderLogEvent, StreamEntry};

/// The most alerts that are kept; the oldest are removed first.
pub(in crate::order_log) const MAX_STORED_ALERTS: u64 = 1_000_000;
/// How many alerts pass between two removals of the oldest.
const TRIM_INTERVAL_ENTRIES: u64 = 1_024;

/// Selects alerts. A criterion that is absent matches every alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// The accounts whose alerts the caller may see; alerts of no account are visible to every caller.
    pub visible_accounts: AccountScope,
    /// The level.
    pub level: Option<SignalLevel>,
    /// The account.
    pub account_id: Option<AccountId>,
    /// The rule.
    pub rule_id: Option<String>,
}

/// Applies an entry of the stream of alerts.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn apply_entry(connection: &Connection, entry: &StreamEntry) -> rusqlite::Result<()> {
    match &entry.event {
        OrderLogEvent::Alert(signal, body) => {
            let sql =
                "INSERT OR IGNORE INTO alerts (sequence, level, account_id, rule_id, body) VALUES (?1, ?2, ?3, ?4, ?5)";
            let level = signal.level.as_str();
            connection.prepare_cached(sql)?.execute(params![
                entry.sequence,
                level,
                signal.account_id,
                signal.rule_id,
                body
            ])?;
        }
        OrderLogEvent::Unreadable(reason) => {
            tracing::warn!(
                sequence = entry.sequence,
                reason,
                "skipping an alert of the stream: it cannot be read"
            );
        }
        _ => {}
    }
    if entry.sequence.is_multiple_of(TRIM_INTERVAL_ENTRIES) {
        let last_removed = entry.sequence.saturating_sub(MAX_STORED_ALERTS);
        connection
            .prepare_cached("DELETE FROM alerts WHERE sequence <= ?1")?
            .execute([last_removed])?;
    }
    Ok(())
}

/// Removes all alerts: the stream was recreated.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn delete_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM alerts", []).map(drop)
}

/// Removes the alerts that the stream has dropped, so that every sidecar returns the same ones.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn delete_before(connection: &Connection, first_sequence: u64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM alerts WHERE sequence < ?1";
    connection.execute(sql, [first_sequence]).map(drop)
}

/// Returns the newest alerts that match a filter, the newest first, as one JSON list.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn list_newest(
    connection: &Connection,
    filter: &AlertFilter,
    limit: u64,
) -> rusqlite::Result<Vec<u8>> {
    let mut newest = Vec::new();
    match (&filter.account_id, &filter.visible_accounts) {
        (Some(account), _) => newest.extend(select_newest(connection, filter, Some(Some(account)), limit)?),
        (None, AccountScope::All) => newest.extend(select_newest(connection, filter, None, limit)?),
        // One query per account reads in the order of an index; one query over all accounts would have to sort.
        (None, AccountScope::Only(accounts)) => {
            newest.extend(select_newest(connection, filter, Some(None), limit)?);
            for account in accounts {
                newest.extend(select_newest(connection, filter, Some(Some(account)), limit)?);
            }
            newest.sort_unstable_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
        }
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let bodies: Vec<&[u8]> = newest.iter().take(limit).map(|(_, body)| body.as_bytes()).collect();
    Ok([&b"["[..], &bodies.join(&b","[..]), &b"]"[..]].concat())
}

/// Returns the newest alerts of one account, of no account (`Some(None)`), or of any (`None`).
fn select_newest(
    connection: &Connection,
    filter: &AlertFilter,
    account: Option<Option<&AccountId>>,
    limit: u64,
) -> rusqlite::Result<Vec<(u64, String)>> {
    let (mut conditions, mut values) = (vec!["1"], Vec::new());
    match account {
        None => {}
        Some(None) => conditions.push("account_id IS NULL"),
        Some(Some(account)) => {
            conditions.push("account_id = ?");
            values.push(account.to_string());
        }
    }
    if let Some(rule_id) = &filter.rule_id {
        conditions.push("rule_id = ?");
        values.push(rule_id.clone());
    }
    if let Some(level) = filter.level {
        conditions.push("level = ?");
        values.push(level.as_str().to_owned());
    }
    values.push(limit.to_string());
    let query = format!(
        "SELECT sequence, body FROM alerts WHERE {} ORDER BY sequence DESC LIMIT CAST(? AS INTEGER)",
        conditions.join(" AND ")
    );
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}
