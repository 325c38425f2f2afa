//! What is measured of requests, by the pattern of their path: what callers write into it makes no series.

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use tokio::time::Instant;

use super::order_log::{Standing, Status};
use crate::bus::connection::Bus;
use crate::telemetry::{Id, NONE, OTHER, Telemetry, UnderWay};

/// The telemetry, and the connection it tells the state of.
#[derive(Debug)]
pub(super) struct Measures {
    telemetry: Telemetry,
    bus: Bus,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Measured {
    telemetry: Telemetry,
    method: &'static str,
    route: Option<MatchedPath>,
    begun: Instant,
    under_way: UnderWay,
}

impl Measures {
    /// Returns the measures of a sidecar.
    pub(super) fn new(telemetry: Telemetry, bus: Bus) -> Self {
        Self { telemetry, bus }
    }

    /// Counts a request as under way.
    pub(super) fn begin(&self, request: &Request, begun: Instant) -> Measured {
        Measured {
            telemetry: self.telemetry.clone(),
            method: method(request.method()),
            route: request.extensions().get::<MatchedPath>().cloned(),
            begun,
            under_way: self.telemetry.under_way(Id::HttpInFlight, &[]),
        }
    }

    /// Returns everything this process measures, in the text format of Prometheus.
    pub(super) fn render(&self, log: &Status) -> String {
        let is_ready = u64::from(log.standing == Standing::Current);
        self.telemetry.set(Id::OrderLogReady, &[], Some(is_ready));
        self.telemetry
            .set(Id::OrderLogSequence, &[], Some(log.journal_sequence));
        self.telemetry.set(Id::OrderLogLag, &[], Some(log.lag()));
        let is_connected = u64::from(self.bus.is_connected());
        self.telemetry.set(Id::NatsConnected, &["sidecar"], Some(is_connected));
        self.telemetry.render()
    }
}

impl Measured {
    /// Counts how the request was answered.
    pub(super) fn end(self, status: StatusCode) {
        let route = self.route.as_ref().map_or(NONE, MatchedPath::as_str);
        let (telemetry, method) = (&self.telemetry, self.method);
        telemetry.count(Id::HttpRequests, &[method, route, status.as_str()]);
        telemetry.observe(Id::HttpDuration, &[method, route], self.begun.elapsed());
        drop(self.under_way);
    }
}

/// Returns the label of a method; a client can make up others.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => OTHER,
    }
}
