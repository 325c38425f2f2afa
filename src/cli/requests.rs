//! How commands reach the router: over the bus, over REST, once or by polling.

pub(in crate::cli) mod bus_client;
pub(in crate::cli) mod polling;
pub(in crate::cli) mod query_string;
pub(in crate::cli) mod rest_client;
pub(in crate::cli) mod rest_list;
