//! Reading open orders in pages, each in script calls of at most about a millisecond (`lua/open_page.lua`,
//! `lua/open_records.lua`, `lua/open_counts.lua`).

use bytes::Bytes;

use crate::domain::id::{AccountId, BrokerId, OrderId};
use crate::domain::order_key::OrderKey;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::{OPEN_ORDERS_PAGE, OPEN_SETS_PAGE};
use crate::store::orders::record::RecordStage;
use crate::store::script::{COUNT_OPEN_ORDERS, READ_OPEN_PAGE, READ_OPEN_RECORDS, ScriptReply};

/// Where a scan of open orders continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanCursor(String);

impl ScanCursor {
    /// Returns the cursor of the first page, which is that after the last one, too.
    pub fn start() -> Self {
        Self("0".to_owned())
    }
}

/// One page of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage<T> {
    /// The members. One that is there during the whole scan is on at least one page, and may be on two.
    pub members: Vec<T>,
    /// Members that this version cannot read.
    pub unreadable: Vec<String>,
    /// The next page; `None` after the last one.
    pub next: Option<ScanCursor>,
}

/// What the store holds of an order that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrderRecord {
    /// The order's idempotency key.
    pub key: OrderKey,
    /// Its stage.
    pub stage: RecordStage,
    /// The router's id of the order.
    pub order_id: OrderId,
    /// Its version.
    pub version: u32,
    /// The highest version known to be journaled.
    pub journaled_version: u32,
    /// Its latest document; empty once the order has ended and is journaled.
    pub document: Bytes,
}

impl Store {
    /// Returns a page of the open orders of an account at a broker, about [`OPEN_ORDERS_PAGE`] of them.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn scan_open_orders(
        &self,
        broker: &BrokerId,
        account_id: &AccountId,
        cursor: &ScanCursor,
    ) -> Result<ScanPage<OrderKey>, StoreError> {
        let set = keys::open_orders(broker, account_id);
        self.scan_set(set, cursor, OPEN_ORDERS_PAGE, OrderKey::parse).await
    }

    /// Returns a page of the brokers and accounts that have open orders, about [`OPEN_SETS_PAGE`] pairs.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn scan_open_accounts(&self, cursor: &ScanCursor) -> Result<ScanPage<(BrokerId, AccountId)>, StoreError> {
        let parse = |key: &str| keys::parse_open_orders(key).ok();
        self.scan_set(keys::open_order_sets(), cursor, OPEN_SETS_PAGE, parse)
            .await
    }

    /// Returns what the store holds of these orders, in their order; `None` for one whose record is missing or
    /// unreadable. At most [`OPEN_ORDERS_PAGE`] of them are read in one call.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_open_orders(&self, orders: &[OrderKey]) -> Result<Vec<Option<OpenOrderRecord>>, StoreError> {
        let mut records = Vec::with_capacity(orders.len());
        for page in orders.chunks(OPEN_ORDERS_PAGE) {
            let mut keys = vec![keys::meta()];
            keys.extend(page.iter().map(keys::order_record));
            let call = self.connection.script_call(&READ_OPEN_RECORDS, None, &keys)?;
            let mut reply = self.connection.run(call).await?;
            if reply.verdict != "records" {
                return Err(reply.unexpected_verdict());
            }
            for key in page {
                records.push(decode_record(key, &mut reply)?);
            }
        }
        Ok(records)
    }

    /// Returns how many open orders each of these accounts has at its broker, in their order.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn count_open_orders(&self, accounts: &[(BrokerId, AccountId)]) -> Result<Vec<u64>, StoreError> {
        let mut counts = Vec::with_capacity(accounts.len());
        for page in accounts.chunks(OPEN_SETS_PAGE) {
            let mut keys = vec![keys::meta()];
            keys.extend(
                page.iter()
                    .map(|(broker, account_id)| keys::open_orders(broker, account_id)),
            );
            let call = self.connection.script_call(&COUNT_OPEN_ORDERS, None, &keys)?;
            let mut reply = self.connection.run(call).await?;
            if reply.verdict != "counts" {
                return Err(reply.unexpected_verdict());
            }
            for _ in page {
                counts.push(reply.next_integer()?);
            }
        }
        Ok(counts)
    }

    async fn scan_set<T>(
        &self,
        set: String,
        cursor: &ScanCursor,
        page_size: usize,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<ScanPage<T>, StoreError> {
        let mut call = self
            .connection
            .script_call(&READ_OPEN_PAGE, None, &[keys::meta(), set])?;
        call.arg(&cursor.0).arg(page_size);
        let mut reply = self.connection.run(call).await?;
        if reply.verdict != "page" {
            return Err(reply.unexpected_verdict());
        }
        let next = Some(ScanCursor(reply.next_text()?)).filter(|next| *next != ScanCursor::start());
        let (mut members, mut unreadable) = (Vec::new(), Vec::new());
        while reply.has_more() {
            let member = reply.next_text()?;
            match parse(&member) {
                Some(parsed) => members.push(parsed),
                None => unreadable.push(member),
            }
        }
        Ok(ScanPage {
            members,
            unreadable,
            next,
        })
    }
}

/// Decodes one record; `None` for one that is missing or unreadable.
fn decode_record(key: &OrderKey, reply: &mut ScriptReply) -> Result<Option<OpenOrderRecord>, StoreError> {
    let stage = reply.next_text()?;
    if stage.is_empty() {
        return Ok(None);
    }
    // Every field is taken before any is judged: the records behind an unreadable one are read all the same.
    let order_id = reply.next_text()?;
    let (version, journaled_version) = (reply.next_integer()?, reply.next_integer()?);
    let document = Bytes::from(reply.next_bytes()?);
    let (Ok(stage), Ok(order_id)) = (RecordStage::parse(&stage), OrderId::new(&order_id)) else {
        return Ok(None);
    };
    Ok(Some(OpenOrderRecord {
        key: *key,
        stage,
        order_id,
        version,
        journaled_version,
        document,
    }))
}
