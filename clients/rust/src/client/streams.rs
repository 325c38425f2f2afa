//! Streams of reports, alerts and journal entries.

use std::collections::HashMap;

use crate::bus::router_client::RouterClient;
use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::client::event_stream::EventStream;
use crate::client::journal_event::JournalEntry;
use crate::domain::id::AccountId;
use crate::wire::report::ExecutionReport;
use crate::wire::risk_signal::RiskSignal;

/// Of how many orders the newest version is remembered, so that a repeated report is left out: twice as many at most.
const REMEMBERED_ORDERS: usize = 50_000;

impl RouterClient {
    /// Returns a stream of the reports of one account, or of all, denials included. Reports that the journal holds twice, or
    /// after a later version, are left out.
    ///
    /// `after` is the sequence of the journal to continue behind: `Some(0)` for everything, [`EventStream::sequence`] of an
    /// earlier stream, `None` for what happens from now on. It reads JetStream, which a user that is fenced into an account
    /// may not: such a user has [`Self::subscribe_reports`].
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use order_router_client::{ConnectionSettings, RouterClient, StreamError};
    ///
    /// let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let mut reports = client.reports(None, Some(0));
    /// loop {
    ///     match reports.next().await {
    ///         Ok(report) => println!("{} {}", report.order_id, report.status),
    ///         Err(StreamError::Gap { next_sequence }) => println!("the journal begins at {next_sequence}"),
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn reports(&self, account: Option<&AccountId>, after: Option<u64>) -> EventStream<ExecutionReport> {
        let subject = account.map_or_else(
            || subjects::REPORTS_WILDCARD.to_owned(),
            subjects::account_reports_wildcard,
        );
        let mut newest = NewestVersions::default();
        let convert = move |entry: StoredEntry| {
            let report = ExecutionReport::decode(&entry.body)?;
            Ok(newest.is_new(&report).then_some(report))
        };
        let (bus, stream) = (self.bus().clone(), subjects::STREAM_REPORTS);
        EventStream::new(bus, stream, vec![subject], after, Box::new(convert))
    }

    /// Returns a stream of the alerts and locks of the risk rules: of one account and of all accounts together, or of every
    /// account. `after` is a sequence of the stream of alerts, not of the journal.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// use order_router_client::domain::rule_signal::SignalLevel;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let mut alerts = client.alerts(None, None);
    /// let alert = alerts.next().await?;
    /// if alert.level == SignalLevel::Lock {
    ///     client.halt("risk-monitor", &alert.message, Duration::from_secs(10)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn alerts(&self, account: Option<&AccountId>, after: Option<u64>) -> EventStream<RiskSignal> {
        let filters = match account {
            None => vec![subjects::ALERTS_WILDCARD.to_owned()],
            Some(_) => [account, None].map(subjects::account_alerts_wildcard).to_vec(),
        };
        let convert = |entry: StoredEntry| serde_json::from_slice(&entry.body).map(Some);
        let (bus, stream) = (self.bus().clone(), subjects::STREAM_ALERTS);
        EventStream::new(bus, stream, filters, after, Box::new(convert))
    }

    /// Returns a stream of every entry of the journal: reports, submissions, changes, locks, notes, days. `after` is as for
    /// [`Self::reports`].
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// use order_router_client::JournalEvent;
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let mut journal = client.journal(None);
    /// while let JournalEvent::Report(report) = journal.next().await?.event {
    ///     println!("{} {}", report.order_id, report.status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn journal(&self, after: Option<u64>) -> EventStream<JournalEntry> {
        let convert = |entry: StoredEntry| JournalEntry::decode(&entry).map(Some);
        let (bus, stream) = (self.bus().clone(), subjects::STREAM_REPORTS);
        EventStream::new(bus, stream, Vec::new(), after, Box::new(convert))
    }
}

/// The newest version of each order that reported lately: two generations, of which the older is dropped.
#[derive(Debug, Default)]
struct NewestVersions {
    recent: HashMap<String, u32>,
    older: HashMap<String, u32>,
}

impl NewestVersions {
    /// Reports whether a report is of a later version than every one before it, and remembers it.
    fn is_new(&mut self, report: &ExecutionReport) -> bool {
        let id = &report.order_id;
        let known = self.recent.get(id).or_else(|| self.older.get(id));
        if known.is_some_and(|&known| report.version <= known) {
            return false;
        }
        if self.recent.len() >= REMEMBERED_ORDERS {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id.clone(), report.version);
        true
    }
}
