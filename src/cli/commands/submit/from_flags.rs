//! Submits one order that the flags describe.

use bytes::Bytes;

use crate::bus::request::BusReply;
use crate::bus::router_client::RequestError;
use crate::bus::submission_client::SubmissionClient;
use crate::cli::commands::submit::arguments::SubmitArgs;
use crate::cli::commands::submit::intent_from_flags::{DescribedIntent, build_intent};
use crate::cli::commands::submit::summary::unanswered_receipt;
use crate::cli::error::{CommandError, CommandResult, undecodable_reply};
use crate::cli::output;
use crate::cli::output::report;
use crate::cli::requests::bus_client::CliClient;
use crate::fault::{Fault, FaultCode};
use crate::wire::report::ExecutionReport;

/// Submits the order and prints its report.
///
/// # Errors
/// When the order is refused, denied or gets no reply in time.
pub(in crate::cli) async fn run(client: &CliClient, args: &SubmitArgs) -> CommandResult {
    let described = build_intent(args, &client.settings.instruments.0)?;
    match submit_intent(client, &described, args.durable).await {
        Ok(reply) => print_report(client, &reply),
        Err(RequestError::Fault(fault)) => Err(client.print_refusal(fault)),
        Err(RequestError::Timeout) => Err(report_unanswered(client, &described)?),
    }
}

async fn submit_intent(
    client: &CliClient,
    described: &DescribedIntent,
    durable: bool,
) -> Result<BusReply, RequestError> {
    let (broker, account) = (&described.broker, &described.account);
    // An intent holds strings and exact numbers only: encoding cannot fail.
    let body = Bytes::from(serde_json::to_vec(&described.intent).unwrap_or_default());
    let submissions = SubmissionClient::open(&client.caller, durable)
        .await
        .map_err(|error| RequestError::Fault(Fault::new(FaultCode::BusUnavailable, error.to_string())))?;
    submissions.submit(broker, account, body, client.deadline()).await
}

fn print_report(client: &CliClient, reply: &BusReply) -> CommandResult {
    let decoded = ExecutionReport::decode(&reply.body).map_err(undecodable_reply)?;
    client.print_reply(&reply.body, || report::render_report(&decoded))?;
    if reply.is_replay && !client.json {
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
