//! `journal archive`: moves old entries of the journal into its archive.

use std::time::Duration;

use clap::Args;
use jiff::{Span, SpanRelativeTo};
use serde::Serialize;

use crate::bus::connection::{ConnectPolicy, connect};
use crate::bus::journal::{ArchiveAudit, ArchivedEntries, DroppedEntries, JournalArchiver};
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandResult, error_with_reason};
use crate::cli::output;
use crate::domain::time::Timestamp;
use crate::wire::field_checks::parse_operator_text;
use crate::wire::filter_time::parse_filter_start;

/// The end of `journal archive --help`.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router journal archive --before 90d --actor mira --reason \"quarterly archive\"
  order-router journal archive --before 2026-01-01 --actor mira --reason \"last year\"";

/// Arguments of `journal archive`.
#[derive(Debug, Args)]
pub(crate) struct JournalArchiveArgs {
    /// Archive what was stored before this date (UTC), this RFC 3339 time, or this long ago, such as `90d` or `36h`.
    #[arg(long, value_name = "TIME", value_parser = parse_before)]
    before: Timestamp,
    /// Who archives; recorded in the archive.
    #[arg(long, value_parser = parse_operator_text)]
    actor: String,
    /// Why; recorded in the archive.
    #[arg(long, value_parser = parse_operator_text)]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct JournalArchiveOutput {
    before: Timestamp,
    archived: ArchivedEntries,
    dropped: DroppedEntries,
}

/// Writes the missing segments, lets the journal drop what the archive has, and prints both.
///
/// # Errors
/// When a stream is missing, a segment cannot be written, or one is damaged: nothing is dropped then.
pub(crate) async fn run(args: &JournalArchiveArgs, options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let bus = connect(&settings.nats, "order-router journal", ConnectPolicy::Once).await?;
    let audit = ArchiveAudit {
        actor: args.actor.clone(),
        reason: args.reason.clone(),
    };
    let failed = |error| error_with_reason("the journal is not archived", error);
    let archiver = JournalArchiver::open(bus, args.before, audit).await.map_err(failed)?;
    let archived = archiver.write_segments().await.map_err(failed)?;
    let dropped = archiver.drop_archived().await.map_err(failed)?;
    let result = JournalArchiveOutput {
        before: args.before,
        archived,
        dropped,
    };
    if args.json {
        output::print_line(output::to_json_line(&result)?)?;
    } else {
        output::print_line(archived_line(archived))?;
        output::print_line(dropped_line(dropped))?;
    }
    Ok(())
}

fn archived_line(archived: ArchivedEntries) -> String {
    let ArchivedEntries {
        segments,
        entries,
        entry_bytes,
        segment_bytes,
    } = archived;
    let tenths = entry_bytes.saturating_mul(10).checked_div(segment_bytes).unwrap_or(0);
    let ratio = format!("{}.{}", tenths / 10, tenths % 10);
    match segments {
        0 => "archived nothing: the archive has every entry before the time".to_owned(),
        _ => format!(
            "archived {entries} entries in {segments} segments: {entry_bytes} bytes in {segment_bytes} ({ratio}:1)"
        ),
    }
}

fn dropped_line(dropped: DroppedEntries) -> String {
    match dropped.last_sequence {
        Some(last) => format!("the journal dropped {} entries, up to sequence {last}", dropped.entries),
        None => "the journal dropped nothing".to_owned(),
    }
}

/// Parses a date, a time, or a duration before now.
fn parse_before(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = parse_filter_start(text) {
        return Ok(at);
    }
    let span = text.parse::<Span>().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let age = duration.and_then(|duration| Duration::try_from(duration).ok());
    let age = age.and_then(|age| i64::try_from(age.as_micros()).ok());
    let age = age.ok_or("must be a date such as 2026-01-31, an RFC 3339 time, or a duration such as 90d or 36h")?;
    Ok(Timestamp::from_microseconds(
        Timestamp::now().as_microseconds().saturating_sub(age),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_a_date_a_time_or_an_age() {
        for (text, at) in [
            ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
            ("2026-01-31T10:00:00+01:00", "2026-01-31T09:00:00.000000Z"),
        ] {
            assert_eq!(parse_before(text).unwrap().to_string(), at);
        }
        for (text, hours) in [("90d", 90 * 24), ("36h", 36), ("2w", 14 * 24), ("PT1H", 1)] {
            let at = parse_before(text).unwrap();
            let age = Timestamp::now().saturating_duration_since(at);
            assert_eq!(age.as_secs() / 3_600, hours, "{text}");
        }
        for text in ["", "yesterday", "90", "-1d", "3 months", "2026-13-01"] {
            assert!(parse_before(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_name_entries_bytes_and_ratio() {
        let archived = ArchivedEntries {
            segments: 2,
            entries: 5_000,
            entry_bytes: 1_234,
            segment_bytes: 100,
        };
        assert!(archived_line(archived).ends_with("1234 bytes in 100 (12.3:1)"));
        assert!(archived_line(ArchivedEntries::default()).starts_with("archived nothing"));
        assert_eq!(dropped_line(DroppedEntries::default()), "the journal dropped nothing");
    }
}
