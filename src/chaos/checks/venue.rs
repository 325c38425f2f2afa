//! What the local exchange executed, against the journal: every execution belongs to one order and is booked once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::chaos::journal_model::JournalModel;
use crate::chaos::rest_caller::RestCaller;
use crate::chaos::violation::FoundViolations;
use crate::domain::decimal::Decimal;
use crate::domain::id::OrderId;
use crate::domain::leg::LegNumber;

/// How long the list of executions may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// The most fills that a report lists.
const MAX_LISTED_FILLS: u32 = 100;

/// One execution of the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VenueExecution {
    id: u64,
    client_order_id: String,
    price: Decimal,
    qty: Decimal,
}

#[derive(Debug, Deserialize)]
struct VenueExecutions {
    executions: Vec<VenueExecution>,
}

/// Checks every execution of the exchange.
///
/// # Errors
/// When they cannot be read.
pub(in crate::chaos) async fn check_venue(
    venue: &RestCaller,
    model: &JournalModel,
    found: &mut FoundViolations,
) -> anyhow::Result<()> {
    let list: VenueExecutions = read_list(venue, "/control/executions").await?;
    let mut by_order: BTreeMap<String, BTreeMap<String, (Decimal, Decimal)>> = BTreeMap::new();
    for one in list.executions {
        // The executions of every leg are fills of the one order.
        let (order_id, _) = split_leg(&one.client_order_id);
        let of_order = by_order.entry(order_id).or_default();
        of_order.insert(one.id.to_string(), (one.qty, one.price));
    }
    for order in model.orders.values().filter(|order| !order.is_denied()) {
        let executed = by_order.remove(order.order_id()).unwrap_or_default();
        let report = &order.newest;
        if !executed.is_empty() && !model.has_submission(order.order_id()) {
            let text = format!(
                "the venue executed {}, and the journal has no submission of it",
                order.order_id()
            );
            found.add("sent_before_journal", text);
        }
        if report.fills_total > MAX_LISTED_FILLS {
            continue;
        }
        let fills = report
            .fills
            .iter()
            .map(|fill| (fill.exec_id.clone(), (fill.quantity, fill.price)));
        let booked: BTreeMap<String, (Decimal, Decimal)> = fills.collect();
        if booked != executed {
            let id = &report.client_order_id;
            let text = format!(
                "{} of {id}: the venue executed {executed:?}, booked is {booked:?}",
                order.order_id()
            );
            found.add("venue_differs", text);
        }
        let quantity = executed.values().map(|(quantity, _)| *quantity);
        let quantity = quantity.into_iter().try_fold(Decimal::ZERO, Decimal::checked_add);
        if quantity.is_none_or(|quantity| quantity > report.quantity) {
            let text = format!(
                "{}: the venue executed {quantity:?} of {}",
                order.order_id(),
                report.quantity
            );
            found.add("executed_twice", text);
        }
    }
    for (id, executed) in by_order {
        let text = format!("the venue executed {executed:?} of {id}, which the journal does not have");
        found.add("venue_differs", text);
    }
    Ok(())
}

/// Returns the order and the leg that a client order id of the exchange names.
pub(in crate::chaos) fn split_leg(venue_id: &str) -> (String, LegNumber) {
    let split = OrderId::new(venue_id).map(|id| LegNumber::split_venue_id(&id));
    split.map_or_else(
        |_| (venue_id.to_owned(), LegNumber::FIRST),
        |(order_id, leg)| (order_id.to_string(), leg),
    )
}

/// Reads a list of the exchange.
///
/// # Errors
/// When it cannot be read.
pub(in crate::chaos) async fn read_list<T: serde::de::DeserializeOwned>(
    venue: &RestCaller,
    path: &str,
) -> anyhow::Result<T> {
    let reply = venue.get(path, LIST_TIMEOUT).await;
    let reply = reply
        .map_err(|failure| anyhow::anyhow!("{failure:?}"))
        .with_context(|| format!("reading {path}"))?;
    if reply.status != 200 {
        bail!("the exchange answers {path} with {}", reply.status);
    }
    serde_json::from_slice(&reply.body).with_context(|| format!("decoding {path}"))
}
