//! Live orders that are open while no key of this worker serves their account: they stay open or unknown, count in full, and
//! an operator hears of them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::domain::id::{AccountId, BrokerId};
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::Mode;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::store::sums::ledgers::LedgerOwner;
use crate::wire::risk_signal::{RiskSignal, SignalSubject};
use crate::worker::faults::store_unavailable;
use crate::worker::orders::open_orders::{stream_open_accounts, stream_open_orders};
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;

/// How often open live orders are looked for.
const INTERVAL: Duration = Duration::from_secs(30);
/// The most orders of an account that an alert names.
const MAX_NAMED_ORDERS: usize = 10;
/// The most accounts that the health names.
const MAX_NAMED_ACCOUNTS: usize = 5;
/// The rule id of the alerts.
const RULE_ID: &str = "live_key_missing";

/// The open live orders of an account without a key.
#[derive(Debug, Default)]
struct UnreachableOrders {
    named: Vec<String>,
    count: usize,
}

type ByAccount = BTreeMap<(BrokerId, AccountId), UnreachableOrders>;

/// Reports open live orders without a key, at the start and as long as there are any, until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let mut runs = repeat_every(INTERVAL, &stop);
    let mut is_first = true;
    while runs.next().await {
        let found = tokio::select! {
            () = stop.cancelled() => return,
            found = find(&router) => found,
        };
        match found {
            Ok(found) => {
                if std::mem::take(&mut is_first) {
                    publish_alerts(&router, &found);
                }
                router.readiness.record_unreachable_orders(describe(&found));
            }
            Err(fault) => log_at_intervals!(warn, %fault, "open live orders were not read"),
        }
    }
}

/// Returns the open live orders whose account has no key in this worker.
async fn find(router: &Router) -> Result<ByAccount, Fault> {
    let mut found = ByAccount::new();
    let total = router.store.read_ledger(LedgerOwner::Total(Mode::Live)).await;
    let total = total.map_err(store_unavailable)?;
    if total.holdings.iter().all(|one| one.open_orders == 0) {
        return Ok(found);
    }
    let mut pages = pin!(stream_open_accounts(router));
    while let Some(page) = pages.try_next().await? {
        for (broker, account_id) in page {
            if router.brokers.get(&broker, Mode::Live, &account_id).is_some() {
                continue;
            }
            let mut open = stream_open_orders(router, &broker, &account_id);
            while let Some(next) = open.next().await {
                let order = next?.order;
                if order.mode != Mode::Live {
                    continue;
                }
                let orders = found.entry((broker.clone(), account_id.clone())).or_default();
                orders.count += 1;
                if orders.named.len() < MAX_NAMED_ORDERS {
                    orders.named.push(order.order_id.to_string());
                }
            }
        }
    }
    Ok(found)
}

fn describe_account((broker, account_id): &(BrokerId, AccountId), orders: &UnreachableOrders) -> String {
    format!(
        "{} live orders of the account {account_id} at {broker} are open, and this worker has no key for it: put the key back \
         into brokers.binance_live.keys until they have ended",
        orders.count
    )
}

/// Returns what the health says; `None` where every open live order has a key.
fn describe(found: &ByAccount) -> Option<String> {
    let accounts = found.iter().take(MAX_NAMED_ACCOUNTS);
    let named: Vec<String> = accounts.map(|(at, orders)| describe_account(at, orders)).collect();
    (!named.is_empty()).then(|| named.join("; "))
}

fn publish_alerts(router: &Router, found: &ByAccount) {
    for (at, orders) in found {
        let (broker, account_id) = at;
        let signal = RuleSignal {
            rule_id: RULE_ID,
            level: SignalLevel::Alert,
            code: ReasonCode::RiskLocked,
            message: describe_account(at, orders),
            metadata: Metadata::new()
                .with("broker", broker.as_str())
                .with("orders", orders.named.join(" ")),
        };
        let subject = SignalSubject {
            account_id: Some(account_id),
            ..SignalSubject::default()
        };
        // Workers that start together publish it once.
        let name = format!("{RULE_ID}:{broker}:{account_id}:{}", orders.named.join(":"));
        router
            .signals
            .publish_document(RULE_ID, RiskSignal::of(&signal, subject).named(&name));
    }
}
