//! Decoding what Redis replies.

use std::collections::HashMap;

use redis::{FromRedisValue, Value};

use crate::store::error::StoreError;
use crate::store::script::decode_value;

/// The fields of a hash.
pub(super) type Fields = HashMap<String, Vec<u8>>;

/// Returns a field as text; empty where there is none.
pub(super) fn text(fields: &Fields, name: &str) -> String {
    let value = fields.get(name);
    value.map_or_else(String::new, |value| String::from_utf8_lossy(value).into_owned())
}

/// Decodes as many values as are wanted, all of one type.
pub(super) fn parse_all<T: FromRedisValue, const N: usize>(values: Vec<Value>) -> Result<[T; N], StoreError> {
    let parsed: Result<Vec<T>, StoreError> = values.into_iter().map(decode_value).collect();
    (parsed?.try_into()).map_err(|_| StoreError::corrupt("Redis replied to another number of commands"))
}
