//! The fold of journaled fills, on documents of the contract.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::domain::id::AccountId;
use crate::worker::venue::balances::fold::*;

/// A fill: id, quantity, price, fee and its currency.
type FillTerms = (&'static str, &'static str, &'static str, &'static str, &'static str);

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn fold() -> JournalFold {
    let accounts = VenueAccounts {
        broker: BrokerId::new("binance").unwrap(),
        venue: VenueId::new("binance.spot").unwrap(),
        key: String::new(),
        accounts: vec![AccountId::new("default").unwrap()],
        first_live: OnceLock::new(),
        journal: tokio::sync::OnceCell::new(),
    };
    JournalFold::after(0, &accounts)
}

/// Adds a report of a live order that lists these fills and moves the position so far.
fn add(
    fold: &mut JournalFold,
    (version, side, base): (u32, &str, Option<&str>),
    fills: &[FillTerms],
    moved: &str,
) -> Result<(), FoldError> {
    let text = include_str!("../../../../subjects/examples/good/execution-report.journaled.json");
    let mut report: Value = serde_json::from_str(text).unwrap();
    let fills = fills.iter().map(|(exec_id, quantity, price, fee, currency)| {
        json!({"exec_id": exec_id, "quantity": number(quantity), "price": number(price), "fee": number(fee),
            "fee_currency": currency, "timestamp": "2026-03-02T09:30:00.121876Z"})
    });
    report["fills"] = fills.collect();
    report["version"] = version.into();
    report["side"] = side.into();
    report["mode"] = "live".into();
    report["settlement"]["deltas"] = json!({"position": number(moved)});
    report["settlement"]["base_asset"] = base.into();
    let report = ExecutionReport::decode(report.to_string().as_bytes()).unwrap();
    let settlement = report.settlement.clone().unwrap();
    fold.add_report(&report, &settlement)
}

/// Adds an adjustment of the default account.
fn adjust(fold: &mut JournalFold, id: &str, actor: &str, is_netted: bool, effect: &Value) {
    let mut event = json!({"adjustment_id": id, "account_id": "default", "mode": "live", "deltas": {}, "actor": actor,
        "reason": "r", "content": "c", "epoch": 1, "timestamp": "2026-03-02T09:30:00.000000Z"});
    event
        .as_object_mut()
        .unwrap()
        .extend(effect.as_object().unwrap().clone());
    let event: AdjustmentEvent = serde_json::from_str(&event.to_string()).unwrap();
    fold.add_adjustment(&event, &|_, _| is_netted).unwrap();
}

fn position(quantity: &str) -> Value {
    json!({"position": {"venue": "binance.spot", "symbol": "BTCUSDT", "quantity": number(quantity), "price": 30000,
        "lot_size": number("0.00001"), "base_rate": 1}})
}

fn fee(amount: &str, currency: &str) -> Value {
    json!({"fee": {"venue": "binance.spot", "symbol": "BTCUSDT", "amount": number(amount), "currency": currency, "fills": 0}})
}

fn moves(fold: &JournalFold) -> Vec<(String, String)> {
    let symbol = Symbol::parse("BTCUSDT").unwrap();
    let assets = AssetsBySymbol::from([(symbol, ("BTC".to_owned(), "USDT".to_owned()))]);
    let moves = fold.moves(&assets).unwrap();
    moves
        .into_iter()
        .map(|(asset, amount)| (asset, amount.to_string()))
        .collect()
}

fn expected(moves: &[(&str, &str)]) -> Vec<(String, String)> {
    moves
        .iter()
        .map(|(asset, amount)| ((*asset).to_owned(), (*amount).to_owned()))
        .collect()
}

const FIRST: FillTerms = ("1", "0.01", "30000", "0.3", "USDT");
const SECOND: FillTerms = ("2", "0.02", "31000", "0.0001", "BNB");

#[test]
fn each_report_counts_its_new_fills_and_each_version_once() {
    let mut fold = fold();
    for _ in 0..2 {
        add(&mut fold, (1, "buy", None), &[FIRST], "0.01").unwrap();
        add(&mut fold, (2, "buy", None), &[FIRST, SECOND], "0.02").unwrap();
        add(&mut fold, (3, "buy", None), &[FIRST, SECOND], "0").unwrap();
    }
    assert_eq!(
        moves(&fold),
        expected(&[("BNB", "-0.0001"), ("BTC", "0.03"), ("USDT", "-920.3")])
    );
}

#[test]
fn fold_may_begin_at_any_report_of_an_order() {
    let mut fold = fold();
    add(&mut fold, (2, "sell", None), &[FIRST, SECOND], "-0.02").unwrap();
    assert_eq!(
        moves(&fold),
        expected(&[("BNB", "-0.0001"), ("BTC", "-0.02"), ("USDT", "620")])
    );
}

#[test]
fn fee_in_the_traded_asset_is_part_of_what_the_position_moves_by() {
    let mut fold = fold();
    let in_asset: FillTerms = ("1", "0.01", "30000", "0.00001", "BTC");
    add(&mut fold, (1, "buy", Some("BTC")), &[in_asset], "0.00999").unwrap();
    assert_eq!(moves(&fold), expected(&[("BTC", "0.00999"), ("USDT", "-300")]));
    // Where the instrument does not name its asset, the position moves by the whole, and the balance by less.
    let mut unnamed = self::fold();
    add(&mut unnamed, (1, "buy", None), &[in_asset], "0.01").unwrap();
    assert_eq!(moves(&unnamed), moves(&fold));
}

#[test]
fn report_that_lists_fewer_fills_than_it_booked_is_refused() {
    let refused = add(&mut fold(), (1, "buy", None), &[FIRST], "0.03").unwrap_err();
    assert!(matches!(refused, FoldError::Inexact(_)), "{refused}");
    let refused = add(&mut fold(), (1, "buy", None), &[], "0.03").unwrap_err();
    assert!(matches!(refused, FoldError::Inexact(_)), "{refused}");
}

#[test]
fn report_that_books_more_fills_than_it_lists_counts_with_those_of_the_venue() {
    let text = include_str!("../../../../subjects/examples/good/execution-report.journaled.json");
    let mut report: Value = serde_json::from_str(text).unwrap();
    let listed = |exec_id: &str| {
        json!({"exec_id": exec_id, "quantity": number("0.01"), "price": number("30000"), "fee": number("0.3"),
            "fee_currency": "USDT", "timestamp": "2026-03-02T09:30:00.121876Z"})
    };
    report["fills"] = json!([listed("9")]);
    report["mode"] = "live".into();
    report["settlement"]["deltas"] = json!({"position": number("0.03")});
    report["settlement"]["earlier_exec_ids"] = json!(["5", "7", "6"]);
    let report = ExecutionReport::decode(report.to_string().as_bytes()).unwrap();
    let settlement = report.settlement.clone().unwrap();
    let earlier = |ids: [&str; 3]| {
        ids.map(|id| serde_json::from_str(&listed(id).to_string()).unwrap())
            .to_vec()
    };
    let mut fold = fold();
    let refused = fold.add_report(&report, &settlement).unwrap_err();
    assert!(
        matches!(&refused, FoldError::Unlisted { exec_ids, .. } if exec_ids.len() == 3),
        "{refused}"
    );
    // Those of another report are not taken for its own.
    fold.list_fills(earlier(["1", "2", "3"]));
    assert_eq!(fold.add_report(&report, &settlement).unwrap_err(), refused);
    // The newest three of the four are new.
    fold.list_fills(earlier(["5", "7", "6"]));
    fold.add_report(&report, &settlement).unwrap();
    fold.add_report(&report, &settlement).unwrap();
    assert_eq!(moves(&fold), expected(&[("BTC", "0.03"), ("USDT", "-900.9")]));
}

#[test]
fn adjustments_of_operators_since_a_difference_explain_it() {
    let mut fold = fold();
    let symbol = Symbol::parse("BTCUSDT").unwrap();
    let assets = AssetsBySymbol::from([(symbol, ("BTC".to_owned(), "USDT".to_owned()))]);
    adjust(&mut fold, "one", "mira", false, &position("2"));
    for _ in 0..2 {
        adjust(&mut fold, "two", "mira", false, &position("-0.5"));
    }
    adjust(&mut fold, "opening:k:BTCUSDT", ROUTER_ACTOR, false, &position("7"));
    adjust(&mut fold, "three", "mira", false, &fee("5", "BNB"));
    let made_at: Timestamp = serde_json::from_str("\"2026-03-02T09:30:00.000000Z\"").unwrap();
    let explained = |asset: &str, since: Timestamp| {
        let sum = fold.explained(asset, since, &assets);
        sum.map(|sum| sum.to_string())
    };
    assert_eq!(explained("BTC", made_at).as_deref(), Some("1.5"));
    assert_eq!(explained("BNB", made_at).as_deref(), Some("-5"));
    assert_eq!(explained("USDT", made_at), None);
    let later = made_at.saturating_add(std::time::Duration::from_secs(1));
    assert_eq!(explained("BTC", later), None);
}

#[test]
fn orphans_count_with_their_fees_and_adjustments_of_operators_do_not() {
    for (quantity, is_netted) in [("0.00999", true), ("0.01", false)] {
        let mut fold = fold();
        for _ in 0..2 {
            let id = "orphan:binance.spot:BTCUSDT:7";
            adjust(&mut fold, id, orphans::ACTOR, is_netted, &position(quantity));
            adjust(
                &mut fold,
                &format!("{id}:fee"),
                orphans::ACTOR,
                is_netted,
                &fee("0.00001", "BTC"),
            );
        }
        // The fee of a fill from before.
        adjust(
            &mut fold,
            "orphan:binance.spot:BTCUSDT:6:fee",
            orphans::ACTOR,
            false,
            &fee("5", "USDT"),
        );
        adjust(&mut fold, "opening", "mira", false, &position("2"));
        adjust(&mut fold, "orphan:mine", "mira", false, &position("2"));
        assert_eq!(
            moves(&fold),
            expected(&[("BTC", "0.00999"), ("USDT", "-300")]),
            "{is_netted}"
        );
    }
}
