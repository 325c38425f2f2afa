//! The integration tests: one program, real servers.

mod acceptance;
mod bus_client;
mod bus_fixture;
mod bus_journal;
mod bus_queue;
mod bus_service;
mod bus_topology;
mod conformance_store;
mod deployed_permissions;
mod process_kill;
mod published_examples;
mod rest_codes;
mod rest_fixture;
mod rest_http;
mod rest_life;
mod rest_orders;
mod rig;
mod store_fences;
mod store_scripts;
mod support;
mod worker_adjust;
mod worker_bad_input;
mod worker_durable;
mod worker_guards;
mod worker_laws;
mod worker_orders;
