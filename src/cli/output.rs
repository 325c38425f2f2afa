//! Standard output, and problems as people read them.

pub(in crate::cli) mod alternate_screen;
pub(in crate::cli) mod findings;
pub(in crate::cli) mod journal_progress;
pub(in crate::cli) mod order_log_progress;
pub(in crate::cli) mod page_footer;
pub(in crate::cli) mod report;
pub(in crate::cli) mod table;
pub(in crate::cli) mod text;

use std::io::Write;
use std::os::fd::AsFd;

use anyhow::Context;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use crate::cli::output::table::TextTable;
use crate::cli::output::text::strip_control_characters;
use crate::domain::metadata::MetadataValue;
use crate::fault::Fault;

/// Writes a text and a line break.
///
/// # Errors
/// When the output cannot be written, for example because its reader has closed it.
pub(crate) fn print_line(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    write_parts([text.as_ref(), b"\n"])
}

/// Writes the parts of a text as they are.
///
/// # Errors
/// As [`print_line`].
pub(crate) fn write_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = parts.into_iter().try_for_each(|part| out.write_all(part));
    written.and_then(|()| out.flush()).context("writing the output")
}

/// Writes a line to standard error; a failure is ignored.
pub(crate) fn print_notice(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes a text and a line break, and reports whether the output is still read: `order-router orders | head` closes it.
///
/// # Errors
/// When the output cannot be written for another reason.
pub(crate) fn print_line_while_read(text: impl AsRef<[u8]>) -> anyhow::Result<bool> {
    match print_line(text) {
        Err(error) if is_broken_pipe(&error) => Ok(false),
        written => written.map(|()| true),
    }
}

/// Waits until the reader of standard output closes it: for ever where it is a file, or the system does not report it.
pub(crate) async fn wait_until_stdout_closed() {
    let watched = std::io::stdout().as_fd().try_clone_to_owned();
    // Nothing is written through this handle, so the output keeps its blocking mode, which all its writers share.
    if let Ok(out) = watched.and_then(Sender::from_owned_fd_unchecked)
        && out.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Reports whether writing failed because the reader has closed the output.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.downcast_ref::<std::io::Error>();
    io_error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Returns a value as one line of JSON.
///
/// # Errors
/// Never for the types of this crate, whose JSON holds strings and exact numbers only.
pub(crate) fn to_json_line(value: &impl serde::Serialize) -> anyhow::Result<String> {
    serde_json::to_string(value).context("writing JSON")
}

/// Returns a problem as people read it: its sentence, then its code, fields and measurements.
pub(crate) fn render_problem(fault: &Fault) -> String {
    let mut table = TextTable::key_value();
    let code = format!("{} ({})", fault.code.as_str(), fault.code.status());
    table.push_row(["  code".to_owned(), code]);
    for (name, text) in [
        ("  field", &fault.field),
        ("  rule", &fault.rule_id),
        ("  id", &fault.client_order_id),
    ] {
        if let Some(text) = text {
            table.push_row([name.to_owned(), text.clone()]);
        }
    }
    for (name, value) in fault.metadata.iter().filter(|(name, _)| *name != "rule_id") {
        let value = match value {
            MetadataValue::Number(number) => number.to_string(),
            MetadataValue::Text(text) => text.clone(),
        };
        table.push_row([format!("  {name}"), value]);
    }
    format!("order-router: {}\n{table}", strip_control_characters(&fault.detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metadata::Metadata;
    use crate::fault::FaultCode;

    #[test]
    fn problem_names_code_field_rule_and_measurements() {
        let fault = Fault {
            rule_id: Some("max_notional".into()),
            metadata: Metadata::new().with("rule_id", "max_notional").with("limit", 60_000),
            ..Fault::for_field(FaultCode::RiskLocked, "quantity", "is too \u{1b}[31mmuch")
        };
        let expected = "order-router: quantity is too ?[31mmuch\n  code   risk_locked (400)\n  field  quantity\n  \
                        rule   max_notional\n  limit  60000";
        assert_eq!(render_problem(&fault), expected);
    }
}
