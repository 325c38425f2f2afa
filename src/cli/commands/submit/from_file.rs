//! Submits many intents from a file, with a bounded number of them in flight.

use std::path::Path;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use crate::bus::router_client::RequestError;
use crate::bus::submission_client::SubmissionClient;
use crate::cli::commands::submit::input_lines;
use crate::cli::commands::submit::input_lines::InputLine;
use crate::cli::commands::submit::intent_route::parse_route;
use crate::cli::commands::submit::summary::{SubmitResult, SubmitSummary, unanswered_receipt};
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::output::text::strip_control_characters;
use crate::cli::requests::bus_client::CliClient;
use crate::fault::{Fault, FaultCode};
use crate::wire::problem;

/// The most failed lines that are printed; the summary counts all.
const MAX_PROBLEMS_SHOWN: u64 = 20;

/// Submits every line and prints a summary of the outcomes.
///
/// # Errors
/// When the file cannot be read, or an intent is refused, denied or gets no reply in time.
pub(in crate::cli) async fn run(client: &CliClient, file: &Path, concurrency: u16, durable: bool) -> CommandResult {
    let (lines, length) = input_lines::open_input(file)?;
    let submissions = SubmissionClient::open(&client.caller, durable).await?;
    let mut progress = ProgressDisplay::new(client.json, length);
    let started_at = Instant::now();
    let lines = stream::unfold(lines, |mut lines| async { Some((lines.recv().await?, lines)) });
    let results = lines.map(|line| async {
        match line {
            Ok(line) => Ok((submit_line(client, &submissions, &line).await, line)),
            Err(error) => Err(error),
        }
    });
    let mut results = std::pin::pin!(results.buffer_unordered(usize::from(concurrency)));
    let mut read_error = None;
    while let Some(result) = results.next().await {
        match result {
            Ok((result, line)) => progress.show_result(&result, &line)?,
            Err(error) => read_error = Some(error_with_reason(format!("cannot read {}", file.display()), error)),
        }
    }
    progress.bar.finish_and_clear();
    let text = progress.summary.with_elapsed(started_at.elapsed()).to_string();
    if client.json {
        eprintln!("{text}");
    } else {
        output::print_line(text)?;
    }
    match read_error {
        Some(error) => Err(error.into()),
        None if progress.summary.is_all_accepted() => Ok(()),
        None => Err(CommandError::Reported),
    }
}

async fn submit_line(client: &CliClient, submissions: &SubmissionClient, line: &InputLine) -> SubmitResult {
    let Some(body) = line.body.clone() else {
        return Err(Fault::new(
            FaultCode::PayloadTooLarge,
            "the line is longer than 1 MiB, the longest message",
        )
        .into());
    };
    let route = parse_route(&body)?;
    submissions
        .submit(&route.broker, &route.account, body, client.deadline())
        .await
}

/// The progress bar, the lines that failed, and the counts.
struct ProgressDisplay {
    summary: SubmitSummary,
    bar: ProgressBar,
    json: bool,
    problems_shown: u64,
}

impl ProgressDisplay {
    fn new(json: bool, length: Option<u64>) -> Self {
        // The bar is drawn on standard error, and only where that is a terminal.
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
            summary: SubmitSummary::default(),
            bar,
            json,
            problems_shown: 0,
        }
    }

    fn show_result(&mut self, result: &SubmitResult, line: &InputLine) -> anyhow::Result<()> {
        self.summary.record(result);
        self.bar.inc(line.length_bytes);
        self.bar.set_message(self.summary.progress_message());
        if self.json {
            return output::print_line(render_json(result, line));
        }
        let text = match result {
            Ok(_) => return Ok(()),
            Err(RequestError::Fault(fault)) => strip_control_characters(&fault.to_string()),
            Err(timeout) => timeout.to_string(),
        };
        self.problems_shown += 1;
        match self.problems_shown.cmp(&(MAX_PROBLEMS_SHOWN + 1)) {
            std::cmp::Ordering::Less => self.bar.suspend(|| eprintln!("line {}: {text}", line.number)),
            std::cmp::Ordering::Equal => self.bar.suspend(|| eprintln!("… further failures are only counted")),
            std::cmp::Ordering::Greater => {}
        }
        Ok(())
    }
}

fn render_json(result: &SubmitResult, line: &InputLine) -> Vec<u8> {
    match result {
        Ok(reply) => reply.body.clone(),
        Err(RequestError::Fault(fault)) => {
            let number = i64::try_from(line.number).unwrap_or(i64::MAX);
            let mut fault = fault.clone();
            fault.metadata = fault.metadata.with("line", number);
            problem::encode_problem(&fault)
        }
        Err(RequestError::Timeout) => unanswered_receipt(client_order_id_of(line).as_deref()).into_bytes(),
    }
}

/// Returns the client order id in a line, where it has one.
fn client_order_id_of(line: &InputLine) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct IntentId {
        client_order_id: Option<String>,
    }
    let intent: IntentId = serde_json::from_slice(line.body.as_ref()?).ok()?;
    intent.client_order_id
}
