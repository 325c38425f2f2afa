//! The alerts of the risk rules: the newest of them, body by body as they were published.

use rusqlite::{Connection, params, params_from_iter};

use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::domain::rule_signal::SignalLevel;
use crate::order_log::ingest::entry::{OrderLogEvent, StreamEntry};

/// The most alerts that are kept; the oldest go first.
pub(in crate::order_log) const MAX_STORED_ALERTS: u64 = 1_000_000;
/// After how many alerts it is looked whether there are too many.
const TRIM_INTERVAL_ENTRIES: u64 = 1_024;

/// Which alerts are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// The accounts whose alerts may be told, beside those of no account.
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
/// What the file says.
pub(in crate::order_log) fn apply_entry(connection: &Connection, entry: &StreamEntry) -> rusqlite::Result<()> {
    match &entry.event {
        OrderLogEvent::Alert(signal, body) => {
            let add =
                "INSERT OR IGNORE INTO alerts (sequence, level, account_id, rule_id, body) VALUES (?1, ?2, ?3, ?4, ?5)";
            let level = signal.level.as_str();
            connection.prepare_cached(add)?.execute(params![
                entry.sequence,
                level,
                signal.account_id,
                signal.rule_id,
                body
            ])?;
        }
        OrderLogEvent::Unreadable(why) => {
            tracing::warn!(
                sequence = entry.sequence,
                why,
                "an alert of the stream cannot be read and is not told"
            );
        }
        _ => {}
    }
    if entry.sequence.is_multiple_of(TRIM_INTERVAL_ENTRIES) {
        let oldest = entry.sequence.saturating_sub(MAX_STORED_ALERTS);
        connection
            .prepare_cached("DELETE FROM alerts WHERE sequence <= ?1")?
            .execute([oldest])?;
    }
    Ok(())
}

/// Removes all alerts: their stream is another one.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn delete_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM alerts", []).map(drop)
}

/// Removes alerts that their stream has dropped: every sidecar tells the same ones.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn delete_before(connection: &Connection, first_sequence: u64) -> rusqlite::Result<()> {
    let drop_older = "DELETE FROM alerts WHERE sequence < ?1";
    connection.execute(drop_older, [first_sequence]).map(drop)
}

/// Returns the newest alerts that a filter takes, the newest first, as one JSON list.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn list_newest(
    connection: &Connection,
    filter: &AlertFilter,
    limit: u64,
) -> rusqlite::Result<Vec<u8>> {
    let mut newest = Vec::new();
    match (&filter.account_id, &filter.visible_accounts) {
        (Some(account), _) => newest.extend(select_newest(connection, filter, Some(Some(account)), limit)?),
        (None, AccountScope::All) => newest.extend(select_newest(connection, filter, None, limit)?),
        // Each by its own index, in the index' order: together they would have to be sorted.
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

/// Returns the newest alerts of one account, of none (`Some(None)`), or of any.
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
