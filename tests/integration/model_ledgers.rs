//! The ledgers of a real Redis as they are stored: every sum of the trading day, and what the ledgers say of themselves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::{BTreeMap, HashMap};

use order_router::domain::time::TradingDate;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::model::{ALL, OWNERS, Sum, Sums, add, sum_of};
use crate::model_markets::markets;
use crate::model_words::{account, date};

/// How long the ledger of an account that holds nothing is kept.
const FLAT_TTL_S: i64 = 30 * 60 * 60;

/// What the ledgers of all owners hold.
#[derive(Debug, Clone, Default)]
pub struct StoredLedgers {
    /// The sums of the trading day.
    pub sums: Sums,
    /// The losses that have reached their limits and are not locked yet.
    pub breaches: [Option<i128>; OWNERS],
}

/// Reads every ledger as of a trading day: what an earlier day has left in a daily sum does not count any more.
pub async fn read_ledgers(connection: &mut MultiplexedConnection, today: usize) -> StoredLedgers {
    let key = |owner| match owner {
        ALL => "{or}:totals:paper".to_owned(),
        at => format!("{{or}}:account:paper:{}", account(at)),
    };
    let (mut hashes, mut ttls) = (redis::pipe(), redis::pipe());
    for owner in 0..OWNERS {
        hashes.hgetall(key(owner));
        ttls.ttl(key(owner));
    }
    let found: Vec<HashMap<String, Vec<u8>>> = hashes.query_async(connection).await.unwrap();
    let found: Vec<HashMap<String, String>> = found.into_iter().map(without_alerts).collect();
    let lives: Vec<i64> = ttls.query_async(connection).await.unwrap();
    let held: Vec<String> = connection.smembers("{or}:holding_accounts:paper").await.unwrap();
    let mut ledgers = StoredLedgers::default();
    for (owner, fields) in found.iter().enumerate() {
        let held_count = ledgers.add_ledger(owner, fields, today);
        if fields.is_empty() || owner == ALL {
            continue;
        }
        let holds = held_count > 0 || sum_of(&ledgers.sums, Sum::UnpricedFees(owner)) != 0;
        assert_eq!(held.contains(&key(owner)), holds, "{owner}: {held:?}, {fields:?}");
        let ttl = lives[owner];
        let is_kept = if holds {
            ttl == -1
        } else {
            (1..=FLAT_TTL_S).contains(&ttl)
        };
        assert!(is_kept, "{owner} lives {ttl} s: {fields:?}");
    }
    assert!(lives[ALL] < 0, "the ledger of all accounts is never dropped");
    ledgers
}

/// Returns the fields of a ledger that are text: all but what rules remember of their alerts.
fn without_alerts(mut fields: HashMap<String, Vec<u8>>) -> HashMap<String, String> {
    fields.remove("alerts");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    fields.into_iter().map(|(name, value)| (name, text(value))).collect()
}

impl StoredLedgers {
    /// Adds the sums of a ledger; returns how many of its holdings are not flat, which the ledger counts itself.
    fn add_ledger(&mut self, owner: usize, fields: &HashMap<String, String>, today: usize) -> i128 {
        let Some(own) = fields.get("sums") else {
            assert!(fields.is_empty(), "a ledger without sums: {fields:?}");
            return 0;
        };
        let [day, notional, open_loss, result, _, _, held, unpriced] = numbers(own);
        let is_today = counts_on(day, today);
        add(&mut self.sums, Sum::OpenLoss(owner), open_loss);
        add(&mut self.sums, Sum::UnpricedFees(owner), unpriced);
        if is_today {
            add(&mut self.sums, Sum::DailyNotional(owner), notional);
            add(&mut self.sums, Sum::FillResult(owner), result);
        }
        let mut holdings: BTreeMap<&str, &String> = fields.iter().map(|(name, text)| (&**name, text)).collect();
        for name in ["sums", "breach"] {
            holdings.remove(name);
        }
        let mut not_flat = 0;
        for (at, market) in markets().iter().enumerate() {
            let name = format!("{}:{}", market.venue, market.symbol);
            if let Some(text) = holdings.remove(&*name) {
                not_flat += i128::from(self.add_holding((owner, at), numbers(text), today));
            }
        }
        assert_eq!(holdings, BTreeMap::new(), "unknown fields");
        assert_eq!(held, not_flat, "{owner} counts its holdings: {fields:?}");
        self.breaches[owner] = fields.get("breach").map(|loss| loss.parse().unwrap());
        not_flat
    }

    /// Adds the sums of a holding; returns whether it is not flat.
    fn add_holding(&mut self, (owner, market): (usize, usize), numbers: [i128; 8], today: usize) -> bool {
        let [long, short, position, start, day, cash_flow, fees, open_orders] = numbers;
        let is_today = counts_on(day, today);
        for (sum, amount) in [
            (Sum::Long(owner, market), long),
            (Sum::Short(owner, market), short),
            (Sum::Position(owner, market), position),
            (Sum::Start(owner, market), if is_today { start } else { position }),
            (Sum::CashFlow(owner, market), if is_today { cash_flow } else { 0 }),
            (Sum::Fees(owner, market), if is_today { fees } else { 0 }),
            (Sum::OpenOrders(owner, market), open_orders),
        ] {
            add(&mut self.sums, sum, amount);
        }
        [long, short, position, open_orders] != [0; 4]
    }
}

/// Whether a stored day is the trading day; none is later.
fn counts_on(stored: i128, today: usize) -> bool {
    let epoch = TradingDate::parse("1970-01-01").unwrap();
    let today = i128::from(epoch.days_until(date(today)));
    assert!(stored <= today, "day {stored} is after {today}");
    stored == today
}

fn numbers<const COUNT: usize>(text: &str) -> [i128; COUNT] {
    let numbers: Vec<i128> = text.split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}
