//! Order records: claimed and reserved, submitted, settled, marked as journaled, released, read.

pub mod inquiry;
pub mod mark_journaled;
pub mod open;
pub mod read;
pub mod record;
pub mod release;
pub(in crate::store) mod remembered;
pub mod reserve;
pub(in crate::store) mod reserve_batch;
mod reserve_caps;
pub mod settle;
pub mod submission;
pub mod sweep_ids;
pub mod waiting;
