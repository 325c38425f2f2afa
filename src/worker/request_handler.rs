//! From a call on the bus to the step that answers it.

use tokio::time::Instant;

use crate::bus::request::{BusReply, BusRequest, Endpoint, RequestHandler};
use crate::fault::{Fault, FaultCode};
use crate::telemetry::MetricId;
use crate::worker::control::{locks, operator_state};
use crate::worker::orders::notes;
use crate::worker::router::Router;
use crate::worker::submission::measurement::door_label;
use crate::worker::submission::pipeline;
use crate::worker::{adjustments, orders, stop_point};

/// The label of a call that was answered without a problem.
const OK_LABEL: &str = "ok";

impl RequestHandler for Router {
    async fn handle(&self, call: BusRequest) -> Result<BusReply, Fault> {
        let begun = Instant::now();
        let _under_way = self.telemetry.track_in_flight(MetricId::InFlight, &[door_label(&call)]);
        let answered = match call.endpoint {
            Endpoint::Submit => pipeline::submit(self, &call).await,
            Endpoint::Get => orders::get_order(self, &call).await,
            Endpoint::Cancel => orders::cancel_order(self, &call).await,
            Endpoint::CancelAll => orders::cancel_all_orders(self, &call).await,
            Endpoint::Note => notes::add_note(self, &call).await,
            Endpoint::StateGet => operator_state::get_state(self).await,
            Endpoint::StateSet => operator_state::set_state(self, &call).await,
            Endpoint::LocksList => locks::list_locks(self).await,
            Endpoint::LocksSet => locks::set_operator_lock(self, &call).await,
            Endpoint::LocksLift => locks::lift_lock(self, &call).await,
            Endpoint::Adjust => adjustments::submit_adjustment(self, &call).await,
            Endpoint::Brokers => operator_state::list_brokers(self),
        };
        let (endpoint, code) = (call.endpoint.name(), answered.as_ref().err().map(|fault| fault.code));
        let code = code.map_or(OK_LABEL, FaultCode::as_str);
        self.telemetry.increment(MetricId::Requests, &[endpoint, code]);
        self.telemetry
            .observe_duration(MetricId::RequestDuration, &[endpoint], begun.elapsed());
        answered
    }

    fn on_reply_sent(&self) {
        stop_point::reach("after_reply");
    }
}
