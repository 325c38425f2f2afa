//! The audit: the journal checked against its own rules, and Redis and an order log checked against the journal.
//!
//! Start with [`audit`]. It reads the journal once from its beginning, with its archive, and needs no worker to stop. What it
//! finds is a list of typed findings: breaks, what could not be decided, and what is allowed and worth knowing.
//!
//! It remembers a few hundred bytes for each order and 16 for each report on the journal, beside the state that a rebuild loads
//! (`store::rebuild::fold`), and the orders that are open.

mod adjustment_rules;
mod differences;
mod entry;
mod error;
mod finding;
mod history;
mod journal;
mod logged_row;
mod order_log_comparison;
mod report_rules;
mod store_comparison;
mod term_rules;

use std::collections::HashMap;
use std::path::PathBuf;

use crate::audit::journal::JournalAudit;
use crate::audit::order_log_comparison::compare_order_log;
use crate::audit::store_comparison::{JournalState, StoreComparison};
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::rebuild::fold::FoldedState;
use crate::store::sums::ledgers::LedgerOwner;
use crate::worker::rebuild::fold_journal::{FoldSource, fold_on};
use crate::worker::rebuild::journal_check::check_journal;

pub use crate::audit::error::AuditError;
pub use crate::audit::finding::{Finding, FindingKind, FindingLevel, Findings, MAX_LISTED_FINDINGS};
pub use crate::audit::history::MAX_AUDITED_ORDERS;
pub use crate::audit::journal::JournalCounts;
pub use crate::audit::order_log_comparison::OrderLogCounts;
pub use crate::audit::store_comparison::StoreCounts;

/// What is audited.
#[derive(Debug, Clone)]
pub struct AuditScope {
    /// The journal, and what its fold needs.
    pub source: FoldSource,
    /// Redis; `None` to leave it out.
    pub store: Option<Store>,
    /// The data directory of the sidecar whose order log is compared; `None` to leave it out.
    pub order_log: Option<PathBuf>,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// What was read of the journal.
    pub journal: JournalCounts,
    /// What was compared with Redis; `None` if it was left out.
    pub store: Option<StoreCounts>,
    /// What was compared with the order log; `None` if there is none, or it was left out.
    pub order_log: Option<OrderLogCounts>,
    /// The findings.
    pub findings: Findings,
}

impl AuditReport {
    /// Reports whether there is no break, and nothing that could not be decided.
    pub fn is_clean(&self) -> bool {
        [FindingLevel::Break, FindingLevel::Undecided]
            .iter()
            .all(|level| self.findings.count(*level) == 0)
    }
}

impl JournalState for JournalAudit {
    fn state(&self) -> &FoldedState {
        &self.state
    }

    fn last_moved(&self) -> Option<&HashMap<LedgerOwner, Timestamp>> {
        Some(&self.last_moved)
    }

    async fn advance_to(&mut self, sequence: u64) -> Result<(), AuditError> {
        JournalAudit::advance_to(self, sequence).await
    }
}

/// Audits a journal, and Redis and an order log against it. Nothing is written, and orders may run meanwhile.
///
/// # Errors
/// When a server or the file is out of reach, or the journal is behind what Redis or the order log have seen, or has lost
/// entries that no operator has accepted.
pub async fn audit(scope: AuditScope) -> Result<AuditReport, AuditError> {
    let extent = check_journal(&scope.source.journal, scope.store.as_ref()).await?;
    let mut journal = JournalAudit::new(scope.source.clone());
    journal.advance_to(extent.last_sequence).await?;
    let store = match &scope.store {
        None => None,
        Some(store) => {
            let mut findings = std::mem::take(&mut journal.findings);
            let comparison = StoreComparison {
                store,
                reader: &scope.source.journal,
                retention: scope.source.retention,
                journal: &mut journal,
            };
            let compared = Box::pin(comparison.run(&mut findings)).await;
            // What was read on meanwhile has findings of its own.
            let read_on = std::mem::replace(&mut journal.findings, findings);
            read_on
                .listed()
                .iter()
                .cloned()
                .for_each(|one| journal.findings.add(one));
            Some(compared?)
        }
    };
    let order_log = match &scope.order_log {
        None => None,
        Some(data_dir) => Box::pin(compare_order_log(&mut journal, data_dir)).await?,
    };
    Ok(AuditReport {
        journal: journal.counts,
        store,
        order_log,
        findings: journal.findings,
    })
}

/// A state that is folded on from a snapshot.
struct FoldedOn {
    source: FoldSource,
    state: FoldedState,
}

impl JournalState for FoldedOn {
    fn state(&self) -> &FoldedState {
        &self.state
    }

    fn last_moved(&self) -> Option<&HashMap<LedgerOwner, Timestamp>> {
        None
    }

    async fn advance_to(&mut self, sequence: u64) -> Result<(), AuditError> {
        if sequence > self.state.progress.sequence {
            let state = std::mem::take(&mut self.state);
            self.state = fold_on(&self.source, state, sequence).await?;
        }
        Ok(())
    }
}

/// What a comparison of Redis with the state that a rebuild would load has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreCheck {
    /// The last journal sequence that the state holds.
    pub journal_sequence: u64,
    /// What was compared.
    pub store: StoreCounts,
    /// The findings.
    pub findings: Findings,
}

/// Compares Redis with the state that a rebuild would load. Nothing is written, and orders may run meanwhile.
///
/// # Errors
/// When Redis or the journal do not reply.
pub async fn check_store(store: &Store, source: FoldSource, state: FoldedState) -> Result<StoreCheck, AuditError> {
    let (reader, retention) = (source.journal.clone(), source.retention);
    let (mut journal, mut findings) = (FoldedOn { source, state }, Findings::default());
    let comparison = StoreComparison {
        store,
        reader: &reader,
        retention,
        journal: &mut journal,
    };
    let compared = Box::pin(comparison.run(&mut findings)).await?;
    Ok(StoreCheck {
        journal_sequence: journal.state.progress.sequence,
        store: compared,
        findings,
    })
}
