//! Tasks that run beside the submission pipeline: recovery, inquiries, due paper orders, gauges.

pub mod due_paper_orders;
pub(in crate::worker) mod gauges;
pub mod inquiry;
pub mod recovery;
