//! What the operations of REST are, for programs and people: the description of each, and the OpenAPI document of all.
//!
//! The operations stand in [`router`](crate::sidecar::router), one line each: method, path, who may, handler, description. There
//! is no other way to a route, so that none is without a description. To add one:
//!
//! 1. Write its handler in `handlers/`, and what it takes and answers as types with `JsonSchema`: what belongs to the
//!    contract in `wire`, with the grammar of `wire::grammar` and `wire::number`, so that the schema refuses what the
//!    handler refuses.
//! 2. Describe it in the file of its noun in here: `Description::new`, then its parameters, its body, its answers with
//!    examples, and the codes that are its own. `asks_worker` adds what comes with a request on the bus; the codes that
//!    every operation has, or every operation with a body, a query or a key, come by themselves ([`problems`]).
//! 3. Add its line to [`router`](crate::sidecar::router), and its path to the list in the tests of [`document`].
//!
//! The tests hold every example against its schema, and the property-based test sends what the schemas allow and what
//! they forbid: a code, a status or a field that is missing here fails there.

pub(in crate::sidecar) mod describe;
pub(in crate::sidecar) mod document;
pub(in crate::sidecar) mod operation;
pub(in crate::sidecar) mod parameter;
pub(in crate::sidecar) mod problem_responses;
