//! The checker: what a run must leave behind, whatever was killed, cut or lost.
//!
//! It reads the journal, Redis, the order log and REST, and compares them with each other and with every answer that a
//! caller got. It shares no code with the router's own recovery.

pub(in crate::chaos) mod answers;
pub(in crate::chaos) mod coverage;
pub(in crate::chaos) mod legs;
pub(in crate::chaos) mod limits;
pub(in crate::chaos) mod order_log;
pub(in crate::chaos) mod orders;
pub(in crate::chaos) mod reads;
pub(in crate::chaos) mod replaces;
pub(in crate::chaos) mod store;
pub(in crate::chaos) mod venue;
