//! Tasks that run beside the submission pipeline: recovery, inquiries, due paper orders, gauges, checks of the servers.

mod aged_orders;
pub mod due_paper_orders;
pub(in crate::worker) mod gauges;
pub mod inquiry;
mod open_order;
pub mod recovery;
pub(in crate::worker) mod server_checks;
pub(in crate::worker) mod store_use;
pub(in crate::worker) mod topology_watch;
