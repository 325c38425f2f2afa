//! What the calls of the adapter and its tasks share.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::Notify;

use crate::brokers::binance::credentials::ApiCredentials;
use crate::brokers::binance::instrument_rules::InstrumentTable;
use crate::brokers::binance::report_continuity::ReportContinuity;
use crate::brokers::binance::sent_orders::SentOrders;
use crate::brokers::binance::settings::BinanceSettings;
use crate::brokers::binance::settled_trades::SettledTrades;
use crate::brokers::binance::transfer_queue::TransferQueue;
use crate::brokers::binance::transport::address::{AddressError, ServiceKind, VenueAddress};
use crate::brokers::binance::transport::venue_stream::VenueConnector;
use crate::brokers::binance::venue_client::VenueClient;
use crate::brokers::port::{LimitLedger, VenueInbox};
use crate::domain::symbol::Symbol;

/// The shared state of one account at the venue.
pub struct VenueSession<L, I> {
    /// Calls to the REST API.
    pub client: VenueClient<L>,
    /// The venue's rules.
    pub rules: InstrumentTable,
    /// The orders that this process has sent.
    pub sent_orders: SentOrders,
    /// The trades that are settled already.
    pub settled_trades: SettledTrades,
    /// The receiver of the venue's reports.
    pub inbox: Arc<I>,
    /// The traded symbols.
    pub symbols: Vec<Symbol>,
    /// What the venue does with an order that would trade with another one of the same account.
    pub self_trade_prevention: String,
    /// Connections to the WebSocket API.
    pub websocket_api: VenueConnector,
    /// Connections to the market data streams, for [`crate::brokers::binance::price_stream`].
    pub market_streams: VenueConnector,
    /// Whether every report of the venue has been read.
    pub reports: ReportContinuity,
    /// The deposits and withdrawals that the stream has reported.
    pub transfers: TransferQueue,
    /// Wakes the reconciliation.
    pub reconciliation_due: Notify,
}

impl<L: LimitLedger, I: VenueInbox> VenueSession<L, I> {
    /// Returns a session without open connections.
    ///
    /// # Errors
    /// When one of the addresses cannot be used.
    pub fn new(
        settings: &BinanceSettings,
        credentials: ApiCredentials,
        ledger: Arc<L>,
        inbox: Arc<I>,
        tls: &Arc<ClientConfig>,
    ) -> Result<Self, AddressError> {
        let open_websocket = |url: &str| {
            let address = VenueAddress::parse(url, ServiceKind::WebSocket)?;
            Ok(VenueConnector::new(address, tls, settings.time_limits.connect))
        };
        Ok(Self {
            client: VenueClient::new(settings, credentials, ledger, tls)?,
            rules: InstrumentTable::default(),
            sent_orders: SentOrders::default(),
            settled_trades: SettledTrades::default(),
            inbox,
            symbols: settings.symbols.clone(),
            self_trade_prevention: settings.self_trade_prevention.clone(),
            websocket_api: open_websocket(&settings.urls.websocket_api)?,
            market_streams: open_websocket(&settings.urls.market_streams)?,
            reports: ReportContinuity::default(),
            transfers: TransferQueue::default(),
            reconciliation_due: Notify::new(),
        })
    }
}
