//! What workers say of each order now, against the journal.

use std::time::Duration;

use futures_util::StreamExt;

use crate::bus::router_client::{RequestError, RouterClient};
use crate::bus::subjects;
use crate::chaos::history::{IntentHistory, report_hash};
use crate::chaos::journal_model::{JournalModel, ModelOrder};
use crate::chaos::violation::FoundViolations;
use crate::chaos::workload::{ChaosIntent, ChaosRun};
use crate::domain::time::Timestamp;
use crate::fault::FaultCode;
use crate::wire::order_reference::OrderReference;
use crate::wire::report::ExecutionReport;

/// Requests in flight at a time.
const CONCURRENCY: usize = 32;
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request is made before its failure counts.
const ATTEMPTS: usize = 3;

/// Asks for the order of every intent.
pub(in crate::chaos) async fn check_reads(
    client: &RouterClient,
    run: ChaosRun,
    histories: &[IntentHistory],
    model: &JournalModel,
    found: &mut FoundViolations,
) {
    let numbers = futures_util::stream::iter(histories.iter().map(|history| history.number));
    let reads = numbers.map(async |number| {
        let intent = ChaosIntent::of_run(run, number).ok()?;
        let key = (intent.account.to_string(), intent.client_order_id().to_owned());
        let reply = read_order(client, &intent).await;
        let difference = difference(reply, model.orders.get(&key))?;
        Some(format!("{}: {difference}", intent.client_order_id()))
    });
    let mut reads = std::pin::pin!(reads.buffer_unordered(CONCURRENCY));
    while let Some(difference) = reads.next().await {
        if let Some(difference) = difference {
            found.add("get_differs", difference);
        }
    }
}

async fn read_order(client: &RouterClient, intent: &ChaosIntent) -> Result<ExecutionReport, String> {
    let reference = OrderReference {
        order_id: None,
        client_order_id: Some(intent.client_order_id().to_owned()),
    };
    let subject = subjects::get(&intent.broker, Some(&intent.account));
    let body = serde_json::to_vec(&reference).map_err(|error| error.to_string())?;
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let deadline = Timestamp::now().saturating_add(REQUEST_TIMEOUT);
        match client.request(&subject, body.clone().into(), deadline).await {
            Ok(reply) => return ExecutionReport::decode(&reply.body).map_err(|error| error.to_string()),
            Err(RequestError::Fault(fault)) if fault.code == FaultCode::UnknownOrder => {
                return Err(fault.code.as_str().to_owned());
            }
            Err(error) => failure = error.to_string(),
        }
    }
    Err(failure)
}

/// Returns how a reply differs from the journal's order.
fn difference(reply: Result<ExecutionReport, String>, order: Option<&ModelOrder>) -> Option<String> {
    match (reply, order) {
        (Ok(report), Some(order)) => {
            let newest = order.versions.last().map(|version| version.hash);
            let (hash, version) = (report_hash(&report), order.newest.version);
            let (id, shown) = (&report.order_id, report.version);
            (Some(hash) != newest).then(|| {
                format!(
                    "a worker has {id} version {shown}, the journal {} version {version}",
                    order.order_id()
                )
            })
        }
        (Ok(report), None) => Some(format!("a worker has {}, the journal none", report.order_id)),
        (Err(error), Some(order)) => Some(format!("a worker says {error}, the journal has {}", order.order_id())),
        (Err(error), None) => (error != FaultCode::UnknownOrder.as_str()).then(|| format!("a worker says {error}")),
    }
}
