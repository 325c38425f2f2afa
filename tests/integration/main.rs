//! The integration tests: one program, real servers.

mod bus_client;
mod bus_fixture;
mod bus_journal;
mod bus_queue;
mod bus_service;
mod bus_topology;
mod rig;
mod support;
mod worker_orders;
