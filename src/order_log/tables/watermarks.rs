//! The watermarks: how far each stream is applied.

use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::time::Timestamp;
use crate::order_log::database::sql_types::DomainColumn;

/// A stream that the order log follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::order_log) enum LogStream {
    /// The journal: reports, submissions, notes, adjustments and state changes.
    Journal,
    /// The alerts of the risk rules.
    Alerts,
}

impl LogStream {
    /// Returns the stream's name in the file and in messages.
    pub(in crate::order_log) fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Alerts => "alerts",
        }
    }
}

/// How far a stream is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::order_log) struct StreamWatermark {
    /// When the stream was created.
    pub(in crate::order_log) stream_created_at: Timestamp,
    /// The sequence of the last entry that is applied; 0 before the first.
    pub(in crate::order_log) sequence: u64,
    /// When the stream stored that entry. Another time at the same sequence means another stream.
    pub(in crate::order_log) stored_at: Timestamp,
}

/// Returns how far a stream is applied; `None` before anything of it is.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn load(
    connection: &Connection,
    stream: LogStream,
) -> rusqlite::Result<Option<StreamWatermark>> {
    let sql = "SELECT stream_created_at, sequence, stored_at FROM watermarks WHERE stream = ?1";
    let found = connection.query_row(sql, [stream.name()], |row| {
        Ok(StreamWatermark {
            stream_created_at: row.get::<_, DomainColumn<_>>(0)?.0,
            sequence: row.get(1)?,
            stored_at: row.get::<_, DomainColumn<_>>(2)?.0,
        })
    });
    found.optional()
}

/// Stores how far a stream is applied.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn save(
    connection: &Connection,
    stream: LogStream,
    watermark: StreamWatermark,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO watermarks (stream, stream_created_at, sequence, stored_at) \
               VALUES (?1, ?2, ?3, ?4)";
    let StreamWatermark {
        stream_created_at,
        sequence,
        stored_at,
    } = watermark;
    let mut statement = connection.prepare_cached(sql)?;
    statement
        .execute(params![
            stream.name(),
            DomainColumn(stream_created_at),
            sequence,
            DomainColumn(stored_at)
        ])
        .map(drop)
}
