//! The prices of a live venue, published as every other source of market data publishes its own.

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::brokers::binance::price_stream::{self, ReferencePrice};
use crate::brokers::binance::transport::venue_stream::VenueConnector;
use crate::bus::connection::Bus;
use crate::bus::subjects;
use crate::domain::id::VenueId;
use crate::domain::symbol::Symbol;
use crate::repeated_log::log_at_intervals;

/// The most prices that wait to be published; of those beyond it the next ones tell.
const MAX_WAITING: usize = 1_024;

/// Publishes the venue's prices of the symbols until the worker stops. Every worker does: no price depends on one of them.
pub(super) async fn publish(
    bus: Bus,
    connector: VenueConnector,
    venue: VenueId,
    symbols: Vec<Symbol>,
    stop: CancellationToken,
) {
    let (sender, prices) = mpsc::channel(MAX_WAITING);
    let follow = price_stream::run(
        connector,
        symbols,
        move |price| {
            if sender.try_send(price).is_err() {
                log_at_intervals!(
                    warn,
                    "a price of the venue was not published: too many wait for the bus"
                );
            }
        },
        stop.clone(),
    );
    tokio::join!(follow, publish_each(bus, venue, prices, stop));
}

async fn publish_each(bus: Bus, venue: VenueId, mut prices: mpsc::Receiver<ReferencePrice>, stop: CancellationToken) {
    loop {
        let price = tokio::select! {
            () = stop.cancelled() => return,
            price = prices.recv() => price,
        };
        let Some(ReferencePrice {
            symbol,
            quote,
            bid,
            ask,
        }) = price
        else {
            return;
        };
        let subject = subjects::quote(venue.as_str(), symbol.as_str());
        let body = json!({ "bid": bid.decimal(), "ask": ask.decimal(), "timestamp": quote.timestamp });
        if let Err(error) = bus.publish(subject, body.to_string().into()).await {
            log_at_intervals!(warn, %error, "a price of the venue was not published");
        }
    }
}
