//! Showing an answer once, or with `--watch` again and again: on a terminal the newest in the place of the one before,
//! elsewhere each one that differs.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::output::alternate_screen::AlternateScreen;
use crate::cli::output::table::format_time;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::domain::time::Timestamp;

/// How long it is to the next look unless a time is given, in seconds.
const DEFAULT_POLL_INTERVAL_S: &str = "2";
/// The longest time to the next look, in seconds.
const MAX_POLL_INTERVAL_S: u64 = 3_600;

/// How often an answer is looked at.
#[derive(Debug, Clone, Args)]
pub(crate) struct PollingArgs {
    /// Looks again every so many seconds [default: 2], until Ctrl-C: on a terminal the newest answer takes the place of the
    /// one before, elsewhere each that differs is printed.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_POLL_INTERVAL_S,
        value_parser = clap::value_parser!(u64).range(1..=MAX_POLL_INTERVAL_S))]
    watch: Option<u64>,
}

/// An answer that can be looked at again.
pub(crate) trait RenderReply: DeserializeOwned {
    /// Returns it as people read it.
    fn render(&self) -> String;

    /// Returns the part of its JSON that makes it another answer when it changes.
    fn compared_bytes(body: &[u8]) -> &[u8] {
        body
    }
}

/// What a look has found.
#[derive(Debug)]
struct PolledReply {
    polled_at: Timestamp,
    body: Vec<u8>,
    /// For people; empty where nobody reads it.
    text: String,
}

/// Shows what `look` finds, once or until a signal comes or nobody reads on.
///
/// # Errors
/// When a look fails; with `--watch` only where the next one would fail as well.
pub(crate) async fn show_reply<A: RenderReply>(
    args: &PollingArgs,
    json: bool,
    mut fetch: impl AsyncFnMut() -> Result<Vec<u8>, CommandError>,
) -> CommandResult {
    let look = async || decode_reply::<A>(fetch().await?, json);
    let outcome = match args.watch {
        None => show_once(json, look).await,
        Some(seconds) => poll_until_stopped::<A>(seconds, json, look).await,
    };
    // By now the terminal shows again what it showed before.
    outcome.map_err(|failure| if json { failure.print_refusal_as_json() } else { failure })
}

fn decode_reply<A: RenderReply>(body: Vec<u8>, json: bool) -> Result<PolledReply, CommandError> {
    let text = if json {
        String::new()
    } else {
        let read = serde_json::from_slice::<A>(&body);
        read.map_err(|error| error_with_reason("the answer is none that this version reads", error))?
            .render()
    };
    Ok(PolledReply {
        polled_at: Timestamp::now(),
        body,
        text,
    })
}

async fn show_once(json: bool, mut fetch: impl AsyncFnMut() -> Result<PolledReply, CommandError>) -> CommandResult {
    let seen = fetch().await?;
    output::print_line_while_read(if json { seen.body } else { seen.text.into_bytes() })?;
    Ok(())
}

async fn poll_until_stopped<A: RenderReply>(
    seconds: u64,
    json: bool,
    mut fetch: impl AsyncFnMut() -> Result<PolledReply, CommandError>,
) -> CommandResult {
    let mut signals = ShutdownSignals::listen()?;
    let mut view = PollDisplay::open(seconds, json)?;
    loop {
        let looked = tokio::select! {
            _ = signals.next_signal() => return Ok(()),
            () = output::wait_until_stdout_closed() => return Ok(()),
            looked = fetch() => looked,
        };
        match looked {
            Ok(seen) => {
                if !view.show_poll::<A>(seen)? {
                    return Ok(());
                }
            }
            Err(failure) if is_transient(&failure) => view.show_error(&failure)?,
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            _ = signals.next_signal() => return Ok(()),
            () = output::wait_until_stdout_closed() => return Ok(()),
            () = sleep(Duration::from_secs(seconds)) => {}
        }
    }
}

/// Whether the next look can succeed where this one has failed: servers come back, a request stays what it is.
fn is_transient(failure: &CommandError) -> bool {
    match failure {
        CommandError::Refused(fault) => fault.code.is_retryable(),
        CommandError::Failed(_) => true,
        CommandError::Usage(_) | CommandError::Reported | CommandError::Interrupted => false,
    }
}

/// What has been shown, and where.
#[derive(Debug)]
struct PollDisplay {
    interval_s: u64,
    json: bool,
    /// The terminal; `None` where the output goes elsewhere, or programs read it.
    screen: Option<AlternateScreen>,
    last_reply: Option<PolledReply>,
    /// What people were told last, if no answer has come since.
    last_error: Option<String>,
}

impl PollDisplay {
    fn open(seconds: u64, json: bool) -> anyhow::Result<Self> {
        let is_drawn = !json && std::io::stdout().is_terminal();
        Ok(Self {
            interval_s: seconds,
            json,
            screen: if is_drawn { Some(AlternateScreen::open()?) } else { None },
            last_reply: None,
            last_error: None,
        })
    }

    /// Shows what was found, and returns whether anybody reads on.
    fn show_poll<A: RenderReply>(&mut self, reply: PolledReply) -> anyhow::Result<bool> {
        let was_in_trouble = self.last_error.take().is_some();
        let is_new = |last: &PolledReply| A::compared_bytes(&last.body) != A::compared_bytes(&reply.body);
        let is_new = self.last_reply.as_ref().is_none_or(is_new);
        let seen = self.last_reply.insert(reply);
        if let Some(screen) = &mut self.screen {
            return screen
                .draw(&render_screen(seen.polled_at, self.interval_s, None, Some(seen)))
                .map(|()| true);
        }
        if was_in_trouble {
            output::print_notice("order-router: there is an answer again");
        }
        match (is_new, self.json) {
            (false, _) => Ok(true),
            (true, true) => output::print_line_while_read(join_lines(&seen.body)),
            (true, false) => output::print_line_while_read(format!("{}\n{}\n", format_time(seen.polled_at), seen.text)),
        }
    }

    /// Tells people of a look that has failed: once as long as the next ones fail in the same way.
    fn show_error(&mut self, failure: &CommandError) -> anyhow::Result<()> {
        let trouble = failure.message().unwrap_or_default();
        if let Some(screen) = &mut self.screen {
            let page = render_screen(
                Timestamp::now(),
                self.interval_s,
                Some(&trouble),
                self.last_reply.as_ref(),
            );
            screen.draw(&page)?;
        } else if self.last_error.as_ref() != Some(&trouble) {
            output::print_notice(&format!(
                "{trouble}\norder-router: trying again every {} s",
                self.interval_s
            ));
        }
        self.last_error = Some(trouble);
        Ok(())
    }
}

/// Returns what the terminal shows after a look at this moment.
fn render_screen(at: Timestamp, seconds: u64, error: Option<&str>, last_reply: Option<&PolledReply>) -> String {
    let mut page = format!("{}, every {seconds} s until Ctrl-C\n\n", format_time(at));
    if let Some(trouble) = error {
        page.push_str(&format!("{trouble}\n\n"));
    }
    match (last_reply, error) {
        (Some(last), Some(_)) => page.push_str(&format!("as of {}:\n{}", format_time(last.polled_at), last.text)),
        (Some(last), None) => page.push_str(&last.text),
        (None, _) => {}
    }
    page
}

/// Returns JSON on one line: a line break in it stands between its parts and never within a text.
fn join_lines(json: &[u8]) -> Vec<u8> {
    let is_break = |byte: u8| matches!(byte, b'\n' | b'\r');
    json.iter()
        .map(|&byte| if is_break(byte) { b' ' } else { byte })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultCode};

    #[test]
    fn a_page_tells_of_trouble_and_keeps_the_last_answer() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let seen = PolledReply {
            polled_at: at("2026-03-02T09:00:00Z"),
            body: Vec::new(),
            text: "table".to_owned(),
        };
        let later = at("2026-03-02T09:00:02Z");
        let heading = "2026-03-02T09:00:02.000Z, every 2 s until Ctrl-C";
        for (trouble, last, expected) in [
            (None, Some(&seen), format!("{heading}\n\ntable")),
            (
                Some("away"),
                Some(&seen),
                format!("{heading}\n\naway\n\nas of 2026-03-02T09:00:00.000Z:\ntable"),
            ),
            (Some("away"), None, format!("{heading}\n\naway\n\n")),
        ] {
            assert_eq!(render_screen(later, 2, trouble, last), expected);
        }
    }

    #[test]
    fn a_refusal_that_stays_ends_the_watching() {
        for (code, passes) in [
            (FaultCode::BusUnavailable, true),
            (FaultCode::RateLimited, true),
            (FaultCode::Unauthenticated, false),
            (FaultCode::InvalidField, false),
        ] {
            assert_eq!(is_transient(&Fault::new(code, "d").into()), passes, "{code:?}");
        }
        assert!(is_transient(&error_with_reason("no answer", "refused").into()));
        assert!(!is_transient(&CommandError::Usage("no key".to_owned())));
    }

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(join_lines(b"{\r\n\"a\": \"\\n\"\n}"), b"{  \"a\": \"\\n\" }");
    }
}
