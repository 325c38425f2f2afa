//! What the service keeps, and the one way to change it: applied, logged, published, in this order and under one lock.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::venue::amount::Amount;
use crate::venue::clock::now_ms;
use crate::venue::command::Command;
use crate::venue::error::VenueError;
use crate::venue::events;
use crate::venue::exchange::effects::Outcome;
use crate::venue::exchange::state::Exchange;
use crate::venue::faults::injector::FaultInjector;
use crate::venue::hub::Hub;
use crate::venue::rate_limit::RateLimits;
use crate::venue::settings::{MARKET_MAKER, VenueSettings};
use crate::venue::signature::KeyRing;
use crate::venue::state_log::{StateLog, StateLogError};

/// What the market maker has of each asset: enough for ever.
const MARKET_MAKER_BALANCE: Amount = Amount::from_units(1_000_000_000_000_000_000);

/// The exchange and its log.
#[derive(Debug)]
pub(super) struct Core {
    pub exchange: Exchange,
    log: StateLog,
}

/// The service; one for each process.
#[derive(Debug)]
pub struct Service {
    /// The settings.
    pub settings: VenueSettings,
    /// The API keys.
    pub(super) keys: KeyRing,
    /// The counters of the rate limits.
    pub limits: RateLimits,
    /// The faults.
    pub faults: Arc<FaultInjector>,
    /// The streams.
    pub hub: Hub,
    /// Cancelled when the venue stops.
    pub shutdown: CancellationToken,
    /// The background tasks.
    pub tasks: TaskTracker,
    core: Mutex<Core>,
    /// Set when the log could not be written: the state in memory is ahead of it, so that nothing is answered any more.
    has_failed: AtomicBool,
}

impl Service {
    /// Opens the state log, brings the settings into the exchange, and returns the service.
    ///
    /// # Errors
    /// When the log cannot be read or written.
    pub fn open(settings: VenueSettings) -> Result<Self, StateLogError> {
        let (log, exchange) = StateLog::open(Path::new(&settings.data_dir), settings.sync)?;
        let faults = Arc::new(FaultInjector::new(settings.faults.clone(), settings.seed));
        let service = Self {
            keys: KeyRing::new(&settings.keys),
            limits: RateLimits::new(settings.limits),
            hub: Hub::new(faults.clone()),
            faults,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            core: Mutex::new(Core { exchange, log }),
            has_failed: AtomicBool::new(false),
            settings,
        };
        service.configure()?;
        Ok(service)
    }

    fn configure(&self) -> Result<(), StateLogError> {
        let settings = &self.settings;
        let mut core = self.lock();
        let mut commands = Vec::new();
        if core.exchange.differs_from(&settings.symbols, settings.commissions) {
            commands.push(Command::Configure {
                symbols: settings.symbols.clone(),
                commissions: settings.commissions,
            });
        }
        for account in self.keys.accounts() {
            let own = settings
                .balances
                .iter()
                .filter(|balance| balance.account.as_deref() == Some(account));
            let common = settings.balances.iter().filter(|balance| balance.account.is_none());
            let is_own = |asset: &str| own.clone().any(|balance| balance.asset == asset);
            let common = common.filter(|balance| !is_own(&balance.asset));
            let balances = own
                .clone()
                .chain(common)
                .map(|balance| (balance.asset.clone(), balance.amount));
            commands.push(Command::OpenAccount {
                account: account.to_owned(),
                balances: balances.collect(),
            });
        }
        if settings.market_maker.is_some() {
            let mut assets: Vec<&String> = settings
                .symbols
                .iter()
                .flat_map(|one| [&one.base, &one.quote])
                .collect();
            assets.sort();
            assets.dedup();
            commands.push(Command::OpenAccount {
                account: MARKET_MAKER.to_owned(),
                balances: assets
                    .into_iter()
                    .map(|asset| (asset.clone(), MARKET_MAKER_BALANCE))
                    .collect(),
            });
        }
        for command in commands {
            let is_known = matches!(&command, Command::OpenAccount { account, .. }
                if core.exchange.account(account).is_some());
            let time = now_ms();
            if !is_known && core.exchange.apply(time, &command).is_ok() {
                let Core { exchange, log } = &mut *core;
                log.append(time, &command, exchange)?;
            }
        }
        Ok(())
    }

    /// Applies a command, logs it, and publishes what it did. Only then is its outcome known outside.
    ///
    /// # Errors
    /// Why the command is refused; -1000 when the log cannot be written.
    pub fn change(&self, command: &Command) -> Result<Outcome, VenueError> {
        let mut core = self.lock();
        if self.has_failed.load(Ordering::Acquire) {
            return Err(VenueError::unknown());
        }
        let time = now_ms();
        let (outcome, effects) = core.exchange.apply(time, command)?;
        let Core { exchange, log } = &mut *core;
        if let Err(error) = log.append(time, command, exchange) {
            self.has_failed.store(true, Ordering::Release);
            tracing::error!(%error, "the state log cannot be written; the venue answers nothing until it is restarted");
            self.shutdown.cancel();
            return Err(VenueError::unknown());
        }
        for account in &effects.first_fills {
            self.limits.uncount_filled(account, time);
        }
        // Under the lock: events keep the order of the commands.
        self.hub.publish(events::account_events(exchange, &effects, time));
        for symbol in &effects.symbols {
            self.hub.publish_ticker(exchange, symbol);
        }
        Ok(outcome)
    }

    /// Calls a function with the exchange.
    ///
    /// # Errors
    /// -1000 after the log could not be written.
    pub fn read<T>(&self, query: impl FnOnce(&Exchange) -> T) -> Result<T, VenueError> {
        let core = self.lock();
        match self.has_failed.load(Ordering::Acquire) {
            true => Err(VenueError::unknown()),
            false => Ok(query(&core.exchange)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic of one request must not stop the others; the state changes by whole commands.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
