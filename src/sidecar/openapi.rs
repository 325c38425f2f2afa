//! The OpenAPI document, generated from the table of operations in [`router`](crate::sidecar::router).
//!
//! A route can only be added with its description, so every operation is documented. To add one:
//!
//! 1. Write its handler in `handlers/`, and its request and response as types with `JsonSchema`. Types of the contract
//!    belong to `wire`, with the patterns of `wire::schema_patterns` and `wire::schema_numbers`, so that the schema refuses
//!    what the handler refuses.
//! 2. Describe it in the file of its resource in [`describe`]: `OperationDescription::new`, then its parameters, its body,
//!    its responses with examples, and its own fault codes. `calls_worker` adds what comes with a request on the bus.
//!    [`problem_responses`] adds the codes that every operation has, or every operation with a body, a query or a key.
//! 3. Add its line to [`router`](crate::sidecar::router), and its path to the list in the tests of [`document`].
//!
//! The tests validate every example against its schema. The property-based test sends what the schemas allow and what they
//! forbid, and fails on an undocumented code, status or field.

pub(in crate::sidecar) mod describe;
pub(in crate::sidecar) mod document;
pub(in crate::sidecar) mod operation;
pub(in crate::sidecar) mod parameter;
pub(in crate::sidecar) mod problem_responses;
pub(in crate::sidecar) mod schema;
pub(in crate::sidecar) mod tag;
