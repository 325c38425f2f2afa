//! A model of the claim: what two workers, Redis, the journal and a venue may do with an id, step by step, in every order.
//! `docs/reliability.md` says what it holds and what it leaves out.

#![allow(missing_docs, reason = "the fields of a model are named like what they model")]

mod background;
mod call;
pub mod effects;
pub mod explorer;
pub mod guards;
mod ids;
pub mod model;
pub mod scripts;
pub mod world;
