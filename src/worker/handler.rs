//! From a call on the bus to the step that answers it.

use tokio::time::Instant;

use super::observed::door;
use super::router::Router;
use super::{adjust, locks, notes, orders, pipeline, state, stop_point};
use crate::bus::call::{Answer, Call, Endpoint, Handler};
use crate::fault::{Code, Fault};
use crate::telemetry::Id;

/// The label of a call that was answered without a problem.
const ANSWERED: &str = "ok";

impl Handler for Router {
    async fn handle(&self, call: Call) -> Result<Answer, Fault> {
        let begun = Instant::now();
        let _under_way = self.telemetry.under_way(Id::InFlight, &[door(&call)]);
        let answered = match call.endpoint {
            Endpoint::Submit => pipeline::submit(self, &call).await,
            Endpoint::Get => orders::get(self, &call).await,
            Endpoint::Cancel => orders::cancel(self, &call).await,
            Endpoint::CancelAll => orders::cancel_all(self, &call).await,
            Endpoint::Note => notes::note(self, &call).await,
            Endpoint::StateGet => state::get(self).await,
            Endpoint::StateSet => state::set(self, &call).await,
            Endpoint::LocksList => locks::list(self).await,
            Endpoint::LocksSet => locks::set(self, &call).await,
            Endpoint::LocksLift => locks::lift(self, &call).await,
            Endpoint::Adjust => adjust::adjust(self, &call).await,
            Endpoint::Brokers => state::brokers(self),
        };
        let (endpoint, code) = (call.endpoint.name(), answered.as_ref().err().map(|fault| fault.code));
        let code = code.map_or(ANSWERED, Code::as_str);
        self.telemetry.count(Id::Requests, &[endpoint, code]);
        self.telemetry
            .observe(Id::RequestDuration, &[endpoint], begun.elapsed());
        answered
    }

    fn answered(&self) {
        stop_point::reach("after_reply");
    }
}
