//! The public contract as a test: what stands in `subjects/` and in README.md is what the code does. Schemas and tables
//! are generated: `UPDATE_SCHEMAS=1 cargo test --test contract` writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

mod catalogue;
mod examples;
mod generated;
mod outside;
mod readme;
mod schemas;
