//! What goes to the standard output stream, and problems as people read them.

pub(in crate::cli) mod alternate_screen;
pub(in crate::cli) mod order_log_progress;
pub(in crate::cli) mod report;
pub(in crate::cli) mod table;
use std::io::Write;
use std::os::fd::AsFd;

use anyhow::Context;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use crate::cli::output::table::{ColumnAlign, TextTable, strip_control_characters};
use crate::domain::metadata::MetadataValue;
use crate::fault::Fault;

/// Writes one line (or several, for people).
///
/// # Errors
/// When nobody reads the output any more.
pub(crate) fn print_line(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    write_parts([text.as_ref(), b"\n"])
}

/// Writes parts of a text as they are.
///
/// # Errors
/// When nobody reads the output any more.
pub(crate) fn write_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = parts.into_iter().try_for_each(|part| out.write_all(part));
    written.and_then(|()| out.flush()).context("writing the output")
}

/// Tells a person something beside the output; nothing depends on its being read.
pub(crate) fn print_notice(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes one line, or several, and returns whether anybody reads on: `order-router orders | head` has seen enough.
///
/// # Errors
/// When the output cannot be written for another reason.
pub(crate) fn print_line_while_read(text: impl AsRef<[u8]>) -> anyhow::Result<bool> {
    match print_line(text) {
        Err(error) if is_broken_pipe(&error) => Ok(false),
        written => written.map(|()| true),
    }
}

/// Waits until nobody reads the output any more: for ever where that is a file, or the system does not tell.
pub(crate) async fn wait_until_stdout_closed() {
    let watched = std::io::stdout().as_fd().try_clone_to_owned();
    // Nothing is written here, so that the output need not be told never to wait, which all who write to it would share.
    if let Ok(out) = watched.and_then(Sender::from_owned_fd_unchecked)
        && out.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Whether writing failed because nobody reads any more.
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

/// Returns a problem as people read it: a sentence, then what programs would look at.
pub(crate) fn render_problem(fault: &Fault) -> String {
    let mut particulars = TextTable::new(&[("", ColumnAlign::Left), ("", ColumnAlign::Left)]);
    let code = format!("{} ({})", fault.code.as_str(), fault.code.status());
    particulars.push_row(["  code".to_owned(), code]);
    for (name, text) in [
        ("  field", &fault.field),
        ("  rule", &fault.rule_id),
        ("  id", &fault.client_order_id),
    ] {
        if let Some(text) = text {
            particulars.push_row([name.to_owned(), text.clone()]);
        }
    }
    for (name, figure) in fault.metadata.iter().filter(|(name, _)| *name != "rule_id") {
        let figure = match figure {
            MetadataValue::Number(number) => number.to_string(),
            MetadataValue::Text(text) => text.clone(),
        };
        particulars.push_row([format!("  {name}"), figure]);
    }
    format!(
        "order-router: {}\n{particulars}",
        strip_control_characters(&fault.detail)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metadata::Metadata;
    use crate::fault::FaultCode;

    #[test]
    fn a_problem_names_its_code_field_rule_and_figures() {
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
