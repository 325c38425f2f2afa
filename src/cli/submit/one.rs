//! One order by flags.

use bytes::Bytes;

use super::SubmitArgs;
use super::intent::{Described, describe};
use crate::bus::client::{CallError, Reply};
use crate::bus::replies::Replies;
use crate::bus::subjects;
use crate::cli::client::Client;
use crate::cli::failure::{Failure, Outcome, because};
use crate::cli::{output, report};
use crate::fault::{Code, Fault};
use crate::wire::report::ExecutionReport;

/// Submits it and shows its report.
///
/// # Errors
/// When it is refused, denied or not answered in time.
pub(super) async fn run(client: &Client, args: &SubmitArgs) -> Outcome {
    let described = describe(args, &client.settings.instruments.0)?;
    match submitted(client, &described, args.durable).await {
        Ok(reply) => show(client, &reply),
        Err(CallError::Fault(fault)) => Err(client.refused(fault)),
        Err(CallError::Timeout) => Err(unanswered(client, &described)?),
    }
}

async fn submitted(client: &Client, described: &Described, durable: bool) -> Result<Reply, CallError> {
    let (broker, account) = (&described.broker, &described.account);
    // Strings and exact numbers only: there is nothing in it that JSON cannot hold.
    let body = Bytes::from(serde_json::to_vec(&described.intent).unwrap_or_default());
    if durable {
        let replies = Replies::open(&client.caller)
            .await
            .map_err(|error| CallError::Fault(Fault::new(Code::BusUnavailable, error.to_string())))?;
        replies.submit(broker, account, body, client.deadline()).await
    } else {
        let subject = subjects::submit(broker, account);
        client.caller.request(&subject, body, client.deadline()).await
    }
}

fn show(client: &Client, reply: &Reply) -> Outcome {
    let read = ExecutionReport::decode(&reply.body)
        .map_err(|error| because("the answer is none that this version reads", error))?;
    client.show(&reply.body, || report::card(&read))?;
    if reply.replayed && !client.json {
        output::line("\nThis id was known already: nothing was sent.")?;
    }
    Ok(())
}

/// Tells that nobody has answered, and how to learn what became of it.
fn unanswered(client: &Client, described: &Described) -> anyhow::Result<Failure> {
    let (broker, account, id) = (&described.broker, &described.account, &described.id);
    if client.json {
        output::line(super::summary::unanswered(Some(id.as_str())))?;
    }
    eprintln!(
        "order-router: no answer within {:?}: what became of the order is not known yet. Ask with\n  order-router get \
         --broker {broker} --account {account} --id '{id}'\nor submit it again under the same id: it cannot become a second \
         order.",
        client.timeout
    );
    Ok(Failure::Told)
}
