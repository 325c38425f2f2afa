//! Tasks that run beside the submission pipeline: recovery, inquiries, due paper orders, gauges.

pub mod due_paper_orders;
pub(in crate::worker) mod gauges;
pub mod inquiry;
mod open_order;
pub mod recovery;
