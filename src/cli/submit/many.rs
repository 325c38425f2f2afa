//! Many intents from a file, a bounded number of them under way at once.

use std::path::Path;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use super::lines::{self, Line};
use super::routing::route;
use super::summary::{Fate, Summary, unanswered};
use crate::bus::client::CallError;
use crate::bus::replies::Replies;
use crate::bus::subjects;
use crate::cli::client::Client;
use crate::cli::failure::{Failure, Outcome, because};
use crate::cli::output;
use crate::cli::table::plain;
use crate::fault::{Code, Fault};
use crate::wire::problem;

/// How many refused lines people are shown; the summary counts all.
const PROBLEMS_SHOWN: u64 = 20;

/// Submits every line and shows what became of them.
///
/// # Errors
/// When the file cannot be read, or an intent is refused, denied or not answered in time.
pub(super) async fn run(client: &Client, file: &Path, concurrency: u16, durable: bool) -> Outcome {
    let (lines, length) = lines::open(file)?;
    let replies = match durable {
        true => Some(Replies::open(&client.caller).await?),
        false => None,
    };
    let mut shown = Shown::new(client.json, length);
    let begun = Instant::now();
    let lines = stream::unfold(lines, |mut lines| async { Some((lines.recv().await?, lines)) });
    let fates = lines.map(|line| async {
        match line {
            Ok(line) => Ok((submitted(client, replies.as_ref(), &line).await, line)),
            Err(error) => Err(error),
        }
    });
    let mut fates = std::pin::pin!(fates.buffer_unordered(usize::from(concurrency)));
    let mut broken = None;
    while let Some(fate) = fates.next().await {
        match fate {
            Ok((fate, line)) => shown.add(&fate, &line)?,
            Err(error) => broken = Some(because(format!("reading {}", file.display()), error)),
        }
    }
    shown.bar.finish_and_clear();
    let text = shown.summary.within(begun.elapsed()).to_string();
    if client.json {
        eprintln!("{text}");
    } else {
        output::line(text)?;
    }
    match broken {
        Some(error) => Err(error.into()),
        None if shown.summary.is_clean() => Ok(()),
        None => Err(Failure::Told),
    }
}

async fn submitted(client: &Client, replies: Option<&Replies>, line: &Line) -> Fate {
    let Some(body) = line.body.clone() else {
        return Err(Fault::new(Code::PayloadTooLarge, "the line is longer than a message may be").into());
    };
    let route = route(&body)?;
    let deadline = client.deadline();
    match replies {
        None => {
            let subject = subjects::submit(&route.broker, &route.account);
            client.caller.request(&subject, body, deadline).await
        }
        Some(replies) => replies.submit(&route.broker, &route.account, body, deadline).await,
    }
}

/// What is shown while they are under way.
struct Shown {
    summary: Summary,
    bar: ProgressBar,
    json: bool,
    problems: u64,
}

impl Shown {
    fn new(json: bool, length: Option<u64>) -> Self {
        // It draws on the standard error stream, and only where that is a terminal.
        let bar = match length {
            Some(length) => {
                let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}, {elapsed}, {eta} left");
                ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            }
            None => {
                let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
                ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            }
        };
        Self {
            summary: Summary::default(),
            bar,
            json,
            problems: 0,
        }
    }

    fn add(&mut self, fate: &Fate, line: &Line) -> anyhow::Result<()> {
        self.summary.count(fate);
        self.bar.inc(line.length);
        self.bar.set_message(self.summary.words());
        if self.json {
            return output::line(json(fate, line));
        }
        let text = match fate {
            Ok(_) => return Ok(()),
            Err(CallError::Fault(fault)) => plain(&fault.to_string()),
            Err(timeout) => timeout.to_string(),
        };
        self.problems += 1;
        match self.problems.cmp(&(PROBLEMS_SHOWN + 1)) {
            std::cmp::Ordering::Less => self.bar.suspend(|| eprintln!("line {}: {text}", line.number)),
            std::cmp::Ordering::Equal => self.bar.suspend(|| eprintln!("… further ones are only counted")),
            std::cmp::Ordering::Greater => {}
        }
        Ok(())
    }
}

fn json(fate: &Fate, line: &Line) -> Vec<u8> {
    match fate {
        Ok(reply) => reply.body.clone(),
        Err(CallError::Fault(fault)) => {
            let number = i64::try_from(line.number).unwrap_or(i64::MAX);
            let mut fault = fault.clone();
            fault.metadata = fault.metadata.with("line", number);
            problem::encode(&fault)
        }
        Err(CallError::Timeout) => unanswered(id_of(line).as_deref()).into_bytes(),
    }
}

/// Returns the caller's id of an intent that was sent as it is.
fn id_of(line: &Line) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        client_order_id: Option<String>,
    }
    let named: Named = serde_json::from_slice(line.body.as_ref()?).ok()?;
    named.client_order_id
}
