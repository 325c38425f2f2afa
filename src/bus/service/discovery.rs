//! Who the service is and what it has done: `$SRV.PING`, `$SRV.INFO`, `$SRV.STATS` (ADR-32 of the NATS project).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Message;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::bus::call::Endpoint;
use crate::bus::connection::{Bus, BusError, within};
use crate::bus::subjects::{self, QUEUE_GROUP, SERVICE_DISCOVERY, SERVICE_NAME};
use crate::domain::time::Timestamp;

const DESCRIPTION: &str = "Order execution router";

/// One instance of the service and its counters.
#[derive(Debug)]
pub(super) struct Identity {
    id: String,
    version: String,
    started: Timestamp,
    counters: Mutex<HashMap<Endpoint, Counters>>,
}

#[derive(Debug, Clone, Default)]
struct Counters {
    requests: u64,
    errors: u64,
    last_error: String,
    processing: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    fn token(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        }
    }
}

impl Identity {
    pub(super) fn new(version: &str) -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            version: version.to_owned(),
            started: Timestamp::now(),
            counters: Mutex::default(),
        }
    }

    /// Counts a request that has been dealt with.
    pub(super) fn count(&self, endpoint: Endpoint, processing: Duration, error: Option<String>) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = counters.entry(endpoint).or_default();
        counters.requests += 1;
        counters.processing += processing;
        if let Some(error) = error {
            counters.errors += 1;
            counters.last_error = error;
        }
    }

    fn document(&self, verb: Verb) -> Value {
        let kind = format!("io.nats.micro.v1.{}_response", verb.token().to_lowercase());
        let mut document = json!({
            "type": kind, "name": SERVICE_NAME, "id": self.id, "version": self.version, "metadata": {},
        });
        let endpoints = || Endpoint::ALL.into_iter();
        match verb {
            Verb::Ping => {}
            Verb::Info => {
                document["description"] = json!(DESCRIPTION);
                document["endpoints"] = endpoints().map(identification).collect();
            }
            Verb::Stats => {
                document["started"] = json!(self.started);
                document["endpoints"] = endpoints().map(|endpoint| self.statistics(endpoint)).collect();
            }
        }
        document
    }

    fn statistics(&self, endpoint: Endpoint) -> Value {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = counters.get(&endpoint).cloned().unwrap_or_default();
        let nanoseconds = u64::try_from(counters.processing.as_nanos()).unwrap_or(u64::MAX);
        json!({
            "name": endpoint.name(),
            "subject": endpoint.subject(),
            "queue_group": QUEUE_GROUP,
            "num_requests": counters.requests,
            "num_errors": counters.errors,
            "last_error": counters.last_error,
            "processing_time": nanoseconds,
            "average_processing_time": nanoseconds.checked_div(counters.requests).unwrap_or(0),
        })
    }
}

fn identification(endpoint: Endpoint) -> Value {
    json!({
        "name": endpoint.name(), "subject": endpoint.subject(), "queue_group": QUEUE_GROUP, "metadata": {},
    })
}

/// Starts answering who the service is.
///
/// # Errors
/// When a subscription cannot be made.
pub(super) async fn start(bus: &Bus, identity: Arc<Identity>) -> Result<JoinHandle<()>, BusError> {
    let mut questions = Vec::new();
    for verb in Verb::ALL {
        let all = format!("{SERVICE_DISCOVERY}.{}", verb.token());
        let named = format!("{all}.{SERVICE_NAME}");
        let this = format!("{named}.{}", identity.id);
        for subject in [all, named, this] {
            let subscribed = within(bus.request_timeout(), "subscribing", bus.client.subscribe(subject)).await?;
            questions.push(subscribed.map(move |question| (verb, question)));
        }
    }
    let (bus, mut questions) = (bus.clone(), select_all(questions));
    Ok(tokio::spawn(async move {
        while let Some((verb, question)) = questions.next().await {
            answer(&bus, &identity, verb, &question).await;
        }
    }))
}

async fn answer(bus: &Bus, identity: &Identity, verb: Verb, question: &Message) {
    let Some(reply) = question
        .reply
        .as_ref()
        .filter(|reply| subjects::allowed_reply(reply, None))
    else {
        return;
    };
    let body = identity.document(verb).to_string();
    if let Err(error) = bus.publish(reply.to_string(), body.into()).await {
        tracing::warn!(%error, "a question who the service is could not be answered");
    }
}
