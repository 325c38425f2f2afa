//! Orders that wait for their stop price.

use crate::venue::exchange::effects::Effects;
use crate::venue::exchange::prices::is_stop_reached;
use crate::venue::exchange::state::{EndReport, Exchange};
use crate::venue::words::ExecutionType;

impl Exchange {
    /// Lets every order begin to work whose stop price the last price has reached, the oldest first. Their trades may reach
    /// further stop prices.
    pub(super) fn trigger_stops(&mut self, effects: &mut Effects) {
        while let Some(id) = self.next_reached_stop() {
            let priority = self.next_priority();
            let time = self.time;
            let Some(order) = self.orders.get_mut(&id) else { return };
            order.working_since = Some(time);
            order.updated_at = time;
            order.priority = priority;
            let order = order.clone();
            if let Some(market) = self.markets.get_mut(&order.terms.symbol) {
                market.stops.remove(&id);
            }
            self.report(&order, ExecutionType::New, EndReport::default(), effects);
            self.work(id, effects);
        }
    }

    fn next_reached_stop(&self) -> Option<u64> {
        let reached = self.markets.values().flat_map(|market| {
            let orders = market.stops.iter().filter_map(|id| self.orders.get(id));
            orders.filter(|order| is_stop_reached(order.terms.side, order.terms.stop_price, market.last_price))
        });
        reached.map(|order| order.id).min()
    }
}
