//! The adapter under test, on a line to the exchange that can be cut for one call; and the same adapter with a flaw, so that
//! the laws are shown to find it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_router::brokers::adapter::{
    BrokerAdapter, BrokerCapabilities, CancelOutcome, DueOutcome, InquiryOutcome, NotSentReason, PlaceOutcome,
    Placement, ReplaceCallOutcome, VenueAcknowledgement,
};
use order_router::domain::leg::LegNumber;
use order_router::domain::order::Order;
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::replace::{LegWord, ReplaceOutcome};
use order_router::domain::venue_report::{VenueOrderState, VenueReport};
use order_router::risk::Approved;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use crate::conformance_harness::{Session, Spot};
use crate::support::proxy::Proxy;
use crate::venue_fixture::SOON;

/// The delay between two probes of the line.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// What a flawed adapter makes of an outcome that is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterFlaw {
    /// A placement is reported as rejected.
    UnknownIsRejected,
    /// A placement without a reply in time is reported as rejected.
    LateIsRejected,
    /// A placement is reported as not sent.
    UnknownIsNotSent,
    /// A placement is reported as acknowledged, without a fill.
    UnknownIsAcknowledged,
    /// A cancel is reported as done.
    UnknownIsCancelled,
    /// A replace is reported as done.
    UnknownIsReplaced,
    /// A replace is reported as refused.
    UnknownIsNotReplaced,
    /// An inquiry reports nothing that it finds.
    FindsNothing,
}

/// A line to the exchange whose address refuses connections while it is cut.
pub struct VenueLine {
    target: SocketAddr,
    address: SocketAddr,
    proxy: Mutex<Option<Proxy>>,
    /// Bound and never listening: no other process gets the address while the line is cut.
    _reserved: TcpSocket,
}

impl VenueLine {
    /// Opens a line to an address.
    pub async fn open(target: SocketAddr) -> Self {
        let reserved = reusing_socket("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = reserved.local_addr().unwrap();
        let line = Self {
            target,
            address,
            proxy: Mutex::new(None),
            _reserved: reserved,
        };
        line.restore().await;
        line
    }

    /// Returns the address of the exchange behind the line.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes every connection, and refuses new ones.
    fn cut(&self) {
        drop(self.proxy.lock().unwrap().take());
    }

    /// Carries new connections again.
    async fn restore(&self) {
        if self.proxy.lock().unwrap().is_some() {
            return;
        }
        // The listener of the cut line closes with its task.
        let deadline = Instant::now() + SOON;
        let listener = loop {
            match reusing_socket(self.address).and_then(|socket| socket.listen(64)) {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < deadline, "the address of the line: {error}"),
            }
            sleep(POLL_INTERVAL).await;
        };
        *self.proxy.lock().unwrap() = Some(Proxy::start_on(listener, self.target));
    }
}

fn reusing_socket(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The live adapter, and the line that it calls the exchange over.
pub struct TestedAdapter {
    spot: Spot,
    session: Arc<Session>,
    line: VenueLine,
    flaw: Option<AdapterFlaw>,
}

impl TestedAdapter {
    pub fn new(spot: Spot, session: Arc<Session>, line: VenueLine, flaw: Option<AdapterFlaw>) -> Self {
        Self {
            spot,
            session,
            line,
            flaw,
        }
    }

    /// Cuts the line for the next call, and waits until the adapter has no connection that it takes for open.
    pub async fn cut_line(&self) {
        self.line.cut();
        let deadline = Instant::now() + SOON;
        while self.session.client.trading.keep_one_open().await.is_ok() {
            assert!(Instant::now() < deadline, "the exchange is still reachable");
            sleep(POLL_INTERVAL).await;
        }
    }

    fn has(&self, flaw: AdapterFlaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl BrokerAdapter for TestedAdapter {
    fn capabilities(&self) -> &BrokerCapabilities {
        self.spot.capabilities()
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        let outcome = self.spot.place(placement).await;
        self.line.restore().await;
        match outcome {
            PlaceOutcome::OutcomeUnknown(text)
                if self.has(AdapterFlaw::UnknownIsRejected)
                    || (self.has(AdapterFlaw::LateIsRejected) && text.contains("no reply within")) =>
            {
                PlaceOutcome::Rejected(Reason::new(ReasonCode::BrokerRejected, text))
            }
            PlaceOutcome::OutcomeUnknown(text) if self.has(AdapterFlaw::UnknownIsNotSent) => {
                PlaceOutcome::NotSent(NotSentReason::Unavailable(text))
            }
            PlaceOutcome::OutcomeUnknown(_) if self.has(AdapterFlaw::UnknownIsAcknowledged) => {
                let report = bare_report(VenueOrderState::Working, LegWord::default());
                PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report))
            }
            outcome => outcome,
        }
    }

    async fn cancel(&self, order: Order) -> CancelOutcome {
        let outcome = self.spot.cancel(order).await;
        self.line.restore().await;
        match outcome {
            CancelOutcome::OutcomeUnknown(text) if self.has(AdapterFlaw::UnknownIsCancelled) => {
                let reason = Reason::new(ReasonCode::CancelRequested, text);
                CancelOutcome::Reported(bare_report(VenueOrderState::Cancelled(reason), LegWord::default()))
            }
            outcome => outcome,
        }
    }

    async fn replace(&self, order: Order) -> ReplaceCallOutcome {
        let leg = order.open_replace().map_or(LegNumber::FIRST, |replace| replace.leg);
        let outcome = self.spot.replace(order).await;
        self.line.restore().await;
        let claimed = match &outcome {
            ReplaceCallOutcome::OutcomeUnknown(_) if self.has(AdapterFlaw::UnknownIsReplaced) => ReplaceOutcome::Done,
            ReplaceCallOutcome::OutcomeUnknown(text) if self.has(AdapterFlaw::UnknownIsNotReplaced) => {
                ReplaceOutcome::NotReplaced(Reason::new(ReasonCode::NotReplaced, text))
            }
            _ => return outcome,
        };
        let report = bare_report(VenueOrderState::Working, LegWord::of_replace(leg, claimed));
        ReplaceCallOutcome::Reported(vec![report])
    }

    async fn execute_due(&self, order: Order) -> DueOutcome {
        let outcome = self.spot.execute_due(order).await;
        self.line.restore().await;
        outcome
    }

    async fn inquire(&self, order: Order) -> InquiryOutcome {
        let outcome = self.spot.inquire(order).await;
        self.line.restore().await;
        match outcome {
            InquiryOutcome::Reported(_) if self.has(AdapterFlaw::FindsNothing) => InquiryOutcome::NotFound,
            outcome => outcome,
        }
    }
}

fn bare_report(state: VenueOrderState, legs: LegWord) -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills: Vec::new(),
        state,
        cumulative_quantity: None,
        legs,
        due: None,
    }
}
