//! A local exchange that speaks the Binance Spot protocol: to rehearse live trading, and to test what trades there.
//!
//! It shares no type and no parsing with the rest of the crate, so that it cannot share a misunderstanding either. The
//! facts about the protocol come from the venue's documentation (github.com/binance/binance-spot-api-docs).
//!
//! | part | contents |
//! |---|---|
//! | `exchange` | the matching engine: a deterministic machine of commands |
//! | `state_log` | the commands on disk; replaying them rebuilds the engine |
//! | `service` | the operations, behind REST and the WebSocket API alike |
//! | `faults` | what can go wrong on purpose, by a seed |
//! | `rest`, `ws_api`, `market_streams`, `control` | the doors |
//!
//! A request passes `service::routine`; a change passes `service::state::Service::change`, which applies it, logs it and
//! publishes it under one lock, before its answer leaves.

mod amount;
mod balances;
mod book;
mod clock;
mod command;
mod control;
mod error;
mod events;
mod exchange;
mod faults;
mod filters;
mod hub;
mod market_maker;
mod market_streams;
mod operation;
mod order;
mod order_parameters;
#[doc(hidden)]
pub mod parameters;
mod random;
mod rate_limit;
mod render;
mod rest;
mod server;
mod service;
pub mod settings;
mod signature;
mod state_log;
mod words;
mod ws_api;
mod ws_method;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::venue::service::state::Service;
use crate::venue::settings::VenueSettings;

pub use crate::venue::faults::spec::{FaultPlan, parse_plans};
pub use crate::venue::state_log::StateLogError;

/// A running venue.
#[derive(Debug)]
pub struct Venue {
    service: Arc<Service>,
}

impl Venue {
    /// Opens the state log and serves at a listener.
    ///
    /// # Errors
    /// When the state log cannot be read or written.
    pub fn start(settings: VenueSettings, listener: TcpListener) -> Result<Self, StateLogError> {
        let service = Arc::new(Service::open(settings)?);
        let router = Router::new()
            .route("/ws-api/v3", get(ws_api::upgrade))
            .route("/ws", get(market_streams::upgrade_raw))
            .route("/ws/{*streams}", get(market_streams::upgrade_raw))
            .route("/stream", get(market_streams::upgrade_combined))
            .merge(control::router())
            .fallback(rest::dispatch)
            .with_state(service.clone());
        if let Some(settings) = service.settings.market_maker {
            service.tasks.spawn(market_maker::run(service.clone(), settings));
        }
        let accepting = server::accept_connections(listener, router, service.shutdown.clone(), service.tasks.clone());
        service.tasks.spawn(accepting);
        Ok(Self { service })
    }

    /// Waits until the venue stops by itself: when its state log can no longer be written.
    pub async fn failed(&self) {
        self.service.shutdown.cancelled().await;
    }

    /// Announces the shutdown to every stream, and waits at most so long until every connection has ended.
    pub async fn drain(self, at_most: Duration) {
        self.service.shutdown.cancel();
        self.service.tasks.close();
        if tokio::time::timeout(at_most, self.service.tasks.wait()).await.is_err() {
            tracing::warn!("connections were still open at the end of the drain");
        }
    }
}
