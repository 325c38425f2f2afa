//! Service discovery: replies to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` (ADR-32 of the NATS project).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Message;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::request::Endpoint;
use crate::bus::subjects::{self, QUEUE_GROUP, SERVICE_NAME};
use crate::domain::time::Timestamp;
use crate::repeated_log::log_at_intervals;

const DESCRIPTION: &str = "Order execution router";

/// One instance of the service, with its statistics.
#[derive(Debug)]
pub(in crate::bus) struct ServiceInstance {
    id: String,
    version: String,
    started_at: Timestamp,
    counters: Mutex<HashMap<Endpoint, EndpointCounters>>,
}

#[derive(Debug, Clone, Default)]
struct EndpointCounters {
    requests: u64,
    errors: u64,
    last_error: String,
    processing_time: Duration,
}

#[derive(Debug, Clone, Copy)]
enum DiscoveryVerb {
    Ping,
    Info,
    Stats,
}

impl DiscoveryVerb {
    const ALL: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    fn token(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        }
    }
}

impl ServiceInstance {
    pub(in crate::bus) fn new(version: &str) -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            version: version.to_owned(),
            started_at: Timestamp::now(),
            counters: Mutex::default(),
        }
    }

    /// Counts a handled request.
    pub(in crate::bus) fn record_request(&self, endpoint: Endpoint, processing: Duration, error: Option<String>) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = counters.entry(endpoint).or_default();
        counters.requests += 1;
        counters.processing_time += processing;
        if let Some(error) = error {
            counters.errors += 1;
            counters.last_error = error;
        }
    }

    fn response_document(&self, verb: DiscoveryVerb) -> Value {
        let kind = format!("io.nats.micro.v1.{}_response", verb.token().to_lowercase());
        let mut document = json!({
            "type": kind, "name": SERVICE_NAME, "id": self.id, "version": self.version, "metadata": {},
        });
        let endpoints = || Endpoint::ALL.into_iter();
        match verb {
            DiscoveryVerb::Ping => {}
            DiscoveryVerb::Info => {
                document["description"] = json!(DESCRIPTION);
                document["endpoints"] = endpoints().map(endpoint_info).collect();
            }
            DiscoveryVerb::Stats => {
                document["started"] = json!(self.started_at);
                document["endpoints"] = endpoints().map(|endpoint| self.endpoint_statistics(endpoint)).collect();
            }
        }
        document
    }

    fn endpoint_statistics(&self, endpoint: Endpoint) -> Value {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = counters.get(&endpoint).cloned().unwrap_or_default();
        let nanoseconds = u64::try_from(counters.processing_time.as_nanos()).unwrap_or(u64::MAX);
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

fn endpoint_info(endpoint: Endpoint) -> Value {
    json!({
        "name": endpoint.name(), "subject": endpoint.subject(), "queue_group": QUEUE_GROUP, "metadata": {},
    })
}

/// Starts to reply to service discovery.
///
/// # Errors
/// When a subscription fails.
pub(in crate::bus) async fn spawn_discovery(
    bus: &Bus,
    instance: Arc<ServiceInstance>,
) -> Result<JoinHandle<()>, BusError> {
    let mut requests = Vec::new();
    for verb in DiscoveryVerb::ALL {
        for subject in subjects::service_discovery(verb.token(), &instance.id) {
            let subscribed = with_timeout(bus.request_timeout(), "subscribing", bus.client.subscribe(subject)).await?;
            requests.push(subscribed.map(move |request| (verb, request)));
        }
    }
    let (bus, mut requests) = (bus.clone(), select_all(requests));
    Ok(tokio::spawn(async move {
        while let Some((verb, request)) = requests.next().await {
            send_response(&bus, &instance, verb, &request).await;
        }
    }))
}

async fn send_response(bus: &Bus, instance: &ServiceInstance, verb: DiscoveryVerb, request: &Message) {
    let Some(reply) = request
        .reply
        .as_ref()
        .filter(|reply| subjects::is_allowed_reply(reply, None))
    else {
        return;
    };
    let body = instance.response_document(verb).to_string();
    if let Err(error) = bus.publish(reply.to_string(), body.into()).await {
        log_at_intervals!(warn, %error, "the reply to a service discovery request was not sent");
    }
}
