//! What a client may ask about its own orders, trades and balances.

use serde_json::{Value, json};

use crate::venue::balances::Account;
use crate::venue::clock::now_ms;
use crate::venue::error::VenueError;
use crate::venue::faults::table::FaultKind;
use crate::venue::operation::Operation;
use crate::venue::order_parameters;
use crate::venue::parameters::Parameters;
use crate::venue::render;
use crate::venue::service::request::Answer;
use crate::venue::service::state::Service;

/// The entries of a list without a limit.
const DEFAULT_LIMIT: usize = 500;
/// The most entries of a list.
const MAX_LIMIT: usize = 1_000;
/// The longest time between the start and the end of a list, in milliseconds.
const MAX_INTERVAL_MS: u64 = 24 * 60 * 60 * 1_000;

/// Which part of a list is wanted.
struct Range {
    start: Option<u64>,
    end: Option<u64>,
    limit: usize,
}

impl Service {
    /// An order by either id.
    pub(super) fn query_order(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let reference = order_parameters::reference(parameters, account, "orderId", "origClientOrderId")?;
        parameters.finish()?;
        let (created_at, shown) = self.read(|exchange| {
            exchange.market(&reference.symbol)?;
            let order = exchange.find(&reference)?;
            Ok((order.created_at, render::queried(order)))
        })??;
        let hidden_for = self.faults.in_force(FaultKind::OrderHidden).unwrap_or_default();
        let is_young = now_ms() < created_at.saturating_add_signed(hidden_for);
        match is_young
            && self
                .faults
                .strikes(FaultKind::OrderHidden, Operation::QueryOrder)
                .is_some()
        {
            true => Err(VenueError::no_such_order()),
            false => Ok(shown),
        }
    }

    /// The open orders of one symbol or of all.
    pub(super) fn open_orders(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let symbol = parameters.optional_symbol()?;
        parameters.finish()?;
        self.read(|exchange| {
            if let Some(symbol) = symbol {
                exchange.market(symbol)?;
            }
            let orders = exchange.open_orders(account, symbol).into_iter();
            Ok(orders.map(render::queried).collect())
        })?
    }

    /// The orders of a symbol: from an id on, or the newest.
    pub(super) fn all_orders(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let symbol = parameters.symbol()?;
        let from = parameters.number::<u64>("orderId")?;
        let range = range(parameters)?;
        parameters.finish()?;
        self.read(|exchange| {
            exchange.market(symbol)?;
            let orders = exchange
                .orders_of(account, symbol)
                .filter(|order| from.is_none_or(|from| order.id >= from) && range.contains(order.created_at));
            let is_forward = from.is_some() || range.start.is_some();
            Ok(limited(orders.map(render::queried), range.limit, is_forward))
        })?
    }

    /// The trades of a symbol: of an order, from an id on, or the newest.
    pub(super) fn my_trades(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let symbol = parameters.symbol()?;
        let order_id = parameters.number::<u64>("orderId")?;
        let from = parameters.number::<u64>("fromId")?;
        let range = range(parameters)?;
        parameters.finish()?;
        self.read(|exchange| {
            exchange.market(symbol)?;
            let trades = exchange.trades().iter().filter(|trade| {
                trade.symbol == symbol && from.is_none_or(|from| trade.id >= from) && range.contains(trade.time)
            });
            let sides = trades.flat_map(|trade| trade.sides.iter().map(move |side| (trade, side)));
            let own = sides.filter(|(_, side)| {
                side.account == account && order_id.is_none_or(|order_id| side.order_id == order_id)
            });
            let is_forward = from.is_some() || range.start.is_some();
            let shown = own.map(|(trade, side)| render::own_trade(trade, side));
            Ok(limited(shown, range.limit, is_forward))
        })?
    }

    /// The balances and commissions of the account.
    pub(super) fn account(&self, parameters: &Parameters, account: &str) -> Result<Value, VenueError> {
        let omit_zero = parameters.optional("omitZeroBalances")? == Some("true");
        parameters.finish()?;
        self.read(|exchange| {
            let nothing = Account::default();
            let known = exchange.account(account).unwrap_or(&nothing);
            render::account((account, known), exchange.commissions(), omit_zero)
        })
    }

    /// The count of unfilled orders.
    pub(super) fn order_limits(
        &self,
        parameters: &Parameters,
        account: &str,
        answer: &mut Answer,
    ) -> Result<Value, VenueError> {
        parameters.finish()?;
        let counts = self.limits.order_counts(account, now_ms());
        answer.orders = Some(counts);
        Ok(self.limits.order_limits(counts).into())
    }

    /// What the key may do: read and trade, never withdraw.
    pub(super) fn key_permissions(parameters: &Parameters) -> Result<Value, VenueError> {
        parameters.finish()?;
        Ok(json!({
            "ipRestrict": false,
            "createTime": 0,
            "enableReading": true,
            "enableWithdrawals": false,
            "enableInternalTransfer": false,
            "enableMargin": false,
            "enableFutures": false,
            "permitsUniversalTransfer": false,
            "enableVanillaOptions": false,
            "enableFixApiTrade": false,
            "enableFixReadOnly": false,
            "enableSpotAndMarginTrading": true,
            "enablePortfolioMarginTrading": false,
        }))
    }
}

fn range(parameters: &Parameters) -> Result<Range, VenueError> {
    let range = Range {
        start: parameters.number("startTime")?,
        end: parameters.number("endTime")?,
        limit: parameters.number::<usize>("limit")?.unwrap_or(DEFAULT_LIMIT),
    };
    if let (Some(start), Some(end)) = (range.start, range.end)
        && end.saturating_sub(start) > MAX_INTERVAL_MS
    {
        return Err(VenueError::new(
            -1127,
            "More than 24 hours between startTime and endTime.",
        ));
    }
    Ok(range)
}

impl Range {
    fn contains(&self, time: u64) -> bool {
        self.start.is_none_or(|start| time >= start) && self.end.is_none_or(|end| time <= end)
    }
}

/// Returns the first entries, or the last ones, in their order.
fn limited(entries: impl Iterator<Item = Value>, limit: usize, is_forward: bool) -> Value {
    let limit = limit.clamp(1, MAX_LIMIT);
    if is_forward {
        return entries.take(limit).collect();
    }
    let mut last: Vec<Value> = entries.collect();
    last.split_off(last.len().saturating_sub(limit)).into()
}
