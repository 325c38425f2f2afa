//! Any number of accounts: a newcomer's first order passes, a new day begins, and losses are found, beside many thousand
//! accounts that hold something.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::domain::order_terms::OrderStatus;
use redis::AsyncCommands;

use crate::limit_breaches::lock_ids;
use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::trading_day::{ManualClock, dates, quote, worker};

/// More accounts than any fixed bound of the store had.
const ACCOUNTS: usize = 20_000;
/// How many ledgers are written together.
const PAGE: usize = 1_000;
/// 2026-03-02, in days since 1970.
const DAY: i64 = 20_514;

fn ledger(name: &str, n: usize) -> String {
    format!("{{or}}:account:paper:{name}{n}")
}

/// Gives every one of `held` accounts one BTC that it bought at 30 000 on 2026-03-02, and the last one ten. `seen` others
/// traded on that day and hold nothing.
async fn fill_ledgers(rig: &Rig, held: usize, seen: usize) {
    let mut connection = rig.redis.connection().await;
    for first in (0..held).step_by(PAGE) {
        let mut pipeline = redis::pipe();
        for n in first..held.min(first + PAGE) {
            let ledger = ledger("held", n);
            let quantity: i64 = if n == held - 1 { 10 } else { 1 };
            let (units, paid) = (quantity * 100_000_000, quantity * 30_000_000_000);
            let holding = format!("{units} -{units} {units} 0 {DAY} -{paid} 0 0");
            pipeline
                .hset(&ledger, "sums", format!("{DAY} 0 0 0 0 0 1 0"))
                .ignore()
                .hset(&ledger, "binance.spot:BTCUSDT", holding)
                .ignore()
                .sadd("{or}:holding_accounts:paper", &ledger)
                .ignore();
        }
        pipeline.exec_async(&mut connection).await.unwrap();
    }
    for first in (0..seen).step_by(PAGE) {
        let mut pipeline = redis::pipe();
        for n in first..seen.min(first + PAGE) {
            let ledger = ledger("seen", n);
            pipeline
                .hset(&ledger, "sums", format!("{DAY} 30000000 0 0 0 0 0 0"))
                .ignore()
                .expire(&ledger, 108_000)
                .ignore();
        }
        pipeline.exec_async(&mut connection).await.unwrap();
    }
    let listed: usize = connection.scard("{or}:holding_accounts:paper").await.unwrap();
    assert_eq!(listed, held);
}

async fn trade_and_begin_a_day_beside(held: usize, seen: usize) {
    let (mut rig, clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    rig.settings.risk.daily_loss_limit = "5000".to_owned();
    rig.settings.risk.account_stop_loss = "1000000".to_owned();
    let (worker, client) = (worker(&rig, &clock).await, rig.caller().await);
    fill_ledgers(&rig, held, seen).await;
    let newcomer = [("account_id", "\"newcomer\"")];
    assert_eq!(
        client.report(&intent("first", &newcomer)).await.status,
        OrderStatus::Filled
    );
    clock.set("2026-03-03T00:00:00Z");
    poll::until(SOON, "the day begins", async || dates(&client).await.len() == 2).await;
    assert_eq!(
        client.report(&intent("second", &newcomer)).await.status,
        OrderStatus::Filled
    );
    // The account that loses more than its limit sends no orders: it is locked when its turn comes.
    quote(&rig, "29000").await;
    let locked = format!("paper.account.held{}.max_daily_loss", held - 1);
    poll::until(10 * SOON, "an idle account is locked", async || {
        lock_ids(&client).await == [locked.as_str()]
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomer_trades_and_a_day_begins_beside_any_number_of_accounts() {
    trade_and_begin_a_day_beside(ACCOUNTS, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make acceptance"]
async fn acceptance_newcomer_trades_and_a_day_begins_beside_a_million_accounts() {
    trade_and_begin_a_day_beside(100_000, 1_000_000).await;
}
