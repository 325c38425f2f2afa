//! The new terms of an order that rests.

use crate::domain::decimal::Decimal;
use crate::domain::id::ReplaceId;
use crate::domain::quantity::{AmountError, Price, Quantity};

/// New terms of an order that rests, under an id of their own: the same id again takes effect once.
///
/// ```
/// use order_router_client::NewTerms;
///
/// let terms = NewTerms::price("64000.5".parse()?)?.and_quantity("0.02".parse()?)?;
/// assert_eq!(terms.quantity.map(|quantity| quantity.decimal().to_string()).as_deref(), Some("0.02"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTerms {
    /// The limit price; `None` keeps the order's.
    pub price: Option<Price>,
    /// The quantity of the whole order, what is filled included; `None` keeps the order's.
    pub quantity: Option<Quantity>,
    /// The idempotency key within the order.
    pub replace_id: ReplaceId,
}

impl NewTerms {
    /// Returns a new price under a new id.
    ///
    /// # Errors
    /// When the price is out of range.
    pub fn price(price: Decimal) -> Result<Self, AmountError> {
        Ok(Self {
            price: Some(Price::new(price)?),
            quantity: None,
            replace_id: ReplaceId::generate(),
        })
    }

    /// Returns a new quantity of the whole order under a new id.
    ///
    /// # Errors
    /// When the quantity is out of range.
    pub fn quantity(quantity: Decimal) -> Result<Self, AmountError> {
        Ok(Self {
            price: None,
            quantity: Some(Quantity::new(quantity)?),
            replace_id: ReplaceId::generate(),
        })
    }

    /// Returns the terms with a new quantity, too.
    ///
    /// # Errors
    /// When the quantity is out of range.
    pub fn and_quantity(self, quantity: Decimal) -> Result<Self, AmountError> {
        Ok(Self {
            quantity: Some(Quantity::new(quantity)?),
            ..self
        })
    }
}
