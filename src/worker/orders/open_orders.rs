//! Streams of open orders, read from the store in pages while their reader works on those before.

use std::collections::HashSet;
use std::pin::pin;

use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use crate::domain::id::{AccountId, BrokerId};
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::store::orders::open::{OpenOrderRecord, ScanCursor, ScanPage};
use crate::store::orders::record::RecordStage;
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::router::Router;

/// An order that has not ended, as the store holds it.
#[derive(Debug, Clone)]
pub(in crate::worker) struct OpenOrder {
    pub(in crate::worker) record: OpenOrderRecord,
    pub(in crate::worker) order: Order,
}

/// Returns every order of an account at a broker that is open during the whole read; some others, and some twice. One
/// that cannot be read is left out: it must not keep the others from being cancelled.
pub(in crate::worker) fn stream_open_orders<'a>(
    router: &'a Router,
    broker: &BrokerId,
    account_id: &AccountId,
) -> BoxStream<'a, Result<OpenOrder, Fault>> {
    let first = Some((broker.clone(), account_id.clone(), ScanCursor::start()));
    let pages = stream::try_unfold(first, async move |at| {
        let Some((broker, account_id, cursor)) = at else {
            return Ok(None);
        };
        let page = router.store.scan_open_orders(&broker, &account_id, &cursor).await;
        let ScanPage {
            members,
            unreadable,
            next,
        } = page.map_err(store_unavailable)?;
        for name in &unreadable {
            log_at_intervals!(error, name, "an open order has no readable name and is not cancelled");
        }
        let orders = read_open_orders(router, &members).await?;
        let next = next.map(|cursor| (broker, account_id, cursor));
        Ok(Some((stream::iter(orders.into_iter().map(Ok)), next)))
    });
    pages.try_flatten().boxed()
}

/// Returns the keys of the orders that are open at a broker, at most `limit`.
///
/// # Errors
/// If the store does not reply.
pub(in crate::worker) async fn list_open_keys(
    router: &Router,
    broker: &BrokerId,
    limit: usize,
) -> Result<HashSet<OrderKey>, Fault> {
    let mut keys = HashSet::new();
    let mut pages = pin!(stream_open_accounts(router));
    while let Some(page) = pages.try_next().await? {
        for (_, account_id) in page.into_iter().filter(|(at, _)| at == broker) {
            let mut cursor = Some(ScanCursor::start());
            while let Some(at) = cursor.filter(|_| keys.len() < limit) {
                let page = router.store.scan_open_orders(broker, &account_id, &at).await;
                let page = page.map_err(store_unavailable)?;
                keys.extend(page.members);
                cursor = page.next;
            }
        }
    }
    Ok(keys)
}

/// Returns those of some orders that have a readable record.
///
/// # Errors
/// If the store does not reply.
pub(in crate::worker) async fn read_open_orders(router: &Router, keys: &[OrderKey]) -> Result<Vec<OpenOrder>, Fault> {
    let records = router.store.read_open_orders(keys).await.map_err(store_unavailable)?;
    let mut orders = Vec::with_capacity(records.len());
    for record in records.into_iter().flatten() {
        // It has ended in the meantime, or it was not sent and its submission is being withdrawn: nothing of it is open.
        if record.document.is_empty() || record.stage == RecordStage::Releasing {
            continue;
        }
        match order_from_document(&record.document) {
            Ok(order) => orders.push(OpenOrder { record, order }),
            Err(fault) => {
                log_at_intervals!(error, order = record.key.name(), %fault, "an open order cannot be read and is not cancelled");
            }
        }
    }
    Ok(orders)
}

/// Returns, in pages, every account that has open orders at a broker during the whole read; some others, and some twice.
pub(in crate::worker) fn stream_open_accounts(
    router: &Router,
) -> impl Stream<Item = Result<Vec<(BrokerId, AccountId)>, Fault>> {
    stream::try_unfold(Some(ScanCursor::start()), async move |cursor| {
        let Some(cursor) = cursor else { return Ok(None) };
        let page = router.store.scan_open_accounts(&cursor).await;
        let page = page.map_err(store_unavailable)?;
        for key in &page.unreadable {
            log_at_intervals!(
                error,
                key,
                "a set of open orders has no readable key; its orders are not cancelled"
            );
        }
        Ok(Some((page.members, page.next)))
    })
}
