//! The alerts of the risk rules: the newest of them, body by body as they were published.

use rusqlite::{Connection, params, params_from_iter};

use super::event::{Entry, Event};
use crate::config::keys::Scope;
use crate::domain::id::AccountId;
use crate::domain::signal::Level;

/// The most alerts that are kept; the oldest go first.
pub(super) const MAX_ALERTS: u64 = 1_000_000;
/// After how many alerts it is looked whether there are too many.
const TRIM_EVERY: u64 = 1_024;

/// Which alerts are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// The accounts whose alerts may be told, beside those of no account.
    pub accounts: Scope,
    /// The level.
    pub level: Option<Level>,
    /// The account.
    pub account_id: Option<AccountId>,
    /// The rule.
    pub rule_id: Option<String>,
}

/// Applies an entry of the stream of alerts.
///
/// # Errors
/// What the file says.
pub(super) fn apply(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    match &entry.event {
        Event::Alert(signal, body) => {
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
        Event::Unreadable(why) => {
            tracing::warn!(
                sequence = entry.sequence,
                why,
                "an alert of the stream cannot be read and is not told"
            );
        }
        _ => {}
    }
    if entry.sequence.is_multiple_of(TRIM_EVERY) {
        let oldest = entry.sequence.saturating_sub(MAX_ALERTS);
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
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM alerts", []).map(drop)
}

/// Returns the newest alerts that a filter takes, the newest first, as one JSON list.
///
/// # Errors
/// What the file says.
pub(super) fn list(connection: &Connection, filter: &AlertFilter, limit: u64) -> rusqlite::Result<Vec<u8>> {
    let (mut conditions, mut values) = (vec!["1".to_owned()], Vec::new());
    let mut equals = |column: &str, value: Option<String>| {
        if let Some(value) = value {
            conditions.push(format!("{column} = ?"));
            values.push(value);
        }
    };
    equals("account_id", filter.account_id.as_ref().map(ToString::to_string));
    equals("rule_id", filter.rule_id.clone());
    equals("level", filter.level.map(|level| level.as_str().to_owned()));
    if let Scope::Only(accounts) = &filter.accounts {
        let places = vec!["?"; accounts.len()].join(", ");
        conditions.push(format!("(account_id IS NULL OR account_id IN ({places}))"));
        values.extend(accounts.iter().map(ToString::to_string));
    }
    values.push(limit.to_string());
    let query = format!(
        "SELECT body FROM alerts WHERE {} ORDER BY sequence DESC LIMIT CAST(? AS INTEGER)",
        conditions.join(" AND ")
    );
    let mut statement = connection.prepare_cached(&query)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut list = b"[".to_vec();
    while let Some(row) = rows.next()? {
        if list.len() > 1 {
            list.push(b',');
        }
        list.extend_from_slice(row.get_ref(0)?.as_bytes()?);
    }
    list.push(b']');
    Ok(list)
}
