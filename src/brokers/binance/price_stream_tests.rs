//! The stream of prices against a scripted WebSocket server.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::brokers::binance::price_stream::*;
use crate::brokers::binance::scripted_server::TEST_TIMEOUT;
use crate::brokers::binance::scripted_stream::{ScriptedStream, ServerSocket};
use crate::brokers::binance::test_bench::new_session;
use crate::brokers::binance::test_orders::price;

const TICKER: &str = r#"{"stream":"btcusdt@bookTicker","data":{"u":400900217,"s":"BTCUSDT","b":"29999.00","B":"31.2",
    "a":"30001.00","A":"40.6"}}"#;

#[test]
fn a_price_is_the_midpoint_and_an_empty_side_has_none() {
    let now = Timestamp::from_milliseconds(1_767_225_600_000);
    let read = |text: &str| read_message(text, now).and_then(|(_, price)| price);
    let first = read(TICKER).unwrap();
    assert_eq!(first.quote.price, price("30000"));
    assert_eq!(
        first.age(now.saturating_add(Duration::from_secs(3))),
        Duration::from_secs(3)
    );
    for (from, to) in [
        ("\"29999.00\"", "\"0.00000000\""),
        ("\"29999.00\"", "\"30002.00\""),
        ("\"BTCUSDT\"", "\"btc usdt\""),
        ("\"b\"", "\"c\""),
        ("\"data\"", "\"date\""),
    ] {
        assert_eq!(read(&TICKER.replace(from, to)), None, "{to}");
    }
    assert_eq!(read(r#"{"e":"serverShutdown","E":1}"#), None);
}

#[test]
fn a_busy_book_is_thinned_out_and_a_quiet_one_is_repeated_until_the_stream_is_silent() {
    let start = Timestamp::from_milliseconds(1_767_225_600_000);
    let at = |ms: u64| start.saturating_add(Duration::from_millis(ms));
    let mut prices = LatestPrices::default();
    // Moments, whether a message comes, and whether a price is handed over.
    for (ms, is_message, is_handed_over) in [
        (0, true, true),
        (50, true, false),
        (100, false, true),
        (150, false, false),
        (1_100, false, true),
        (1_200, true, true),
        (30_000, false, true),
        (31_201, false, false),
        (31_300, true, true),
    ] {
        if is_message {
            let (symbol, price) = read_message(TICKER, at(ms)).unwrap();
            prices.record(symbol, price);
        }
        let due = prices.take_due(at(ms));
        assert_eq!(due.len(), usize::from(is_handed_over), "{ms}");
        // A price that is repeated counts from now, and one that waited from its arrival.
        let expected = if ms == 100 { at(50) } else { at(ms) };
        assert!(due.iter().all(|price| price.quote.timestamp == expected), "{ms}");
    }
}

#[test]
fn a_book_that_loses_a_side_has_no_price_and_a_silent_symbol_is_not_repeated() {
    let start = Timestamp::from_milliseconds(1_767_225_600_000);
    let at = |ms: u64| start.saturating_add(Duration::from_millis(ms));
    let message = |prices: &mut LatestPrices, text: &str, ms: u64| {
        let (symbol, price) = read_message(text, at(ms)).unwrap();
        prices.record(symbol, price);
        prices.take_due(at(ms)).len()
    };
    let mut prices = LatestPrices::default();
    assert_eq!(message(&mut prices, TICKER, 0), 1);
    assert_eq!(
        message(&mut prices, &TICKER.replace("\"29999.00\"", "\"0.00000000\""), 500),
        0
    );
    assert_eq!(prices.take_due(at(5_000)).len(), 0, "the old price does not hold");
    // One symbol goes on, the other is silent.
    assert_eq!(message(&mut prices, TICKER, 6_000), 1);
    let other = TICKER.replace("\"BTCUSDT\"", "\"ETHUSDT\"");
    for seconds in 7..70 {
        message(&mut prices, &other, seconds * 1_000);
    }
    let last = prices.take_due(at(71_000));
    assert!(last.iter().all(|price| price.symbol.as_str() == "ETHUSDT"), "{last:?}");
}

#[tokio::test]
async fn prices_arrive_and_a_closed_connection_is_opened_again() {
    let stream = ScriptedStream::start(|mut socket: ServerSocket| async move {
        assert_eq!(socket.target, "/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker");
        let bid = format!("\"{}\"", 29_999 - 2 * socket.number);
        socket.send(&TICKER.replace("\"29999.00\"", &bid)).await;
        if socket.number > 0 {
            socket.stay().await;
        }
    })
    .await;
    let session = new_session(9, &stream.url, &Arc::default());
    let symbols = ["BTCUSDT", "ETHUSDT"].map(|symbol| Symbol::parse(symbol).unwrap());
    let (prices, mut received) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let on_price = move |price| prices.try_send(price).unwrap();
    let running = tokio::spawn(run(session.market_streams, symbols.to_vec(), on_price, stop.clone()));
    for expected in ["30000", "29999"] {
        let received = timeout(TEST_TIMEOUT, received.recv()).await.unwrap().unwrap();
        assert_eq!(received.quote.price, price(expected));
        assert!(received.age(Timestamp::now()) < TEST_TIMEOUT);
    }
    stop.cancel();
    timeout(TEST_TIMEOUT, running).await.unwrap().unwrap();
}
