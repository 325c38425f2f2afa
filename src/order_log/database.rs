//! The SQLite file: its schema and its columns.

pub(in crate::order_log) mod schema;
