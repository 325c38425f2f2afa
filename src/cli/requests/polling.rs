//! Shows a reply once or, with `--watch`, by polling: a terminal shows the newest reply, any other output receives each
//! reply that differs from the one before.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::cli::error::{CommandError, CommandResult, undecodable_reply};
use crate::cli::output;
use crate::cli::output::alternate_screen::AlternateScreen;
use crate::cli::output::text::format_time;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::domain::time::Timestamp;

/// The time between two polls, in seconds, unless one is given.
const DEFAULT_POLL_INTERVAL_S: &str = "2";
/// The longest time between two polls, in seconds.
const MAX_POLL_INTERVAL_S: u64 = 3_600;

/// Whether and how often a reply is polled.
#[derive(Debug, Clone, Args)]
pub(crate) struct PollingArgs {
    /// Refresh every SECONDS until Ctrl-C, 1 to 3600 [default without SECONDS: 2].
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_POLL_INTERVAL_S,
        value_parser = clap::value_parser!(u64).range(1..=MAX_POLL_INTERVAL_S))]
    watch: Option<u64>,
}

/// A reply that can be polled.
pub(crate) trait RenderReply: DeserializeOwned {
    /// Returns the reply as people read it.
    fn render(&self) -> String;

    /// Returns the part of the JSON whose change makes a new reply.
    fn compared_bytes(body: &[u8]) -> &[u8] {
        body
    }
}

/// The reply of one poll.
#[derive(Debug)]
struct PolledReply {
    polled_at: Timestamp,
    body: Vec<u8>,
    /// The text for people; empty with `--json`.
    text: String,
}

/// Shows what `fetch` returns, once or until a signal comes or the output is closed.
///
/// # Errors
/// When `fetch` fails; with `--watch` only when the next poll would fail as well.
pub(crate) async fn show_reply<A: RenderReply>(
    args: &PollingArgs,
    json: bool,
    mut fetch: impl AsyncFnMut() -> Result<Vec<u8>, CommandError>,
) -> CommandResult {
    let poll = async || decode_reply::<A>(fetch().await?, json);
    let outcome = match args.watch {
        None => show_once(json, poll).await,
        Some(seconds) => poll_until_stopped::<A>(seconds, json, poll).await,
    };
    // The main screen is restored by now, so the terminal keeps what is printed here.
    outcome.map_err(|failure| if json { failure.print_refusal_as_json() } else { failure })
}

fn decode_reply<A: RenderReply>(body: Vec<u8>, json: bool) -> Result<PolledReply, CommandError> {
    let text = if json {
        String::new()
    } else {
        serde_json::from_slice::<A>(&body).map_err(undecodable_reply)?.render()
    };
    Ok(PolledReply {
        polled_at: Timestamp::now(),
        body,
        text,
    })
}

async fn show_once(json: bool, mut fetch: impl AsyncFnMut() -> Result<PolledReply, CommandError>) -> CommandResult {
    let reply = fetch().await?;
    output::print_line_while_read(if json { reply.body } else { reply.text.into_bytes() })?;
    Ok(())
}

async fn poll_until_stopped<A: RenderReply>(
    seconds: u64,
    json: bool,
    mut fetch: impl AsyncFnMut() -> Result<PolledReply, CommandError>,
) -> CommandResult {
    let mut signals = ShutdownSignals::listen()?;
    let mut display = PollDisplay::open(seconds, json)?;
    loop {
        let polled = tokio::select! {
            _ = signals.next_signal() => return Ok(()),
            () = output::wait_until_stdout_closed() => return Ok(()),
            polled = fetch() => polled,
        };
        match polled {
            Ok(reply) => {
                if !display.show_poll::<A>(reply)? {
                    return Ok(());
                }
            }
            Err(failure) if is_transient(&failure) => display.show_error(&failure)?,
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            _ = signals.next_signal() => return Ok(()),
            () = output::wait_until_stdout_closed() => return Ok(()),
            () = sleep(Duration::from_secs(seconds)) => {}
        }
    }
}

/// Reports whether the next poll can succeed where this one failed: a server may return, a refused request stays refused.
fn is_transient(failure: &CommandError) -> bool {
    match failure {
        CommandError::Refused(fault) => fault.code.is_retryable(),
        CommandError::Failed(_) => true,
        CommandError::Usage(_) | CommandError::Reported | CommandError::Different | CommandError::Interrupted => false,
    }
}

/// The output of the polls so far.
#[derive(Debug)]
struct PollDisplay {
    interval_s: u64,
    json: bool,
    /// The terminal; `None` with `--json` or for any other output.
    screen: Option<AlternateScreen>,
    last_reply: Option<PolledReply>,
    /// The last error that was shown; `None` once a reply has arrived.
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

    /// Shows a reply and reports whether the output is still read.
    fn show_poll<A: RenderReply>(&mut self, reply: PolledReply) -> anyhow::Result<bool> {
        let was_failing = self.last_error.take().is_some();
        let is_new = |last: &PolledReply| A::compared_bytes(&last.body) != A::compared_bytes(&reply.body);
        let is_new = self.last_reply.as_ref().is_none_or(is_new);
        let shown = self.last_reply.insert(reply);
        if let Some(screen) = &mut self.screen {
            return screen
                .draw(&render_screen(shown.polled_at, self.interval_s, None, Some(shown)))
                .map(|()| true);
        }
        if was_failing {
            output::print_notice("order-router: requests succeed again");
        }
        match (is_new, self.json) {
            (false, _) => Ok(true),
            (true, true) => output::print_line_while_read(join_lines(&shown.body)),
            (true, false) => {
                output::print_line_while_read(format!("{}\n{}\n", format_time(shown.polled_at), shown.text))
            }
        }
    }

    /// Shows the error of a failed poll: on any output but a terminal only once while the error stays the same.
    fn show_error(&mut self, failure: &CommandError) -> anyhow::Result<()> {
        let error = failure.message().unwrap_or_default();
        if let Some(screen) = &mut self.screen {
            let text = render_screen(
                Timestamp::now(),
                self.interval_s,
                Some(&error),
                self.last_reply.as_ref(),
            );
            screen.draw(&text)?;
        } else if self.last_error.as_ref() != Some(&error) {
            output::print_notice(&format!("{error}\norder-router: retrying every {} s", self.interval_s));
        }
        self.last_error = Some(error);
        Ok(())
    }
}

/// Returns the terminal's text after a poll at this time.
fn render_screen(at: Timestamp, seconds: u64, error: Option<&str>, last_reply: Option<&PolledReply>) -> String {
    let mut text = format!("{}, every {seconds} s until Ctrl-C\n\n", format_time(at));
    if let Some(error) = error {
        text.push_str(&format!("{error}\n\n"));
    }
    match (last_reply, error) {
        (Some(last), Some(_)) => text.push_str(&format!("as of {}:\n{}", format_time(last.polled_at), last.text)),
        (Some(last), None) => text.push_str(&last.text),
        (None, _) => {}
    }
    text
}

/// Returns JSON on one line. A line break in JSON is between its tokens, never inside a string.
fn join_lines(json: &[u8]) -> Vec<u8> {
    let is_break = |byte: u8| matches!(byte, b'\n' | b'\r');
    json.iter()
        .map(|&byte| if is_break(byte) { b' ' } else { byte })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::error_with_reason;
    use crate::fault::{Fault, FaultCode};

    #[test]
    fn screen_shows_the_error_and_keeps_the_last_reply() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let reply = PolledReply {
            polled_at: at("2026-03-02T09:00:00Z"),
            body: Vec::new(),
            text: "table".to_owned(),
        };
        let later = at("2026-03-02T09:00:02Z");
        let heading = "2026-03-02T09:00:02.000Z, every 2 s until Ctrl-C";
        for (error, last, expected) in [
            (None, Some(&reply), format!("{heading}\n\ntable")),
            (
                Some("away"),
                Some(&reply),
                format!("{heading}\n\naway\n\nas of 2026-03-02T09:00:00.000Z:\ntable"),
            ),
            (Some("away"), None, format!("{heading}\n\naway\n\n")),
        ] {
            assert_eq!(render_screen(later, 2, error, last), expected);
        }
    }

    #[test]
    fn permanent_refusal_ends_the_polling() {
        for (code, is_retried) in [
            (FaultCode::BusUnavailable, true),
            (FaultCode::RateLimited, true),
            (FaultCode::Unauthenticated, false),
            (FaultCode::InvalidField, false),
        ] {
            assert_eq!(is_transient(&Fault::new(code, "d").into()), is_retried, "{code:?}");
        }
        assert!(is_transient(
            &error_with_reason("no response", "connection refused").into()
        ));
        assert!(!is_transient(&CommandError::Usage("no key".to_owned())));
    }

    #[test]
    fn reply_is_printed_on_one_line() {
        assert_eq!(join_lines(b"{\r\n\"a\": \"\\n\"\n}"), b"{  \"a\": \"\\n\" }");
    }
}
