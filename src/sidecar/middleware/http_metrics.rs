//! HTTP metrics, labelled by the pattern of the path: a client's text in a path creates no series.

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use tokio::time::Instant;

use crate::bus::connection::Bus;
use crate::order_log::{OrderLogStatus, SyncState};
use crate::sidecar::request_trace::RequestTrace;
use crate::telemetry::{InFlightGuard, MetricId, NO_LABEL, OTHER_LABEL, Telemetry};

/// The telemetry, and the NATS connection whose state it reports.
#[derive(Debug)]
pub(in crate::sidecar) struct HttpMetrics {
    telemetry: Telemetry,
    bus: Bus,
}

/// A request in flight.
#[derive(Debug)]
pub(in crate::sidecar) struct RequestMeasurement {
    telemetry: Telemetry,
    method: &'static str,
    route: Option<MatchedPath>,
    started_at: Instant,
    in_flight: InFlightGuard,
    trace: Option<RequestTrace>,
}

impl HttpMetrics {
    /// Returns the metrics of a sidecar.
    pub(in crate::sidecar) fn new(telemetry: Telemetry, bus: Bus) -> Self {
        Self { telemetry, bus }
    }

    /// Returns the telemetry.
    pub(in crate::sidecar) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Counts a request as in flight. Where requests are traced, the request's own calls find its trace in its extensions.
    pub(in crate::sidecar) fn start_request(&self, request: &mut Request, started_at: Instant) -> RequestMeasurement {
        let trace = RequestTrace::start(&self.telemetry, request);
        if let Some(trace) = &trace {
            request.extensions_mut().insert(*trace);
        }
        RequestMeasurement {
            telemetry: self.telemetry.clone(),
            method: method_label(request.method()),
            route: request.extensions().get::<MatchedPath>().cloned(),
            started_at,
            in_flight: self.telemetry.track_in_flight(MetricId::HttpInFlight, &[]),
            trace,
        }
    }

    /// Returns all metrics of this process in the Prometheus text format.
    pub(in crate::sidecar) fn render(&self, order_log: &OrderLogStatus) -> String {
        let is_ready = u64::from(order_log.sync_state == SyncState::Current);
        self.telemetry.set_gauge(MetricId::OrderLogReady, &[], Some(is_ready));
        self.telemetry
            .set_gauge(MetricId::OrderLogSequence, &[], Some(order_log.journal_sequence));
        self.telemetry
            .set_gauge(MetricId::OrderLogLag, &[], Some(order_log.lag_entries()));
        let is_connected = u64::from(self.bus.is_connected());
        self.telemetry
            .set_gauge(MetricId::NatsConnected, &["sidecar"], Some(is_connected));
        self.telemetry.render()
    }
}

impl RequestMeasurement {
    /// Counts the response by its status, and records its duration.
    pub(in crate::sidecar) fn finish(self, status: StatusCode) {
        let route = self.route.as_ref().map_or(NO_LABEL, MatchedPath::as_str);
        let (telemetry, method) = (&self.telemetry, self.method);
        telemetry.increment(MetricId::HttpRequests, &[method, route, status.as_str()]);
        telemetry.observe_duration(MetricId::HttpDuration, &[method, route], self.started_at.elapsed());
        if let Some(trace) = self.trace {
            trace.record(telemetry, method, route, status, self.started_at.elapsed());
        }
        drop(self.in_flight);
    }
}

/// Returns the label of a method. Methods that a client invents share one label.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => OTHER_LABEL,
    }
}
