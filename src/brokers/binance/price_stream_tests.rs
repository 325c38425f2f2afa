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
    let read = read_price(TICKER, now).unwrap();
    assert_eq!(read.quote.price, price("30000"));
    assert_eq!(
        read.age(now.saturating_add(Duration::from_secs(3))),
        Duration::from_secs(3)
    );
    for (from, to) in [
        ("\"29999.00\"", "\"0.00000000\""),
        ("\"29999.00\"", "\"30002.00\""),
        ("\"BTCUSDT\"", "\"btc usdt\""),
        ("\"b\"", "\"c\""),
        ("\"data\"", "\"date\""),
    ] {
        assert_eq!(read_price(&TICKER.replace(from, to), now), None, "{to}");
    }
    assert_eq!(read_price(r#"{"e":"serverShutdown","E":1}"#, now), None);
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
