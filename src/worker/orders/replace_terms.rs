//! The terms of a replace: what an order can be replaced by, whatever the rules say of it.

use crate::brokers::adapter::BookedEffect;
use crate::brokers::port::BookError;
use crate::domain::id::ReplaceId;
use crate::domain::instrument::Instrument;
use crate::domain::intent::{Intent, RiskOverrides};
use crate::domain::leg::MAX_LEGS;
use crate::domain::order::{Order, OrderUpdate};
use crate::domain::order_terms::{OrderStatus, OrderType};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::replace::{ReplaceMethod, ReplaceTerms};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::wire::replace::DecodedReplace;
use crate::worker::journaling::settlement;
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::outcome::SubmissionOutcome;

/// What one attempt came to.
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each attempt is moved once"
)]
pub(super) enum ReplaceAttempt {
    /// The order has the outcome.
    Completed(SubmissionOutcome),
    /// The order, or what it was evaluated under, has changed: it is read again.
    Outdated,
}

/// Settles an update of an order that is still at its version; `None` where the order has to be read again.
///
/// # Errors
/// When it is not booked.
pub(super) async fn settle_current(router: &Router, update: OrderUpdate) -> Result<Option<BookedEffect>, Fault> {
    stop_point::reach("before_replace");
    match settlement::settle_update(&router.settler, update, None).await {
        Ok(booked) => {
            stop_point::reach("after_replace");
            Ok(Some(booked))
        }
        Err(BookError::Superseded(_) | BookError::Ended | BookError::OrderNotFound) => Ok(None),
        // It may be booked: the next read says whether it is.
        Err(BookError::Unknown(_)) => Ok(None),
        Err(error) => Err(booking_fault(&error)),
    }
}

/// The terms that an order is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedTerms {
    pub(super) replace_id: ReplaceId,
    pub(super) price: Price,
    pub(super) quantity: Quantity,
}

impl WantedTerms {
    /// Returns the terms that a request asks for.
    ///
    /// # Errors
    /// `not_replaced` or `replace_in_flight` for an order that cannot have them: it keeps its own.
    pub(super) fn new(order: &Order, request: &DecodedReplace) -> Result<Self, Fault> {
        if let Some(other) = order.open_replace() {
            let detail = format!(
                "the replace {} of the order is {}; nothing was sent. Read the order, and replace it again once that one is \
                 settled",
                other.replace_id, other.state
            );
            return Err(Fault::new(FaultCode::ReplaceInFlight, detail));
        }
        if order.order_type != OrderType::Limit {
            return Err(not_replaced("only a limit order can be replaced"));
        }
        if order.status == Some(OrderStatus::Unknown) {
            return Err(not_replaced(
                "the outcome of the order is unknown; replace it once its venue has reported",
            ));
        }
        if order.next_leg().is_none() {
            let detail = format!("the order has had {MAX_LEGS} sets of terms, which is the most; cancel it");
            return Err(not_replaced(&detail));
        }
        let price = request.price.or(order.price);
        let price = price.ok_or_else(|| not_replaced("the order has no price to keep; name one"))?;
        let quantity = request.quantity.unwrap_or(order.quantity);
        if quantity.decimal() <= order.filled_quantity {
            let filled = order.filled_quantity;
            let detail =
                format!("{filled} of the order is filled, so that a quantity of {quantity} leaves nothing open");
            return Err(not_replaced(&detail));
        }
        if (Some(price), quantity) == (order.price, order.quantity) {
            return Err(not_replaced("the order has these terms already"));
        }
        Ok(Self {
            replace_id: request.replace_id.clone(),
            price,
            quantity,
        })
    }

    /// Reports whether the terms only reduce what is open: like a cancel of a part, that passes every rule.
    pub(super) fn only_reduce(&self, order: &Order) -> bool {
        order.price == Some(self.price) && self.quantity < order.quantity
    }

    /// Returns them as terms that an order amends its quantity by, from now on.
    pub(super) fn to_reduction(&self) -> ReplaceTerms {
        ReplaceTerms {
            replace_id: self.replace_id.clone(),
            price: self.price,
            quantity: self.quantity,
            method: ReplaceMethod::Amend,
            mark: None,
            requested_at: Timestamp::now(),
        }
    }

    /// Checks that the quantity is whole lots of the order's instrument, as it was when the order was reserved.
    ///
    /// # Errors
    /// `invalid_field`.
    pub(super) fn check_lots(&self, order: &Order) -> Result<(), Fault> {
        let lot = order.reservation.lot_size;
        let lots = self.quantity.decimal().count_multiples_of(lot);
        lots.map(drop).ok_or_else(|| {
            let rule = format!("must be a whole number of lots of {lot}");
            Fault::for_field(FaultCode::InvalidField, "quantity", rule)
        })
    }

    /// Returns the order under these terms as an intent, which the rules evaluate.
    pub(super) fn to_intent(&self, order: &Order) -> Intent {
        Intent {
            broker: order.broker.clone(),
            venue: order.venue.clone(),
            symbol: order.symbol.clone(),
            side: order.side,
            quantity: self.quantity,
            order_type: order.order_type,
            price: Some(self.price),
            time_in_force: order.time_in_force,
            client_order_id: order.client_order_id.clone(),
            account_id: order.account_id.clone(),
            tags: order.tags.clone(),
            reduce_only: order.reduce_only,
            estimated_loss: None,
            mode: Some(order.mode),
            expires_at: None,
            risk: RiskOverrides::default(),
        }
    }

    /// Checks that the terms are whole steps of an instrument, and of the order's lot: a paper venue fills whole lots of it.
    ///
    /// # Errors
    /// `invalid_field`.
    pub(super) fn check_steps(&self, order: &Order, instrument: &Instrument) -> Result<(), Fault> {
        if !instrument.is_on_tick(self.price) {
            let rule = format!("is {}, not a multiple of {}", self.price, instrument.tick_size);
            return Err(Fault::for_field(FaultCode::InvalidField, "price", rule));
        }
        if instrument.lots(self.quantity).is_none() {
            let rule = format!("must be a whole number of lots of {}", instrument.lot_size);
            return Err(Fault::for_field(FaultCode::InvalidField, "quantity", rule));
        }
        self.check_lots(order)
    }
}

/// Returns the fault of an order that keeps its terms.
pub(super) fn not_replaced(reason: &str) -> Fault {
    Fault::new(FaultCode::NotReplaced, format!("{reason}; the order keeps its terms"))
}

/// Returns the fault of new terms that cannot be booked.
pub(super) fn booking_fault(error: &BookError) -> Fault {
    match error {
        BookError::Uncountable(_) => Fault::for_field(FaultCode::InvalidField, "quantity", error),
        _ => Fault::new(
            FaultCode::StoreUnavailable,
            format!("the order was not replaced: {error}"),
        ),
    }
}
