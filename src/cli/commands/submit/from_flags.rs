//! One order by flags.

use bytes::Bytes;

use crate::bus::reply_inbox::ReplyInbox;
use crate::bus::router_client::{ReceivedReply, RequestError};
use crate::bus::subjects;
use crate::cli::commands::submit::SubmitArgs;
use crate::cli::commands::submit::intent_from_flags::{DescribedIntent, build_intent};
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::output::report;
use crate::cli::requests::bus_client::CliClient;
use crate::fault::{Fault, FaultCode};
use crate::wire::report::ExecutionReport;

/// Submits it and shows its report.
///
/// # Errors
/// When it is refused, denied or not answered in time.
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
) -> Result<ReceivedReply, RequestError> {
    let (broker, account) = (&described.broker, &described.account);
    // Strings and exact numbers only: there is nothing in it that JSON cannot hold.
    let body = Bytes::from(serde_json::to_vec(&described.intent).unwrap_or_default());
    if durable {
        let replies = ReplyInbox::open(&client.caller)
            .await
            .map_err(|error| RequestError::Fault(Fault::new(FaultCode::BusUnavailable, error.to_string())))?;
        replies.submit_and_wait(broker, account, body, client.deadline()).await
    } else {
        let subject = subjects::submit(broker, account);
        client.caller.request(&subject, body, client.deadline()).await
    }
}

fn print_report(client: &CliClient, reply: &ReceivedReply) -> CommandResult {
    let read = ExecutionReport::decode(&reply.body)
        .map_err(|error| error_with_reason("the answer is none that this version reads", error))?;
    client.print_reply(&reply.body, || report::render_report(&read))?;
    if reply.is_replay && !client.json {
        output::print_line("\nThis id was known already: nothing was sent.")?;
    }
    Ok(())
}

/// Tells that nobody has answered, and how to learn what became of it.
fn report_unanswered(client: &CliClient, described: &DescribedIntent) -> anyhow::Result<CommandError> {
    let (broker, account, id) = (&described.broker, &described.account, &described.client_order_id);
    if client.json {
        output::print_line(crate::cli::commands::submit::summary::unanswered_receipt(Some(
            id.as_str(),
        )))?;
    }
    eprintln!(
        "order-router: no answer within {:?}: what became of the order is not known yet. Ask with\n  order-router get \
         --broker {broker} --account {account} --id '{id}'\nor submit it again under the same id: it cannot become a second \
         order.",
        client.timeout
    );
    Ok(CommandError::Reported)
}
