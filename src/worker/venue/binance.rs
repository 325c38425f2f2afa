//! The sessions of Binance Spot: one for each API key of the settings, with the tasks that keep it able to trade.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::brokers::binance::adapter::BinanceSpot;
use crate::brokers::binance::credentials::ApiCredentials;
use crate::brokers::binance::session::VenueSession;
use crate::brokers::binance::settings::{BinanceSettings, VenueUrls};
use crate::brokers::binance::{maintenance, reconciliation, user_stream};
use crate::brokers::paper::binance::{BROKER, VENUE};
use crate::brokers::task::BrokerTask;
use crate::bus::connection::Bus;
use crate::config::brokers::BrokersSettings;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::request_limit::{LimitKind, LimitScopes};
use crate::domain::symbol::Symbol;
use crate::store::Store;
use crate::worker::broker_table::BrokerTable;
use crate::worker::lifecycle::error::WorkerError;
use crate::worker::router::Router;
use crate::worker::submission::send_gate::JournaledSendGate;
use crate::worker::venue::accounts::VenueAccounts;
use crate::worker::venue::balances::{self, BalanceLedger, BalanceTiming};
use crate::worker::venue::environment;
use crate::worker::venue::gauges;
use crate::worker::venue::inbox::{self, InboxQueue, open_inbox};
use crate::worker::venue::limit_ledger::SharedLimitLedger;
use crate::worker::venue::missing_keys;
use crate::worker::venue::prices;
use crate::worker::venue::session::BinanceSession;
use crate::worker::venue::venue_uids::VenueUids;

/// Sessions whose tasks are not started yet.
pub(in crate::worker) struct BinanceSessions {
    sessions: Vec<OpenSession>,
    balances: BalanceTiming,
    /// The environment of the settings.
    environment: String,
}

struct OpenSession {
    session: Arc<BinanceSession>,
    queue: InboxQueue,
    /// The name of its key.
    key: String,
}

/// Opens a session for each key of the settings and adds its task to the brokers. Nothing is sent before
/// [`BinanceSessions::start`].
///
/// # Errors
/// A key that cannot be read, an address that cannot be used, or a system without root certificates.
pub(in crate::worker) fn open_sessions(
    settings: &BrokersSettings,
    symbols: &[Symbol],
    store: &Store,
    gate: &Arc<JournaledSendGate>,
    brokers: &mut BrokerTable,
) -> Result<BinanceSessions, WorkerError> {
    let (mut sessions, mut keys) = (Vec::new(), BTreeSet::new());
    let live = &settings.binance_live;
    let environment = VenueUrls::of_live(live).environment();
    let balances = BalanceTiming {
        interval: Duration::from_millis(live.balance_interval_ms),
        lock_after: Duration::from_secs(live.balance_lock_after_s),
        books_openings: live.book_opening_positions,
    };
    if !settings.allow_live {
        return Ok(BinanceSessions {
            sessions,
            balances,
            environment,
        });
    }
    let invalid = |error: &dyn std::fmt::Display| WorkerError::Settings(format!("brokers.binance_live: {error}"));
    let tls = VenueUrls::of_live(live).tls().map_err(|error| invalid(&error))?;
    for (source, accounts) in live.accounts_by_key() {
        let venue_settings = BinanceSettings::of_live(live, source.into(), symbols);
        let credentials = ApiCredentials::load(&venue_settings.credentials, |name| std::env::var(name).ok());
        let credentials = credentials.map_err(|error| invalid(&error))?;
        if !keys.insert(credentials.api_key().to_owned()) {
            let same = "two entries of keys have the same API key: give their accounts one file";
            return Err(invalid(&same));
        }
        let scopes = LimitScopes::new(&venue_settings.urls.rest, credentials.api_key());
        // The address of a local exchange changes, and its accounts stay.
        let key_name = LimitScopes::new(&environment, credentials.api_key());
        let key_name = key_name.of(LimitKind::Orders).to_owned();
        let (inbox, queue) = open_inbox(VenueAccounts {
            broker: BrokerId::new(BROKER)?,
            venue: VenueId::new(VENUE)?,
            key: key_name.clone(),
            accounts: accounts.clone(),
            first_live: OnceLock::new(),
            journal: OnceCell::new(),
        });
        let ledger = Arc::new(SharedLimitLedger::new(store.clone(), scopes));
        let session = VenueSession::new(&venue_settings, credentials, ledger, Arc::new(inbox), &tls);
        let session = Arc::new(session.map_err(|error| invalid(&error))?);
        let adapter = BinanceSpot::new(session.clone(), gate.clone())?;
        let (handle, _task) = BrokerTask::spawn(adapter, &settings.task);
        brokers.add_live(&handle, &accounts);
        let key = sessions.len() + 1;
        tracing::warn!(
            key,
            environment = live.environment,
            rest_url = live.rest_url,
            ?accounts,
            "LIVE TRADING IS ALLOWED: these accounts trade at Binance Spot while the mode is live"
        );
        sessions.push(OpenSession {
            session,
            queue,
            key: key_name,
        });
    }
    Ok(BinanceSessions {
        sessions,
        balances,
        environment,
    })
}

impl BinanceSessions {
    /// Records the environment of the settings, where orders may go there.
    ///
    /// # Errors
    /// When the journal has live orders or positions of another one, or journal or store do not reply.
    pub(in crate::worker) async fn record_environment(&self, router: &Router) -> Result<(), WorkerError> {
        if self.sessions.is_empty() {
            return Ok(());
        }
        environment::record(router, &self.environment).await
    }

    /// Starts what keeps each session able to trade, and what settles its reports.
    pub(in crate::worker) fn start(
        self,
        router: &Router,
        bus: &Bus,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), WorkerError> {
        tasks.spawn(missing_keys::run(router.clone(), stop.clone()));
        let venue = VenueId::new(VENUE)?;
        let uids = VenueUids::default();
        let is_only_key = self.sessions.len() == 1;
        for (number, OpenSession { session, queue, key }) in self.sessions.into_iter().enumerate() {
            if number == 0 {
                // The market is one for all keys.
                let (connector, symbols) = (session.market_streams.clone(), session.symbols.clone());
                tasks.spawn(prices::publish(
                    bus.clone(),
                    connector,
                    venue.clone(),
                    symbols,
                    stop.clone(),
                ));
            }
            let telemetry = router.telemetry.clone();
            tasks.spawn(gauges::run(session.clone(), number + 1, telemetry, stop.clone()));
            let ledger = BalanceLedger::new(
                (router.clone(), session.clone(), queue.accounts()),
                (key, number + 1),
                self.balances,
                (uids.clone(), is_only_key),
            );
            let watched = (router.clone(), session.clone(), self.environment.clone());
            tasks.spawn(environment::watch(watched.0, watched.1, watched.2, stop.clone()));
            tasks.spawn(balances::run(ledger, stop.clone()));
            tasks.spawn(inbox::run(router.clone(), queue, stop.clone()));
            tasks.spawn(maintenance::run(session.clone(), stop.clone()));
            tasks.spawn(user_stream::run(session.clone(), stop.clone()));
            tasks.spawn(reconciliation::run(session, stop.clone()));
        }
        Ok(())
    }
}
