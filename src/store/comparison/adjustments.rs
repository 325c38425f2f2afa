//! The comparison of the records of adjustments.

use redis::Value;

use crate::domain::id::AdjustmentId;
use crate::store::comparison::types::{ABSENT, StoreDifference, StoreExpectation, StorePlace};
use crate::store::comparison::values::{Fields, parse_all, text};
use crate::store::error::StoreError;

/// Returns every difference of an adjustment.
pub(super) fn compare(
    id: &AdjustmentId,
    values: Vec<Value>,
    expected: &StoreExpectation<'_>,
) -> Result<Vec<StoreDifference>, StoreError> {
    let [found]: [Fields; 1] = parse_all(values)?;
    let difference =
        |field: &str, pair: (String, String)| StoreDifference::new(StorePlace::Adjustment, id.to_string(), field, pair);
    let Some(adjustment) = expected.state.adjustments.get(id) else {
        if found.is_empty() || text(&found, "seq") == "0" {
            return Ok(Vec::new());
        }
        return Ok(vec![difference(
            "record",
            (ABSENT.to_owned(), "a record of a journaled adjustment".to_owned()),
        )]);
    };
    if found.is_empty() {
        let is_dropped = adjustment.since.saturating_add(expected.retention) <= expected.now;
        let missing = difference("record", ("a record".to_owned(), ABSENT.to_owned()));
        return Ok((!is_dropped).then_some(missing).into_iter().collect());
    }
    let mut differences = Vec::new();
    if text(&found, "h") != *adjustment.content_hash.0 {
        differences.push(difference(
            "content",
            (adjustment.content_hash.0.to_string(), text(&found, "h")),
        ));
    }
    if found.get("doc").map(Vec::as_slice) != Some(&adjustment.document[..]) {
        let of_journal = String::from_utf8_lossy(&adjustment.document).into_owned();
        differences.push(difference("document", (of_journal, text(&found, "doc"))));
    }
    let sequence = text(&found, "seq");
    if sequence != adjustment.sequence.to_string() {
        differences.push(StoreDifference {
            repeated_at: sequence.parse().ok(),
            ..difference("sequence", (adjustment.sequence.to_string(), sequence))
        });
    }
    for one in &mut differences {
        one.sequence = Some(adjustment.sequence);
    }
    Ok(differences)
}
