//! The matching engine by properties: whatever clients do, nothing is lost, owed or traded out of turn.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::venue::amount::Amount;
use crate::venue::command::{CancelRequest, Command, OrderReference};
use crate::venue::exchange::exchange_tests::{SYMBOL, amount, exchange, limit};
use crate::venue::exchange::snapshot::Snapshot;
use crate::venue::exchange::state::Exchange;
use crate::venue::order::NewOrder;
use crate::venue::words::{OrderType, ReplaceMode, SelfTradePrevention, Side, TimeInForce};

const ACCOUNTS: [&str; 3] = ["a", "b", "c"];

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn order() -> impl Strategy<Value = NewOrder> {
    let terms = (
        0..3_usize,
        side(),
        1..3_000_i128,
        9_000..11_000_i128,
        0..10_u8,
        0..3_u8,
        0..4_usize,
    );
    terms.prop_map(|(account, side, quantity, price, kind, tif, mode)| {
        let mut order = limit(ACCOUNTS[account], side, "1", "1");
        order.quantity = Amount::from_units(quantity * 100_000);
        order.price = Amount::from_units(price * 1_000_000);
        order.client_order_id = format!("{account}-{quantity}-{price}-{kind}");
        order.self_trade_prevention = SelfTradePrevention::ALL[mode];
        match kind {
            0 => {
                order.kind = OrderType::Market;
                order.price = Amount::ZERO;
            }
            1 => {
                order.kind = OrderType::Market;
                order.price = Amount::ZERO;
                order.quote_quantity = Amount::from_units(quantity * 50_000_000);
                order.quantity = Amount::ZERO;
            }
            2 => order.kind = OrderType::LimitMaker,
            3 => {
                order.kind = OrderType::StopLossLimit;
                order.stop_price = match side {
                    Side::Buy => order.price - amount("0.5"),
                    Side::Sell => order.price + amount("0.5"),
                };
            }
            _ => order.time_in_force = TimeInForce::ALL[usize::from(tif)],
        }
        order
    })
}

fn command() -> impl Strategy<Value = Command> {
    let cancel = |account: usize, id: u64| CancelRequest {
        order: OrderReference {
            account: ACCOUNTS[account].into(),
            symbol: SYMBOL.into(),
            order_id: Some(id),
            client_order_id: None,
        },
        request_id: "c".into(),
        restriction: None,
    };
    prop_oneof![
        8 => order().prop_map(Command::Place),
        2 => (0..3_usize, 1..80_u64).prop_map(move |(account, id)| Command::Cancel(cancel(account, id))),
        1 => (0..3_usize, 1..80_u64, order()).prop_map(move |(account, id, mut order)| {
            order.account = ACCOUNTS[account].into();
            let cancel = cancel(account, id);
            Command::Replace { cancel, order, mode: ReplaceMode::AllowFailure, refusal: None }
        }),
        1 => (0..3_usize, 1..80_u64, 1..2_000_i128).prop_map(move |(account, id, quantity)| Command::Amend {
            order: cancel(account, id).order,
            quantity: Amount::from_units(quantity * 100_000),
            client_order_id: format!("amended-{id}-{quantity}"),
        }),
        1 => (1..80_u64, 1..2_000_i128).prop_map(|(order_id, quantity)| Command::Fill {
            order_id,
            quantity: Amount::from_units(quantity * 100_000),
        }),
        1 => (0..3_usize).prop_map(|account| Command::CancelAll {
            account: ACCOUNTS[account].into(),
            symbol: SYMBOL.into(),
            request_id: "all".into(),
        }),
    ]
}

/// Every account's balances and the commissions sum up to the deposits; no balance is negative; what orders lock is what
/// accounts have locked.
fn check_balances(exchange: &Exchange) {
    let mut sums: BTreeMap<&str, Amount> = BTreeMap::new();
    let mut locked: BTreeMap<(&str, &str), Amount> = BTreeMap::new();
    for (name, account) in exchange.accounts() {
        for (asset, balance) in &account.balances {
            assert!(
                balance.free >= Amount::ZERO && balance.locked >= Amount::ZERO,
                "{name} {asset} {balance:?}"
            );
            *sums.entry(asset).or_default() += balance.free + balance.locked;
            *locked.entry((name, asset)).or_default() += balance.locked;
        }
    }
    for (asset, commission) in exchange.collected() {
        *sums.entry(asset).or_default() += *commission;
    }
    for (asset, deposited) in exchange.deposited() {
        assert_eq!(sums[asset.as_str()], *deposited, "{asset} is conserved");
    }
    for account in ACCOUNTS {
        for order in exchange.open_orders(account, None) {
            let (asset, due) = match order.terms.side {
                Side::Buy => ("USDT", order.terms.price.times(order.remaining())),
                Side::Sell => ("BTC", order.remaining()),
            };
            assert_eq!(order.locked, due, "{order:?}");
            *locked.get_mut(&(account, asset)).unwrap() -= order.locked;
        }
    }
    assert!(locked.values().all(|rest| rest.is_zero()), "{locked:?}");
}

/// No two orders that would trade rest on the book, and every order trades before those behind it.
fn check_book(exchange: &Exchange) {
    let market = exchange.market(SYMBOL).unwrap();
    let (bid, ask) = (market.book.best_price(Side::Buy), market.book.best_price(Side::Sell));
    if let (Some(bid), Some(ask)) = (bid, ask) {
        assert!(bid < ask, "the book is crossed: {bid} and {ask}");
    }
    for side in Side::ALL {
        let orders: Vec<_> = market
            .book
            .orders(*side)
            .map(|id| exchange.order(id).unwrap())
            .collect();
        for pair in orders.windows(2) {
            let (first, second) = (&pair[0], &pair[1]);
            let is_better = match side {
                Side::Buy => first.terms.price > second.terms.price,
                Side::Sell => first.terms.price < second.terms.price,
            };
            let is_older = first.terms.price == second.terms.price && first.priority < second.priority;
            assert!(is_better || is_older, "{first:?} before {second:?}");
        }
        assert!(
            orders
                .iter()
                .all(|order| order.is_on_book() && order.remaining().is_positive())
        );
    }
}

/// A trade was at a price that both orders accept, and the maker was the best of its side when it traded.
fn check_trades(before: &Exchange, after: &Exchange) {
    let mut queue: Vec<(Side, Vec<u64>)> = Vec::new();
    for side in Side::ALL {
        let market = before.market(SYMBOL).unwrap();
        queue.push((*side, market.book.orders(*side).collect()));
    }
    for trade in &after.trades()[before.trades().len()..] {
        assert_eq!(trade.quote_quantity, trade.price.times(trade.quantity));
        let [maker, taker] = &trade.sides;
        assert_ne!(maker.side, taker.side);
        if taker.account == crate::venue::settings::OUTSIDE {
            continue;
        }
        // Makers of one command are taken in the order of the book; one that entered it later comes after.
        let known = queue
            .iter_mut()
            .find(|(side, _)| *side == maker.side)
            .map(|(_, ids)| ids)
            .unwrap();
        if let Some(at) = known.iter().position(|id| *id == maker.order_id) {
            let skipped: Vec<u64> = known.drain(..at).collect();
            for id in skipped {
                let order = after.order(id).unwrap();
                assert!(!order.status.is_open(), "{order:?} was passed over");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn commands_conserve_balances_and_keep_price_and_time(commands in prop::collection::vec(command(), 1..60)) {
        let mut exchange = exchange("0.001");
        for (time, command) in commands.iter().enumerate() {
            let before = exchange.clone();
            match exchange.apply(u64::try_from(time).unwrap(), command) {
                Err(_) => prop_assert_eq!(&exchange, &before, "a refused command changes nothing"),
                Ok(_) => {
                    check_balances(&exchange);
                    check_book(&exchange);
                    check_trades(&before, &exchange);
                }
            }
        }
    }

    #[test]
    fn snapshot_continues_like_the_original(
        first in prop::collection::vec(command(), 1..40),
        then in prop::collection::vec(command(), 1..20),
    ) {
        let mut exchange = exchange("0.001");
        for command in &first {
            let _ = exchange.apply(7, command);
        }
        let json = serde_json::to_string(&exchange.snapshot()).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
        let mut copy = Exchange::from_snapshot(snapshot);
        for command in &then {
            prop_assert_eq!(exchange.apply(9, command), copy.apply(9, command));
        }
        prop_assert_eq!(exchange.snapshot(), copy.snapshot());
    }
}
