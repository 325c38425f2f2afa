//! Tags in lower case: a number each, how many orders have it, and which.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::filter::orders_of_label;
use super::index::{Change, FREQUENT_TAG};

/// How many tags are remembered; when there are more, all are forgotten and looked up again.
const REMEMBERED_MAX: usize = 65_536;

/// The tags that were met last.
#[derive(Debug, Default)]
pub(super) struct Labels {
    known: HashMap<String, Label>,
    /// Those whose count is not in the file yet.
    changed: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Label {
    label_id: i64,
    /// How many orders have it, those of this transaction included.
    orders: u64,
    is_changed: bool,
}

impl Labels {
    /// Forgets everything: after a transaction that was not committed.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.changed.clear();
    }

    /// Gives an order a tag, if it does not have it; tells what that changes in the index.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn put(
        &mut self,
        connection: &Connection,
        text: &str,
        ordinal: u32,
    ) -> rusqlite::Result<Option<Change>> {
        let label = self.label(connection, text)?;
        let put = "INSERT OR IGNORE INTO label_orders (label_id, ordinal) VALUES (?1, ?2)";
        if connection
            .prepare_cached(put)?
            .execute(params![label.label_id, ordinal])?
            == 0
        {
            return Ok(None);
        }
        let orders = label.orders + 1;
        if let Some(label) = self.known.get_mut(text) {
            label.orders = orders;
            if !std::mem::replace(&mut label.is_changed, true) {
                self.changed.push(text.to_owned());
            }
        }
        let text = text.to_owned();
        Ok(if orders == FREQUENT_TAG {
            let orders = orders_of_label(connection, label.label_id)?;
            Some(Change::FrequentTag { text, orders })
        } else if orders > FREQUENT_TAG {
            Some(Change::Tag { ordinal, text })
        } else {
            None
        })
    }

    fn label(&mut self, connection: &Connection, text: &str) -> rusqlite::Result<Label> {
        if let Some(label) = self.known.get(text) {
            return Ok(*label);
        }
        if self.known.len() >= REMEMBERED_MAX {
            self.write(connection)?;
            self.known.clear();
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
        let label = Label {
            label_id,
            orders,
            is_changed: false,
        };
        self.known.insert(text.to_owned(), label);
        Ok(label)
    }

    /// Writes how many orders have each tag: before a commit.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut count = connection.prepare_cached("UPDATE labels SET orders = ?2 WHERE label_id = ?1")?;
        for text in self.changed.drain(..) {
            if let Some(label) = self.known.get_mut(&text) {
                count.execute(params![label.label_id, label.orders])?;
                label.is_changed = false;
            }
        }
        Ok(())
    }
}
