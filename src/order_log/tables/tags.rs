//! The tags, in lower case: an id each, how many orders have it, and which.

use std::collections::HashMap;

use roaring::RoaringBitmap;
use rusqlite::{Connection, OptionalExtension, params};

use crate::order_log::index::{FREQUENT_TAG_MIN_ORDERS, IndexChange};

/// The most tags in the cache; a full cache is emptied, and filled again from the file.
const MAX_CACHED_TAGS: usize = 65_536;

/// The table of the tags, with a cache of those that were used last.
#[derive(Debug, Default)]
pub(in crate::order_log) struct TagStore {
    cached: HashMap<String, CachedTag>,
    /// The tags whose count is not in the file yet.
    dirty: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct CachedTag {
    tag_id: i64,
    /// How many orders have the tag, those of this transaction included.
    order_count: u64,
    is_dirty: bool,
}

impl TagStore {
    /// Clears the cache: after a transaction that was not committed.
    pub(in crate::order_log) fn clear_cache(&mut self) {
        self.cached.clear();
        self.dirty.clear();
    }

    /// Adds a tag to an order, unless the order has it; returns what that changes in the index.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn add_tag(
        &mut self,
        connection: &Connection,
        text: &str,
        ordinal: u32,
    ) -> rusqlite::Result<Option<IndexChange>> {
        let tag = self.load_tag(connection, text)?;
        let sql = "INSERT OR IGNORE INTO tag_orders (tag_id, ordinal) VALUES (?1, ?2)";
        if connection.prepare_cached(sql)?.execute(params![tag.tag_id, ordinal])? == 0 {
            return Ok(None);
        }
        let order_count = tag.order_count + 1;
        if let Some(cached) = self.cached.get_mut(text) {
            cached.order_count = order_count;
            if !std::mem::replace(&mut cached.is_dirty, true) {
                self.dirty.push(text.to_owned());
            }
        }
        let text = text.to_owned();
        Ok(if order_count == FREQUENT_TAG_MIN_ORDERS {
            let orders = load_orders_with_tag(connection, tag.tag_id)?;
            Some(IndexChange::TagBecameFrequent { text, orders })
        } else if order_count > FREQUENT_TAG_MIN_ORDERS {
            Some(IndexChange::TagAdded { ordinal, text })
        } else {
            None
        })
    }

    fn load_tag(&mut self, connection: &Connection, text: &str) -> rusqlite::Result<CachedTag> {
        if let Some(tag) = self.cached.get(text) {
            return Ok(*tag);
        }
        if self.cached.len() >= MAX_CACHED_TAGS {
            self.flush(connection)?;
            self.cached.clear();
        }
        let found = connection
            .prepare_cached("SELECT tag_id, order_count FROM tags WHERE text = ?1")?
            .query_row([text], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (tag_id, order_count) = match found {
            Some(found) => found,
            None => {
                let sql = "INSERT INTO tags (text, order_count) VALUES (?1, 0)";
                connection.prepare_cached(sql)?.execute([text])?;
                (connection.last_insert_rowid(), 0)
            }
        };
        let tag = CachedTag {
            tag_id,
            order_count,
            is_dirty: false,
        };
        self.cached.insert(text.to_owned(), tag);
        Ok(tag)
    }

    /// Writes the changed counts to the file: before a commit.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached("UPDATE tags SET order_count = ?2 WHERE tag_id = ?1")?;
        for text in self.dirty.drain(..) {
            if let Some(tag) = self.cached.get_mut(&text) {
                statement.execute(params![tag.tag_id, tag.order_count])?;
                tag.is_dirty = false;
            }
        }
        Ok(())
    }
}

/// Returns the orders with a tag, given in lower case, from the file.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn find_orders_with_tag(
    connection: &Connection,
    text: &str,
) -> rusqlite::Result<RoaringBitmap> {
    let tag_id = connection
        .prepare_cached("SELECT tag_id FROM tags WHERE text = ?1")?
        .query_row([text], |row| row.get(0))
        .optional()?;
    tag_id.map_or_else(
        || Ok(RoaringBitmap::new()),
        |tag_id| load_orders_with_tag(connection, tag_id),
    )
}

/// Returns the orders with a tag, given by its id, from the file.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn load_orders_with_tag(
    connection: &Connection,
    tag_id: i64,
) -> rusqlite::Result<RoaringBitmap> {
    let mut statement = connection.prepare_cached("SELECT ordinal FROM tag_orders WHERE tag_id = ?1")?;
    let rows = statement.query_map([tag_id], |row| row.get::<_, u32>(0))?;
    rows.collect()
}
