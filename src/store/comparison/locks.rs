//! The comparison of locks. One that is not on the journal yet is no difference.

use redis::Value;

use crate::store::comparison::types::{ABSENT, StoreDifference, StoreExpectation, StorePlace};
use crate::store::comparison::values::{Fields, parse_all};
use crate::store::error::StoreError;

/// Returns every difference of the locks.
pub(super) fn compare(values: Vec<Value>, expected: &StoreExpectation<'_>) -> Result<Vec<StoreDifference>, StoreError> {
    let [found, waiting]: [Fields; 2] = parse_all(values)?;
    let locks = &expected.state.locks;
    let difference = |id: &str, pair: (String, String)| StoreDifference::new(StorePlace::Lock, id, "document", pair);
    let show = |document: &[u8]| String::from_utf8_lossy(document).into_owned();
    let mut differences = Vec::new();
    for (id, document) in locks {
        match found.get(id) {
            Some(stored) if stored[..] == document[..] || waiting.contains_key(id) => {}
            Some(stored) => differences.push(difference(id, (show(document), show(stored)))),
            None => differences.push(difference(id, (show(document), ABSENT.to_owned()))),
        }
    }
    let extra = found
        .iter()
        .filter(|(id, _)| !locks.contains_key(*id) && !waiting.contains_key(*id));
    differences.extend(extra.map(|(id, stored)| difference(id, (ABSENT.to_owned(), show(stored)))));
    Ok(differences)
}
