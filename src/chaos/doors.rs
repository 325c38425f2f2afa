//! The doors of the router, and what comes back through each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bus::request::BusReply;
use crate::bus::router_client::{RequestError, RouterClient};
use crate::bus::subjects;
use crate::bus::submission_client::SubmissionClient;
use crate::chaos::history::{CallAnswer, ChaosDoor};
use crate::chaos::replace_plan::PlannedReplace;
use crate::chaos::rest_caller::{RestCaller, RestFailure};
use crate::chaos::workload::ChaosIntent;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::wire::order_reference::{CancelBody, OrderReference};
use crate::wire::problem::Problem;

/// How much longer than its deadline a caller waits for a response over REST.
const REST_GRACE: Duration = Duration::from_millis(500);
/// The status of a refused connection: no call was made.
const NOT_CONNECTED_STATUS: u16 = 503;
/// The status of a sent response that is complete and without a report.
const FIRST_PROBLEM_STATUS: u16 = 400;

/// The sequence of a reply over the bus that names none. Every entry has a higher one.
const NO_SEQUENCE: u64 = 0;

/// The doors, which all lanes share.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct ChaosDoors {
    /// The client of the request door.
    client: RouterClient,
    request: Arc<SubmissionClient>,
    durable: Arc<SubmissionClient>,
    rest: RestCaller,
}

impl ChaosDoors {
    /// Opens the doors.
    ///
    /// # Errors
    /// When the inbox of the durable door cannot be opened.
    pub(in crate::chaos) async fn open(client: &RouterClient, rest: RestCaller) -> anyhow::Result<Self> {
        Ok(Self {
            client: client.clone(),
            request: Arc::new(SubmissionClient::open(client, false).await?),
            durable: Arc::new(SubmissionClient::open(client, true).await?),
            rest,
        })
    }

    /// Sends an intent through a door.
    pub(in crate::chaos) async fn submit(
        &self,
        intent: &ChaosIntent,
        body: Bytes,
        door: ChaosDoor,
        deadline: Timestamp,
    ) -> CallAnswer {
        let client = match door {
            ChaosDoor::Request => &self.request,
            ChaosDoor::Durable => &self.durable,
            ChaosDoor::Rest => return self.post("/orders", body, deadline).await,
        };
        let reply = client.submit(&intent.broker, &intent.account, body, deadline).await;
        bus_answer(reply)
    }

    /// Asks for the cancel of the intent's order, over REST or over the bus.
    pub(in crate::chaos) async fn cancel(
        &self,
        intent: &ChaosIntent,
        door: ChaosDoor,
        deadline: Timestamp,
    ) -> CallAnswer {
        let id = Some(intent.client_order_id().to_owned());
        if door == ChaosDoor::Rest {
            let body = CancelBody {
                order_id: None,
                client_order_id: id,
                account_id: Some(intent.account.to_string()),
            };
            let path = format!("/orders/{}/cancel", intent.broker);
            return self.post(&path, encode(&body), deadline).await;
        }
        let body = OrderReference {
            order_id: None,
            client_order_id: id,
        };
        let subject = subjects::cancel(&intent.broker, Some(&intent.account));
        bus_answer(self.client.request(&subject, encode(&body), deadline).await)
    }

    /// Asks for a replace, over REST or over the bus.
    pub(in crate::chaos) async fn replace(
        &self,
        intent: &ChaosIntent,
        planned: &PlannedReplace,
        door: ChaosDoor,
        deadline: Timestamp,
    ) -> CallAnswer {
        if door == ChaosDoor::Rest {
            let path = format!("/orders/{}/replace", intent.broker);
            return self.post(&path, encode(&intent.replace_body(planned)), deadline).await;
        }
        let subject = subjects::replace(&intent.broker, Some(&intent.account));
        let body = encode(&intent.replace_request(planned));
        bus_answer(self.client.request(&subject, body, deadline).await)
    }

    async fn post(&self, path: &str, body: Bytes, deadline: Timestamp) -> CallAnswer {
        let limit = deadline.saturating_duration_since(Timestamp::now()) + REST_GRACE;
        match self.rest.post(path, body, deadline, limit).await {
            Ok(reply) if reply.status >= FIRST_PROBLEM_STATUS => {
                let problem = serde_json::from_slice::<Problem>(&reply.body);
                CallAnswer::Problem {
                    status: reply.status,
                    code: problem.ok().and_then(|problem| FaultCode::parse(&problem.code)),
                }
            }
            Ok(reply) => CallAnswer::of_report(&reply.body, None).unwrap_or(CallAnswer::Nothing),
            Err(RestFailure::NotConnected) => CallAnswer::Problem {
                status: NOT_CONNECTED_STATUS,
                code: None,
            },
            Err(RestFailure::NoReply) => CallAnswer::Nothing,
        }
    }
}

fn bus_answer(reply: Result<BusReply, RequestError>) -> CallAnswer {
    match reply {
        Ok(reply) => CallAnswer::of_report(&reply.body, Some(reply.journal_sequence.unwrap_or(NO_SEQUENCE)))
            .unwrap_or(CallAnswer::Nothing),
        Err(RequestError::Fault(Fault { code, .. })) => CallAnswer::Problem {
            status: code.status(),
            code: Some(code),
        },
        Err(RequestError::Timeout) => CallAnswer::Nothing,
    }
}

fn encode(body: &impl serde::Serialize) -> Bytes {
    // The bodies have only strings and exact numbers: they always serialize.
    Bytes::from(serde_json::to_vec(body).unwrap_or_default())
}
