//! Reads of the shared sums in Redis, as docs/architecture.md describes them, without the store's own code.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::Mode;

/// How long one command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// The decimals of a quantity.
const QUANTITY_SCALE: u32 = 8;
/// The decimals of an amount.
const AMOUNT_SCALE: u32 = 6;
/// How many keys one scan reads.
const SCAN_COUNT: usize = 1_000;

/// A holding as Redis has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) struct StoredHolding {
    /// The position and the open buys.
    pub(in crate::chaos) long: Decimal,
    /// The open sells less the position.
    pub(in crate::chaos) short: Decimal,
    /// The position.
    pub(in crate::chaos) position: Decimal,
    /// The number of open orders.
    pub(in crate::chaos) open_orders: i64,
}

/// The ledger of an account, or of all accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::chaos) struct StoredLedger {
    /// The trading day of the notional, in days since 1970.
    pub(in crate::chaos) day: i64,
    /// The notional that was routed on it.
    pub(in crate::chaos) notional: Decimal,
    /// The holdings, by venue and symbol.
    pub(in crate::chaos) holdings: BTreeMap<(String, String), StoredHolding>,
}

/// What is in flight in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::chaos) struct StoredWork {
    /// Orders whose event is not journaled.
    pub(in crate::chaos) outbox: u64,
    /// Orders that are claimed or being sent.
    pub(in crate::chaos) leases: u64,
    /// Orders with an effect that is due.
    pub(in crate::chaos) due: u64,
    /// Sets of open orders.
    pub(in crate::chaos) open_sets: u64,
}

/// A reader of one Redis.
pub(in crate::chaos) struct StoreReader {
    connection: MultiplexedConnection,
    mode: Mode,
}

impl StoreReader {
    /// Connects to Redis, to read the sums of a mode.
    ///
    /// # Errors
    /// When it does not reply.
    pub(in crate::chaos) async fn connect(address: SocketAddr, mode: Mode) -> anyhow::Result<Self> {
        let client = redis::Client::open(format!("redis://{address}/"))?;
        let connection = timeout(COMMAND_TIMEOUT, client.get_multiplexed_async_connection());
        let connection = connection
            .await
            .context("connecting to Redis")?
            .context("connecting to Redis")?;
        Ok(Self { connection, mode })
    }

    /// Reads what is in flight.
    ///
    /// # Errors
    /// When Redis does not reply.
    pub(in crate::chaos) async fn read_work(&mut self) -> anyhow::Result<StoredWork> {
        let mut work = StoredWork::default();
        for key in self.keys("*").await? {
            let name = key.split_once(':').map_or("", |(_, name)| name);
            if name.starts_with("due:") {
                work.due += self.sorted_set_length(&key).await?;
            } else if name == "outbox" {
                work.outbox = self.sorted_set_length(&key).await?;
            } else if name == "leases" {
                work.leases = self.sorted_set_length(&key).await?;
            } else if name.starts_with("open:") {
                work.open_sets += 1;
            }
        }
        Ok(work)
    }

    /// Reads the ledger of every account, by account.
    ///
    /// # Errors
    /// When Redis does not reply, or a ledger cannot be read.
    pub(in crate::chaos) async fn read_ledgers(&mut self) -> anyhow::Result<BTreeMap<String, StoredLedger>> {
        let mut ledgers = BTreeMap::new();
        let of_mode = format!(":account:{}:", self.mode);
        for key in self.keys(&format!("*{of_mode}*")).await? {
            let account = key.split(of_mode.as_str()).nth(1).unwrap_or_default().to_owned();
            ledgers.insert(account, self.read_ledger(&key).await?);
        }
        Ok(ledgers)
    }

    /// Reads the ledger of all accounts; an empty one where there is none.
    ///
    /// # Errors
    /// As [`StoreReader::read_ledgers`].
    pub(in crate::chaos) async fn read_total(&mut self) -> anyhow::Result<StoredLedger> {
        match self.keys(&format!("*:totals:{}", self.mode)).await?.first() {
            Some(key) => self.read_ledger(key).await,
            None => Ok(StoredLedger::default()),
        }
    }

    async fn read_ledger(&mut self, key: &str) -> anyhow::Result<StoredLedger> {
        let fields: BTreeMap<String, String> = timeout(COMMAND_TIMEOUT, self.connection.hgetall(key)).await??;
        let mut ledger = StoredLedger::default();
        for (name, text) in fields {
            let read = match name.split_once(':') {
                Some((venue, symbol)) => parse_holding(&text).map(|holding| {
                    ledger.holdings.insert((venue.to_owned(), symbol.to_owned()), holding);
                }),
                None if name == "sums" => parse_sums(&text).map(|(day, notional)| {
                    (ledger.day, ledger.notional) = (day, notional);
                }),
                None => Some(()),
            };
            read.with_context(|| format!("{name} of {key} is {text:?}"))?;
        }
        Ok(ledger)
    }

    async fn sorted_set_length(&mut self, key: &str) -> anyhow::Result<u64> {
        Ok(timeout(COMMAND_TIMEOUT, self.connection.zcard(key)).await??)
    }

    async fn keys(&mut self, pattern: &str) -> anyhow::Result<Vec<String>> {
        let (mut keys, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut command = redis::cmd("SCAN");
            command
                .arg(cursor)
                .arg("MATCH")
                .arg(pattern)
                .arg("COUNT")
                .arg(SCAN_COUNT);
            let scanned = timeout(COMMAND_TIMEOUT, command.query_async(&mut self.connection)).await?;
            let (next, page): (u64, Vec<String>) = scanned?;
            keys.extend(page);
            cursor = next;
            if cursor == 0 {
                keys.sort_unstable();
                keys.dedup();
                return Ok(keys);
            }
        }
    }
}

fn parse_holding(text: &str) -> Option<StoredHolding> {
    let numbers: Vec<&str> = text.split(' ').collect();
    let [long, short, position, _, _, _, _, open_orders] = numbers[..] else {
        return None;
    };
    let quantity = |text: &str| Decimal::from_parts(text.parse().ok()?, QUANTITY_SCALE);
    Some(StoredHolding {
        long: quantity(long)?,
        short: quantity(short)?,
        position: quantity(position)?,
        open_orders: open_orders.parse().ok()?,
    })
}

/// Returns the day and its notional.
fn parse_sums(text: &str) -> Option<(i64, Decimal)> {
    let mut numbers = text.split(' ');
    let day = numbers.next()?.parse().ok()?;
    let notional = Decimal::from_parts(numbers.next()?.parse().ok()?, AMOUNT_SCALE)?;
    Some((day, notional))
}
