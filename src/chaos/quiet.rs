//! The end of a run: waits until nothing is in flight any more.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bus::journal::JournalReader;
use crate::bus::router_client::RouterClient;
use crate::bus::subjects;
use crate::chaos::options::ChaosBroker;
use crate::chaos::rest_caller::RestCaller;
use crate::chaos::router_settings::ACCOUNTS;
use crate::chaos::store_reader::{StoreReader, StoredWork};
use crate::chaos::violation::FoundViolations;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;

/// How long the router may take to finish everything after the last fault.
const QUIET_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two looks at what is in flight.
pub(in crate::chaos) const QUIET_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How many looks in a row must find nothing new: events of an earlier epoch are replayed into Redis once a second.
const QUIET_LOOKS: u32 = 8;
/// How long one request to the sidecar may take.
pub(in crate::chaos) const REST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request to cancel an account's orders may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What shows whether something is in flight.
pub(in crate::chaos) struct QuietProbe<'a> {
    /// Redis.
    pub(in crate::chaos) store: &'a mut StoreReader,
    /// The journal.
    pub(in crate::chaos) reader: &'a JournalReader,
    /// The sidecar.
    pub(in crate::chaos) rest: &'a RestCaller,
    /// The workers.
    pub(in crate::chaos) client: &'a RouterClient,
    /// Where the orders take effect.
    pub(in crate::chaos) broker: ChaosBroker,
}

impl QuietProbe<'_> {
    /// Waits until every order has ended and is journaled, and the router is healthy. Orders that rest at a venue are
    /// cancelled. What is in flight for too long is a violation.
    ///
    /// # Errors
    /// When Redis or the journal cannot be read.
    pub(in crate::chaos) async fn wait(self, found: &mut FoundViolations) -> anyhow::Result<()> {
        let end = Instant::now() + QUIET_TIMEOUT;
        let (mut last_sequence, mut quiet_looks) = (0, 0);
        loop {
            let work = self.store.read_work().await?;
            let sequence = self.reader.read_extent().await?.last_sequence;
            let health = self.rest.get("/health", REST_TIMEOUT).await;
            let is_healthy = health.as_ref().is_ok_and(|health| health.status == 200);
            let is_quiet = work == StoredWork::default() && sequence == last_sequence && is_healthy;
            quiet_looks = if is_quiet { quiet_looks + 1 } else { 0 };
            if quiet_looks >= QUIET_LOOKS {
                return Ok(());
            }
            if Instant::now() >= end {
                let health = health.map(|health| String::from_utf8_lossy(&health.body).into_owned());
                let text = format!("{QUIET_TIMEOUT:?} after the last fault: {work:?}, health {health:?}");
                found.add("not_quiet", text);
                return Ok(());
            }
            if work.open_sets > 0 && self.broker == ChaosBroker::LiveVenue {
                self.cancel_open_orders().await?;
            }
            last_sequence = sequence;
            sleep(QUIET_POLL_INTERVAL).await;
        }
    }

    async fn cancel_open_orders(&self) -> anyhow::Result<()> {
        let broker = BrokerId::new("binance")?;
        for account in ACCOUNTS {
            let subject = subjects::cancel_all(&broker, &AccountId::new(account)?);
            let deadline = Timestamp::now().saturating_add(CANCEL_TIMEOUT);
            // The next look shows what is still open.
            let _ = self.client.request(&subject, b"{}".to_vec().into(), deadline).await;
        }
        Ok(())
    }
}
