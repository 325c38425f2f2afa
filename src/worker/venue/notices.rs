//! What a live venue reports by itself is settled as its replies are: by the order's next version, once.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::brokers::port::{BookError, InboxError, VenueNotice};
use crate::domain::id::AccountId;
use crate::domain::metadata::Metadata;
use crate::domain::order::{ApplyReportError, Order};
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::Mode;
use crate::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use crate::fault::Fault;
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::wire::journaled_submission::decode_submission;
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::order_document::load_stored_order;
use crate::worker::journaling::{append, settlement};
use crate::worker::router::Router;
use crate::worker::venue::accounts::VenueAccounts;
use crate::worker::venue::orphans;

/// What is known here of the order of a report.
enum FoundOrder {
    /// The order, also one that has ended.
    Known(Box<Order>),
    /// The order was released without being sent, or denied; its account, where it can be read.
    Unsent(Option<AccountId>),
    /// The order is not known.
    Unknown,
}

/// Settles one report, and returns once it is journaled. Fills that belong to no order here are booked as orphans.
///
/// # Errors
/// When the report is not journaled: it can be delivered again.
pub(super) async fn settle_notice(
    router: &Router,
    accounts: &VenueAccounts,
    notice: VenueNotice,
) -> Result<(), InboxError> {
    let fills = &notice.report.fills;
    let order = match find_order(router, accounts, &notice).await.map_err(unavailable)? {
        FoundOrder::Known(order) => order,
        FoundOrder::Unsent(account_id) => {
            return orphans::book_orphans(router, accounts, account_id.as_ref(), &notice, fills).await;
        }
        FoundOrder::Unknown => return orphans::book_orphans(router, accounts, None, &notice, fills).await,
    };
    match settle_and_journal(router, &order, notice.report.clone()).await? {
        Settled::Done => Ok(()),
        // Its claim was withdrawn between the read and the booking: the order is not known here any more.
        Settled::OrderNotFound => {
            orphans::book_orphans(router, accounts, Some(&order.account_id), &notice, fills).await
        }
        Settled::Uncountable(reason) => {
            tracing::error!(
                order_id = %order.order_id, %reason,
                "a report of the venue cannot be booked with its order as a whole: its fills are booked one by one"
            );
            settle_one_by_one(router, accounts, &order, &notice).await
        }
    }
}

/// How long a report that is booked already waits for its journal entry at most, and the first pause between two looks; each
/// is twice the one before.
const JOURNAL_WAIT: Duration = Duration::from_secs(2);
const FIRST_JOURNAL_CHECK: Duration = Duration::from_millis(5);

/// What became of a report that did not fail.
enum Settled {
    Done,
    OrderNotFound,
    Uncountable(ApplyReportError),
}

async fn settle_and_journal(router: &Router, order: &Order, report: VenueReport) -> Result<Settled, InboxError> {
    match settlement::settle_venue_report(&router.settler, order, report, Metadata::new()).await {
        Ok(booked) => {
            let appended = append::append_booked_effect(router, &booked).await;
            // It is settled, and waits in the outbox: delivered again, it has nothing new.
            appended
                .map(|_| Settled::Done)
                .map_err(|error| InboxError::Unavailable(error.to_string()))
        }
        // Another worker, or the reply to a call, was first. What it has booked may still wait for the journal.
        Err(BookError::NothingNew) => wait_until_journaled(router, order).await.map(|()| Settled::Done),
        Err(BookError::OrderNotFound) => Ok(Settled::OrderNotFound),
        Err(BookError::Uncountable(reason)) => Ok(Settled::Uncountable(reason)),
        Err(error) => Err(InboxError::Unavailable(error.to_string())),
    }
}

/// Waits until what is booked of an order is on the journal: until then Redis can lose it. Usually another worker, or the
/// reply to the placement, is about to append it.
async fn wait_until_journaled(router: &Router, order: &Order) -> Result<(), InboxError> {
    let waiting_since = Instant::now();
    let mut delay = FIRST_JOURNAL_CHECK;
    loop {
        let record = router.store.read_order(&order.key()).await;
        let record = record.map_err(|error| InboxError::Unavailable(error.to_string()))?;
        // An order that has ended leaves its record once it is journaled.
        let is_waiting = record.is_some_and(|StoredOrder { known, .. }| {
            known.order_id == order.order_id && known.journaled_version < known.version
        });
        if !is_waiting {
            return Ok(());
        }
        if waiting_since.elapsed() > JOURNAL_WAIT {
            let text = format!("the report of {} is booked and waits for the journal", order.order_id);
            return Err(InboxError::Unavailable(text));
        }
        sleep(delay).await;
        delay = delay.saturating_mul(2);
    }
}

/// Settles a report whose fills cannot all be booked with its order: each by itself, those that cannot as adjustments of the
/// order's account, and then the state.
async fn settle_one_by_one(
    router: &Router,
    accounts: &VenueAccounts,
    order: &Order,
    notice: &VenueNotice,
) -> Result<(), InboxError> {
    let with_fills = |fills: Vec<Fill>, state: VenueOrderState| VenueReport {
        fills,
        state,
        ..notice.report.clone()
    };
    for fill in notice
        .report
        .fills
        .iter()
        .filter(|fill| !order.has_booked_fill(&fill.exec_id))
    {
        let alone = VenueReport {
            cumulative_quantity: None,
            ..with_fills(vec![fill.clone()], VenueOrderState::Working)
        };
        if let Settled::Uncountable(_) | Settled::OrderNotFound = settle_and_journal(router, order, alone).await? {
            let fill = std::slice::from_ref(fill);
            orphans::book_orphans(router, accounts, Some(&order.account_id), notice, fill).await?;
        }
    }
    let state = with_fills(Vec::new(), notice.report.state.clone());
    settle_and_journal(router, order, state).await.map(drop)
}

/// Returns what is known of the order that a report is about.
async fn find_order(router: &Router, accounts: &VenueAccounts, notice: &VenueNotice) -> Result<FoundOrder, Fault> {
    let Some(key) = OrderKey::of_order_id(&notice.order_id) else {
        return Ok(FoundOrder::Unknown);
    };
    let record = router.store.read_order(&key).await.map_err(store_unavailable)?;
    let Some(record) = record.filter(|record| record.known.order_id == notice.order_id) else {
        return Ok(FoundOrder::Unknown);
    };
    match record.known.stage {
        RecordStage::Released => return Ok(FoundOrder::Unsent(None)),
        RecordStage::Releasing => {
            let submission = decode_submission(&record.document);
            return Ok(FoundOrder::Unsent(
                submission.ok().map(|submission| submission.order.account_id),
            ));
        }
        _ => {}
    }
    let order = load_stored_order(&router.journal_reader, &record).await?;
    if order.mode != Mode::Live || order.broker != accounts.broker || order.symbol != notice.symbol {
        return Ok(FoundOrder::Unknown);
    }
    Ok(match record.known.stage {
        RecordStage::Denied => FoundOrder::Unsent(Some(order.account_id)),
        _ => FoundOrder::Known(Box::new(order)),
    })
}

fn unavailable(fault: Fault) -> InboxError {
    InboxError::Unavailable(fault.detail)
}
