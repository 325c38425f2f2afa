//! The fault that fills a resting order in parts over time.

use std::sync::Arc;

use crate::venue::amount::Amount;
use crate::venue::command::Command;
use crate::venue::faults::table::FaultKind;
use crate::venue::hub::milliseconds;
use crate::venue::operation::Operation;
use crate::venue::order::Order;
use crate::venue::service::state::Service;

/// The parts in which an order is filled.
const PARTS: i128 = 4;
/// The most orders that are being filled in parts; further ones are left alone.
const MAX_FILLING_ORDERS: usize = 1_000;

impl Service {
    /// Begins to fill an order in parts, if it rests and the fault strikes.
    pub(super) fn fill_in_parts_if_struck(self: &Arc<Self>, order: &Order) {
        if !order.is_on_book() || self.tasks.len() >= MAX_FILLING_ORDERS {
            return;
        }
        let Some(strike) = self.faults.strikes(FaultKind::PartialFills, Operation::Place) else {
            return;
        };
        let (service, order_id) = (self.clone(), order.id);
        let pause = milliseconds(strike.duration_ms);
        self.tasks.spawn(async move {
            for part in 0..PARTS {
                tokio::select! {
                    () = service.shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                if service.are_symbols_halted() {
                    continue;
                }
                let Some(quantity) = service.next_part(order_id, PARTS - part) else {
                    return;
                };
                // An order that has ended in between gets no further part.
                let _ = service.change(&Command::Fill { order_id, quantity });
            }
        });
    }

    /// Returns one of so many equal parts of what an order has open, at least one step; `None` if it has ended.
    fn next_part(&self, order_id: u64, parts: i128) -> Option<Amount> {
        let found = self.read(|exchange| {
            let order = exchange.order(order_id).filter(|order| order.is_on_book())?;
            let step = exchange.market(&order.terms.symbol).ok()?.settings.step_size;
            let part = Amount::from_units(order.remaining().units() / parts).floor_to(step);
            Some(part.max(step).min(order.remaining()))
        });
        found.ok().flatten()
    }
}
