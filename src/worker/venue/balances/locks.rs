//! What a lasting difference closes: openings in every symbol that moves the asset, until an operator lifts the locks.

use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::id::AccountId;
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::Mode;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::wire::risk_signal::{RiskSignal, SignalSubject};
use crate::worker::control::locks_journal::append_unjournaled_locks;
use crate::worker::control::loss_locks::{LockRule, set_and_publish};
use crate::worker::faults::bus_unavailable;
use crate::worker::venue::accounts::VenueAccounts;
use crate::worker::venue::balances::judgement::Found;
use crate::worker::venue::balances::{BalanceError, BalanceLedger};

/// The rule's id, of alerts and locks.
const ID: &str = "balance_difference";

const LOCK_RULE: LockRule = LockRule {
    id: ID,
    code: ReasonCode::RiskLocked,
};

/// Returns what a difference of the key closes in a symbol: the symbol for the accounts of the key. Where it is the only key,
/// no other account trades live, and one lock closes the symbol for all of them.
fn scopes(ledger: &BalanceLedger, symbol: &Symbol) -> Vec<LockScope> {
    let VenueAccounts { venue, accounts, .. } = &*ledger.accounts;
    if ledger.is_only_key {
        return vec![LockScope::Symbol(venue.clone(), symbol.clone())];
    }
    let of_account = |account: &AccountId| LockScope::AccountSymbol(account.clone(), venue.clone(), symbol.clone());
    accounts.iter().map(of_account).collect()
}

/// Reports whether a lock of this rule still closes one of the symbols for one of the accounts, also one that was set while
/// the settings had other keys.
pub(super) fn is_locked(control: &ControlState, accounts: &VenueAccounts, symbols: &[Symbol]) -> bool {
    let locks = control.locks.iter();
    let mut of_rule = locks.filter(|lock| lock.mode == Mode::Live && &*lock.rule_id == ID);
    of_rule.any(|lock| {
        let closes = |account: &AccountId, symbol: &Symbol| {
            lock.scope
                .applies_to(account, &accounts.broker, &accounts.venue, symbol)
        };
        let mut accounts = accounts.accounts.iter();
        accounts.any(|account| symbols.iter().any(|symbol| closes(account, symbol)))
    })
}

/// Publishes the alert of a difference. Its id is made of the ledger's event before it: repeated, it is the same alert.
pub(super) async fn publish_alert(
    ledger: &BalanceLedger,
    ledger_sequence: u64,
    asset: &str,
    found: Found,
) -> Result<(), BalanceError> {
    let (message, metadata) = describe(ledger, asset, found);
    let signal = RuleSignal {
        rule_id: ID,
        level: SignalLevel::Alert,
        code: ReasonCode::RiskLocked,
        message,
        metadata,
    };
    let name = format!("{ID}:{}:{asset}:{ledger_sequence}", ledger.key);
    let subject = SignalSubject {
        account_id: only_account(ledger),
        ..SignalSubject::default()
    };
    let document = RiskSignal::of(&signal, subject).named(&name);
    ledger.router.signals.announce(ID, &document);
    let appended = ledger.router.signals.append(&document).await;
    appended.map_err(|error| bus_unavailable(&error))?;
    Ok(())
}

/// Closes the symbols of an asset, and waits until their locks are on the journal: a lock that is missing later was lifted.
pub(super) async fn lock_asset(ledger: &BalanceLedger, asset: &str, found: Found) -> Result<(), BalanceError> {
    let (message, metadata) = describe(ledger, asset, found);
    let symbols = ledger.symbols_of(asset);
    for scope in symbols.iter().flat_map(|symbol| scopes(ledger, symbol)) {
        let lock = Lock {
            lock_id: Lock::compose_id(Mode::Live, &scope, ID),
            scope,
            mode: Mode::Live,
            rule_id: ID.into(),
            message: format!(
                "{message}; lifting all locks of this rule on the symbols of {asset} takes the venue's balance over"
            ),
            metadata: metadata.clone(),
            locked_at: Timestamp::now(),
            trading_date: ledger.router.control.current().trading_date,
        };
        set_and_publish(&ledger.router, lock, LOCK_RULE, None).await?;
    }
    Ok(append_unjournaled_locks(&ledger.router).await?)
}

fn describe(ledger: &BalanceLedger, asset: &str, found: Found) -> (String, Metadata) {
    let names = ledger.account_names().join(", ");
    let message = format!(
        "{} with the key of {names}: compare deposits, withdrawals and orders that were placed by hand",
        found.describe(asset)
    );
    let metadata = Metadata::new()
        .with("asset", asset)
        .with("expected", found.expected)
        .with("value", found.venue);
    (message, metadata)
}

/// Returns the account of a key that serves one.
fn only_account(ledger: &BalanceLedger) -> Option<&AccountId> {
    match &ledger.accounts.accounts[..] {
        [account_id] => Some(account_id),
        _ => None,
    }
}
