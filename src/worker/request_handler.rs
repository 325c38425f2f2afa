//! Dispatches a call from the bus to the function that handles its endpoint.

use tokio::time::Instant;

use crate::bus::request::{BusReply, BusRequest, Endpoint, RequestHandler};
use crate::fault::{Fault, FaultCode};
use crate::telemetry::MetricId;
use crate::worker::control::{dead_man_switch, limits_change, locks, operator_state};
use crate::worker::orders::{cancel, cancel_all, notes, replace};
use crate::worker::reply::encode_reply;
use crate::worker::router::Router;
use crate::worker::submission::measurement::door_label;
use crate::worker::submission::pipeline;
use crate::worker::{adjustments, broker_list, orders, stop_point, trace};

/// The label of a call without a fault.
const OK_LABEL: &str = "ok";

impl RequestHandler for Router {
    async fn handle(&self, call: BusRequest) -> Result<BusReply, Fault> {
        let started_at = Instant::now();
        let _in_flight = self.telemetry.track_in_flight(MetricId::InFlight, &[door_label(&call)]);
        // Boxed, since the future of a call is large and each wrapper around it would move it once more.
        let work = Box::pin(dispatch(self, &call));
        let result = trace::in_call_span(&self.telemetry, &call, work).await;
        let (endpoint, code) = (call.endpoint.name(), result.as_ref().err().map(|fault| fault.code));
        let code = code.map_or(OK_LABEL, FaultCode::as_str);
        self.telemetry.increment(MetricId::Requests, &[endpoint, code]);
        self.telemetry
            .observe_duration(MetricId::RequestDuration, &[endpoint], started_at.elapsed());
        result
    }

    fn on_reply_sent(&self) {
        stop_point::reach("after_reply");
    }
}

/// Boxes every call but a submission, so that the future of a submission is no larger than its own.
async fn dispatch(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    match call.endpoint {
        Endpoint::Submit => pipeline::submit(router, call).await,
        Endpoint::Get => Box::pin(orders::get_order(router, call)).await,
        Endpoint::Cancel => Box::pin(cancel::cancel_order(router, call)).await,
        Endpoint::Replace => Box::pin(replace::replace_order(router, call)).await,
        Endpoint::CancelAll => Box::pin(cancel_all::cancel_all_orders(router, call)).await,
        Endpoint::Heartbeat => Box::pin(dead_man_switch::take_heartbeat(router, call)).await,
        Endpoint::Note => Box::pin(notes::add_note(router, call)).await,
        Endpoint::StateGet => Box::pin(operator_state::get_state(router, call)).await,
        Endpoint::StateSet => Box::pin(operator_state::set_state(router, call)).await,
        Endpoint::LimitsGet => Box::pin(limits_change::get_limits(router)).await,
        Endpoint::LimitsSet => Box::pin(limits_change::set_limits(router, call)).await,
        Endpoint::LocksList => Box::pin(locks::list_locks(router)).await,
        Endpoint::LocksSet => Box::pin(locks::set_operator_lock(router, call)).await,
        Endpoint::LocksLift => Box::pin(locks::lift_lock(router, call)).await,
        Endpoint::Adjust => Box::pin(adjustments::submit_adjustment(router, call)).await,
        Endpoint::Brokers => broker_list::list_brokers(router),
        Endpoint::Health => encode_reply(&router.readiness.health()),
    }
}
