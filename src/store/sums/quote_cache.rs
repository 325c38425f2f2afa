//! The newest quote of each instrument, so that a worker that starts has the prices of the others. It only caches what is
//! on the bus: no order and no sum depends on it.

use bytes::Bytes;

use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;

impl Store {
    /// Stores quotes (JSON), each under its subject.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn cache_quotes(&self, quotes: &[(String, String)]) -> Result<(), StoreError> {
        if quotes.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HSET");
        command.arg(keys::cached_quotes());
        for (subject, quote) in quotes {
            command.arg(subject).arg(quote);
        }
        self.connection.query(command).await.map(drop)
    }

    /// Returns the cached quote of each subject, in the order of `subjects`; `None` where there is none.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_cached_quotes(&self, subjects: &[String]) -> Result<Vec<Option<Bytes>>, StoreError> {
        if subjects.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(keys::cached_quotes()).arg(subjects);
        let redis::Value::Array(values) = self.connection.query(command).await? else {
            return Err(StoreError::corrupt("the cached quotes are not a list"));
        };
        let quote = |value| match value {
            redis::Value::BulkString(bytes) => Some(Bytes::from(bytes)),
            _ => None,
        };
        Ok(values.into_iter().map(quote).collect())
    }
}
