//! The shared sums as the architecture defines them, in exact decimals: every sum is recomputed from the orders and their
//! trades, so nothing can drift. The model uses none of the product's arithmetic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};

use crate::model_markets::{
    DAILY_LOSS, DAILY_NOTIONAL, MAX_OPEN_ORDERS, Market, account_loss, account_notional, markets, micros, rate,
};

/// Decimals of money and of fees in the base asset.
const MONEY: u32 = 6;
const BASE_FEES: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Buy,
    Sell,
}

/// The terms of an order.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub account: usize,
    /// The index of its market in [`markets`].
    pub market: usize,
    pub side: Side,
    pub lots: i64,
    /// None for a market order: it is valued at the reference price.
    pub limit: Option<Decimal>,
    pub expected_loss: Decimal,
    /// The trading day on which it is routed.
    pub day: usize,
}

/// One trade of an order.
#[derive(Debug, Clone, Copy)]
pub struct Trade {
    pub id: u8,
    pub lots: i64,
    pub price: Decimal,
    pub fee: Decimal,
    pub currency: &'static str,
}

/// The state that a venue reports, apart from trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedState {
    Working,
    Unknown,
    Cancelled,
    Expired,
    Rejected,
}

/// A venue report.
#[derive(Debug, Clone)]
pub struct Message {
    pub trades: Vec<Trade>,
    pub state: ReportedState,
    /// The venue's cumulative traded quantity, in lots.
    pub counted: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderState {
    Claimed,
    Unknown,
    Working,
    Ended,
    Rejected,
}

/// An order that counts.
#[derive(Debug, Clone)]
pub struct ModelOrder {
    pub terms: Terms,
    pub trades: BTreeMap<u8, Trade>,
    state: OrderState,
    /// Of an ended order: lots that its venue counted at the end and has not reported as trades yet.
    unreported: i64,
}

/// The effect of a message on an order.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessageEffect {
    /// Lots beyond the reservation, lots that a reopened order reserves again, and lots of fees.
    pub forced_lots: i64,
    pub is_reopened: bool,
}

impl ModelOrder {
    fn claimed(terms: Terms) -> Self {
        Self {
            terms,
            trades: BTreeMap::new(),
            state: OrderState::Claimed,
            unreported: 0,
        }
    }

    fn market(&self) -> &'static Market {
        &markets()[self.terms.market]
    }

    pub fn booked(&self) -> i64 {
        self.trades.values().map(|trade| trade.lots).sum()
    }

    pub fn is_open(&self) -> bool {
        !matches!(self.state, OrderState::Ended | OrderState::Rejected)
    }

    pub fn is_claimed(&self) -> bool {
        self.state == OrderState::Claimed
    }

    /// Returns the lots that the order still reserves.
    pub fn reserved_lots(&self) -> i64 {
        if self.is_open() {
            (self.terms.lots - self.booked()).max(0)
        } else {
            self.unreported
        }
    }

    /// Whether it counts for its day: every order except one that was rejected before its first trade.
    fn is_routed(&self) -> bool {
        self.state != OrderState::Rejected || !self.trades.is_empty() || self.unreported > 0
    }

    /// Applies a message; `None` when it changes nothing.
    fn apply(&mut self, message: &Message) -> Option<MessageEffect> {
        let (mut effect, mut has_changed) = (MessageEffect::default(), false);
        for trade in &message.trades {
            if !self.trades.contains_key(&trade.id) {
                self.book(*trade, &mut effect);
                has_changed = true;
            }
        }
        let next = match (self.state, message.state) {
            (OrderState::Claimed, ReportedState::Unknown) => Some(OrderState::Unknown),
            (OrderState::Claimed | OrderState::Unknown, ReportedState::Working) => Some(OrderState::Working),
            (OrderState::Ended | OrderState::Rejected, _) => None,
            (_, ReportedState::Cancelled | ReportedState::Expired) => Some(OrderState::Ended),
            // An order with trades cannot be rejected: the venue ends its remainder.
            (_, ReportedState::Rejected) if self.trades.is_empty() => Some(OrderState::Rejected),
            (_, ReportedState::Rejected) => Some(OrderState::Ended),
            _ => None,
        };
        let reserved_lots = self.reserved_lots();
        if let Some(next) = next {
            self.state = next;
            has_changed = true;
        }
        if !self.is_open() && (next.is_some() || message.counted.is_some()) {
            // Counted lots without a trade stay reserved; released lots are not reserved again.
            let unreported = message.counted.map_or(0, |counted| counted - self.booked());
            let unreported = unreported.clamp(0, reserved_lots);
            // Another count is a change when it releases something.
            has_changed |= unreported != reserved_lots;
            self.unreported = unreported;
        }
        has_changed.then_some(effect)
    }

    fn book(&mut self, trade: Trade, effect: &mut MessageEffect) {
        let was_rejected = self.state == OrderState::Rejected;
        let reserved_lots = self.reserved_lots();
        effect.forced_lots += (trade.lots - reserved_lots).max(0);
        self.unreported = (self.unreported - trade.lots).max(0);
        self.trades.insert(trade.id, trade);
        if self.market().base == Some(trade.currency) {
            let lots = (trade.fee.abs() / self.market().lot).ceil();
            effect.forced_lots += integer(lots) + 1;
        }
        if self.booked() >= self.terms.lots {
            self.state = OrderState::Ended;
        } else if self.state != OrderState::Ended {
            self.state = OrderState::Working;
        }
        if was_rejected {
            effect.is_reopened = true;
            if self.is_open() {
                effect.forced_lots += self.reserved_lots();
            }
        }
    }

    fn price(&self) -> Decimal {
        self.terms.price()
    }

    fn notional(&self) -> i64 {
        let market = self.market();
        let value = self.price() * lots(self.terms.lots) * market.lot * rate(market.quote).unwrap();
        up(value, MONEY)
    }

    fn expected_loss(&self) -> i64 {
        up(self.terms.expected_loss, MONEY)
    }

    /// Returns the cash flow of the trades in millionths, each rounded against us.
    fn cash_flow(&self) -> i64 {
        let market = self.market();
        let worth = market.lot * rate(market.quote).unwrap();
        let trades = self.trades.values();
        let flows = trades.map(|trade| match self.terms.side {
            Side::Buy => -up(trade.price * lots(trade.lots) * worth, MONEY),
            Side::Sell => down(trade.price * lots(trade.lots) * worth, MONEY),
        });
        flows.sum()
    }

    /// Returns the fees in the base currency and those in the base asset.
    fn fees(&self) -> (i64, i64) {
        let (mut fees, mut base_fees) = (0, 0);
        for trade in self.trades.values() {
            if self.market().base == Some(trade.currency) {
                base_fees += up(trade.fee, BASE_FEES);
            } else if let Some(rate) = rate(trade.currency) {
                fees += up(trade.fee * rate, MONEY);
            }
        }
        (fees, base_fees)
    }
}

impl Terms {
    fn price(&self) -> Decimal {
        self.limit.unwrap_or(markets()[self.market].reference)
    }
}

/// A shared sum: accounts, markets and days by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sum {
    Long(usize, usize),
    Short(usize, usize),
    Position(usize, usize),
    CashFlow(usize, usize),
    Fees(usize, usize),
    BaseFees(usize, usize),
    OpenOrders(usize, usize),
    AccountOpenLoss(usize),
    OpenLoss,
    AccountDailyNotional(usize, usize),
    DailyNotional(usize),
}

/// The sums that are not zero: lots, millionths, units of 1e-8 of the base asset, orders.
pub type Sums = BTreeMap<Sum, i64>;

/// Returns a sum, zero when absent.
pub fn sum_of(sums: &Sums, sum: Sum) -> i64 {
    sums.get(&sum).copied().unwrap_or(0)
}

/// Adds to a sum; a sum of zero is removed.
pub fn add(sums: &mut Sums, sum: Sum, amount: i64) {
    let after = sum_of(sums, sum) + amount;
    if after == 0 {
        sums.remove(&sum);
    } else {
        sums.insert(sum, after);
    }
}

/// Returns the account's exposure to a market on a side, in lots, with fees in the base asset counted against it.
pub fn exposure(sums: &Sums, account: usize, market: usize, side: Side) -> i64 {
    let fees = Decimal::new(sum_of(sums, Sum::BaseFees(account, market)), BASE_FEES) / markets()[market].lot;
    match side {
        Side::Buy => integer((lots(sum_of(sums, Sum::Long(account, market))) - fees).ceil()),
        Side::Sell => integer((lots(sum_of(sums, Sum::Short(account, market))) + fees).ceil()),
    }
}

/// A limit that an order can exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelLimit {
    Position,
    Notional,
    DailyNotional,
    AccountDailyNotional,
    DailyLoss,
    AccountDailyLoss,
    OpenOrders,
}

/// Whether an order may be claimed.
#[derive(Debug, Clone)]
pub struct ModelVerdict {
    pub is_reduction: bool,
    /// The limits it would exceed, those that a reduction may exceed included.
    pub exceeded: Vec<ModelLimit>,
}

impl ModelVerdict {
    pub fn fits(&self) -> bool {
        let spares = |limit: &ModelLimit| self.is_reduction && *limit != ModelLimit::OpenOrders;
        self.exceeded.iter().all(spares)
    }
}

/// Every order that counts, by its number.
#[derive(Debug, Clone, Default)]
pub struct Model(BTreeMap<usize, ModelOrder>);

impl Model {
    pub fn place(&mut self, order: usize, terms: Terms) {
        self.insert(order, ModelOrder::claimed(terms));
    }

    /// Inserts an order in its present state.
    pub fn insert(&mut self, order: usize, placed: ModelOrder) {
        assert!(self.0.insert(order, placed).is_none(), "order {order} is placed twice");
    }

    /// Removes an order that was never sent.
    pub fn forget(&mut self, order: usize) {
        assert!(self.0.remove(&order).is_some_and(|placed| placed.is_claimed()));
    }

    pub fn order(&self, order: usize) -> &ModelOrder {
        &self.0[&order]
    }

    pub fn apply(&mut self, order: usize, message: &Message) -> Option<MessageEffect> {
        self.0.get_mut(&order).unwrap().apply(message)
    }

    /// Recomputes every sum.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::new();
        for placed in self.0.values() {
            let (account, market, day) = (placed.terms.account, placed.terms.market, placed.terms.day);
            let sign = if placed.terms.side == Side::Buy { 1 } else { -1 };
            let (position, reserved_lots) = (sign * placed.booked(), placed.reserved_lots());
            let (buys, sells) = if sign > 0 {
                (reserved_lots, 0)
            } else {
                (0, reserved_lots)
            };
            add(&mut sums, Sum::Position(account, market), position);
            add(&mut sums, Sum::Long(account, market), position + buys);
            add(&mut sums, Sum::Short(account, market), -position + sells);
            add(&mut sums, Sum::CashFlow(account, market), placed.cash_flow());
            let (fees, base_fees) = placed.fees();
            add(&mut sums, Sum::Fees(account, market), fees);
            add(&mut sums, Sum::BaseFees(account, market), base_fees);
            if placed.is_open() {
                add(&mut sums, Sum::OpenOrders(account, market), 1);
                add(&mut sums, Sum::AccountOpenLoss(account), placed.expected_loss());
                add(&mut sums, Sum::OpenLoss, placed.expected_loss());
            }
            if placed.is_routed() {
                add(&mut sums, Sum::AccountDailyNotional(account, day), placed.notional());
                add(&mut sums, Sum::DailyNotional(day), placed.notional());
            }
        }
        sums
    }

    /// Returns the terms with the lots that just reach the position cap, or exceed it by `beyond`.
    pub fn fill_position_cap(&self, terms: Terms, beyond: i64) -> Terms {
        let market = &markets()[terms.market];
        let most = integer((market.max_position / market.lot).floor());
        let room = most - exposure(&self.sums(), terms.account, terms.market, terms.side);
        let lots = (room + beyond).clamp(1, most);
        Terms {
            lots,
            limit: None,
            ..terms
        }
    }

    /// Evaluates an order of these terms against the current sums.
    pub fn evaluate(&self, terms: Terms) -> ModelVerdict {
        let (sums, market) = (self.sums(), &markets()[terms.market]);
        let after_own = exposure(&sums, terms.account, terms.market, terms.side) + terms.lots;
        let cannot_sell = terms.side == Side::Sell && !market.can_short;
        let most = if cannot_sell {
            Decimal::ZERO
        } else {
            market.max_position
        };
        let lot_value = terms.price().max(market.reference) * rate(market.quote).unwrap() * market.lot;
        let most_lots = after_own.max(terms.lots);
        let placed = ModelOrder::claimed(terms);
        let of = |sum, amount| sum_of(&sums, sum) + amount;
        let (notional, loss, account) = (placed.notional(), placed.expected_loss(), terms.account);
        let own_day = of(Sum::AccountDailyNotional(account, terms.day), notional);
        let own_loss = of(Sum::AccountOpenLoss(account), loss);
        let exceeded = [
            (ModelLimit::Position, lots(after_own) * market.lot > most),
            (ModelLimit::Notional, lots(most_lots) * lot_value > market.max_notional),
            (
                ModelLimit::DailyNotional,
                of(Sum::DailyNotional(terms.day), notional) > micros(DAILY_NOTIONAL),
            ),
            (
                ModelLimit::AccountDailyNotional,
                account_notional(account).is_some_and(|limit| own_day > limit),
            ),
            (ModelLimit::DailyLoss, of(Sum::OpenLoss, loss) >= micros(DAILY_LOSS)),
            (ModelLimit::AccountDailyLoss, own_loss >= account_loss(account)),
            (
                ModelLimit::OpenOrders,
                of(Sum::OpenOrders(account, terms.market), 1) > MAX_OPEN_ORDERS,
            ),
        ];
        ModelVerdict {
            is_reduction: after_own <= 0,
            exceeded: exceeded
                .into_iter()
                .filter(|(_, is_exceeded)| *is_exceeded)
                .map(|(limit, _)| limit)
                .collect(),
        }
    }
}

fn lots(lots: i64) -> Decimal {
    Decimal::from(lots)
}

fn up(amount: Decimal, decimals: u32) -> i64 {
    units(
        amount.round_dp_with_strategy(decimals, RoundingStrategy::ToPositiveInfinity),
        decimals,
    )
}

fn down(amount: Decimal, decimals: u32) -> i64 {
    units(
        amount.round_dp_with_strategy(decimals, RoundingStrategy::ToNegativeInfinity),
        decimals,
    )
}

fn units(amount: Decimal, decimals: u32) -> i64 {
    integer(amount * Decimal::from(10_i64.pow(decimals)))
}

fn integer(number: Decimal) -> i64 {
    assert!(number.is_integer(), "{number} is not an integer");
    number.trunc().try_into().unwrap()
}
