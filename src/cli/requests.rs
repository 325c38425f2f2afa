//! Requests to the router: over the bus or over REST, once or by polling.

pub(in crate::cli) mod bus_client;
pub(in crate::cli) mod order_request;
pub(in crate::cli) mod polling;
pub(in crate::cli) mod query_string;
pub(in crate::cli) mod rest_client;
pub(in crate::cli) mod rest_list;
pub(in crate::cli) mod sidecar_url;
