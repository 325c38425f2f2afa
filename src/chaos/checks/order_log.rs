//! The order log against the journal: every order once, with its fills; and the positions that REST shows.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::chaos::journal_model::{JournalModel, ModelOrder};
use crate::chaos::model_sums::{HoldingKey, ModelSums};
use crate::chaos::rest_caller::RestCaller;
use crate::chaos::violation::FoundViolations;
use crate::domain::decimal::Decimal;
use crate::wire::order_record::{OrderPage, OrderRecord};
use crate::wire::positions::PortfolioList;

/// How long one page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most items of a page.
const PAGE_ITEMS: u32 = 500;

/// Checks every order of the order log.
///
/// # Errors
/// When it cannot be read.
pub(in crate::chaos) async fn check_order_log(
    rest: &RestCaller,
    model: &JournalModel,
    found: &mut FoundViolations,
) -> anyhow::Result<()> {
    let mut expected: HashMap<&str, &ModelOrder> =
        model.orders.values().map(|order| (order.order_id(), order)).collect();
    let mut after = String::new();
    loop {
        let path = format!("/orders/log?limit={PAGE_ITEMS}&sort=asc{after}");
        let page: OrderPage = read(rest, &path).await?;
        for record in &page.items {
            let id = record.external_order_id.as_str();
            match expected.remove(id) {
                None => found.add(
                    "order_log_differs",
                    format!("the order log has {id}, which does not count"),
                ),
                Some(order) => {
                    if let Some(difference) = difference(record, order) {
                        found.add("order_log_differs", format!("{id}: {difference}"));
                    }
                }
            }
        }
        match page.metadata.next {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    for id in expected.keys() {
        found.add("order_log_differs", format!("the order log lacks {id}"));
    }
    Ok(())
}

fn difference(record: &OrderRecord, order: &ModelOrder) -> Option<String> {
    let report = &order.newest;
    let first = order.first_sequence;
    if record.status != report.status || record.filled_quantity != report.filled_quantity {
        return Some(format!(
            "it is {} with {} filled, in the order log {} with {}",
            report.status, report.filled_quantity, record.status, record.filled_quantity
        ));
    }
    if record.id != first || record.correlation_id != report.client_order_id || record.account_id != report.account_id {
        return Some(format!("its first entry is {first}, in the order log {}", record.id));
    }
    let listed = record
        .executions
        .iter()
        .map(|one| (one.external_execution_id.as_str(), one.quantity, one.price));
    let fills = report
        .fills
        .iter()
        .map(|fill| (fill.exec_id.as_str(), fill.quantity, fill.price));
    (!listed.eq(fills)).then(|| {
        format!(
            "it has {} fills, in the order log {}",
            report.fills.len(),
            record.executions.len()
        )
    })
}

/// Checks the positions that REST shows.
///
/// # Errors
/// When they cannot be read.
pub(in crate::chaos) async fn check_positions(
    rest: &RestCaller,
    sums: &ModelSums,
    found: &mut FoundViolations,
) -> anyhow::Result<()> {
    let shown: PortfolioList = read(rest, "/positions").await?;
    let holdings = shown.items.into_iter().flat_map(|portfolio| portfolio.holdings);
    let shown = holdings.map(|one| ((one.account_id, one.venue, one.symbol), one.quantity));
    let shown: BTreeMap<HoldingKey, Decimal> = shown.collect();
    let held = sums.holdings.iter().filter(|(_, holding)| !holding.position.is_zero());
    let held: BTreeMap<HoldingKey, Decimal> = held.map(|(key, holding)| (key.clone(), holding.position)).collect();
    for key in shown.keys().chain(held.keys()) {
        if shown.get(key) != held.get(key) {
            let text = format!(
                "{key:?}: REST shows {:?}, the journal has {:?}",
                shown.get(key),
                held.get(key)
            );
            found.add("positions_rest_differ", text);
        }
    }
    Ok(())
}

async fn read<T: serde::de::DeserializeOwned>(rest: &RestCaller, path: &str) -> anyhow::Result<T> {
    let reply = rest.get(path, PAGE_TIMEOUT).await;
    let reply = reply
        .map_err(|failure| anyhow::anyhow!("{failure:?}"))
        .with_context(|| format!("reading {path}"))?;
    if reply.status != 200 {
        bail!(
            "{path} is answered with {}: {}",
            reply.status,
            String::from_utf8_lossy(&reply.body)
        );
    }
    serde_json::from_slice(&reply.body).with_context(|| format!("decoding {path}"))
}
