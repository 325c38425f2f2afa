//! The SQLite file: where it is, its schema, and how columns are written and read.

pub(in crate::order_log) mod columns;
pub(in crate::order_log) mod file;
pub(in crate::order_log) mod schema;
pub(in crate::order_log) mod sql_types;
