//! The user data stream against a scripted WebSocket server.

use std::sync::atomic::{AtomicUsize, Ordering};

use ring::hmac;

use crate::brokers::binance::scripted_server::{ScriptedServer, TEST_TIMEOUT, json};
use crate::brokers::binance::scripted_stream::{ScriptedStream, ServerSocket};
use crate::brokers::binance::test_bench::{API_KEY, ORDER_ID, RecordingInbox, SECRET, TestSession, new_session};
use crate::brokers::binance::user_stream::*;
use crate::domain::hex;

/// A session at a stream, with its clock measured, and the task that follows the stream.
struct StreamBench {
    session: Arc<TestSession>,
    inbox: Arc<RecordingInbox>,
    stop: CancellationToken,
    _server: ScriptedServer,
}

impl StreamBench {
    async fn start(stream: &ScriptedStream) -> Self {
        let server = ScriptedServer::start(|_| json(500, "")).await;
        let inbox = Arc::new(RecordingInbox::default());
        let session = Arc::new(new_session(server.port, &format!("{}/ws-api/v3", stream.url), &inbox));
        session.client.synchronize_clock().await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(run(Arc::clone(&session), stop.clone()));
        Self {
            session,
            inbox,
            stop,
            _server: server,
        }
    }

    async fn wait_for_notices(&self, count: usize) {
        wait_until(|| self.inbox.delivered().len() >= count).await;
    }

    async fn wait_for_reconciliation_call(&self) {
        let called = self.session.reconciliation_due.notified();
        timeout(TEST_TIMEOUT, called).await.unwrap();
    }
}

impl Drop for StreamBench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn wait_until(condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TEST_TIMEOUT, reached)
        .await
        .expect("the condition is reached in time");
}

/// Accepts the subscription of a connection, and returns its request.
async fn accept_subscription(socket: &mut ServerSocket) -> serde_json::Value {
    let request = socket.receive().await;
    let id = request["id"].as_str().unwrap();
    socket
        .send(&format!(
            r#"{{"id":"{id}","status":200,"result":{{"subscriptionId":0}},"rateLimits":[]}}"#
        ))
        .await;
    request
}

fn trade_event(trade_id: i64, last: &str, cumulative: &str) -> String {
    format!(
        r#"{{"subscriptionId":0,"event":{{"e":"executionReport","E":1,"s":"BTCUSDT","c":"{ORDER_ID}","S":"BUY",
            "o":"LIMIT","f":"GTC","q":"1","p":"30000","C":"","x":"TRADE","X":"PARTIALLY_FILLED","r":"NONE","i":28,
            "l":"{last}","z":"{cumulative}","L":"30000","n":"0.0001","N":"BTC","T":1767225600000,"t":{trade_id},"I":1}}}}"#
    )
}

#[tokio::test]
async fn the_subscription_is_signed_and_events_are_delivered_in_order() {
    let (requests, requested) = tokio::sync::mpsc::channel(4);
    let stream = ScriptedStream::start(move |mut socket: ServerSocket| {
        let requests = requests.clone();
        async move {
            let request = accept_subscription(&mut socket).await;
            assert_eq!(socket.target, "/ws-api/v3");
            socket.send(&trade_event(1, "0.1", "0.1")).await;
            socket
                .send(r#"{"subscriptionId":0,"event":{"e":"outboundAccountPosition","E":1,"u":1,"B":[]}}"#)
                .await;
            socket.send(r#"{"subscriptionId":0,"event":{"e":"brandNew"}}"#).await;
            let pong = socket.ping("payload-7").await;
            socket.send(&trade_event(2, "0.2", "0.3")).await;
            requests.send((request, pong)).await.unwrap();
            socket.stay().await;
        }
    })
    .await;
    let bench = StreamBench::start(&stream).await;
    bench.wait_for_notices(2).await;
    let delivered = bench.inbox.delivered();
    let ids: Vec<&str> = delivered
        .iter()
        .map(|notice| notice.report.fills[0].exec_id.as_str())
        .collect();
    assert_eq!(ids, ["1", "2"]);

    let mut requested = requested;
    let (request, pong) = timeout(TEST_TIMEOUT, requested.recv()).await.unwrap().unwrap();
    assert_eq!(pong, "payload-7");
    assert_eq!(request["method"], "userDataStream.subscribe.signature");
    let params = &request["params"];
    let signed = format!(
        "apiKey={API_KEY}&recvWindow={}&timestamp={}",
        params["recvWindow"], params["timestamp"]
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hex::decode(params["signature"].as_str().unwrap()).unwrap();
    assert!(hmac::verify(&key, signed.as_bytes(), &signature).is_ok());
}

#[tokio::test]
async fn every_end_is_followed_by_a_new_subscription_and_a_reconciliation() {
    for ending in [
        r#"{"event":{"e":"serverShutdown","E":1}}"#,
        r#"{"e":"serverShutdown","E":1}"#,
        r#"{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1}}"#,
        "",
    ] {
        let stream = ScriptedStream::start(move |mut socket: ServerSocket| async move {
            accept_subscription(&mut socket).await;
            if socket.number > 0 {
                socket.send(&trade_event(5, "0.1", "0.1")).await;
                socket.stay().await;
            } else if !ending.is_empty() {
                socket.send(ending).await;
                socket.stay().await;
            }
        })
        .await;
        let bench = StreamBench::start(&stream).await;
        bench.wait_for_reconciliation_call().await;
        bench.wait_for_notices(1).await;
        bench.wait_for_reconciliation_call().await;
    }
}

#[tokio::test]
async fn a_refused_key_locks_the_adapter_and_is_tried_again() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let stream = ScriptedStream::start(move |mut socket: ServerSocket| {
        let counted = Arc::clone(&counted);
        async move {
            let request = socket.receive().await;
            let id = request["id"].as_str().unwrap();
            let refusal = r#""error":{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}"#;
            socket.send(&format!(r#"{{"id":"{id}","status":401,{refusal}}}"#)).await;
            counted.fetch_add(1, Ordering::SeqCst);
            socket.stay().await;
        }
    })
    .await;
    let bench = StreamBench::start(&stream).await;
    wait_until(|| attempts.load(Ordering::SeqCst) >= 2).await;
    assert!(!bench.session.client.is_key_accepted());
}

#[tokio::test]
async fn a_ban_stops_all_requests_until_its_moment() {
    let stream = ScriptedStream::start(|mut socket: ServerSocket| async move {
        let request = socket.receive().await;
        let id = request["id"].as_str().unwrap();
        let until = crate::domain::time::Timestamp::now().as_milliseconds() + 600_000;
        let error = format!(r#""error":{{"code":-1003,"msg":"banned","data":{{"retryAfter":{until}}}}}"#);
        socket.send(&format!(r#"{{"id":"{id}","status":418,{error}}}"#)).await;
        socket.stay().await;
    })
    .await;
    let bench = StreamBench::start(&stream).await;
    let client = &bench.session.client;
    let refused = async {
        while client
            .budget
            .acquire(RequestPurpose::Cancel, 1, client.clock.now_or_local())
            .await
            .is_ok()
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TEST_TIMEOUT, refused).await.unwrap();
    let in_nine_minutes = client.clock.now_or_local().saturating_add(Duration::from_secs(540));
    assert!(
        client
            .budget
            .acquire(RequestPurpose::Cancel, 1, in_nine_minutes)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn what_cannot_be_read_or_settled_is_reconciled_and_the_stream_goes_on() {
    let (sent, mut may_continue) = tokio::sync::mpsc::channel::<()>(1);
    let may_send = Arc::new(tokio::sync::Notify::new());
    let resume = Arc::clone(&may_send);
    let stream = ScriptedStream::start(move |mut socket: ServerSocket| {
        let (sent, resume) = (sent.clone(), Arc::clone(&resume));
        async move {
            accept_subscription(&mut socket).await;
            for text in [
                r#"{"subscriptionId":0,"event":{"e":"executionReport","X":"BRAND_NEW"}}"#.to_owned(),
                trade_event(-1, "0.1", "0.1"),
                trade_event(3, "0.1", "0.1"),
            ] {
                resume.notified().await;
                socket.send(&text).await;
                sent.send(()).await.unwrap();
            }
            socket.stay().await;
        }
    })
    .await;
    let bench = StreamBench::start(&stream).await;
    bench.wait_for_reconciliation_call().await; // of the subscription
    for _ in 0..2 {
        may_send.notify_one();
        may_continue.recv().await.unwrap();
        bench.wait_for_reconciliation_call().await;
    }
    // An inbox that is away for a moment is asked again; the event is not lost.
    *bench.inbox.failures.lock().unwrap() = 2;
    may_send.notify_one();
    may_continue.recv().await.unwrap();
    bench.wait_for_notices(1).await;
}

#[tokio::test]
async fn an_event_that_stays_unsettled_wakes_the_reconciliation() {
    let stream = ScriptedStream::start(|mut socket: ServerSocket| async move {
        accept_subscription(&mut socket).await;
        socket.send(&trade_event(3, "0.1", "0.1")).await;
        socket.send(&trade_event(4, "0.1", "0.2")).await;
        socket.stay().await;
    })
    .await;
    let server = ScriptedServer::start(|_| json(500, "")).await;
    let inbox = Arc::new(RecordingInbox::default());
    *inbox.failures.lock().unwrap() = 3;
    let session = Arc::new(new_session(server.port, &format!("{}/ws-api/v3", stream.url), &inbox));
    session.client.synchronize_clock().await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(run(Arc::clone(&session), stop.clone()));
    wait_until(|| !inbox.delivered().is_empty()).await;
    assert_eq!(inbox.delivered()[0].report.fills[0].exec_id, "4");
    timeout(TEST_TIMEOUT, session.reconciliation_due.notified())
        .await
        .unwrap();
    stop.cancel();
}
