//! The orders of the model: their terms, the messages of their venues, and what each order is worth by itself, in exact
//! decimals. The model uses none of the product's arithmetic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};

use crate::model_markets::{Market, in_asset, markets, rate};

/// Decimals of money and of quantities.
pub const MONEY: u32 = 6;
const QUANTITY: u32 = 8;

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
    /// Its quantity and the instrument's lot when it is reserved, in units of 1e-8.
    pub quantity: i128,
    pub lot: i128,
    /// None for a market order: it is valued at the mark.
    pub limit: Option<Decimal>,
    /// The mark that it is reserved at.
    pub mark: Decimal,
    pub expected_loss: Decimal,
    /// Whether its fills may only reduce a position.
    pub reduce_only: bool,
    /// The trading day on which it is routed.
    pub day: usize,
}

impl Terms {
    pub fn price(&self) -> Decimal {
        self.limit.unwrap_or(self.mark)
    }

    /// Returns the value of a quantity at a price, in the base currency.
    fn value(&self, units: i128, price: Decimal) -> Decimal {
        price * in_asset(units) * rate(markets()[self.market].quote).unwrap()
    }
}

/// One trade of an order.
#[derive(Debug, Clone, Copy)]
pub struct Trade {
    pub id: u8,
    /// In units of 1e-8.
    pub quantity: i128,
    pub price: Decimal,
    pub fee: Decimal,
    pub currency: &'static str,
    /// The trading day that it is booked on.
    pub day: usize,
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
    /// The venue's cumulative traded quantity, in units of 1e-8.
    pub counted: Option<i128>,
    /// The trading day that it is booked on.
    pub day: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderState {
    Claimed,
    Unknown,
    Working,
    Ended,
    Rejected,
}

/// What one trade moves, beside what is reserved.
#[derive(Debug, Clone, Copy)]
pub struct TradeMoves {
    pub position: i128,
    pub cash_flow: i128,
    pub fees: i128,
    /// What it makes at the mark of its order.
    pub result: i128,
    /// Whether its fee has no price.
    pub unpriced: i128,
    pub day: usize,
}

/// An order that counts.
#[derive(Debug, Clone)]
pub struct ModelOrder {
    pub terms: Terms,
    pub trades: BTreeMap<u8, Trade>,
    state: OrderState,
    /// Of an ended order: the quantity that its venue counted at the end and has not reported as trades yet.
    unreported: i128,
}

/// The effect of a message on an order.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessageEffect {
    /// The quantity beyond the reservation, that a reopened order reserves again, and of fees in the traded asset.
    pub forced_quantity: i128,
    /// What the trades lose at the mark of their order.
    pub forced_loss: i128,
    pub is_reopened: bool,
    pub has_asset_fee: bool,
    pub has_unpriced_fee: bool,
}

impl ModelOrder {
    pub fn claimed(terms: Terms) -> Self {
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

    /// Returns the traded quantity.
    pub fn booked(&self) -> i128 {
        self.trades.values().map(|trade| trade.quantity).sum()
    }

    /// Returns the order's part of the position.
    pub fn position(&self) -> i128 {
        self.trade_moves().map(|moves| moves.position).sum()
    }

    pub fn is_open(&self) -> bool {
        !matches!(self.state, OrderState::Ended | OrderState::Rejected)
    }

    pub fn is_claimed(&self) -> bool {
        self.state == OrderState::Claimed
    }

    /// Returns the quantity that the order still reserves.
    pub fn reserved(&self) -> i128 {
        if self.is_open() {
            (self.terms.quantity - self.booked()).max(0)
        } else {
            self.unreported
        }
    }

    /// Whether it counts for its day: every order except one that was rejected before its first trade.
    pub fn is_routed(&self) -> bool {
        self.state != OrderState::Rejected || !self.trades.is_empty() || self.unreported > 0
    }

    /// Applies a message; `None` when it changes nothing.
    pub fn apply(&mut self, message: &Message) -> Option<MessageEffect> {
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
        let reserved = self.reserved();
        if let Some(next) = next {
            self.state = next;
            has_changed = true;
        }
        if !self.is_open() && (next.is_some() || message.counted.is_some()) {
            // A counted quantity without a trade stays reserved; a released one is not reserved again.
            let unreported = message.counted.map_or(0, |counted| counted - self.booked());
            let unreported = unreported.clamp(0, reserved);
            // Another count is a change when it releases something.
            has_changed |= unreported != reserved;
            self.unreported = unreported;
        }
        has_changed.then_some(effect)
    }

    fn book(&mut self, trade: Trade, effect: &mut MessageEffect) {
        let was_rejected = self.state == OrderState::Rejected;
        let reserved = self.reserved();
        effect.forced_quantity += (trade.quantity - reserved).max(0);
        self.unreported = (self.unreported - trade.quantity).max(0);
        self.trades.insert(trade.id, trade);
        effect.forced_loss += (-self.moves_of(&trade).result).max(0);
        let asset_fee = self.asset_fee(&trade);
        effect.forced_quantity += asset_fee.abs();
        effect.has_asset_fee |= asset_fee != 0;
        effect.has_unpriced_fee |= self.is_unpriced(&trade);
        if self.booked() >= self.terms.quantity {
            self.state = OrderState::Ended;
        } else if self.state != OrderState::Ended {
            self.state = OrderState::Working;
        }
        if was_rejected {
            effect.is_reopened = true;
            if self.is_open() {
                effect.forced_quantity += self.reserved();
            }
        }
    }

    pub fn notional(&self) -> i128 {
        up(self.terms.value(self.terms.quantity, self.terms.price()), MONEY)
    }

    /// Returns what the whole order loses against its mark if it fills at its price: an amount that is rounded against us.
    pub fn price_loss(&self) -> i128 {
        let (quantity, price, mark) = (self.terms.quantity, self.terms.price(), self.terms.mark);
        let [at_price, at_mark] = [price, mark].map(|price| self.terms.value(quantity, price));
        match self.terms.side {
            Side::Buy if price > mark => up(at_price, MONEY) - down(at_mark, MONEY),
            Side::Sell if price < mark => up(at_mark, MONEY) - down(at_price, MONEY),
            _ => 0,
        }
    }

    /// Returns the loss that the order reserves: an open order expects its whole loss, and the loss of its price on what
    /// is not filled, rounded up.
    pub fn open_loss(&self) -> i128 {
        if !self.is_open() {
            return 0;
        }
        let of_price = -(-self.price_loss() * self.reserved()).div_euclid(self.terms.quantity);
        up(self.terms.expected_loss, MONEY) + of_price
    }

    /// Returns what each trade moves.
    pub fn trade_moves(&self) -> impl Iterator<Item = TradeMoves> {
        self.trades.values().map(|trade| self.moves_of(trade))
    }

    fn moves_of(&self, trade: &Trade) -> TradeMoves {
        let paid = self.terms.value(trade.quantity, trade.price);
        let (traded, cash_flow) = match self.terms.side {
            Side::Buy => (trade.quantity, -up(paid, MONEY)),
            Side::Sell => (-trade.quantity, down(paid, MONEY)),
        };
        let position = traded - self.asset_fee(trade);
        let fees = match rate(trade.currency) {
            Some(rate) if self.market().base != Some(trade.currency) => up(trade.fee * rate, MONEY),
            _ => 0,
        };
        TradeMoves {
            position,
            cash_flow,
            fees,
            unpriced: i128::from(self.is_unpriced(trade)),
            result: down(self.terms.value(position, self.terms.mark), MONEY) + cash_flow - fees,
            day: trade.day,
        }
    }

    /// Whether a trade has a fee in a currency without a rate.
    pub fn is_unpriced(&self, trade: &Trade) -> bool {
        !trade.fee.is_zero() && self.market().base != Some(trade.currency) && rate(trade.currency).is_none()
    }

    /// Returns the fee that a trade pays in the traded asset.
    fn asset_fee(&self, trade: &Trade) -> i128 {
        if self.market().base == Some(trade.currency) {
            up(trade.fee, QUANTITY)
        } else {
            0
        }
    }
}

pub fn up(amount: Decimal, decimals: u32) -> i128 {
    units(
        amount.round_dp_with_strategy(decimals, RoundingStrategy::ToPositiveInfinity),
        decimals,
    )
}

pub fn down(amount: Decimal, decimals: u32) -> i128 {
    units(
        amount.round_dp_with_strategy(decimals, RoundingStrategy::ToNegativeInfinity),
        decimals,
    )
}

fn units(amount: Decimal, decimals: u32) -> i128 {
    let number = amount * Decimal::from(10_i64.pow(decimals));
    assert!(number.is_integer(), "{number} is not an integer");
    number.trunc().mantissa() / 10_i128.pow(number.trunc().scale())
}
