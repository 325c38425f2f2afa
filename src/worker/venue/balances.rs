//! The balances of an API key at a live venue, against what the journal makes them.
//!
//! The ledger of a key is on the journal ([`crate::wire::balance`]): the venue's balances at the first use, and every change
//! that no fill explains. What fills and fees have moved since is folded from the journal ([`fold`]). Every worker compares for
//! itself; each event is appended behind the one that its worker has read, so that no change is made twice.

mod fold;
mod judgement;
mod locks;
mod opening;
mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::brokers::binance::asset_roles::{AssetRole, AssetsBySymbol};
use crate::brokers::binance::rest_reader::ReadError;
use crate::brokers::paper::binance::BROKER;
use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;
use crate::domain::decimal::Decimal;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::telemetry::MetricId;
use crate::wire::balance::{AssetBalance, BALANCE_EVENT_KIND, BalanceChange, BalanceEvent};
use crate::worker::control::event_sequence::append_event;
use crate::worker::control::locks::ROUTER_ACTOR;
use crate::worker::faults::bus_unavailable;
use crate::worker::reply::encode_json;
use crate::worker::router::Router;
use crate::worker::venue::accounts::VenueAccounts;
use crate::worker::venue::balances::fold::{FoldError, JournalFold};
use crate::worker::venue::balances::judgement::{Comparison, JudgementContext};
use crate::worker::venue::orphans;
use crate::worker::venue::session::BinanceSession;
use crate::worker::venue::venue_uids::VenueUids;

/// The longest that one comparison may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);
/// The pause between two readings that have to agree: what the venue has done arrives and is journaled meanwhile.
const CONFIRM_DELAY: Duration = Duration::from_secs(2);
/// The pause before a comparison that was not possible is tried again, unless the interval is shorter.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// The most transfers that a ledger remembers: as many may reach a second worker late.
const MAX_TRANSFERS: usize = 256;
/// How many journal entries are folded before a comparison without a difference moves the start of the fold.
const CHECKPOINT_ENTRIES: usize = 5_000;

/// Why balances were not compared.
#[derive(Debug, thiserror::Error)]
enum BalanceError {
    #[error("{}", .0.detail)]
    Router(Fault),
    #[error("the venue does not report its balances: {0}")]
    Venue(#[from] ReadError),
    #[error(transparent)]
    Fold(#[from] FoldError),
}

impl From<Fault> for BalanceError {
    fn from(fault: Fault) -> Self {
        Self::Router(fault)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunEnd {
    /// Every balance was compared.
    Compared,
    /// Some balances moved, or changed the ledger: the next run comes sooner.
    Again,
}

/// The settings of comparisons.
#[derive(Debug, Clone, Copy)]
pub(super) struct BalanceTiming {
    /// The time between two comparisons.
    pub(super) interval: Duration,
    /// How long a difference may last before its symbols are locked.
    pub(super) lock_after: Duration,
    /// Whether what is held at the first use becomes a position.
    pub(super) books_openings: bool,
}

/// The ledger of one key, as this worker has it.
pub(super) struct BalanceLedger {
    pub(super) router: Router,
    pub(super) session: Arc<BinanceSession>,
    pub(super) accounts: Arc<VenueAccounts>,
    /// The name of the key: of the API key only a hash is journaled.
    pub(super) key: String,
    /// The number of the key in metrics and logs.
    pub(super) key_number: usize,
    pub(super) timing: BalanceTiming,
    /// The accounts at the venue that the keys of this worker belong to.
    pub(super) uids: VenueUids,
    /// Whether every account that trades live has this key.
    pub(super) is_only_key: bool,
    fold: Option<JournalFold>,
    /// The assets of symbols that are no longer traded.
    other_assets: AssetsBySymbol,
}

/// A ledger with the sequence of its event.
struct StoredLedger {
    event: BalanceEvent,
    sequence: u64,
}

/// Compares the balances of a key until the worker stops: at intervals, after each connection of the stream, and after each
/// transfer.
pub(super) async fn run(mut ledger: BalanceLedger, stop: CancellationToken) {
    let session = ledger.session.clone();
    let compare_for_ever = async {
        loop {
            let pause = match timeout(RUN_TIMEOUT, ledger.compare()).await {
                Ok(Ok(RunEnd::Compared)) => ledger.timing.interval,
                Ok(Ok(RunEnd::Again)) => RETRY_DELAY.min(ledger.timing.interval),
                Ok(Err(error)) => {
                    log_at_intervals!(warn, key = ledger.key_number, %error, "the balances of a key were not compared");
                    RETRY_DELAY.max(ledger.timing.interval)
                }
                Err(_) => {
                    log_at_intervals!(
                        warn,
                        key = ledger.key_number,
                        "the balances of a key were not compared in time"
                    );
                    RETRY_DELAY
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = session.transfers.changed() => {}
            }
        }
    };
    // Every step is an append of its own: dropping one changes nothing.
    tokio::select! {
        () = stop.cancelled() => {}
        () = compare_for_ever => {}
    }
}

impl BalanceLedger {
    /// Returns the ledger of a key, of which nothing is read yet.
    pub(super) fn new(
        (router, session, accounts): (Router, Arc<BinanceSession>, Arc<VenueAccounts>),
        (key, key_number): (String, usize),
        timing: BalanceTiming,
        (uids, is_only_key): (VenueUids, bool),
    ) -> Self {
        Self {
            router,
            session,
            accounts,
            key,
            key_number,
            timing,
            uids,
            is_only_key,
            fold: None,
            other_assets: AssetsBySymbol::new(),
        }
    }

    /// Compares once.
    async fn compare(&mut self) -> Result<RunEnd, BalanceError> {
        let session = self.session.clone();
        let is_ready = session.client.is_key_accepted() && session.reports.is_complete() && session.rules.is_loaded();
        // Nothing is the router's own before it has been live.
        if !is_ready
            || orphans::first_live_moment(&self.router, &self.accounts)
                .await?
                .is_none()
        {
            return Ok(RunEnd::Again);
        }
        let stored = match self.read_ledger().await? {
            Some(stored) if stored.event.accounts == self.account_names() => stored,
            other => return opening::open(self, other).await,
        };
        if self.book_transfers(&stored).await? {
            return Ok(RunEnd::Again);
        }
        let end = match self.compare_with(&stored).await {
            Err(BalanceError::Fold(FoldError::Inexact(reason))) => {
                tracing::error!(reason, "the ledger of a key begins again with the venue's balances");
                return opening::open(self, Some(stored)).await;
            }
            end => end?,
        };
        self.record_gauges(&stored.event, end);
        Ok(end)
    }

    async fn compare_with(&mut self, stored: &StoredLedger) -> Result<RunEnd, BalanceError> {
        let read_at = self.venue_time()?;
        let first = self.read(&stored.event).await?;
        let mut seen = first.comparison();
        if !seen.differing.is_empty() {
            let is_known = |asset: &String| {
                stored
                    .event
                    .assets
                    .get(asset)
                    .is_some_and(|one| one.difference.is_some())
            };
            if !seen.differing.keys().all(is_known) {
                // A fill whose event was lost explains it as well: the lists have it.
                self.session.reconciliation_due.notify_one();
            }
            sleep(CONFIRM_DELAY).await;
            if !self.session.transfers.waiting().is_empty() {
                return Ok(RunEnd::Again);
            }
            let second = self.read(&stored.event).await?.comparison();
            let is_confirmed = |asset: &String, found: &judgement::Found| second.differing.get(asset) == Some(found);
            seen.differing.retain(|asset, found| is_confirmed(asset, found));
            if !seen.differing.is_empty() && self.has_unknown_orders().await? {
                return Ok(RunEnd::Again);
            }
        }
        let has_moved = !first.moving.is_empty();
        let judgement = self.judge(stored, &seen, read_at).await?;
        for (asset, found) in &judgement.alerts {
            locks::publish_alert(self, stored.sequence, asset, *found).await?;
        }
        for (asset, found) in &judgement.locks {
            locks::lock_asset(self, asset, *found).await?;
        }
        if let Some(event) = judgement.event {
            self.append(event, stored.sequence).await?;
            return Ok(RunEnd::Again);
        }
        let is_long = self
            .fold
            .as_ref()
            .is_some_and(|fold| fold.moving_entries >= CHECKPOINT_ENTRIES);
        if is_long && seen.differing.is_empty() && !has_moved {
            self.move_start(stored, &first).await?;
        }
        Ok(if has_moved { RunEnd::Again } else { RunEnd::Compared })
    }

    async fn judge(
        &self,
        stored: &StoredLedger,
        seen: &Comparison,
        read_at: Timestamp,
    ) -> Result<judgement::Judgement, BalanceError> {
        let control = self.router.control.refresh().await;
        let control = control.map_err(crate::worker::faults::store_unavailable)?;
        let context = JudgementContext {
            now: Timestamp::now(),
            read_at,
            lock_after: self.timing.lock_after,
            is_used: &|asset| !self.symbols_of(asset).is_empty(),
            is_lifted: &|asset| !locks::is_locked(&control, &self.accounts, &self.symbols_of(asset)),
            explained: &|asset, since| self.explained(asset, since),
        };
        Ok(judgement::judge(&stored.event, seen, &context))
    }

    /// Moves the start of the fold to where it is, with the balances as they are.
    async fn move_start(&mut self, stored: &StoredLedger, reading: &reading::Reading) -> Result<(), BalanceError> {
        let mut event = stored.event.clone();
        for (asset, amount) in &reading.expected {
            let entry = event.assets.entry(asset.clone()).or_insert_with(|| AssetBalance {
                amount: *amount,
                read_at: stored.event.timestamp,
                difference: None,
            });
            entry.amount = *amount;
        }
        let event = BalanceEvent {
            event: BalanceChange::Checked,
            sequence: reading.sequence,
            reason: "the venue's balances are as expected".to_owned(),
            timestamp: Timestamp::now(),
            ..event
        };
        self.append(event, stored.sequence).await.map(drop)
    }

    /// Journals the transfers that the stream has reported. Reports whether the ledger changed.
    async fn book_transfers(&self, stored: &StoredLedger) -> Result<bool, BalanceError> {
        let waiting = self.session.transfers.waiting();
        let mut event = stored.event.clone();
        let mut named = Vec::new();
        for transfer in &waiting {
            let at = Timestamp::from_milliseconds(transfer.cleared_at_ms);
            let id = format!("{}:{}:{}", transfer.asset, transfer.cleared_at_ms, transfer.amount);
            let opened_at = stored.event.timestamp;
            let entry = event
                .assets
                .entry(transfer.asset.clone())
                .or_insert_with(|| AssetBalance {
                    amount: Default::default(),
                    read_at: opened_at,
                    difference: None,
                });
            // One from before the balance was read is part of it; one that another worker has journaled counts once.
            if at <= entry.read_at || event.transfers.contains(&id) {
                continue;
            }
            if let Some(amount) = entry.amount.checked_add(transfer.amount) {
                entry.amount = amount;
                named.push(format!("{} {}", transfer.amount, transfer.asset));
                event.transfers.push(id);
            }
        }
        if !named.is_empty() {
            let surplus = event.transfers.len().saturating_sub(MAX_TRANSFERS);
            event.transfers.drain(..surplus);
            event.event = BalanceChange::Transferred;
            named.truncate(MAX_TRANSFERS);
            event.reason = format!("the venue has reported transfers of {}", named.join(", "));
            event.timestamp = Timestamp::now();
            tracing::warn!(key = self.key_number, reason = event.reason, "a transfer at the venue");
            if self.append(event, stored.sequence).await?.is_none() {
                // Another worker was first: the transfers are compared with its event.
                return Ok(true);
            }
        }
        self.session.transfers.remove_first(waiting.len());
        Ok(!named.is_empty())
    }

    /// Returns the newest ledger of the journal.
    async fn read_ledger(&self) -> Result<Option<StoredLedger>, BalanceError> {
        let last = self.router.journal_reader.read_last_for_subject(&self.subject()).await;
        let Some(entry) = last.map_err(|error| bus_unavailable(&error))? else {
            return Ok(None);
        };
        let event = serde_json::from_slice(&entry.body).map_err(|error| {
            let detail = format!("the journal's entry {} cannot be decoded: {error}", entry.sequence);
            Fault::new(FaultCode::BusUnavailable, detail)
        })?;
        Ok(Some(StoredLedger {
            event,
            sequence: entry.sequence,
        }))
    }

    /// Appends a ledger behind the one that was read. Returns its sequence; `None` where another worker's came first.
    async fn append(&self, event: BalanceEvent, last_sequence: u64) -> Result<Option<u64>, BalanceError> {
        let document = encode_json(&event)?;
        let message_id = format!("balance:{last_sequence}:{}", ContentHash::of(&document).0);
        let subject = self.subject();
        Ok(append_event(&self.router, &subject, message_id, document.into(), last_sequence).await?)
    }

    fn subject(&self) -> String {
        subjects::named_event(BALANCE_EVENT_KIND, &self.key)
    }

    fn account_names(&self) -> Vec<String> {
        self.accounts.accounts.iter().map(ToString::to_string).collect()
    }

    /// Returns the traded symbols that move an asset.
    fn symbols_of(&self, asset: &str) -> Vec<crate::domain::symbol::Symbol> {
        let assets = self.session.rules.assets().unwrap_or_default();
        AssetRole::of(asset, &assets).symbols().to_vec()
    }

    /// Returns what operators have adjusted of an asset since a difference was found.
    fn explained(&self, asset: &str, since: Timestamp) -> Option<Decimal> {
        self.fold.as_ref()?.explained(asset, since, &self.known_assets()?)
    }

    /// Returns the assets of every symbol that is known, also of those that are no longer traded; `None` before the venue's
    /// rules are read.
    fn known_assets(&self) -> Option<AssetsBySymbol> {
        let mut assets = self.session.rules.assets()?;
        assets.extend(self.other_assets.clone());
        Some(assets)
    }

    fn venue_time(&self) -> Result<Timestamp, BalanceError> {
        let unknown = || ReadError::Unanswered("the offset of the venue's clock is not known".to_owned());
        Ok(self.session.client.clock.now().ok_or_else(unknown)?)
    }

    fn record_gauges(&self, event: &BalanceEvent, end: RunEnd) {
        let key = self.key_number.to_string();
        let labels = [BROKER, &key];
        let differing = event.assets.values().filter(|asset| asset.difference.is_some()).count();
        let telemetry = &self.router.telemetry;
        telemetry.set_gauge(MetricId::BalanceDifferences, &labels, u64::try_from(differing).ok());
        if end == RunEnd::Compared {
            let now = Timestamp::now().as_microseconds().unsigned_abs();
            telemetry.set_gauge(MetricId::BalanceCompared, &labels, Some(now));
        }
    }
}

/// Returns balances by asset without those of nothing.
fn without_zeros(
    balances: BTreeMap<String, crate::domain::decimal::Decimal>,
) -> BTreeMap<String, crate::domain::decimal::Decimal> {
    balances.into_iter().filter(|(_, amount)| !amount.is_zero()).collect()
}

/// Returns an event of a ledger that the router itself makes.
fn new_event(
    ledger: &BalanceLedger,
    sequence: u64,
    assets: BTreeMap<String, AssetBalance>,
    reason: String,
) -> BalanceEvent {
    BalanceEvent {
        event: BalanceChange::Opened,
        key: ledger.key.clone(),
        broker: ledger.accounts.broker.to_string(),
        venue: ledger.accounts.venue.to_string(),
        accounts: ledger.account_names(),
        sequence,
        assets,
        transfers: Vec::new(),
        actor: ROUTER_ACTOR.to_owned(),
        reason,
        timestamp: Timestamp::now(),
    }
}
