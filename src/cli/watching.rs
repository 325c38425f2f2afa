//! Showing an answer once, or with `--watch` again and again: on a terminal the newest in the place of the one before,
//! elsewhere each one that differs.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::failure::{Failure, Outcome, because};
use super::output;
use super::screen::Screen;
use super::signals::Signals;
use super::table::moment;
use crate::domain::time::Timestamp;

/// How long it is to the next look unless a time is given, in seconds.
const DEFAULT_INTERVAL_S: &str = "2";
/// The longest time to the next look, in seconds.
const INTERVAL_MAX_S: u64 = 3_600;

/// How often an answer is looked at.
#[derive(Debug, Clone, Args)]
pub(crate) struct WatchingArgs {
    /// Looks again every so many seconds [default: 2], until Ctrl-C: on a terminal the newest answer takes the place of the
    /// one before, elsewhere each that differs is printed.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_INTERVAL_S,
        value_parser = clap::value_parser!(u64).range(1..=INTERVAL_MAX_S))]
    watch: Option<u64>,
}

/// An answer that can be looked at again.
pub(crate) trait Answer: DeserializeOwned {
    /// Returns it as people read it.
    fn text(&self) -> String;

    /// Returns the part of its JSON that makes it another answer when it changes.
    fn content(body: &[u8]) -> &[u8] {
        body
    }
}

/// What a look has found.
#[derive(Debug)]
struct Seen {
    at: Timestamp,
    body: Vec<u8>,
    /// For people; empty where nobody reads it.
    text: String,
}

/// Shows what `look` finds, once or until a signal comes or nobody reads on.
///
/// # Errors
/// When a look fails; with `--watch` only where the next one would fail as well.
pub(crate) async fn show<A: Answer>(
    args: &WatchingArgs,
    json: bool,
    mut look: impl AsyncFnMut() -> Result<Vec<u8>, Failure>,
) -> Outcome {
    let look = async || seen::<A>(look().await?, json);
    let outcome = match args.watch {
        None => once(json, look).await,
        Some(seconds) => again::<A>(seconds, json, look).await,
    };
    // By now the terminal shows again what it showed before.
    outcome.map_err(|failure| if json { failure.told_as_json() } else { failure })
}

fn seen<A: Answer>(body: Vec<u8>, json: bool) -> Result<Seen, Failure> {
    let text = if json {
        String::new()
    } else {
        let read = serde_json::from_slice::<A>(&body);
        read.map_err(|error| because("the answer is none that this version reads", error))?
            .text()
    };
    Ok(Seen {
        at: Timestamp::now(),
        body,
        text,
    })
}

async fn once(json: bool, mut look: impl AsyncFnMut() -> Result<Seen, Failure>) -> Outcome {
    let seen = look().await?;
    output::is_read(if json { seen.body } else { seen.text.into_bytes() })?;
    Ok(())
}

async fn again<A: Answer>(seconds: u64, json: bool, mut look: impl AsyncFnMut() -> Result<Seen, Failure>) -> Outcome {
    let mut signals = Signals::listen()?;
    let mut view = View::open(seconds, json)?;
    loop {
        let looked = tokio::select! {
            _ = signals.next() => return Ok(()),
            () = output::unread() => return Ok(()),
            looked = look() => looked,
        };
        match looked {
            Ok(seen) => {
                if !view.show::<A>(seen)? {
                    return Ok(());
                }
            }
            Err(failure) if may_pass(&failure) => view.tell(&failure)?,
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            _ = signals.next() => return Ok(()),
            () = output::unread() => return Ok(()),
            () = sleep(Duration::from_secs(seconds)) => {}
        }
    }
}

/// Whether the next look can succeed where this one has failed: servers come back, a request stays what it is.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(fault) => fault.code.is_retryable(),
        Failure::Failed(_) => true,
        Failure::Usage(_) | Failure::Told | Failure::Interrupted => false,
    }
}

/// What has been shown, and where.
#[derive(Debug)]
struct View {
    seconds: u64,
    json: bool,
    /// The terminal; `None` where the output goes elsewhere, or programs read it.
    screen: Option<Screen>,
    last: Option<Seen>,
    /// What people were told last, if no answer has come since.
    trouble: Option<String>,
}

impl View {
    fn open(seconds: u64, json: bool) -> anyhow::Result<Self> {
        let is_drawn = !json && std::io::stdout().is_terminal();
        Ok(Self {
            seconds,
            json,
            screen: if is_drawn { Some(Screen::open()?) } else { None },
            last: None,
            trouble: None,
        })
    }

    /// Shows what was found, and returns whether anybody reads on.
    fn show<A: Answer>(&mut self, seen: Seen) -> anyhow::Result<bool> {
        let was_in_trouble = self.trouble.take().is_some();
        let is_new = |last: &Seen| A::content(&last.body) != A::content(&seen.body);
        let is_new = self.last.as_ref().is_none_or(is_new);
        let seen = self.last.insert(seen);
        if let Some(screen) = &mut self.screen {
            return screen
                .draw(&page(seen.at, self.seconds, None, Some(seen)))
                .map(|()| true);
        }
        if was_in_trouble {
            output::aside("order-router: there is an answer again");
        }
        match (is_new, self.json) {
            (false, _) => Ok(true),
            (true, true) => output::is_read(one_line(&seen.body)),
            (true, false) => output::is_read(format!("{}\n{}\n", moment(seen.at), seen.text)),
        }
    }

    /// Tells people of a look that has failed: once as long as the next ones fail in the same way.
    fn tell(&mut self, failure: &Failure) -> anyhow::Result<()> {
        let trouble = failure.text().unwrap_or_default();
        if let Some(screen) = &mut self.screen {
            let page = page(Timestamp::now(), self.seconds, Some(&trouble), self.last.as_ref());
            screen.draw(&page)?;
        } else if self.trouble.as_ref() != Some(&trouble) {
            output::aside(&format!(
                "{trouble}\norder-router: trying again every {} s",
                self.seconds
            ));
        }
        self.trouble = Some(trouble);
        Ok(())
    }
}

/// Returns what the terminal shows after a look at this moment.
fn page(at: Timestamp, seconds: u64, trouble: Option<&str>, last: Option<&Seen>) -> String {
    let mut page = format!("{}, every {seconds} s until Ctrl-C\n\n", moment(at));
    if let Some(trouble) = trouble {
        page.push_str(&format!("{trouble}\n\n"));
    }
    match (last, trouble) {
        (Some(last), Some(_)) => page.push_str(&format!("as of {}:\n{}", moment(last.at), last.text)),
        (Some(last), None) => page.push_str(&last.text),
        (None, _) => {}
    }
    page
}

/// Returns JSON on one line: a line break in it stands between its parts and never within a text.
fn one_line(json: &[u8]) -> Vec<u8> {
    let is_break = |byte: u8| matches!(byte, b'\n' | b'\r');
    json.iter()
        .map(|&byte| if is_break(byte) { b' ' } else { byte })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Code, Fault};

    #[test]
    fn a_page_tells_of_trouble_and_keeps_the_last_answer() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let seen = Seen {
            at: at("2026-03-02T09:00:00Z"),
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
            assert_eq!(page(later, 2, trouble, last), expected);
        }
    }

    #[test]
    fn a_refusal_that_stays_ends_the_watching() {
        for (code, passes) in [
            (Code::BusUnavailable, true),
            (Code::RateLimited, true),
            (Code::Unauthenticated, false),
            (Code::InvalidField, false),
        ] {
            assert_eq!(may_pass(&Fault::new(code, "d").into()), passes, "{code:?}");
        }
        assert!(may_pass(&because("no answer", "refused").into()));
        assert!(!may_pass(&Failure::Usage("no key".to_owned())));
    }

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(one_line(b"{\r\n\"a\": \"\\n\"\n}"), b"{  \"a\": \"\\n\" }");
    }
}
