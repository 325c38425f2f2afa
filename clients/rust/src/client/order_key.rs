//! The name of an order in calls about it.

use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId};
use crate::fault::{Fault, FaultCode};
use crate::wire::order_reference::{OrderReference, OrderSelector};
use crate::wire::report::ExecutionReport;

/// An order: its broker, its account, and one of its two ids.
///
/// ```
/// use order_router_client::OrderKey;
/// use order_router_client::domain::id::{AccountId, BrokerId, ClientOrderId};
///
/// let broker = BrokerId::new("binance")?;
/// let key = OrderKey::by_client_order_id(broker, AccountId::new("fund-7")?, ClientOrderId::new("a-1")?);
/// assert_eq!(key.selector.to_string(), "client_order_id a-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderKey {
    /// The broker.
    pub broker: BrokerId,
    /// The account; `None` for an order of any account, which its order id names.
    pub account: Option<AccountId>,
    /// The id.
    pub selector: OrderSelector,
}

impl OrderKey {
    /// Returns the key of an order by the caller's id.
    pub fn by_client_order_id(broker: BrokerId, account: AccountId, id: ClientOrderId) -> Self {
        Self {
            broker,
            account: Some(account),
            selector: OrderSelector::ClientOrderId(id),
        }
    }

    /// Returns the key of an order by the router's id.
    pub fn by_order_id(broker: BrokerId, account: Option<AccountId>, id: OrderId) -> Self {
        Self {
            broker,
            account,
            selector: OrderSelector::OrderId(id),
        }
    }

    /// Returns the key of the order of a report: by the router's id, and of a receipt, which may have none, by the caller's.
    ///
    /// # Errors
    /// `invalid_field` for a report that names no order.
    pub fn of(report: &ExecutionReport) -> Result<Self, Fault> {
        let (broker, account) = (parse("broker", &report.broker, BrokerId::new)?, &report.account_id);
        let account = parse("account_id", account, AccountId::new)?;
        if report.is_receipt() {
            let id = parse("client_order_id", &report.client_order_id, ClientOrderId::new)?;
            return Ok(Self::by_client_order_id(broker, account, id));
        }
        let id = parse("order_id", &report.order_id, OrderId::new)?;
        Ok(Self::by_order_id(broker, Some(account), id))
    }

    /// Returns the request's reference to the order.
    pub(crate) fn reference(&self) -> OrderReference {
        match &self.selector {
            OrderSelector::OrderId(id) => OrderReference {
                order_id: Some(id.to_string()),
                client_order_id: None,
            },
            OrderSelector::ClientOrderId(id) => OrderReference {
                order_id: None,
                client_order_id: Some(id.to_string()),
            },
        }
    }

    /// Returns the caller's id, where the key has it.
    pub(crate) fn client_order_id(&self) -> Option<&str> {
        match &self.selector {
            OrderSelector::OrderId(_) => None,
            OrderSelector::ClientOrderId(id) => Some(id.as_str()),
        }
    }
}

/// Returns an id of a document, checked.
pub(crate) fn parse<T, E: std::fmt::Display>(
    field: &str,
    text: &str,
    check: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Fault> {
    check(text).map_err(|rule| Fault::for_field(FaultCode::InvalidField, field, rule))
}
