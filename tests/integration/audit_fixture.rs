//! The fixture of the tests of `audit` and `rebuild`: a router that has done a bit of everything, and its audit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeSet;

use order_router::audit::{AuditReport, AuditScope, Finding, FindingKind, FindingLevel, audit};
use order_router::bus::journal::JournalReader;
use order_router::bus::stream_entry::StoredEntry;
use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::domain::id::BrokerId;
use order_router::domain::order_terms::OrderStatus;
use order_router::sidecar::Sidecar;
use order_router::store::Store;
use order_router::worker::Worker;
use order_router::worker::lifecycle::broker_tasks::brokers_in_store;
use order_router::worker::rebuild::fold_journal::{FoldSource, OrderPlaces};
use serde_json::{Value, json};

use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;
use crate::support::process::RouterProcess;

/// A router with a worker and a sidecar.
pub struct AuditedRouter {
    pub rig: Rig,
    pub worker: Worker,
    pub sidecar: Sidecar,
    pub client: Client,
}

impl AuditedRouter {
    /// Starts a router whose paper orders at `ibkr` stay partly open.
    pub async fn start() -> Self {
        let mut rig = Rig::start().await;
        rig.settings.http.addr.set_port(0);
        rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
        let worker = rig.worker().await;
        let sidecar = Sidecar::start(&rig.settings).await.unwrap();
        let client = rig.caller().await;
        Self {
            rig,
            worker,
            sidecar,
            client,
        }
    }

    /// Starts a router and lets it do a bit of everything: fills, partial fills, cancels, denials, dry runs, adjustments,
    /// a lock and a change of the state.
    pub async fn busy() -> Self {
        let router = Self::start().await;
        router.trade().await;
        router
    }

    async fn trade(&self) {
        let client = &self.client;
        assert_eq!(client.report(&intent("buy", &[])).await.status, OrderStatus::Filled);
        client
            .report(&intent("sell", &[("side", "\"sell\""), ("quantity", "0.0003")]))
            .await;
        client.report(&intent("other", &[("account_id", "\"fund\"")])).await;
        let open = client.report(&ibkr("open", &[])).await;
        assert_eq!(open.status, OrderStatus::PartiallyFilled);
        client.report(&ibkr("cancelled", &[("quantity", "20")])).await;
        let cancelled = client
            .order("cancel", "ibkr", r#"{"client_order_id":"cancelled"}"#)
            .await;
        assert_eq!(cancelled.unwrap().version, 2);
        client.report(&ibkr("ioc", &[("time_in_force", "\"IOC\"")])).await;
        client.report(&ibkr("fok", &[("time_in_force", "\"FOK\"")])).await;
        client.fault(&intent("denied", &[("quantity", "0.76")])).await;
        for adjustment in [
            json!({"adjustment_id": "p1", "account_id": "fund", "venue": "ibkr.paper", "symbol": "MSFT",
                "quantity": "0.12345678", "price": "300"}),
            json!({"adjustment_id": "c1", "account_id": "fund", "cash": "-12.5"}),
        ] {
            client.call(subjects::ADJUST, &signed(adjustment)).await.unwrap();
        }
        for mode in ["dry_run", "paper"] {
            client
                .call(subjects::STATE_SET, &signed(json!({"mode": mode})))
                .await
                .unwrap();
            client.report(&intent(&format!("in_{mode}"), &[])).await;
        }
        let scope = json!({"scope": {"kind": "account", "account_id": "locked"}});
        client.call(subjects::LOCKS_SET, &signed(scope)).await.unwrap();
        self.rig.quiet().await;
    }

    /// Returns what of the router is audited.
    pub async fn scope(&self) -> AuditScope {
        let in_store = brokers_in_store(&self.rig.settings.brokers);
        AuditScope {
            order_log: Some(self.rig.settings.data_dir.0.clone()),
            ..scope_of(&self.rig, in_store).await
        }
    }

    /// Audits everything.
    pub async fn audit(&self) -> AuditReport {
        audit(self.scope().await).await.unwrap()
    }

    /// Returns the journaled report of an order's version.
    pub async fn entry_of(&self, client_order_id: &str, version: u32) -> StoredEntry {
        let entries = self.client.whole_journal().await;
        let found = entries.into_iter().find(|entry| {
            let report: Value = serde_json::from_slice(&entry.body).unwrap();
            report["client_order_id"] == client_order_id && report["version"] == version
        });
        found.unwrap_or_else(|| panic!("no version {version} of {client_order_id}"))
    }
}

/// Returns the journal and Redis of a rig, whose orders at these brokers live in the store.
pub async fn scope_of(rig: &Rig, in_store: BTreeSet<BrokerId>) -> AuditScope {
    AuditScope {
        source: FoldSource {
            journal: JournalReader::new(rig.bus().await),
            places: OrderPlaces::InStore(in_store),
            retention: rig.settings.redis.retention(),
            progress: tokio::sync::watch::Sender::default(),
        },
        store: Some(Store::connect(&rig.settings.redis).await.unwrap()),
        order_log: None,
    }
}

/// Returns a request with the actor and the reason that it needs.
pub fn signed(mut body: Value) -> String {
    body["actor"] = "ann".into();
    body["reason"] = "a test".into();
    body.to_string()
}

/// Returns the findings of a level.
pub fn of_level(report: &AuditReport, level: FindingLevel) -> Vec<&Finding> {
    let findings = report.findings.listed().iter();
    findings.filter(|finding| finding.level == level).collect()
}

/// Checks that an audit found nothing at all.
pub fn assert_clean(report: &AuditReport) {
    assert!(report.is_clean(), "{:#?}", report.findings.listed());
    assert!(report.findings.listed().is_empty(), "{:#?}", report.findings.listed());
}

/// Returns the break of a kind in a field, which must be there.
pub fn expect_break<'r>(report: &'r AuditReport, kind: FindingKind, field: &str) -> &'r Finding {
    let breaks = of_level(report, FindingLevel::Break);
    let found = breaks.iter().find(|one| one.kind == kind && one.field == field);
    found.unwrap_or_else(|| panic!("no {kind:?} in {field:?} among {breaks:#?}"))
}

/// Runs `order-router` against the rig's servers. Returns exit status and both outputs.
pub async fn run_command(rig: &Rig, args: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let (nats, redis) = (rig.nats.url(), rig.redis.url());
    let servers = ["--nats-url", &nats, "--redis-url", &redis];
    let environment = environment.iter().map(|(name, value)| (*name, *value));
    let mut process = RouterProcess::start(&[args, &servers].concat(), environment);
    let ended = process.process().wait(SOON).await;
    poll::until(SOON, "all the output", async || process.is_read()).await;
    (ended.code().unwrap_or(-1), process.stdout_text(), process.stderr_text())
}
