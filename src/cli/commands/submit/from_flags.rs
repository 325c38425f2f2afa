//! Submits one order that the flags describe.

use crate::cli::commands::submit::arguments::SubmitArgs;
use crate::cli::commands::submit::intent_from_flags::{DescribedIntent, build_intent};
use crate::cli::commands::submit::summary::unanswered_receipt;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::cli::output::report;
use crate::cli::requests::bus_client::CliClient;
use crate::client::error::CallError;
use crate::client::typed_reply::TypedReply;
use crate::domain::time::Timestamp;
use crate::wire::report::ExecutionReport;

/// Submits the order and prints its report.
///
/// # Errors
/// When the order is refused, denied or gets no reply in time.
pub(in crate::cli) async fn run(client: &CliClient, args: &SubmitArgs) -> CommandResult {
    let described = build_intent(args, &client.settings.instruments.0)?;
    match submit_intent(client, &described, args.durable).await {
        Err(CallError::OutcomeUnknown { .. }) => Err(report_unanswered(client, &described)?),
        called => print_report(client, &client.report(called)?),
    }
}

async fn submit_intent(
    client: &CliClient,
    described: &DescribedIntent,
    durable: bool,
) -> Result<TypedReply<ExecutionReport>, CallError> {
    let (caller, intent, timeout) = (&client.caller, &described.intent, client.timeout);
    if durable {
        let deadline = client.deadline();
        let mut stored = caller.submit_durable(intent, timeout).await?;
        let left = deadline.saturating_duration_since(Timestamp::now());
        caller.wait_report(&mut stored, left).await
    } else {
        caller.submit(intent, timeout).await
    }
}

fn print_report(client: &CliClient, report: &TypedReply<ExecutionReport>) -> CommandResult {
    client.print_reply(&report.reply.body, || report::render_report(report))?;
    if report.reply.is_replay && !client.json {
        output::print_line("\nThe router knew this id already: nothing was sent.")?;
    }
    Ok(())
}

/// Prints that there is no reply, and how to learn the outcome.
fn report_unanswered(client: &CliClient, described: &DescribedIntent) -> anyhow::Result<CommandError> {
    let (broker, account, id) = (&described.broker, &described.account, &described.client_order_id);
    if client.json {
        output::print_line(unanswered_receipt(Some(id.as_str())))?;
    }
    eprintln!(
        "order-router: no reply within {:?}: the outcome of the order is unknown. Read it with\n  order-router get --broker \
         {broker} --account {account} --id '{id}'\nor submit the order again under the same id: that cannot create a second \
         order.",
        client.timeout
    );
    Ok(CommandError::Reported)
}
