//! Tags in lower case: a number each, how many orders have it, and which.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::order_log::index::{FREQUENT_TAG_MIN_ORDERS, IndexChange};
use crate::order_log::query::filter::load_orders_with_tag;

/// How many tags are remembered; when there are more, all are forgotten and looked up again.
const MAX_CACHED_TAGS: usize = 65_536;

/// The tags that were met last.
#[derive(Debug, Default)]
pub(in crate::order_log) struct TagStore {
    cached: HashMap<String, CachedTag>,
    /// Those whose count is not in the file yet.
    dirty: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct CachedTag {
    tag_id: i64,
    /// How many orders have it, those of this transaction included.
    order_count: u64,
    is_dirty: bool,
}

impl TagStore {
    /// Forgets everything: after a transaction that was not committed.
    pub(in crate::order_log) fn clear_cache(&mut self) {
        self.cached.clear();
        self.dirty.clear();
    }

    /// Gives an order a tag, if it does not have it; tells what that changes in the index.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn add_tag(
        &mut self,
        connection: &Connection,
        text: &str,
        ordinal: u32,
    ) -> rusqlite::Result<Option<IndexChange>> {
        let label = self.load_tag(connection, text)?;
        let put = "INSERT OR IGNORE INTO label_orders (label_id, ordinal) VALUES (?1, ?2)";
        if connection
            .prepare_cached(put)?
            .execute(params![label.tag_id, ordinal])?
            == 0
        {
            return Ok(None);
        }
        let orders = label.order_count + 1;
        if let Some(label) = self.cached.get_mut(text) {
            label.order_count = orders;
            if !std::mem::replace(&mut label.is_dirty, true) {
                self.dirty.push(text.to_owned());
            }
        }
        let text = text.to_owned();
        Ok(if orders == FREQUENT_TAG_MIN_ORDERS {
            let orders = load_orders_with_tag(connection, label.tag_id)?;
            Some(IndexChange::TagBecameFrequent { text, orders })
        } else if orders > FREQUENT_TAG_MIN_ORDERS {
            Some(IndexChange::TagAdded { ordinal, text })
        } else {
            None
        })
    }

    fn load_tag(&mut self, connection: &Connection, text: &str) -> rusqlite::Result<CachedTag> {
        if let Some(label) = self.cached.get(text) {
            return Ok(*label);
        }
        if self.cached.len() >= MAX_CACHED_TAGS {
            self.flush(connection)?;
            self.cached.clear();
        }
        let find = "SELECT label_id, orders FROM labels WHERE text = ?1";
        let found = connection
            .prepare_cached(find)?
            .query_row([text], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (label_id, orders) = match found {
            Some(found) => found,
            None => {
                let add = "INSERT INTO labels (text, orders) VALUES (?1, 0)";
                connection.prepare_cached(add)?.execute([text])?;
                (connection.last_insert_rowid(), 0)
            }
        };
        let label = CachedTag {
            tag_id: label_id,
            order_count: orders,
            is_dirty: false,
        };
        self.cached.insert(text.to_owned(), label);
        Ok(label)
    }

    /// Writes how many orders have each tag: before a commit.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut count = connection.prepare_cached("UPDATE labels SET orders = ?2 WHERE label_id = ?1")?;
        for text in self.dirty.drain(..) {
            if let Some(label) = self.cached.get_mut(&text) {
                count.execute(params![label.tag_id, label.order_count])?;
                label.is_dirty = false;
            }
        }
        Ok(())
    }
}
