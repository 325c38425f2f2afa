//! A rebuild that an operator asks for: everything in Redis is dropped and made from the journal, without a worker that
//! takes orders.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::bus::connection::{Bus, ConnectPolicy, connect};
use crate::bus::journal::JournalWriterTask;
use crate::config::Settings;
use crate::store::Store;
use crate::store::rebuild::epoch::RebuildScope;
use crate::store::rebuild::fold::FoldedState;
use crate::telemetry::Telemetry;
use crate::worker::lifecycle::assembly::{TradingClock, build_router};
use crate::worker::lifecycle::error::WorkerError;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::fold_journal::FoldSource;
use crate::worker::rebuild::fold_position::FoldPosition;
use crate::worker::rebuild::from_nothing::fold_from_snapshot;
use crate::worker::rebuild::journal_check::check_journal;
use crate::worker::rebuild::run::rebuild_store;
use crate::worker::router::Router;

/// The servers of a router, and what a rebuild needs of a worker.
pub struct OperatorRebuild {
    router: Router,
    bus: Bus,
    /// They end with the router.
    _writers: [JournalWriterTask; 2],
}

/// A store that was rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuiltStore {
    /// Its new epoch.
    pub epoch: i64,
    /// The journal sequence up to which it holds every event of an order or an adjustment.
    pub journal_sequence: u64,
    /// How long the rebuild took.
    pub duration: Duration,
}

impl OperatorRebuild {
    /// Connects to NATS and Redis. No stream is created, and no order is taken.
    ///
    /// # Errors
    /// When a server is out of reach, or a setting is not usable.
    pub async fn open(settings: &Settings) -> Result<Self, WorkerError> {
        let bus = connect(&settings.nats, "order-router rebuild", ConnectPolicy::Once).await?;
        let store = Store::connect(&settings.redis).await?;
        let no_brokers = Box::new(|_: &_| Vec::new());
        let clock = TradingClock::system();
        // No venue is asked, and none of its keys is needed: a live order takes effect at its venue in any case.
        let mut settings = settings.clone();
        settings.brokers.allow_live = false;
        let assembled = build_router(&settings, Telemetry::new(), &bus, store, no_brokers, clock)?;
        Ok(Self {
            router: assembled.router,
            bus,
            _writers: assembled.journal_writers,
        })
    }

    /// Returns the connection to NATS.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.router.store
    }

    /// Returns what folds of the journal need.
    pub fn fold_source(&self) -> FoldSource {
        FoldSource::of(&self.router)
    }

    /// Returns a receiver of how far a fold is.
    pub fn watch_progress(&self) -> watch::Receiver<FoldPosition> {
        self.router.fold_progress.subscribe()
    }

    /// Drops everything that the store holds and makes it from the journal, under a new epoch.
    ///
    /// # Errors
    /// Why the store was not rebuilt: its schema is another release's, the journal is behind it or incomplete, or another
    /// process rebuilds it. What a rebuild that was interrupted has left is cleared by the next one.
    pub async fn rebuild(&self) -> Result<RebuiltStore, StoreRebuildError> {
        let started = Instant::now();
        let extent = check_journal(&self.router.journal_reader, Some(&self.router.store)).await?;
        let status = self.router.store.read_status().await?;
        Box::pin(rebuild_store(&self.router, &status, &extent, RebuildScope::Whole)).await?;
        let rebuilt = self.router.store.read_status().await?;
        Ok(RebuiltStore {
            epoch: self.router.store.epoch().unwrap_or_default(),
            journal_sequence: rebuilt.journal_sequence,
            duration: started.elapsed(),
        })
    }

    /// Returns the state that a rebuild would load: the newest valid snapshot and the journal behind it, folded in memory.
    ///
    /// # Errors
    /// As [`OperatorRebuild::rebuild`].
    pub async fn fold(&self) -> Result<FoldedState, StoreRebuildError> {
        check_journal(&self.router.journal_reader, Some(&self.router.store)).await?;
        let (_, state) = Box::pin(fold_from_snapshot(&self.router)).await?;
        Ok(state)
    }
}
