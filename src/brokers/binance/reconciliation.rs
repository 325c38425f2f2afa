//! Reconciliation: what the venue's stream did not bring is read from its lists.
//!
//! It runs at the start, after every new connection of the stream, after every event that could not be settled, and at
//! intervals, however healthy the stream looks. Settling the same report twice changes nothing, so it needs no agreement with
//! the stream about who brings what.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::brokers::adapter::InquiryOutcome;
use crate::brokers::binance::delivery::{deliver, is_own_order};
use crate::brokers::binance::inquiry::{inquire_order, read_fills};
use crate::brokers::binance::messages::order_state::OrderState;
use crate::brokers::binance::messages::trade::Trade;
use crate::brokers::binance::order_lists;
use crate::brokers::binance::reports::queried_notice;
use crate::brokers::binance::request_budget::RequestPurpose;
use crate::brokers::binance::rest_reader::{ReadError, TRADES_PER_PAGE, TradesFrom};
use crate::brokers::binance::retry_delay::RetryDelay;
use crate::brokers::binance::session::VenueSession;
use crate::brokers::port::{InboxError, LimitLedger, TradeReading, VenueInbox, VenueNotice};
use crate::domain::id::OrderId;
use crate::domain::order::Order;
use crate::domain::order_terms::OrderStatus;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;

/// How often the lists are read.
const INTERVAL: Duration = Duration::from_secs(60);
/// The delays after a failure.
const FAILURE_DELAY: RetryDelay = RetryDelay::new(Duration::from_secs(1), Duration::from_secs(60));
/// How far back the first reading of trades goes where no worker has settled them later. Older fills are found through the
/// orders that the router has open.
const FIRST_LOOK_BACK: Duration = Duration::from_secs(86_400);
/// How far each reading overlaps the one before: the venue's lists may lag behind its engine.
const OVERLAP: Duration = Duration::from_secs(300);
/// How many orders of a list are settled at a time.
const SETTLED_AT_A_TIME: usize = 16;
/// The most pages of trades of one symbol in one reading; the next one continues.
const MAX_PAGES: usize = 20;
/// The most open orders of the router that one reading takes; with more it fails.
const MAX_OPEN_ORDERS: usize = 20_000;
/// After how many readings in a row an order that cannot be settled closes the venue to others no longer.
const MAX_UNREADABLE_READINGS: u32 = 3;

/// Why a reading is incomplete. It is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconciliationError {
    /// The venue does not say.
    #[error(transparent)]
    Venue(#[from] ReadError),
    /// A report is not journaled, or the router's open orders cannot be read.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The offset of the venue's clock is not known.
    #[error("the offset of the venue's clock is not known")]
    ClockUnknown,
    /// Some orders could not be read or settled; the others are settled.
    #[error("{0} orders cannot be settled with the venue; the others are")]
    Unreadable(usize),
    /// There are more trades than one reading takes.
    #[error("there are more trades than one reading takes")]
    MoreTrades,
}

/// How far the trades of each symbol are read.
#[derive(Debug, Default)]
pub struct Reconciliation {
    /// How many readings in a row have met orders that cannot be settled.
    unreadable_readings: u32,
    cursors: BTreeMap<Symbol, TradeCursor>,
}

/// By time, not by id alone: a test venue that is wiped begins with small ids again.
#[derive(Debug)]
struct TradeCursor {
    since: Timestamp,
    /// What the next complete reading is.
    reading: TradeReading,
    /// The trades in the overlap that are settled, with their times.
    settled: BTreeMap<i64, Timestamp>,
}

/// Reconciles until the worker stops.
pub async fn run<L: LimitLedger, I: VenueInbox>(session: Arc<VenueSession<L, I>>, stop: CancellationToken) {
    let mut reconciliation = Reconciliation::default();
    let mut failure_delay = FAILURE_DELAY;
    let reconcile_for_ever = async {
        loop {
            match reconciliation.run_once(&session).await {
                Ok(()) => {
                    failure_delay.reset();
                    tokio::select! {
                        () = sleep(INTERVAL) => {}
                        () = session.reconciliation_due.notified() => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the reconciliation with the venue is incomplete; it is repeated");
                    sleep(failure_delay.next_delay()).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = reconcile_for_ever => {}
    }
}

impl Reconciliation {
    /// Reads open orders and trades of each symbol, and asks about every open order of the router that no list named.
    ///
    /// # Errors
    /// When a part could not be read or settled. What was settled stays settled.
    pub async fn run_once<L, I>(&mut self, session: &VenueSession<L, I>) -> Result<(), ReconciliationError>
    where
        L: LimitLedger,
        I: VenueInbox,
    {
        let connection = session.reports.connection();
        // What is open here is read first: an order placed during the reading is not missed at the venue.
        let expected = session.inbox.open_orders(MAX_OPEN_ORDERS).await?;
        let mut listed = BTreeSet::new();
        let mut unreadable = 0;
        for symbol in &session.symbols {
            unreadable += settle_open_orders(session, symbol, &mut listed).await?;
            unreadable += self.settle_trades(session, symbol).await?;
        }
        for order in &expected {
            // The worker's own inquiries ask about unknown orders, and about replaces whose outcome is open.
            let is_settling = order.status == Some(OrderStatus::Unknown) || order.open_replace().is_some();
            let is_asked = !is_settling && !listed.contains(&order.order_id);
            if is_asked
                && session.symbols.contains(&order.symbol)
                && let Err(error) = settle_unlisted(session, order).await
            {
                tracing::error!(order_id = %order.order_id, %error, "an order that is open here cannot be settled with the venue");
                unreadable += 1;
            }
        }
        match unreadable {
            0 => {
                self.unreadable_readings = 0;
                session.reports.complete_reconciliation(connection);
                Ok(())
            }
            count => {
                self.unreadable_readings += 1;
                if self.unreadable_readings >= MAX_UNREADABLE_READINGS {
                    // The rest is read. These orders stay as they are here, and count in full against the limits.
                    tracing::error!(
                        count,
                        "orders are taken again although some at the venue cannot be settled: compare them by hand"
                    );
                    session.reports.complete_reconciliation(connection);
                }
                Err(ReconciliationError::Unreadable(count))
            }
        }
    }

    /// Settles the trades of a symbol since the last reading. Returns of how many orders they could not be read.
    async fn settle_trades<L, I>(
        &mut self,
        session: &VenueSession<L, I>,
        symbol: &Symbol,
    ) -> Result<usize, ReconciliationError>
    where
        L: LimitLedger,
        I: VenueInbox,
    {
        let started_at = session.client.clock.now().ok_or(ReconciliationError::ClockUnknown)?;
        let cursor = match self.cursors.entry(symbol.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(first) => first.insert(TradeCursor::first(session, symbol, started_at).await),
        };
        let mut from = TradesFrom::Time(cursor.since);
        let mut unreadable = 0;
        for _ in 0..MAX_PAGES {
            let page = session.client.symbol_trades(symbol, from).await?;
            let last = page.last().map(|trade| (trade.id, trade.time));
            let is_last_page = page.len() < TRADES_PER_PAGE;
            unreadable += cursor.settle_page(session, symbol, page).await?;
            match last {
                Some((id, _)) if !is_last_page => from = TradesFrom::Id(id.saturating_add(1)),
                // What could not be read stays ahead of the cursor.
                _ if unreadable > 0 => return Ok(unreadable),
                _ => {
                    // A clock that was wrong at the beginning is measured again when the venue refuses a request for it.
                    let now = session.client.clock.now().ok_or(ReconciliationError::ClockUnknown)?;
                    cursor.advance(started_at.min(now).saturating_sub(OVERLAP));
                    let recorded = session
                        .inbox
                        .record_settled_trades(symbol, cursor.since, cursor.reading);
                    if recorded.await {
                        cursor.reading = TradeReading::Continued;
                    }
                    return Ok(0);
                }
            }
            if let Some((_, time)) = last.filter(|_| unreadable == 0) {
                cursor.since = Timestamp::from_milliseconds(time);
            }
        }
        Err(ReconciliationError::MoreTrades)
    }
}

impl TradeCursor {
    /// Returns the cursor of a worker's first reading: it begins where the last complete reading of any worker ended.
    async fn first<L, I>(session: &VenueSession<L, I>, symbol: &Symbol, now: Timestamp) -> Self
    where
        L: LimitLedger,
        I: VenueInbox,
    {
        let earliest = now.saturating_sub(FIRST_LOOK_BACK);
        // A moment in the future is that of a clock that was wrong.
        let settled_until = session.inbox.settled_trades(symbol).await;
        let settled_until = settled_until.filter(|until| *until <= now);
        let reading = settled_until.map_or(TradeReading::Whole, |_| TradeReading::Continued);
        let settled_until = settled_until.unwrap_or(earliest);
        Self {
            since: settled_until.clamp(earliest, now.saturating_sub(OVERLAP)),
            reading,
            settled: BTreeMap::new(),
        }
    }

    /// Settles the trades of a page that are not settled yet, order by order. Returns of how many orders they could not be
    /// read: one of them holds up no other.
    async fn settle_page<L, I>(
        &mut self,
        session: &VenueSession<L, I>,
        symbol: &Symbol,
        page: Vec<Trade>,
    ) -> Result<usize, ReconciliationError>
    where
        L: LimitLedger,
        I: VenueInbox,
    {
        let mut by_order: BTreeMap<i64, Vec<Trade>> = BTreeMap::new();
        for trade in page {
            let at = Timestamp::from_milliseconds(trade.time);
            let is_settled =
                self.settled.contains_key(&trade.id) || session.settled_trades.contains(symbol, trade.id, at);
            if !is_settled {
                by_order.entry(trade.order_id).or_default().push(trade);
            }
        }
        // A trade has the venue's order id only; the order says whose it is.
        let ids: Vec<i64> = by_order.keys().copied().collect();
        let mut listed = order_lists::read_orders(&session.client, symbol, &ids).await?;
        let settling = by_order.into_iter().map(|(order_id, trades)| {
            let state = listed.remove(&order_id);
            settle_trades_of_order(session, symbol, order_id, trades, state)
        });
        let settling: Vec<_> = settling.collect();
        let mut settling = futures_util::stream::iter(settling).buffered(SETTLED_AT_A_TIME);
        let mut unreadable = 0;
        while let Some(settled) = settling.next().await {
            match settled? {
                Some(trades) => self.settled.extend(trades),
                None => unreadable += 1,
            }
        }
        Ok(unreadable)
    }

    fn advance(&mut self, since: Timestamp) {
        self.since = since;
        self.settled.retain(|_, at| *at >= since);
    }
}

/// Settles the trades of one order. Returns them with their times; `None` where they could not be settled, which holds up no
/// other order.
///
/// # Errors
/// When the venue does not say whose they are.
async fn settle_trades_of_order<L, I>(
    session: &VenueSession<L, I>,
    symbol: &Symbol,
    order_id: i64,
    trades: Vec<Trade>,
    listed: Option<OrderState>,
) -> Result<Option<Vec<(i64, Timestamp)>>, ReconciliationError>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let state = match listed {
        Some(state) => Ok(state),
        None => session.client.query_order_by_id(symbol, order_id).await,
    };
    let notice = match state {
        Ok(state) => queried_notice(&state, &trades).map_err(|error| error.to_string()),
        Err(error @ (ReadError::NotOffered | ReadError::Unanswered(_))) => return Err(error.into()),
        Err(error) => Err(error.to_string()),
    };
    let settled = match notice {
        Ok(notice) => deliver(session, notice).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    if let Err(error) = settled {
        tracing::error!(%symbol, order_id, error, "the trades of an order at the venue cannot be settled");
        return Ok(None);
    }
    let times = trades
        .iter()
        .map(|trade| (trade.id, Timestamp::from_milliseconds(trade.time)));
    Ok(Some(times.collect()))
}

/// Settles the open orders that the venue lists. Returns how many could not be read.
async fn settle_open_orders<L, I>(
    session: &VenueSession<L, I>,
    symbol: &Symbol,
    listed: &mut BTreeSet<OrderId>,
) -> Result<usize, ReconciliationError>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let mut unreadable = 0;
    let mut own = Vec::new();
    for text in session.client.open_orders(symbol).await? {
        match serde_json::from_str::<OrderState>(text.get()) {
            Ok(state) => {
                let is_own = OrderId::new(state.placed_client_order_id()).is_ok_and(|id| is_own_order(&id));
                own.extend(is_own.then_some(state));
            }
            Err(_) => unreadable += 1,
        }
    }
    let settling: Vec<_> = own
        .iter()
        .map(|state| settle_open_order(session, symbol, state))
        .collect();
    let mut settled = futures_util::stream::iter(settling).buffered(SETTLED_AT_A_TIME);
    let mut states = own.iter();
    while let (Some(result), Some(state)) = (settled.next().await, states.next()) {
        match result {
            Ok(order_id) => drop(listed.insert(order_id)),
            Err(error) => {
                let order_id = state.placed_client_order_id();
                tracing::error!(%symbol, order_id, error, "an open order at the venue cannot be settled");
                unreadable += 1;
            }
        }
    }
    Ok(unreadable)
}

/// Settles one open order of the venue's list, with its fills.
async fn settle_open_order<L, I>(
    session: &VenueSession<L, I>,
    symbol: &Symbol,
    state: &OrderState,
) -> Result<OrderId, String>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let trades = read_fills(&session.client, symbol, state).await;
    let trades = trades.map_err(|error| error.to_string())?;
    let notice = queried_notice(state, &trades).map_err(|error| error.to_string())?;
    let order_id = notice.order_id.clone();
    deliver(session, notice).await.map_err(|error| error.to_string())?;
    Ok(order_id)
}

/// Asks about an order that the router has open and the venue does not list. Not finding it proves nothing: it stays open
/// here, and is asked about again.
async fn settle_unlisted<L, I>(session: &VenueSession<L, I>, order: &Order) -> Result<(), ReconciliationError>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let report = match inquire_order(session, order, RequestPurpose::Read).await {
        InquiryOutcome::Reported(report) => report,
        InquiryOutcome::NotFound => {
            tracing::error!(order_id = %order.order_id, "the venue does not find an order that is open here");
            return Ok(());
        }
        InquiryOutcome::Unanswered(reason) => return Err(ReadError::Unanswered(reason).into()),
    };
    let notice = VenueNotice {
        order_id: order.order_id.clone(),
        symbol: order.symbol.clone(),
        side: order.side,
        report,
    };
    Ok(deliver(session, notice).await?)
}

#[cfg(test)]
#[path = "reconciliation_tests.rs"]
mod tests;
