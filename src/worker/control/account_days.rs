//! The trading day of single accounts: what each has routed and made, beside its limits.

use futures_util::future::try_join_all;

use crate::domain::id::AccountId;
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::time::TradingDate;
use crate::fault::Fault;
use crate::store::sums::ledgers::LedgerOwner;
use crate::wire::state::AccountDay;
use crate::worker::control::cache::ControlSnapshot;
use crate::worker::faults::store_unavailable;
use crate::worker::router::Router;

/// Returns the day of each account, in the mode in force. An account that has never traded has routed nothing.
///
/// # Errors
/// If the store does not reply.
pub(in crate::worker) async fn load(router: &Router, accounts: Vec<AccountId>) -> Result<Vec<AccountDay>, Fault> {
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    let control = router.control.current();
    let date = control
        .trading_date
        .unwrap_or_else(|| router.trading_day.clock_trading_date());
    let days = accounts
        .into_iter()
        .map(|account| load_one(router, &control, control.mode, date, account));
    try_join_all(days).await
}

async fn load_one(
    router: &Router,
    control: &ControlSnapshot,
    mode: Mode,
    date: TradingDate,
    account: AccountId,
) -> Result<AccountDay, Fault> {
    let ledger = router.store.read_ledger(LedgerOwner::Account(mode, account.clone()));
    let (ledger, profit) = tokio::join!(ledger, router.trading_day.read_account(account.clone()));
    let ledger = ledger.map_err(store_unavailable)?;
    let profit = profit.unwrap_or_else(|fault| {
        tracing::debug!(%fault, %account, "an account's profit and loss could not be read");
        None
    });
    let own = control.limits.risk.accounts.get(&account);
    let general_loss = control.daily_loss_limit.unwrap_or(control.limits.risk.daily_loss);
    let loss_limit = own
        .and_then(|own| own.daily_loss)
        .map_or(general_loss, |own| own.min(general_loss));
    Ok(AccountDay {
        account_id: account.to_string(),
        notional_routed: ledger.notional_on(date).decimal(),
        daily_notional_limit: own.and_then(|own| own.daily_notional).map(Micros::decimal),
        daily_pnl: profit
            .filter(|view| view.day.unpriced.is_empty())
            .map(|view| view.day.profit.decimal()),
        daily_loss_limit: loss_limit.decimal(),
    })
}
