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

/// Gives every account one BTC that it bought at 30 000 on 2026-03-02, and the last one ten.
async fn fill_ledgers(rig: &Rig) {
    let mut connection = rig.redis.connection().await;
    let day = 20_514;
    for chunk in (0..ACCOUNTS).collect::<Vec<_>>().chunks(1_000) {
        let mut pipeline = redis::pipe();
        for n in chunk {
            let ledger = format!("{{or}}:account:paper:held{n}");
            let held: i64 = if *n == ACCOUNTS - 1 { 10 } else { 1 };
            let (units, paid) = (held * 100_000_000, held * 30_000_000_000);
            let holding = format!("{units} -{units} {units} 0 {day} -{paid} 0 0");
            pipeline
                .hset(&ledger, "sums", format!("{day} 0 0 0 0 0 1 0"))
                .ignore()
                .hset(&ledger, "binance.spot:BTCUSDT", holding)
                .ignore()
                .sadd("{or}:holding_accounts:paper", &ledger)
                .ignore();
        }
        pipeline.exec_async(&mut connection).await.unwrap();
    }
    let held: usize = connection.scard("{or}:holding_accounts:paper").await.unwrap();
    assert_eq!(held, ACCOUNTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomer_trades_and_a_day_begins_beside_any_number_of_accounts() {
    let (mut rig, clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    rig.settings.risk.daily_loss_limit = "5000".to_owned();
    rig.settings.risk.account_stop_loss = "1000000".to_owned();
    let (worker, client) = (worker(&rig, &clock).await, rig.caller().await);
    fill_ledgers(&rig).await;
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
    let locked = format!("paper.account.held{}.max_daily_loss", ACCOUNTS - 1);
    poll::until(2 * SOON, "an idle account is locked", async || {
        lock_ids(&client).await == [locked.as_str()]
    })
    .await;
    worker.drain(SOON).await;
}
