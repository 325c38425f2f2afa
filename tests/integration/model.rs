//! The shared sums as the architecture's text has them, kept in exact decimals: every figure is added up anew from the
//! orders and their trades, so nothing can drift. Nothing of the product's arithmetic is in use here.

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

/// What an order asks for.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub account: usize,
    /// The place of its market in [`markets`].
    pub market: usize,
    pub side: Side,
    pub lots: i64,
    /// None for a market order: it is valued at the reference price.
    pub limit: Option<Decimal>,
    pub expected_loss: Decimal,
    /// The trading day it is routed on.
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

/// What a venue says of an order, its trades aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Working,
    Unknown,
    Cancelled,
    Expired,
    Rejected,
}

/// A venue's message.
#[derive(Debug, Clone)]
pub struct Message {
    pub trades: Vec<Trade>,
    pub word: Word,
    /// What the venue counts as traded in all, in lots.
    pub counted: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Claimed,
    Unknown,
    Working,
    Ended,
    Rejected,
}

/// An order that counts.
#[derive(Debug, Clone)]
pub struct Placed {
    pub terms: Terms,
    pub trades: BTreeMap<u8, Trade>,
    life: Life,
    /// Of an ended order: what its venue counted at the end and has not told as a trade yet.
    untold: i64,
}

/// What a message made of an order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard {
    /// Lots beyond what was reserved, those that a reopened order holds anew, and those of fees.
    pub forced_lots: i64,
    pub is_reopened: bool,
}

impl Placed {
    fn claimed(terms: Terms) -> Self {
        Self {
            terms,
            trades: BTreeMap::new(),
            life: Life::Claimed,
            untold: 0,
        }
    }

    fn market(&self) -> &'static Market {
        &markets()[self.terms.market]
    }

    pub fn booked(&self) -> i64 {
        self.trades.values().map(|trade| trade.lots).sum()
    }

    pub fn is_open(&self) -> bool {
        !matches!(self.life, Life::Ended | Life::Rejected)
    }

    pub fn is_claimed(&self) -> bool {
        self.life == Life::Claimed
    }

    /// Returns the lots the order still holds.
    pub fn rest(&self) -> i64 {
        if self.is_open() {
            (self.terms.lots - self.booked()).max(0)
        } else {
            self.untold
        }
    }

    /// Whether it counts for its day: anything but an order that was refused before anything of it was traded.
    fn is_routed(&self) -> bool {
        self.life != Life::Rejected || !self.trades.is_empty() || self.untold > 0
    }

    /// Takes a message in; `None` where it tells nothing new.
    fn hear(&mut self, message: &Message) -> Option<Heard> {
        let (mut heard, mut is_news) = (Heard::default(), false);
        for trade in &message.trades {
            if !self.trades.contains_key(&trade.id) {
                self.book(*trade, &mut heard);
                is_news = true;
            }
        }
        let next = match (self.life, message.word) {
            (Life::Claimed, Word::Unknown) => Some(Life::Unknown),
            (Life::Claimed | Life::Unknown, Word::Working) => Some(Life::Working),
            (Life::Ended | Life::Rejected, _) => None,
            (_, Word::Cancelled | Word::Expired) => Some(Life::Ended),
            // What has been traded was not refused: the venue does not go on with the rest.
            (_, Word::Rejected) if self.trades.is_empty() => Some(Life::Rejected),
            (_, Word::Rejected) => Some(Life::Ended),
            _ => None,
        };
        let rest = self.rest();
        if let Some(next) = next {
            self.life = next;
            is_news = true;
        }
        if !self.is_open() && (next.is_some() || message.counted.is_some()) {
            // What the venue counts and has not told stays held; what was given back once is not taken again.
            let untold = message.counted.map_or(0, |counted| counted - self.booked());
            let untold = untold.clamp(0, rest);
            // Another count is news, where it gives something back.
            is_news |= untold != rest;
            self.untold = untold;
        }
        is_news.then_some(heard)
    }

    fn book(&mut self, trade: Trade, heard: &mut Heard) {
        let was_rejected = self.life == Life::Rejected;
        let rest = self.rest();
        heard.forced_lots += (trade.lots - rest).max(0);
        self.untold = (self.untold - trade.lots).max(0);
        self.trades.insert(trade.id, trade);
        if self.market().base == Some(trade.currency) {
            let lots = (trade.fee.abs() / self.market().lot).ceil();
            heard.forced_lots += whole(lots) + 1;
        }
        if self.booked() >= self.terms.lots {
            self.life = Life::Ended;
        } else if self.life != Life::Ended {
            self.life = Life::Working;
        }
        if was_rejected {
            heard.is_reopened = true;
            if self.is_open() {
                heard.forced_lots += self.rest();
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

    /// Returns what the trades brought in, in millionths, each rounded against us.
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

/// A shared sum: accounts, markets and days by their places.
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

/// Returns a sum, zero where it is not named.
pub fn sum_of(sums: &Sums, sum: Sum) -> i64 {
    sums.get(&sum).copied().unwrap_or(0)
}

/// Adds to a sum; one that comes to zero is left out.
pub fn add(sums: &mut Sums, sum: Sum, amount: i64) {
    let after = sum_of(sums, sum) + amount;
    if after == 0 {
        sums.remove(&sum);
    } else {
        sums.insert(sum, after);
    }
}

/// What the account may hold of a market on a side, in lots, fees in the base asset against it.
pub fn exposure(sums: &Sums, account: usize, market: usize, side: Side) -> i64 {
    let fees = Decimal::new(sum_of(sums, Sum::BaseFees(account, market)), BASE_FEES) / markets()[market].lot;
    match side {
        Side::Buy => whole((lots(sum_of(sums, Sum::Long(account, market))) - fees).ceil()),
        Side::Sell => whole((lots(sum_of(sums, Sum::Short(account, market))) + fees).ceil()),
    }
}

/// Why an order does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bar {
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
pub struct Judgement {
    pub is_reduction: bool,
    /// The limits it would pass, those that a reduction may pass included.
    pub bars: Vec<Bar>,
}

impl Judgement {
    pub fn fits(&self) -> bool {
        let spares = |bar: &Bar| self.is_reduction && *bar != Bar::OpenOrders;
        self.bars.iter().all(spares)
    }
}

/// Every order that counts, by its number.
#[derive(Debug, Clone, Default)]
pub struct Model(BTreeMap<usize, Placed>);

impl Model {
    pub fn place(&mut self, order: usize, terms: Terms) {
        self.put(order, Placed::claimed(terms));
    }

    /// Puts an order in as far as it has come.
    pub fn put(&mut self, order: usize, placed: Placed) {
        assert!(self.0.insert(order, placed).is_none(), "order {order} is placed twice");
    }

    /// Takes an order out that was never sent.
    pub fn forget(&mut self, order: usize) {
        assert!(self.0.remove(&order).is_some_and(|placed| placed.is_claimed()));
    }

    pub fn order(&self, order: usize) -> &Placed {
        &self.0[&order]
    }

    pub fn hear(&mut self, order: usize, message: &Message) -> Option<Heard> {
        self.0.get_mut(&order).unwrap().hear(message)
    }

    /// Adds every sum up from nothing.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::new();
        for placed in self.0.values() {
            let (account, market, day) = (placed.terms.account, placed.terms.market, placed.terms.day);
            let sign = if placed.terms.side == Side::Buy { 1 } else { -1 };
            let (position, rest) = (sign * placed.booked(), placed.rest());
            let (buys, sells) = if sign > 0 { (rest, 0) } else { (0, rest) };
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

    /// Returns the terms with so many lots that the position's cap is just reached, or is passed by so many.
    pub fn to_the_brim(&self, terms: Terms, beyond: i64) -> Terms {
        let market = &markets()[terms.market];
        let most = whole((market.max_position / market.lot).floor());
        let room = most - exposure(&self.sums(), terms.account, terms.market, terms.side);
        let lots = (room + beyond).clamp(1, most);
        Terms {
            lots,
            limit: None,
            ..terms
        }
    }

    /// Returns whether an order of these terms fits what is held now.
    pub fn judge(&self, terms: Terms) -> Judgement {
        let (sums, market) = (self.sums(), &markets()[terms.market]);
        let after_own = exposure(&sums, terms.account, terms.market, terms.side) + terms.lots;
        let barred = terms.side == Side::Sell && !market.can_short;
        let most = if barred { Decimal::ZERO } else { market.max_position };
        let lot_value = terms.price().max(market.reference) * rate(market.quote).unwrap() * market.lot;
        let most_lots = after_own.max(terms.lots);
        let placed = Placed::claimed(terms);
        let of = |sum, amount| sum_of(&sums, sum) + amount;
        let (notional, loss, account) = (placed.notional(), placed.expected_loss(), terms.account);
        let own_day = of(Sum::AccountDailyNotional(account, terms.day), notional);
        let own_loss = of(Sum::AccountOpenLoss(account), loss);
        let bars = [
            (Bar::Position, lots(after_own) * market.lot > most),
            (Bar::Notional, lots(most_lots) * lot_value > market.max_notional),
            (
                Bar::DailyNotional,
                of(Sum::DailyNotional(terms.day), notional) > micros(DAILY_NOTIONAL),
            ),
            (
                Bar::AccountDailyNotional,
                account_notional(account).is_some_and(|limit| own_day > limit),
            ),
            (Bar::DailyLoss, of(Sum::OpenLoss, loss) >= micros(DAILY_LOSS)),
            (Bar::AccountDailyLoss, own_loss >= account_loss(account)),
            (
                Bar::OpenOrders,
                of(Sum::OpenOrders(account, terms.market), 1) > MAX_OPEN_ORDERS,
            ),
        ];
        Judgement {
            is_reduction: after_own <= 0,
            bars: bars
                .into_iter()
                .filter(|(_, is_barred)| *is_barred)
                .map(|(bar, _)| bar)
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
    whole(amount * Decimal::from(10_i64.pow(decimals)))
}

fn whole(number: Decimal) -> i64 {
    assert!(number.is_integer(), "{number} is no whole number");
    number.trunc().try_into().unwrap()
}
