//! Checks that `subjects/`, `docs/` and README.md match the code. Schemas and tables are generated:
//! `UPDATE_SCHEMAS=1 cargo test --test contract` rewrites them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

mod catalogue;
mod deploy_files;
mod documentation;
mod examples;
mod generated;
mod links;
mod outside;
mod schemas;
