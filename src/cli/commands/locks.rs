//! `locks`: lists, lifts and sets locks. A lock denies every order in its scope except reductions.

use clap::{ArgGroup, Args, Subcommand};

use crate::cli::arguments::audit::AuditArgs;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::domain::id::{AccountId, BrokerId};
use crate::wire::lock::{LockList, LockScopeDocument};

/// Arguments of `locks`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LocksArgs {
    #[command(subcommand)]
    action: Option<LocksAction>,
    #[command(flatten)]
    client: RequestArgs,
}

#[derive(Debug, Subcommand)]
enum LocksAction {
    /// List the active locks, the newest first; the default.
    List(RequestArgs),
    /// Lift a lock.
    Lift(LockLiftArgs),
    /// Lock an account, a symbol, a broker or everything: only reductions and cancels pass.
    Set(LockSetArgs),
}

#[derive(Debug, Args)]
struct LockLiftArgs {
    /// The lock's id, as `order-router locks` prints it.
    id: String,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    client: RequestArgs,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("scope").required(true).multiple(true).args(["account", "broker", "symbol", "all"])))]
struct LockSetArgs {
    /// Lock this account; with `--symbol`, in this symbol alone.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Lock this broker.
    #[arg(long, conflicts_with_all = ["account", "symbol", "all"], value_parser = BrokerId::new)]
    broker: Option<BrokerId>,
    /// Lock this symbol of a venue, such as `binance.spot:BTCUSDT`; for all accounts, unless one is named.
    #[arg(long, value_name = "VENUE:SYMBOL", value_parser = parse_venue_and_symbol)]
    symbol: Option<LockScopeDocument>,
    /// Lock everything.
    #[arg(long, conflicts_with_all = ["account", "symbol"])]
    all: bool,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    client: RequestArgs,
}

fn parse_venue_and_symbol(text: &str) -> Result<LockScopeDocument, &'static str> {
    let (venue, symbol) = text.split_once(':').ok_or("must be VENUE:SYMBOL")?;
    let scope = LockScopeDocument::Symbol {
        venue: venue.to_owned(),
        symbol: symbol.to_owned(),
    };
    scope.to_lock_scope().ok_or("must be VENUE:SYMBOL").map(|_| scope)
}

impl LockSetArgs {
    fn lock_scope(&self) -> LockScopeDocument {
        match (&self.account, &self.broker, &self.symbol) {
            (Some(account_id), _, Some(LockScopeDocument::Symbol { venue, symbol })) => {
                LockScopeDocument::AccountSymbol {
                    account_id: account_id.to_string(),
                    venue: venue.clone(),
                    symbol: symbol.clone(),
                }
            }
            (Some(account_id), _, _) => LockScopeDocument::Account {
                account_id: account_id.to_string(),
            },
            (_, Some(broker), _) => LockScopeDocument::Broker {
                broker: broker.to_string(),
            },
            (_, _, Some(symbol)) => symbol.clone(),
            // The argument group requires one of the four.
            _ => LockScopeDocument::All,
        }
    }
}

/// Lists, lifts or sets, and prints the lock or the locks.
///
/// # Errors
/// When the request is refused, or there is no reply.
pub(crate) async fn run(args: &LocksArgs, options: &GlobalOptions) -> CommandResult {
    let client_args = match &args.action {
        None => &args.client,
        Some(LocksAction::List(client)) => client,
        Some(LocksAction::Lift(lift)) => &lift.client,
        Some(LocksAction::Set(set)) => &set.client,
    };
    let client = CliClient::connect(options, client_args, "order-router locks").await?;
    let (caller, timeout) = (&client.caller, client.timeout);
    let (called, done) = match &args.action {
        None | Some(LocksAction::List(_)) => {
            let locks = client.report(caller.locks(timeout).await)?;
            return Ok(client.print_reply(&locks.reply.body, || render_locks(&locks))?);
        }
        Some(LocksAction::Lift(LockLiftArgs { id, audit, .. })) => {
            (caller.lift(id, &audit.actor, &audit.reason, timeout).await, "lifted")
        }
        Some(LocksAction::Set(set)) => {
            let (scope, audit) = (set.lock_scope(), &set.audit);
            (caller.lock(scope, &audit.actor, &audit.reason, timeout).await, "locked")
        }
    };
    let lock = client.report(called)?;
    Ok(client.print_reply(&lock.reply.body, || format!("{done} {}", lock.latch_id))?)
}

fn render_locks(locks: &LockList) -> String {
    if locks.items.is_empty() {
        return "no locks are active".to_owned();
    }
    let mut table = TextTable::new(&[
        ("lock", ColumnAlign::Left),
        ("since", ColumnAlign::Left),
        ("by", ColumnAlign::Left),
        ("message", ColumnAlign::Left),
    ]);
    for lock in &locks.items {
        table.push_row([
            lock.latch_id.clone(),
            lock.since.to_string(),
            lock.actor.clone(),
            lock.message.clone(),
        ]);
    }
    let shown = locks.items.len();
    let more = locks.total.saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
    if more > 0 {
        return format!("{table}\nand {more} more");
    }
    table.to_string()
}
