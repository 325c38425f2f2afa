//! The shared sums as the architecture defines them, in exact decimals: every sum is recomputed from the orders, their
//! trades and the adjustments, so nothing can drift. The model uses none of the product's arithmetic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::model_markets::{
    ACCOUNTS, DAILY_NOTIONAL, MARKETS, MAX_OPEN_ORDERS, STOP_LOSS, account_notional, in_asset, in_units, loss_limit,
    markets, micros, rate,
};
use crate::model_orders::{MONEY, Message, MessageEffect, ModelOrder, Side, Terms, TradeMoves, down, up};

/// The owner of the sums of all accounts, beside the accounts by index.
pub const ALL: usize = ACCOUNTS;
/// The number of owners.
pub const OWNERS: usize = ACCOUNTS + 1;

/// A shared sum: owners and markets by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sum {
    Long(usize, usize),
    Short(usize, usize),
    Position(usize, usize),
    /// The position at the start of the day.
    Start(usize, usize),
    CashFlow(usize, usize),
    Fees(usize, usize),
    OpenOrders(usize, usize),
    OpenLoss(usize),
    DailyNotional(usize),
    FillResult(usize),
    /// Fills whose fee has no price.
    UnpricedFees(usize),
}

/// The sums that are not zero: units of 1e-8 of the asset, millionths of the base currency, orders.
pub type Sums = BTreeMap<Sum, i128>;

/// Returns a sum, zero when absent.
pub fn sum_of(sums: &Sums, sum: Sum) -> i128 {
    sums.get(&sum).copied().unwrap_or(0)
}

/// Adds to a sum; a sum of zero is removed.
pub fn add(sums: &mut Sums, sum: Sum, amount: i128) {
    let after = sum_of(sums, sum) + amount;
    if after == 0 {
        sums.remove(&sum);
    } else {
        sums.insert(sum, after);
    }
}

/// Returns the exposure to a market on a side.
pub fn exposure(sums: &Sums, owner: usize, market: usize, side: Side) -> i128 {
    match side {
        Side::Buy => sum_of(sums, Sum::Long(owner, market)),
        Side::Sell => sum_of(sums, Sum::Short(owner, market)),
    }
}

/// A quantity that was not traded here.
#[derive(Debug, Clone, Copy)]
pub struct Adjusted {
    pub account: usize,
    pub market: usize,
    pub quantity: i128,
    pub price: Decimal,
    pub day: usize,
}

impl Adjusted {
    fn moves(&self) -> TradeMoves {
        let paid = self.price * in_asset(self.quantity) * rate(markets()[self.market].quote).unwrap();
        TradeMoves {
            position: self.quantity,
            cash_flow: down(-paid, MONEY),
            fees: 0,
            result: 0,
            unpriced: 0,
            day: self.day,
        }
    }
}

/// The price of the fees of some fills.
#[derive(Debug, Clone, Copy)]
pub struct PricedFee {
    pub account: usize,
    pub market: usize,
    pub amount: Decimal,
    pub price: Decimal,
    pub fills: i128,
    pub day: usize,
}

impl PricedFee {
    fn moves(&self) -> TradeMoves {
        let fees = up(self.amount * self.price, MONEY);
        TradeMoves {
            position: 0,
            cash_flow: 0,
            fees,
            result: -fees,
            unpriced: -self.fills,
            day: self.day,
        }
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
    StopLoss,
    Breach,
    UnpricedFee,
    ReduceOnly,
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

/// The profit of each owner when it was last computed, and what fills had made by then: what they make later is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    pub profit: [i128; OWNERS],
    pub fill_result: [i128; OWNERS],
}

/// Everything that counts.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Every order, by its number.
    orders: BTreeMap<usize, ModelOrder>,
    adjusted: Vec<Adjusted>,
    priced: Vec<PricedFee>,
    /// The trading day.
    pub today: usize,
    pub view: View,
    /// The losses that have reached their limits and are not locked yet.
    pub breaches: [Option<i128>; OWNERS],
}

impl Model {
    pub fn place(&mut self, order: usize, terms: Terms) {
        self.insert(order, ModelOrder::claimed(terms));
    }

    /// Inserts an order in its present state.
    pub fn insert(&mut self, order: usize, placed: ModelOrder) {
        assert!(
            self.orders.insert(order, placed).is_none(),
            "order {order} is placed twice"
        );
    }

    /// Removes an order that was never sent.
    pub fn forget(&mut self, order: usize) {
        assert!(self.orders.remove(&order).is_some_and(|placed| placed.is_claimed()));
    }

    pub fn order(&self, order: usize) -> &ModelOrder {
        &self.orders[&order]
    }

    pub fn apply(&mut self, order: usize, message: &Message) -> Option<MessageEffect> {
        self.orders.get_mut(&order).unwrap().apply(message)
    }

    pub fn adjust(&mut self, adjusted: Adjusted) {
        self.adjusted.push(adjusted);
    }

    pub fn price_fee(&mut self, priced: PricedFee) {
        self.priced.push(priced);
    }

    /// Returns the position that a message's trades would take through zero, or away from it, where they may only reduce
    /// it.
    pub fn crossed_position(&self, order: usize, message: &Message) -> Option<i128> {
        let placed = self.order(order);
        let mut after = placed.clone();
        after.apply(message);
        let moved = after.position() - placed.position();
        let position = sum_of(
            &self.sums(None),
            Sum::Position(placed.terms.account, placed.terms.market),
        );
        let is_nearer_zero = match position.signum() {
            1 => (0..position).contains(&(position + moved)),
            -1 => (position + 1..=0).contains(&(position + moved)),
            _ => false,
        };
        (placed.terms.reduce_only && moved != 0 && !is_nearer_zero).then_some(position)
    }

    /// Recomputes every sum: the daily ones of a trading day, or over all days.
    pub fn sums(&self, today: Option<usize>) -> Sums {
        let mut sums = Sums::new();
        for placed in self.orders.values() {
            let terms = placed.terms;
            for moves in placed.trade_moves() {
                add_traded(&mut sums, (terms.account, terms.market), moves, today);
            }
            let reserved = match terms.side {
                Side::Buy => Sum::Long as fn(usize, usize) -> Sum,
                Side::Sell => Sum::Short,
            };
            let counts_today = placed.is_routed() && today.is_none_or(|today| terms.day == today);
            for owner in [terms.account, ALL] {
                add(&mut sums, reserved(owner, terms.market), placed.reserved());
                add(&mut sums, Sum::OpenOrders(owner, terms.market), placed.is_open().into());
                add(&mut sums, Sum::OpenLoss(owner), placed.open_loss());
                if counts_today {
                    add(&mut sums, Sum::DailyNotional(owner), placed.notional());
                }
            }
        }
        for adjusted in &self.adjusted {
            add_traded(&mut sums, (adjusted.account, adjusted.market), adjusted.moves(), today);
        }
        for priced in &self.priced {
            add_traded(&mut sums, (priced.account, priced.market), priced.moves(), today);
        }
        sums
    }

    /// Returns the sums of the trading day.
    pub fn sums_today(&self) -> Sums {
        self.sums(Some(self.today))
    }

    /// Returns the profit of the day of each owner at these marks, from positions at their references at its start.
    pub fn view_at(&self, marks: &[Decimal; MARKETS]) -> View {
        let sums = self.sums_today();
        let mut view = View::default();
        for owner in 0..OWNERS {
            let mut profit = Decimal::ZERO;
            for (at, market) in markets().iter().enumerate() {
                let of = |sum: fn(usize, usize) -> Sum| sum_of(&sums, sum(owner, at));
                let value = |units, mark: Decimal| in_asset(units) * mark * rate(market.quote).unwrap();
                profit += Decimal::from_i128_with_scale(of(Sum::CashFlow) - of(Sum::Fees), MONEY);
                profit += value(of(Sum::Position), marks[at]) - value(of(Sum::Start), market.reference);
            }
            view.profit[owner] = down(profit, MONEY);
            view.fill_result[owner] = sum_of(&sums, Sum::FillResult(owner));
        }
        view
    }

    /// Returns an owner's loss of the day: of the view, with what fills have made since.
    pub fn loss(&self, sums: &Sums, owner: usize) -> i128 {
        let made = sum_of(sums, Sum::FillResult(owner)) - self.view.fill_result[owner];
        -self.view.profit[owner] - made
    }

    /// Returns an owner's loss where it has reached its limit, and remembers the first.
    pub fn find_breach(&mut self, owner: usize) -> Option<i128> {
        let loss = self.loss(&self.sums_today(), owner);
        (loss >= loss_limit(owner)).then(|| *self.breaches[owner].get_or_insert(loss))
    }

    /// Returns the terms with the quantity that just reaches the position cap, or exceeds it by lots.
    pub fn fill_position_cap(&self, terms: Terms, lots_beyond: i128) -> Terms {
        let most = in_units(markets()[terms.market].max_position);
        let room = most - exposure(&self.sums_today(), terms.account, terms.market, terms.side);
        let lots = (room.div_euclid(terms.lot) + lots_beyond).clamp(1, most / terms.lot);
        Terms {
            quantity: lots * terms.lot,
            limit: None,
            ..terms
        }
    }

    /// Returns terms that close the account's position, as far as its lots can, and may only reduce it.
    pub fn close_position(&self, terms: Terms) -> Terms {
        let position = sum_of(&self.sums_today(), Sum::Position(terms.account, terms.market));
        Terms {
            side: if position > 0 { Side::Sell } else { Side::Buy },
            quantity: (position.abs() / terms.lot).max(1) * terms.lot,
            reduce_only: true,
            ..terms
        }
    }

    /// Evaluates an order of these terms against the current sums.
    pub fn evaluate(&self, terms: Terms) -> ModelVerdict {
        let (sums, market, account) = (self.sums_today(), &markets()[terms.market], terms.account);
        let after_own = exposure(&sums, account, terms.market, terms.side) + terms.quantity;
        let cannot_sell = terms.side == Side::Sell && !market.can_short;
        let most = if cannot_sell {
            Decimal::ZERO
        } else {
            market.max_position
        };
        let value = terms.price().max(terms.mark) * rate(market.quote).unwrap();
        let placed = ModelOrder::claimed(terms);
        let of = |sum, amount| sum_of(&sums, sum) + amount;
        let notional = placed.notional();
        let own_loss = up(terms.expected_loss, MONEY) + placed.price_loss();
        let loss = |owner| self.loss(&sums, owner) + of(Sum::OpenLoss(owner), own_loss);
        let exceeded = [
            (ModelLimit::Position, in_asset(after_own) > most),
            (
                ModelLimit::Notional,
                in_asset(after_own.max(terms.quantity)) * value > market.max_notional,
            ),
            (
                ModelLimit::DailyNotional,
                of(Sum::DailyNotional(ALL), notional) > micros(DAILY_NOTIONAL),
            ),
            (
                ModelLimit::AccountDailyNotional,
                account_notional(account).is_some_and(|limit| of(Sum::DailyNotional(account), notional) > limit),
            ),
            (ModelLimit::DailyLoss, loss(ALL) >= loss_limit(ALL)),
            (ModelLimit::AccountDailyLoss, loss(account) >= loss_limit(account)),
            (ModelLimit::StopLoss, self.loss(&sums, account) >= micros(STOP_LOSS)),
            (
                ModelLimit::Breach,
                self.breaches[account].or(self.breaches[ALL]).is_some(),
            ),
            (ModelLimit::UnpricedFee, sum_of(&sums, Sum::UnpricedFees(account)) > 0),
            (ModelLimit::ReduceOnly, terms.reduce_only),
            (
                ModelLimit::OpenOrders,
                of(Sum::OpenOrders(account, terms.market), 1) > MAX_OPEN_ORDERS.into(),
            ),
        ];
        let exceeded = exceeded.into_iter().filter(|(_, is_exceeded)| *is_exceeded);
        ModelVerdict {
            is_reduction: after_own <= 0,
            exceeded: exceeded.map(|(limit, _)| limit).collect(),
        }
    }
}

/// Adds what a trade or an adjustment moves, for its account and for all. Money counts on its own day, and a day starts
/// with every position of the days before it.
fn add_traded(sums: &mut Sums, (account, market): (usize, usize), moves: TradeMoves, today: Option<usize>) {
    for owner in [account, ALL] {
        add(sums, Sum::Position(owner, market), moves.position);
        add(sums, Sum::Long(owner, market), moves.position);
        add(sums, Sum::Short(owner, market), -moves.position);
        if today.is_none_or(|today| moves.day == today) {
            add(sums, Sum::CashFlow(owner, market), moves.cash_flow);
            add(sums, Sum::Fees(owner, market), moves.fees);
            add(sums, Sum::FillResult(owner), moves.result);
        }
        add(sums, Sum::UnpricedFees(owner), moves.unpriced);
        if today.is_some_and(|today| moves.day < today) {
            add(sums, Sum::Start(owner, market), moves.position);
        }
    }
}
