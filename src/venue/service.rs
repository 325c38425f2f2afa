//! One service behind REST and the WebSocket API: a request comes in, a reply goes out.

mod account;
mod market_data;
mod partial_fills;
pub mod request;
mod routine;
pub mod state;
mod trading;
