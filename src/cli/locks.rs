//! `locks`: what is closed to all but reductions; closing and lifting.

use clap::{ArgGroup, Args, Subcommand};

use super::client::{Client, ClientArgs};
use super::failure::Outcome;
use super::options::Options;
use super::table::{Align, Table};
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::wire::latch::{Lock, LockLiftRequest, LockScope, LockSetRequest, LocksAnswer};

/// Arguments of `locks`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LocksArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the locks in force, the newest first (as without a word).
    List(ClientArgs),
    /// Lifts a lock.
    Lift(LiftArgs),
    /// Closes an account, a symbol, a broker or everything: only reductions and cancels pass there.
    Set(SetArgs),
}

#[derive(Debug, Args)]
struct LiftArgs {
    /// Which one, as the list names it.
    id: String,
    /// Who lifts it; kept on the journal.
    #[arg(long)]
    actor: String,
    /// Why; kept on the journal.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("scope").required(true).args(["account", "broker", "symbol", "all"])))]
struct SetArgs {
    /// Closes an account.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Closes a broker.
    #[arg(long, value_parser = BrokerId::new)]
    broker: Option<BrokerId>,
    /// Closes a symbol of a venue for all accounts, such as `binance.spot:BTCUSDT`.
    #[arg(long, value_name = "VENUE:SYMBOL", value_parser = venue_and_symbol)]
    symbol: Option<LockScope>,
    /// Closes everything.
    #[arg(long)]
    all: bool,
    /// Who closes it; kept on the journal.
    #[arg(long)]
    actor: String,
    /// Why; kept on the journal.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    client: ClientArgs,
}

fn venue_and_symbol(text: &str) -> Result<LockScope, &'static str> {
    let (venue, symbol) = text.split_once(':').ok_or("must be VENUE:SYMBOL")?;
    let scope = LockScope::Symbol {
        venue: venue.to_owned(),
        symbol: symbol.to_owned(),
    };
    scope.latch_scope().ok_or("must be VENUE:SYMBOL").map(|_| scope)
}

impl SetArgs {
    fn scope(&self) -> LockScope {
        match (&self.account, &self.broker, &self.symbol) {
            (Some(account_id), _, _) => LockScope::Account {
                account_id: account_id.to_string(),
            },
            (_, Some(broker), _) => LockScope::Broker {
                broker: broker.to_string(),
            },
            (_, _, Some(symbol)) => symbol.clone(),
            // The grammar wants exactly one of the four.
            _ => LockScope::All,
        }
    }
}

/// Lists, lifts or sets, and shows the lock or the locks.
///
/// # Errors
/// When the request is refused, or there is no answer.
pub(crate) async fn run(args: &LocksArgs, options: &Options) -> Outcome {
    let client_args = match &args.action {
        None => &args.client,
        Some(Action::List(client)) => client,
        Some(Action::Lift(lift)) => &lift.client,
        Some(Action::Set(set)) => &set.client,
    };
    let client = Client::connect(options, client_args, "order-router locks").await?;
    let (subject, body) = match &args.action {
        None | Some(Action::List(_)) => {
            let (reply, locks) = client
                .ask_for::<LocksAnswer>(subjects::LOCKS_LIST, b"{}".to_vec())
                .await?;
            return Ok(client.show(&reply.body, || list(&locks))?);
        }
        Some(Action::Lift(lift)) => {
            let request = LockLiftRequest {
                latch_id: lift.id.clone(),
                actor: lift.actor.clone(),
                reason: lift.reason.clone(),
            };
            (subjects::LOCKS_LIFT, serde_json::to_vec(&request))
        }
        Some(Action::Set(set)) => {
            let request = LockSetRequest {
                scope: set.scope(),
                actor: set.actor.clone(),
                reason: set.reason.clone(),
            };
            (subjects::LOCKS_SET, serde_json::to_vec(&request))
        }
    };
    let (reply, lock) = client
        .ask_for::<Lock>(subject, body.map_err(anyhow::Error::from)?)
        .await?;
    let what = if subject == subjects::LOCKS_LIFT {
        "lifted"
    } else {
        "closed"
    };
    Ok(client.show(&reply.body, || format!("{what} {}", lock.latch_id))?)
}

fn list(locks: &LocksAnswer) -> String {
    if locks.items.is_empty() {
        return "no locks are in force".to_owned();
    }
    let mut table = Table::new(&[
        ("lock", Align::Left),
        ("since", Align::Left),
        ("by", Align::Left),
        ("message", Align::Left),
    ]);
    for lock in &locks.items {
        table.row([
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
