//! Order records: reserve, settle, mark as journaled, release, submit, read.

pub mod mark_journaled;
pub mod read;
pub mod release;
pub mod reserve;
pub mod settle;
pub mod submission;
