//! The matching engine by examples: matching, balances, types, self-trade prevention, filters, statuses.

use crate::venue::amount::Amount;
use crate::venue::command::{CancelRequest, Command, OrderReference, QuoteLevel};
use crate::venue::error::VenueError;
use crate::venue::exchange::effects::{AmendedOrder, CanceledOrder, Effects, Outcome, PlacedOrder};
use crate::venue::exchange::state::Exchange;
use crate::venue::order::NewOrder;
use crate::venue::settings::CommissionSettings;
use crate::venue::words::{
    CancelRestriction, ExecutionType, OrderStatus, OrderType, ReplaceMode, SelfTradePrevention, Side, SymbolStatus,
    TimeInForce,
};

pub(super) const SYMBOL: &str = "BTCUSDT";

pub(super) fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

/// Returns an exchange with one symbol and the accounts `a`, `b` and `c`.
pub(super) fn exchange(commission: &str) -> Exchange {
    let mut exchange = Exchange::default();
    let rate = amount(commission);
    let configure = Command::Configure {
        symbols: vec!["BTC/USDT=100,0.01,0.001,1".parse().unwrap()],
        commissions: CommissionSettings {
            maker: rate,
            taker: rate,
        },
    };
    exchange.apply(1, &configure).unwrap();
    for account in ["a", "b", "c"] {
        let balances = vec![("BTC".into(), amount("10")), ("USDT".into(), amount("1000"))];
        let account = account.into();
        exchange.apply(1, &Command::OpenAccount { account, balances }).unwrap();
    }
    exchange
}

pub(super) fn limit(account: &str, side: Side, quantity: &str, price: &str) -> NewOrder {
    NewOrder {
        account: account.into(),
        symbol: SYMBOL.into(),
        side,
        kind: OrderType::Limit,
        time_in_force: TimeInForce::Gtc,
        quantity: amount(quantity),
        quote_quantity: Amount::ZERO,
        price: amount(price),
        stop_price: Amount::ZERO,
        client_order_id: uuid::Uuid::new_v4().simple().to_string(),
        self_trade_prevention: SelfTradePrevention::ExpireMaker,
    }
}

fn market(account: &str, side: Side, quantity: &str, quote_quantity: &str) -> NewOrder {
    NewOrder {
        kind: OrderType::Market,
        price: Amount::ZERO,
        quote_quantity: amount(quote_quantity),
        ..limit(account, side, quantity, "0")
    }
}

fn try_place(exchange: &mut Exchange, order: NewOrder) -> Result<(PlacedOrder, Effects), VenueError> {
    let (outcome, effects) = exchange.apply(2, &Command::Place(order))?;
    let Outcome::Placed(placed) = outcome else {
        panic!("{outcome:?}")
    };
    Ok((*placed, effects))
}

fn place(exchange: &mut Exchange, order: NewOrder) -> PlacedOrder {
    try_place(exchange, order).unwrap().0
}

fn reference(account: &str, id: u64) -> OrderReference {
    OrderReference {
        account: account.into(),
        symbol: SYMBOL.into(),
        order_id: Some(id),
        client_order_id: None,
    }
}

fn cancel_command(account: &str, id: u64, restriction: Option<CancelRestriction>) -> CancelRequest {
    CancelRequest {
        order: reference(account, id),
        request_id: "cancel-1".into(),
        restriction,
    }
}

fn cancel(exchange: &mut Exchange, account: &str, id: u64) -> Result<(CanceledOrder, Effects), VenueError> {
    let command = Command::Cancel(cancel_command(account, id, None));
    let (outcome, effects) = exchange.apply(3, &command)?;
    let Outcome::Canceled(mut canceled) = outcome else {
        panic!("{outcome:?}")
    };
    Ok((canceled.remove(0), effects))
}

/// Returns the free and the locked balance of an asset.
fn balance(exchange: &Exchange, account: &str, asset: &str) -> (String, String) {
    let balance = exchange.account(account).unwrap().balance(asset);
    (balance.free.to_string(), balance.locked.to_string())
}

fn assert_balance(exchange: &Exchange, account: &str, asset: &str, free: &str, locked: &str) {
    let expected = (amount(free).to_string(), amount(locked).to_string());
    assert_eq!(balance(exchange, account, asset), expected, "{account} {asset}");
}

#[test]
fn better_price_trades_first_then_the_older_order() {
    let mut exchange = exchange("0");
    let third = place(&mut exchange, limit("a", Side::Sell, "1", "101")).order.id;
    let first = place(&mut exchange, limit("b", Side::Sell, "1", "100")).order.id;
    let second = place(&mut exchange, limit("a", Side::Sell, "1", "100")).order.id;
    let taker = place(&mut exchange, limit("c", Side::Buy, "2.5", "101"));
    assert_eq!(taker.order.status, OrderStatus::Filled);
    let makers: Vec<u64> = exchange.trades().iter().map(|trade| trade.sides[0].order_id).collect();
    assert_eq!(makers, [first, second, third]);
    let prices: Vec<String> = taker.fills.iter().map(|fill| fill.price.to_string()).collect();
    assert_eq!(prices, ["100.00000000", "100.00000000", "101.00000000"]);
    assert_eq!(exchange.order(third).unwrap().status, OrderStatus::PartiallyFilled);
    // 100 + 100 + 50.5: what the limit of 101 locked beyond it is released.
    assert_balance(&exchange, "c", "USDT", "749.5", "0");
    assert_balance(&exchange, "c", "BTC", "12.5", "0");
    assert_balance(&exchange, "a", "BTC", "8", "0.5");
}

#[test]
fn commission_is_taken_from_what_is_received() {
    let mut exchange = exchange("0.001");
    place(&mut exchange, limit("a", Side::Sell, "1", "100"));
    let taker = place(&mut exchange, limit("b", Side::Buy, "1", "100"));
    assert_eq!(taker.fills[0].commission, amount("0.001"));
    assert_eq!(taker.fills[0].commission_asset, "BTC");
    assert_balance(&exchange, "b", "BTC", "10.999", "0");
    assert_balance(&exchange, "a", "USDT", "1099.9", "0");
    assert_eq!(exchange.collected()["USDT"], amount("0.1"));
}

#[test]
fn orders_of_each_type_end_as_their_type_demands() {
    let mut exchange = exchange("0");
    place(&mut exchange, limit("a", Side::Sell, "1", "100"));
    let with = |tif, quantity: &str, price: &str| NewOrder {
        time_in_force: tif,
        ..limit("b", Side::Buy, quantity, price)
    };
    let fok = place(&mut exchange, with(TimeInForce::Fok, "2", "100")).order;
    assert_eq!((fok.status, fok.executed), (OrderStatus::Expired, Amount::ZERO));
    assert_eq!(fok.expiry_reason(), Some("UNFILLED_FOK_ORDER_EXPIRED"));
    let ioc = place(&mut exchange, with(TimeInForce::Ioc, "2", "100")).order;
    assert_eq!((ioc.status, ioc.executed), (OrderStatus::Expired, amount("1")));
    let resting = place(&mut exchange, limit("a", Side::Sell, "1", "100")).order.id;
    let maker = NewOrder {
        kind: OrderType::LimitMaker,
        ..limit("b", Side::Buy, "1", "100")
    };
    let refused = try_place(&mut exchange, maker.clone()).unwrap_err();
    assert_eq!(refused.message, "Order would immediately match and take.");
    let below = NewOrder {
        price: amount("99.99"),
        ..maker
    };
    assert_eq!(place(&mut exchange, below).order.status, OrderStatus::New);
    let fok = place(&mut exchange, with(TimeInForce::Fok, "1", "100")).order;
    assert_eq!(fok.status, OrderStatus::Filled);
    assert_eq!(exchange.order(resting).unwrap().status, OrderStatus::Filled);
    assert_balance(&exchange, "b", "USDT", "700.01", "99.99");
}

#[test]
fn market_orders_take_the_book_by_either_quantity() {
    let mut exchange = exchange("0");
    place(&mut exchange, limit("a", Side::Sell, "1", "100"));
    place(&mut exchange, limit("a", Side::Sell, "1", "110"));
    let by_quote = place(&mut exchange, market("b", Side::Buy, "0", "155.0005"));
    assert_eq!(by_quote.order.status, OrderStatus::Filled);
    assert_eq!(by_quote.order.executed, amount("1.5"));
    assert_eq!(by_quote.order.terms.quantity, amount("1.5"));
    let rest = place(&mut exchange, market("b", Side::Buy, "2", "0"));
    assert_eq!(
        (rest.order.status, rest.order.executed),
        (OrderStatus::Expired, amount("0.5"))
    );
    let empty = try_place(&mut exchange, market("b", Side::Buy, "0", "50")).unwrap_err();
    assert_eq!(empty.code, -2010);
    place(&mut exchange, limit("c", Side::Buy, "1", "90"));
    let sold = place(&mut exchange, market("b", Side::Sell, "0", "45"));
    assert_eq!(
        (sold.order.status, sold.order.executed),
        (OrderStatus::Filled, amount("0.5"))
    );
    assert_balance(&exchange, "b", "USDT", "835", "0");
}

#[test]
fn orders_beyond_the_balance_are_refused_and_change_nothing() {
    let mut exchange = exchange("0");
    let before = exchange.clone();
    for order in [
        limit("a", Side::Buy, "10.001", "100"),
        limit("a", Side::Sell, "10.001", "100"),
        limit("stranger", Side::Buy, "1", "100"),
    ] {
        let error = try_place(&mut exchange, order).unwrap_err();
        assert_eq!(error.message, "Account has insufficient balance for requested action.");
    }
    assert_eq!(exchange, before);
    place(&mut exchange, limit("a", Side::Buy, "10", "100"));
    assert_balance(&exchange, "a", "USDT", "0", "1000");
    let error = try_place(&mut exchange, limit("a", Side::Buy, "0.1", "50")).unwrap_err();
    assert_eq!(error.code, -2010);
}

#[test]
fn client_ids_are_unique_among_open_orders_only() {
    let mut exchange = exchange("0");
    let mut order = limit("a", Side::Buy, "1", "50");
    order.client_order_id = "x".into();
    let first = place(&mut exchange, order.clone()).order.id;
    let duplicate = try_place(&mut exchange, order.clone()).unwrap_err();
    assert_eq!(
        (duplicate.code, duplicate.message.as_str()),
        (-2010, "Duplicate order sent.")
    );
    cancel(&mut exchange, "a", first).unwrap();
    let second = place(&mut exchange, order).order.id;
    let by_client_id = OrderReference {
        order_id: None,
        client_order_id: Some("x".into()),
        ..reference("a", 0)
    };
    assert_eq!(exchange.find(&by_client_id).unwrap().id, second);
    let both = OrderReference {
        order_id: Some(first),
        client_order_id: Some("y".into()),
        ..reference("a", 0)
    };
    assert_eq!(exchange.find(&both).unwrap_err().code, -2039);
}

#[test]
fn cancels_release_the_lock_and_carry_their_own_id() {
    let mut exchange = exchange("0");
    let id = place(&mut exchange, limit("a", Side::Sell, "2", "100")).order.id;
    place(&mut exchange, limit("b", Side::Buy, "0.5", "100"));
    let only_new = Command::Cancel(cancel_command("a", id, Some(CancelRestriction::OnlyNew)));
    let error = exchange.apply(3, &only_new).unwrap_err();
    assert_eq!(error.message, "Order was not canceled due to cancel restrictions.");
    assert_eq!(
        cancel(&mut exchange, "b", id).unwrap_err().message,
        "Unknown order sent."
    );
    let (canceled, effects) = cancel(&mut exchange, "a", id).unwrap();
    assert_eq!(canceled.order.status, OrderStatus::Canceled);
    assert_eq!(canceled.request_id, "cancel-1");
    let report = &effects.reports[0];
    assert_eq!(
        (report.execution, report.request_id.as_deref()),
        (ExecutionType::Canceled, Some("cancel-1"))
    );
    assert_balance(&exchange, "a", "BTC", "9.5", "0");
    assert_eq!(cancel(&mut exchange, "a", id).unwrap_err().code, -2011);
}

#[test]
fn self_trades_are_prevented_as_the_taker_demands() {
    for (mode, taker_status, maker_status, trades) in [
        (SelfTradePrevention::None, OrderStatus::Filled, OrderStatus::Filled, 1),
        (
            SelfTradePrevention::ExpireTaker,
            OrderStatus::ExpiredInMatch,
            OrderStatus::New,
            0,
        ),
        (
            SelfTradePrevention::ExpireMaker,
            OrderStatus::New,
            OrderStatus::ExpiredInMatch,
            0,
        ),
        (
            SelfTradePrevention::ExpireBoth,
            OrderStatus::ExpiredInMatch,
            OrderStatus::ExpiredInMatch,
            0,
        ),
    ] {
        let mut exchange = exchange("0");
        let maker = place(&mut exchange, limit("a", Side::Sell, "1", "100")).order.id;
        let taker = NewOrder {
            self_trade_prevention: mode,
            ..limit("a", Side::Buy, "1", "100")
        };
        let (placed, effects) = try_place(&mut exchange, taker).unwrap();
        assert_eq!(placed.order.status, taker_status, "{mode:?}");
        assert_eq!(exchange.order(maker).unwrap().status, maker_status, "{mode:?}");
        assert_eq!(exchange.trades().len(), trades, "{mode:?}");
        let prevented = effects
            .reports
            .iter()
            .filter(|report| report.execution == ExecutionType::TradePrevention);
        let statuses = [taker_status, maker_status];
        let expired = statuses.iter().filter(|status| **status == OrderStatus::ExpiredInMatch);
        assert_eq!(prevented.count(), expired.count(), "{mode:?}");
    }
}

#[test]
fn stop_orders_enter_the_book_at_their_price() {
    let mut exchange = exchange("0");
    let stop = NewOrder {
        kind: OrderType::StopLossLimit,
        stop_price: amount("95"),
        ..limit("a", Side::Sell, "1", "94")
    };
    let id = place(&mut exchange, stop.clone()).order.id;
    assert!(exchange.order(id).unwrap().waits_for_stop());
    assert_balance(&exchange, "a", "BTC", "9", "1");
    let reached = NewOrder {
        stop_price: amount("100"),
        ..stop
    };
    let error = try_place(
        &mut exchange,
        NewOrder {
            client_order_id: "s".into(),
            ..reached
        },
    )
    .unwrap_err();
    assert_eq!(error.message, "Order would trigger immediately.");
    place(&mut exchange, limit("b", Side::Buy, "1", "95"));
    place(&mut exchange, limit("b", Side::Buy, "1", "94.5"));
    // The trade at 95 reaches the stop price; the order then trades at 94.5.
    let (_, effects) = try_place(&mut exchange, limit("c", Side::Sell, "1", "95")).unwrap();
    assert_eq!(exchange.order(id).unwrap().status, OrderStatus::Filled);
    assert_eq!(exchange.trades().last().unwrap().price, amount("94.5"));
    let kinds: Vec<ExecutionType> = effects.reports.iter().map(|report| report.execution).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == ExecutionType::New).count(), 2);
}

#[test]
fn replacements_report_both_halves() {
    let mut exchange = exchange("0");
    let replace = |id, order, mode, refusal| Command::Replace {
        cancel: cancel_command("a", id, None),
        order,
        mode,
        refusal,
    };
    let halves = |exchange: &mut Exchange, command: &Command| {
        let (outcome, _) = exchange.apply(3, command).unwrap();
        let Outcome::Replaced(replacement) = outcome else {
            panic!("{outcome:?}")
        };
        (replacement.cancel.is_ok(), replacement.order.map(|order| order.is_ok()))
    };
    let id = place(&mut exchange, limit("a", Side::Buy, "1", "90")).order.id;
    let order = || limit("a", Side::Buy, "1", "91");
    let stop = ReplaceMode::StopOnFailure;
    assert_eq!(
        halves(&mut exchange, &replace(id, order(), stop, None)),
        (true, Some(true))
    );
    assert_eq!(halves(&mut exchange, &replace(id, order(), stop, None)), (false, None));
    let allow = ReplaceMode::AllowFailure;
    assert_eq!(
        halves(&mut exchange, &replace(id, order(), allow, None)),
        (false, Some(true))
    );
    let refusal = Some((-1015, "Too many new orders.".into()));
    assert_eq!(
        halves(&mut exchange, &replace(id, order(), allow, refusal)),
        (false, Some(false))
    );
    assert_eq!(exchange.open_orders("a", Some(SYMBOL)).len(), 2);
}

#[test]
fn amendments_reduce_and_keep_the_place() {
    let mut exchange = exchange("0");
    let first = place(&mut exchange, limit("a", Side::Sell, "2", "100")).order.id;
    place(&mut exchange, limit("b", Side::Sell, "1", "100"));
    let amend = |quantity: &str| Command::Amend {
        order: reference("a", first),
        quantity: amount(quantity),
        client_order_id: "amended".into(),
    };
    assert_eq!(exchange.apply(3, &amend("2")).unwrap_err().code, -2038);
    let (outcome, effects) = exchange.apply(3, &amend("0.5")).unwrap();
    let Outcome::Amended(amended) = outcome else {
        panic!("{outcome:?}")
    };
    let AmendedOrder { order, .. } = *amended;
    assert_eq!(
        (order.terms.quantity, order.terms.client_order_id.as_str()),
        (amount("0.5"), "amended")
    );
    assert_eq!(effects.reports[0].execution, ExecutionType::Replaced);
    assert_balance(&exchange, "a", "BTC", "9.5", "0.5");
    place(&mut exchange, limit("c", Side::Buy, "0.5", "100"));
    assert_eq!(
        exchange.order(first).unwrap().status,
        OrderStatus::Filled,
        "it kept its place"
    );
}

#[test]
fn filters_and_statuses_refuse() {
    let mut exchange = exchange("0");
    for (quantity, price, filter) in [
        ("1", "100.001", "Filter failure: PRICE_FILTER"),
        ("1", "10001", "Filter failure: PRICE_FILTER"),
        ("0.0005", "100", "Filter failure: LOT_SIZE"),
        ("9001", "0.01", "Filter failure: LOT_SIZE"),
        ("0.001", "1", "Filter failure: NOTIONAL"),
        ("0", "100", "Invalid quantity."),
        ("1", "0", "Invalid price."),
    ] {
        let error = try_place(&mut exchange, limit("a", Side::Buy, quantity, price)).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (-1013, filter),
            "{quantity} at {price}"
        );
    }
    let error = try_place(&mut exchange, market("a", Side::Sell, "1001", "0")).unwrap_err();
    assert_eq!(error.message, "Filter failure: MARKET_LOT_SIZE");
    for _ in 0..200 {
        place(&mut exchange, limit("b", Side::Buy, "0.1", "10"));
    }
    let error = try_place(&mut exchange, limit("b", Side::Buy, "0.1", "10")).unwrap_err();
    assert_eq!(error.message, "Filter failure: MAX_NUM_ORDERS");
    let id = place(&mut exchange, limit("a", Side::Buy, "1", "10")).order.id;
    for (status, places, cancels) in [
        (SymbolStatus::Halt, false, false),
        (SymbolStatus::CancelOnly, false, true),
        (SymbolStatus::Trading, true, false),
    ] {
        let symbol = SYMBOL.into();
        exchange.apply(4, &Command::SetStatus { symbol, status }).unwrap();
        let placed = try_place(&mut exchange, limit("a", Side::Buy, "1", "10"));
        assert_eq!(placed.is_ok(), places, "{status:?}");
        assert_eq!(cancel(&mut exchange, "a", id).is_ok(), cancels, "{status:?}");
    }
}

#[test]
fn fills_from_outside_and_quotes_trade_with_clients() {
    let mut exchange = exchange("0");
    let id = place(&mut exchange, limit("a", Side::Buy, "1", "100")).order.id;
    let fill = |quantity: &str| Command::Fill {
        order_id: id,
        quantity: amount(quantity),
    };
    exchange.apply(3, &fill("0.4")).unwrap();
    assert_eq!(exchange.order(id).unwrap().executed, amount("0.4"));
    let balances = vec![("BTC".into(), amount("100")), ("USDT".into(), amount("100000"))];
    let account = crate::venue::settings::MARKET_MAKER.into();
    exchange.apply(3, &Command::OpenAccount { account, balances }).unwrap();
    let level = |price: &str| QuoteLevel {
        price: amount(price),
        quantity: amount("0.5"),
    };
    let quote = |bid: &str, ask: &str| Command::Quote {
        symbol: SYMBOL.into(),
        bids: vec![level(bid)],
        asks: vec![level(ask)],
    };
    exchange.apply(4, &quote("98", "99")).unwrap();
    assert_eq!(
        exchange.order(id).unwrap().executed,
        amount("0.9"),
        "the quote crossed the order"
    );
    exchange.apply(5, &quote("98", "100")).unwrap();
    assert_eq!(exchange.order(id).unwrap().status, OrderStatus::Filled);
    assert!(exchange.apply(6, &fill("1")).is_err());
    assert_eq!(
        exchange.open_orders(crate::venue::settings::MARKET_MAKER, None).len(),
        2
    );
}
