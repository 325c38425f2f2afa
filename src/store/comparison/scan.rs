//! The comparison of the whole store, in pages, while it may be in use: it finds the parts that seem to differ.

use std::collections::HashSet;

use redis::Value;

use crate::domain::order_key::OrderKey;
use crate::store::client::Store;
use crate::store::comparison::parts::{StorePart, differences_of};
use crate::store::comparison::types::StoreExpectation;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::fold::record::FoldedOrder;
use crate::store::rebuild::fold::remembered::bucket_of;
use crate::store::script::decode_value;
use crate::store::sums::ledgers::LedgerOwner;

/// The most parts that are kept to be read again.
pub const MAX_DIFFERING_PARTS: usize = 10_000;
/// How many parts are read together.
const PARTS_PAGE: usize = 128;
/// How many buckets of remembered ids are read together.
const BUCKETS_PAGE: usize = 64;
/// The number of keys or members that one `SCAN` visits.
const SCAN_PAGE: usize = 500;

/// The parts of the store that seem to differ.
#[derive(Debug, Clone, Default)]
pub struct DifferingParts {
    /// The parts, at most [`MAX_DIFFERING_PARTS`].
    pub parts: Vec<StorePart>,
    /// Whether there are more.
    pub has_more: bool,
    known: HashSet<StorePart>,
}

impl DifferingParts {
    fn add(&mut self, part: StorePart) {
        if self.known.contains(&part) {
            return;
        }
        if self.parts.len() >= MAX_DIFFERING_PARTS {
            self.has_more = true;
            return;
        }
        self.known.insert(part.clone());
        self.parts.push(part);
    }
}

impl Store {
    /// Returns the parts of the store that seem to differ from what it has to hold. While orders run, some of them only have
    /// moved.
    ///
    /// # Errors
    /// When Redis does not reply, or holds values of another type.
    pub async fn find_differing_parts(&self, expected: &StoreExpectation<'_>) -> Result<DifferingParts, StoreError> {
        let mut found = DifferingParts::default();
        let ledgers = expected.state.ledgers.keys().cloned().map(StorePart::Ledger);
        let adjustments = expected.state.adjustments.keys().cloned().map(StorePart::Adjustment);
        let orders = expected.state.orders.keys().map(|key| StorePart::Order(*key, None));
        let parts = [StorePart::Locks, StorePart::Control].into_iter();
        let mut parts = parts.chain(ledgers).chain(adjustments).chain(orders);
        loop {
            let page: Vec<StorePart> = parts.by_ref().take(PARTS_PAGE).collect();
            if page.is_empty() {
                break;
            }
            self.compare_page(&page, expected, &mut found).await?;
        }
        self.compare_remembered(expected, &mut found).await?;
        self.compare_unexpected_keys(expected, &mut found).await?;
        Ok(found)
    }

    async fn compare_page(
        &self,
        page: &[StorePart],
        expected: &StoreExpectation<'_>,
        found: &mut DifferingParts,
    ) -> Result<(), StoreError> {
        if page.is_empty() {
            return Ok(());
        }
        let buckets = self.read_bucket_count().await?;
        let mut commands = redis::pipe();
        let lengths: Vec<usize> = page
            .iter()
            .map(|part| part.add_reads(&mut commands, expected.state, buckets))
            .collect();
        let mut values = self.connection.query_pipeline(&commands).await?.into_iter();
        for (part, length) in page.iter().zip(lengths) {
            let reading = part.reading(values.by_ref().take(length).collect(), part.has_sets(expected.state));
            if !differences_of(&reading, expected)?.is_empty() {
                found.add(part.clone());
            }
        }
        Ok(())
    }

    /// Compares the remembered ids, bucket by bucket, in both directions.
    async fn compare_remembered(
        &self,
        expected: &StoreExpectation<'_>,
        found: &mut DifferingParts,
    ) -> Result<(), StoreError> {
        let buckets = self.read_bucket_count().await?;
        let state = expected.state;
        let ended = state.remembered.keys().filter(|key| !state.orders.contains_key(key));
        let mut wanted: Vec<(u64, OrderKey)> = ended.map(|key| (bucket_of(*key, buckets), *key)).collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        let mut first = 0;
        while first < buckets {
            let end = buckets.min(first + BUCKETS_PAGE as u64);
            let mut commands = redis::pipe();
            for bucket in first..end {
                commands
                    .cmd("HGETALL")
                    .arg(format!("{}{bucket}", keys::remembered_ids_bucket()));
            }
            let mut of_page: HashSet<OrderKey> = HashSet::new();
            while let Some((_, key)) = wanted.next_if(|(bucket, _)| *bucket < end) {
                of_page.insert(key);
            }
            for value in self.connection.query_pipeline(&commands).await? {
                let entries: Vec<(String, Vec<u8>)> = decode_value(value)?;
                for (name, entry) in entries {
                    let Some(key) = OrderKey::parse(&name) else { continue };
                    let part = StorePart::Order(key, None);
                    // What an order's record says is compared with the record.
                    if state.orders.contains_key(&key) {
                        continue;
                    }
                    of_page.remove(&key);
                    let reading = part.reading(vec![Value::Array(Vec::new()), Value::BulkString(entry)], false);
                    if !differences_of(&reading, expected)?.is_empty() {
                        found.add(part);
                    }
                }
            }
            for key in of_page {
                let part = StorePart::Order(key, None);
                let reading = part.reading(vec![Value::Array(Vec::new()), Value::Nil], false);
                if !differences_of(&reading, expected)?.is_empty() {
                    found.add(part);
                }
            }
            first = end;
        }
        Ok(())
    }

    /// Compares what the store holds and the journal says nothing of.
    async fn compare_unexpected_keys(
        &self,
        expected: &StoreExpectation<'_>,
        found: &mut DifferingParts,
    ) -> Result<(), StoreError> {
        let mut cursor = "0".to_owned();
        loop {
            let (next, keys) = self.scan_page(&cursor, SCAN_PAGE).await?;
            let mut page = Vec::new();
            for key in keys {
                self.collect_unexpected(&key, expected, &mut page).await?;
                if page.len() >= PARTS_PAGE {
                    self.compare_page(&std::mem::take(&mut page), expected, found).await?;
                }
            }
            self.compare_page(&page, expected, found).await?;
            cursor = next;
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    /// Collects the parts that a key shows, and that the journal says nothing of.
    async fn collect_unexpected(
        &self,
        key: &str,
        expected: &StoreExpectation<'_>,
        page: &mut Vec<StorePart>,
    ) -> Result<(), StoreError> {
        let state = expected.state;
        if let Some(order) = keys::parse_order_record(key) {
            if !state.orders.contains_key(&order) {
                page.push(StorePart::Order(order, None));
            }
        } else if let Some((mode, account)) = keys::parse_ledger(key) {
            let owner = account.map_or(LedgerOwner::Total(mode), |account| LedgerOwner::Account(mode, account));
            if !state.ledgers.contains_key(&owner) {
                page.push(StorePart::Ledger(owner));
            }
        } else if let Some(adjustment) = keys::parse_adjustment(key) {
            if !state.adjustments.contains_key(&adjustment) {
                page.push(StorePart::Adjustment(adjustment));
            }
        } else if keys::is_holding_accounts(key) {
            for member in self.scan_members(key, "SSCAN").await? {
                let owner = keys::parse_ledger(&member).and_then(|(mode, account)| Some((mode, account?)));
                let owner = owner.map(|(mode, account)| LedgerOwner::Account(mode, account));
                let owner = owner.ok_or_else(|| StoreError::corrupt(format!("{key} lists {member:?}")))?;
                if !state.ledgers.get(&owner).is_some_and(|ledger| ledger.is_kept()) {
                    page.push(StorePart::Ledger(owner));
                }
            }
        } else if keys::is_due_orders(key) || keys::parse_open_orders(key).is_ok() {
            let command = if keys::is_due_orders(key) { "ZSCAN" } else { "SSCAN" };
            for member in self.scan_members(key, command).await? {
                let order = OrderKey::parse(&member);
                let order = order.ok_or_else(|| StoreError::corrupt(format!("{key} lists {member:?}")))?;
                if !state.orders.get(&order).is_some_and(FoldedOrder::is_open) {
                    page.push(StorePart::Order(order, Some(key.to_owned())));
                }
            }
        }
        Ok(())
    }

    /// Returns the members of a set or a sorted set.
    async fn scan_members(&self, key: &str, command: &'static str) -> Result<Vec<String>, StoreError> {
        let listed = self.connection.scan_key(command, key, SCAN_PAGE).await?;
        // A sorted set lists each member with its moment.
        Ok(listed
            .into_iter()
            .step_by(if command == "ZSCAN" { 2 } else { 1 })
            .collect())
    }
}
