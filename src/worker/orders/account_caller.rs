//! The caller of a request about an order: it sees the orders of its broker and account, and no others.

use crate::bus::request::BusRequest;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId};
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::Mode;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::wire::journaled_submission::decode_submission;
use crate::wire::order_reference::OrderSelector;
use crate::worker::faults::{deadline_passed, store_unavailable, unreadable_document};
use crate::worker::journaling::order_document::{load_stored_order, order_from_document};
use crate::worker::router::Router;

/// The broker and the account of a call's subject, with the call's deadline.
pub(in crate::worker) struct AccountCaller {
    pub(in crate::worker) broker: BrokerId,
    pub(in crate::worker) account_id: AccountId,
    pub(in crate::worker) deadline: Timestamp,
}

impl AccountCaller {
    /// Returns the caller of a request.
    ///
    /// # Errors
    /// A broker that this router does not have, an id that breaks the grammar, or a deadline that has passed.
    pub(in crate::worker) fn from_call(router: &Router, call: &BusRequest) -> Result<Self, Fault> {
        let account_id = AccountId::new(call.account.as_deref().unwrap_or_default());
        let account_id = account_id.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "account_id", rule))?;
        Self::for_account(router, call, account_id)
    }

    /// Returns the caller of a request about one order. On a subject without an account it is the order's own account: an
    /// order id is unique, and NATS permissions decide who may publish there.
    ///
    /// # Errors
    /// As [`Self::from_call`]. On a subject without an account also `invalid_field` without an order id, and
    /// `unknown_order`.
    pub(in crate::worker) async fn from_order_call(
        router: &Router,
        call: &BusRequest,
        selector: &OrderSelector,
    ) -> Result<Self, Fault> {
        if call.account.as_deref() != Some(subjects::NO_ACCOUNT) {
            return Self::from_call(router, call);
        }
        let OrderSelector::OrderId(order_id) = selector else {
            let rule = "is required where the subject names no account: only an order id is unique";
            return Err(Fault::for_field(FaultCode::InvalidField, "order_id", rule));
        };
        let found = find_by_order_id(router, order_id).await?;
        let (_, account_id) = found.ok_or_else(|| {
            Fault::new(
                FaultCode::UnknownOrder,
                format!("no account has an order with the {selector}"),
            )
        })?;
        Self::for_account(router, call, account_id)
    }

    fn for_account(router: &Router, call: &BusRequest, account_id: AccountId) -> Result<Self, Fault> {
        let broker = BrokerId::new(call.broker.as_deref().unwrap_or_default());
        let broker = broker.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "broker", rule))?;
        if !router.brokers.contains(&broker) {
            return Err(Fault::for_field(
                FaultCode::UnknownBroker,
                "broker",
                format!("is {broker}, which this router does not have"),
            ));
        }
        let deadline = router.default_deadlines.request_deadline(call);
        if deadline <= Timestamp::now() {
            return Err(deadline_passed(deadline));
        }
        Ok(Self {
            broker,
            account_id,
            deadline,
        })
    }

    /// Returns the key of an order of this account.
    ///
    /// # Errors
    /// `unknown_order` for another account's order, too.
    pub(in crate::worker) async fn find_order_key(
        &self,
        router: &Router,
        selector: &OrderSelector,
    ) -> Result<OrderKey, Fault> {
        match selector {
            OrderSelector::ClientOrderId(id) => self.key_for_client_order_id(router, id).await,
            OrderSelector::OrderId(id) => {
                let found = find_by_order_id(router, id).await?;
                let own = found.filter(|(_, account_id)| *account_id == self.account_id);
                own.map(|(key, _)| key).ok_or_else(|| unknown_order_fault(selector))
            }
        }
    }

    /// Returns the key of a client order id in the active mode. A dry run that does not know the id falls back to the
    /// paper orders, which were routed before, are still open and can be cancelled.
    async fn key_for_client_order_id(&self, router: &Router, id: &ClientOrderId) -> Result<OrderKey, Fault> {
        let mode = router.control.mode();
        let key = OrderKey::new(mode, &self.account_id, id);
        if mode != Mode::DryRun {
            return Ok(key);
        }
        let known = router.store.read_order(&key).await.map_err(store_unavailable)?;
        Ok(known.map_or_else(|| OrderKey::new(Mode::Paper, &self.account_id, id), |record| record.key))
    }

    /// Returns the record of an order.
    ///
    /// # Errors
    /// `unknown_order` if there is none.
    pub(in crate::worker) async fn load_record(
        &self,
        router: &Router,
        key: &OrderKey,
        selector: &OrderSelector,
    ) -> Result<StoredOrder, Fault> {
        let record = router.store.read_order(key).await.map_err(store_unavailable)?;
        record.ok_or_else(|| unknown_order_fault(selector))
    }
}

/// Returns the key and the account of the order with this order id.
///
/// # Errors
/// If store or journal cannot be read.
async fn find_by_order_id(router: &Router, order_id: &OrderId) -> Result<Option<(OrderKey, AccountId)>, Fault> {
    let Some(key) = OrderKey::of_order_id(order_id) else {
        return Ok(None);
    };
    let record = router.store.read_order(&key).await.map_err(store_unavailable)?;
    let Some(record) = record.filter(|record| record.known.order_id == *order_id) else {
        return Ok(None);
    };
    let order = match record.known.stage {
        RecordStage::Released => return Ok(None),
        RecordStage::Releasing => withdrawn_order(&record)?,
        _ => load_stored_order(&router.journal_reader, &record).await?,
    };
    Ok(Some((key, order.account_id)))
}

/// Returns the order of a record whose submission is being withdrawn.
fn withdrawn_order(record: &StoredOrder) -> Result<Order, Fault> {
    decode_submission(&record.document)
        .map(|submission| submission.order)
        .map_err(|error| unreadable_document(&error))
}

/// Returns the fault of an order that this caller does not have.
pub(in crate::worker) fn unknown_order_fault(selector: &OrderSelector) -> Fault {
    Fault::new(
        FaultCode::UnknownOrder,
        format!("this account has no order with the {selector}"),
    )
}

/// Returns an order that has no report yet, as its claim or its submission recorded it.
///
/// # Errors
/// `unknown_order` for an order that was released.
pub(in crate::worker) fn read_unreported_order(record: &StoredOrder, selector: &OrderSelector) -> Result<Order, Fault> {
    match record.known.stage {
        RecordStage::Released => Err(unknown_order_fault(selector)),
        RecordStage::Releasing => withdrawn_order(record),
        _ => order_from_document(&record.document),
    }
}
