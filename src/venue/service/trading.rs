//! What changes orders.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::venue::clock::now_ms;
use crate::venue::command::{CancelRequest, Command};
use crate::venue::error::VenueError;
use crate::venue::exchange::effects::{Outcome, Replacement};
use crate::venue::faults::table::FaultKind;
use crate::venue::operation::Operation;
use crate::venue::order_parameters::{self, PlaceParameters};
use crate::venue::parameters::Parameters;
use crate::venue::render;
use crate::venue::service::request::Answer;
use crate::venue::service::state::Service;
use crate::venue::words::{ReplaceMode, ResponseType};

/// The names of a cancel's parameters.
const CANCEL_NAMES: [&str; 3] = ["orderId", "origClientOrderId", "newClientOrderId"];
/// The names of the cancel's parameters in a replacement.
const REPLACE_NAMES: [&str; 3] = ["cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId"];

impl Service {
    /// Places an order.
    pub(super) fn place(
        self: &Arc<Self>,
        parameters: &Parameters,
        account: &str,
        answer: &mut Answer,
    ) -> Result<Value, VenueError> {
        let PlaceParameters { order, response } = order_parameters::placement(parameters, account)?;
        parameters.finish()?;
        self.refuse_if_halted(Operation::Place, VenueError::order_rejected)?;
        self.read(|exchange| exchange.check_filters(&order))??;
        let counted = self.limits.count_order(account, now_ms());
        answer.orders = Some(self.limits.order_counts(account, now_ms()));
        counted?;
        let outcome = self.change(&Command::Place(order))?;
        let Outcome::Placed(placed) = outcome else {
            return Err(VenueError::unknown());
        };
        answer.orders = Some(self.limits.order_counts(account, now_ms()));
        self.fill_in_parts_if_struck(&placed.order);
        Ok(render::placed(&placed, response))
    }

    /// Judges an order without placing it.
    pub(super) fn test_order(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let PlaceParameters { order, .. } = order_parameters::placement(parameters, account)?;
        let computes_rates = parameters.optional("computeCommissionRates")? == Some("true");
        parameters.finish()?;
        self.read(|exchange| {
            exchange.check_filters(&order)?;
            let rates = exchange.commissions();
            let none = json!({"maker": "0.00000000", "taker": "0.00000000"});
            Ok(match computes_rates {
                false => json!({}),
                true => json!({
                    "standardCommissionForOrder": {"maker": rates.maker, "taker": rates.taker},
                    "specialCommissionForOrder": none,
                    "taxCommissionForOrder": none,
                    "discount": {
                        "enabledForAccount": false,
                        "enabledForSymbol": false,
                        "discountAsset": null,
                        "discount": "0.00000000",
                    },
                }),
            })
        })?
    }

    /// Cancels an order.
    pub(super) fn cancel(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let request = order_parameters::cancel(parameters, account, CANCEL_NAMES)?;
        parameters.finish()?;
        self.refuse_if_halted(Operation::Cancel, VenueError::cancel_rejected)?;
        self.fill_before_cancel(Operation::Cancel, &request);
        match self.change(&Command::Cancel(request))? {
            Outcome::Canceled(canceled) => {
                let first = canceled.first().ok_or_else(VenueError::unknown)?;
                Ok(render::canceled(first))
            }
            _ => Err(VenueError::unknown()),
        }
    }

    /// Cancels every open order of a symbol.
    pub(super) fn cancel_all(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let symbol = parameters.symbol()?.to_owned();
        parameters.finish()?;
        self.refuse_if_halted(Operation::CancelAll, VenueError::cancel_rejected)?;
        let command = Command::CancelAll {
            account: account.to_owned(),
            symbol,
            request_id: order_parameters::generated_id(),
        };
        match self.change(&command)? {
            Outcome::Canceled(canceled) => Ok(canceled.iter().map(render::canceled).collect()),
            _ => Err(VenueError::unknown()),
        }
    }

    /// Cancels an order and places another one.
    pub(super) fn cancel_replace(
        self: &Arc<Self>,
        parameters: &Parameters,
        account: &str,
        answer: &mut Answer,
    ) -> Result<Value, VenueError> {
        let invalid_mode = || VenueError::invalid_parameter("cancelReplaceMode");
        let mode = parameters.word("cancelReplaceMode", ReplaceMode::parse, invalid_mode)?;
        let mode = mode.ok_or_else(|| VenueError::mandatory("cancelReplaceMode"))?;
        let cancel = order_parameters::cancel(parameters, account, REPLACE_NAMES)?;
        let PlaceParameters { order, response } = order_parameters::placement(parameters, account)?;
        let cancels_beyond_limit = match parameters.optional("orderRateLimitExceededMode")? {
            None | Some("DO_NOTHING") => false,
            Some("CANCEL_ONLY") => true,
            Some(_) => return Err(VenueError::invalid_parameter("orderRateLimitExceededMode")),
        };
        parameters.finish()?;
        self.refuse_if_halted(Operation::CancelReplace, VenueError::order_rejected)?;
        // Filters and the count of unfilled orders are judged before the cancel.
        self.read(|exchange| exchange.check_filters(&order))??;
        let counted = self.limits.count_order(account, now_ms());
        answer.orders = Some(self.limits.order_counts(account, now_ms()));
        let refusal = match counted {
            Err(error) if cancels_beyond_limit => Some((error.code, error.message)),
            counted => {
                counted?;
                None
            }
        };
        self.fill_before_cancel(Operation::CancelReplace, &cancel);
        let command = Command::Replace {
            cancel,
            order,
            mode,
            refusal,
        };
        let Outcome::Replaced(replacement) = self.change(&command)? else {
            return Err(VenueError::unknown());
        };
        answer.orders = Some(self.limits.order_counts(account, now_ms()));
        if let Some(Ok(placed)) = &replacement.order {
            self.fill_in_parts_if_struck(&placed.order);
        }
        replacement_answer(&replacement, response)
    }

    /// Reduces the quantity of an order.
    pub(super) fn amend(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let order = order_parameters::reference(parameters, account, "orderId", "origClientOrderId")?;
        let quantity = parameters.amount("newQty")?;
        let client_order_id = parameters.client_id("newClientOrderId")?;
        parameters.finish()?;
        self.refuse_if_halted(Operation::Amend, VenueError::amend_rejected)?;
        let command = Command::Amend {
            order,
            quantity: quantity.ok_or_else(|| VenueError::mandatory("newQty"))?,
            client_order_id: client_order_id.unwrap_or_else(order_parameters::generated_id),
        };
        match self.change(&command)? {
            Outcome::Amended(amended) => Ok(render::amended(&amended)),
            _ => Err(VenueError::unknown()),
        }
    }

    fn refuse_if_halted(&self, operation: Operation, error: impl Fn(&str) -> VenueError) -> Result<(), VenueError> {
        match self.faults.strikes(FaultKind::SymbolsHalted, operation) {
            Some(_) => Err(error("Market is closed.")),
            None => Ok(()),
        }
    }

    /// Fills an order just before its cancel, if a fault strikes.
    fn fill_before_cancel(&self, operation: Operation, request: &CancelRequest) {
        let found = self.read(|exchange| {
            let order = exchange.find(&request.order).ok().filter(|order| order.is_on_book())?;
            Some((order.id, order.remaining()))
        });
        let Ok(Some((order_id, quantity))) = found else { return };
        if self.faults.strikes(FaultKind::CancelFillRace, operation).is_some() {
            // An order that has ended in between needs no fill.
            let _ = self.change(&Command::Fill { order_id, quantity });
        }
    }
}

/// Returns the answer to a replacement: both halves, as a result or as an error of 400 or 409.
fn replacement_answer(replacement: &Replacement, response: ResponseType) -> Result<Value, VenueError> {
    let word = |is_ok: bool| if is_ok { "SUCCESS" } else { "FAILURE" };
    let (cancel_result, cancel_response) = match &replacement.cancel {
        Ok(canceled) => (word(true), render::canceled(canceled)),
        Err(error) => (word(false), error.body()),
    };
    let (new_result, new_response) = match &replacement.order {
        None => ("NOT_ATTEMPTED", Value::Null),
        Some(Ok(placed)) => (word(true), render::placed(placed, response)),
        Some(Err(error)) => (word(false), error.body()),
    };
    let data = json!({
        "cancelResult": cancel_result,
        "newOrderResult": new_result,
        "cancelResponse": cancel_response,
        "newOrderResponse": new_response,
    });
    let error = match (replacement.cancel.is_ok(), matches!(replacement.order, Some(Ok(_)))) {
        (true, true) => return Ok(data),
        (false, false) => VenueError::new(-2022, "Order cancel-replace failed."),
        _ => VenueError::new(-2021, "Order cancel-replace partially failed.").with_status(409),
    };
    Err(VenueError {
        data: Some(data),
        ..error
    })
}
