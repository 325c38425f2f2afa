//! The inbox of a live venue: its adapter hands over every report of the venue's, and hears when it is journaled.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::brokers::port::{InboxError, TradeReading, VenueInbox, VenueNotice};
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::worker::orders::open_orders::stream_open_orders;
use crate::worker::router::Router;
use crate::worker::venue::accounts::VenueAccounts;
use crate::worker::venue::{notices, settled_trades};

/// The most reports of one API key that wait. Its adapter keeps what is refused, or reads it from the venue again.
const MAX_WAITING: usize = 1_024;
/// The most reports of one API key that are settled at a time.
const MAX_IN_FLIGHT: usize = 64;

/// A request of the adapter's.
enum InboxCall {
    Deliver(VenueNotice, oneshot::Sender<Result<(), InboxError>>),
    OpenOrders(usize, oneshot::Sender<Result<Vec<Order>, InboxError>>),
    SettledTrades(Symbol, oneshot::Sender<Result<Option<Timestamp>, InboxError>>),
    RecordSettledTrades(
        Symbol,
        (Timestamp, TradeReading),
        oneshot::Sender<Result<(), InboxError>>,
    ),
}

/// The adapter's end of an inbox.
#[derive(Debug)]
pub(in crate::worker) struct WorkerInbox(mpsc::Sender<InboxCall>);

/// The worker's end of an inbox.
pub(in crate::worker) struct InboxQueue {
    accounts: Arc<VenueAccounts>,
    calls: mpsc::Receiver<InboxCall>,
}

impl std::fmt::Debug for InboxCall {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Deliver(..) => "Deliver",
            Self::OpenOrders(..) => "OpenOrders",
            Self::SettledTrades(..) => "SettledTrades",
            Self::RecordSettledTrades(..) => "RecordSettledTrades",
        })
    }
}

/// Returns both ends of the inbox of an API key.
pub(in crate::worker) fn open_inbox(accounts: VenueAccounts) -> (WorkerInbox, InboxQueue) {
    let (sender, calls) = mpsc::channel(MAX_WAITING);
    let accounts = Arc::new(accounts);
    (WorkerInbox(sender), InboxQueue { accounts, calls })
}

impl InboxQueue {
    /// Returns the accounts whose reports arrive here.
    pub(in crate::worker) fn accounts(&self) -> Arc<VenueAccounts> {
        self.accounts.clone()
    }
}

impl WorkerInbox {
    async fn call<T>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<T, InboxError>>) -> InboxCall,
    ) -> Result<T, InboxError> {
        let (reply, outcome) = oneshot::channel();
        self.0.try_send(call(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => InboxError::Full,
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        outcome.await.unwrap_or_else(|_| Err(stopping()))
    }
}

fn stopping() -> InboxError {
    InboxError::Unavailable("the worker stops".to_owned())
}

impl VenueInbox for WorkerInbox {
    async fn deliver(&self, notice: VenueNotice) -> Result<(), InboxError> {
        self.call(|reply| InboxCall::Deliver(notice, reply)).await
    }

    async fn open_orders(&self, max: usize) -> Result<Vec<Order>, InboxError> {
        self.call(|reply| InboxCall::OpenOrders(max, reply)).await
    }

    async fn settled_trades(&self, symbol: &Symbol) -> Option<Timestamp> {
        let read = self.call(|reply| InboxCall::SettledTrades(symbol.clone(), reply));
        read.await.unwrap_or_else(|error| {
            tracing::warn!(%symbol, %error, "the trades of a whole day are read again: up to when they are settled is not known");
            None
        })
    }

    async fn record_settled_trades(&self, symbol: &Symbol, until: Timestamp, reading: TradeReading) -> bool {
        let settled = (until, reading);
        let record = self.call(|reply| InboxCall::RecordSettledTrades(symbol.clone(), settled, reply));
        let recorded = record.await;
        if let Err(error) = &recorded {
            tracing::debug!(%symbol, %error, "up to when trades are settled is not recorded; the next reading does it");
        }
        recorded.is_ok()
    }
}

/// Settles what arrives until the worker stops. A report that is cut off then is read from the venue again.
pub(in crate::worker) async fn run(router: Router, queue: InboxQueue, stop: CancellationToken) {
    let InboxQueue { accounts, mut calls } = queue;
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = running.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a report of the venue was not settled; it is read from the venue again");
                }
            }
            call = calls.recv(), if running.len() < MAX_IN_FLIGHT => match call {
                Some(call) => drop(running.spawn(take_call(router.clone(), accounts.clone(), call))),
                None => return,
            },
        }
    }
}

async fn take_call(router: Router, accounts: Arc<VenueAccounts>, call: InboxCall) {
    // An adapter that has stopped waiting delivers the report again.
    match call {
        InboxCall::Deliver(notice, reply) => {
            let settled = notices::settle_notice(&router, &accounts, notice).await;
            drop(reply.send(settled));
        }
        InboxCall::OpenOrders(max, reply) => drop(reply.send(read_open_orders(&router, &accounts, max).await)),
        InboxCall::SettledTrades(symbol, reply) => {
            drop(reply.send(settled_trades::read(&router, &accounts, &symbol).await));
        }
        InboxCall::RecordSettledTrades(symbol, settled, reply) => {
            drop(reply.send(settled_trades::record(&router, &accounts, &symbol, settled).await));
        }
    }
}

/// Returns the live orders of the accounts that are open or unknown.
///
/// # Errors
/// When they cannot be read, or are more than `max`: a part of them would pass for all.
async fn read_open_orders(router: &Router, accounts: &VenueAccounts, max: usize) -> Result<Vec<Order>, InboxError> {
    let mut orders = Vec::new();
    for account_id in &accounts.accounts {
        let mut open = stream_open_orders(router, &accounts.broker, account_id);
        while let Some(next) = open.next().await {
            let order = next.map_err(|fault| InboxError::Unavailable(fault.detail))?.order;
            if order.mode == Mode::Live {
                orders.push(order);
            }
            if orders.len() > max {
                return Err(InboxError::Unavailable(format!("more than {max} live orders are open")));
            }
        }
    }
    Ok(orders)
}
