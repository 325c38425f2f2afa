//! `state`: shows and changes mode, trading state and daily limits; the kill switch.

mod journaled_halt;

use clap::{ArgGroup, Args};

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output;
use crate::cli::output::table::TextTable;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::cli::requests::polling;
use crate::cli::requests::polling::{PollingArgs, RenderReply};
use crate::domain::decimal::Decimal;
use crate::domain::order_terms::TradingState;
use crate::wire::schema_numbers::NumberInput;
use crate::wire::state::{RouterState, StateChangeRequest, decode_state_change};

/// Arguments of `state`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").multiple(true).requires_all(["actor", "reason"])
    .args(["mode", "trading_state", "halt", "resume", "daily_notional_limit", "daily_loss_limit"])
    .conflicts_with("watch")))]
pub(crate) struct StateArgs {
    /// Halt trading on all workers at once and cancel every open order; only cancels pass. Without a worker the halt is
    /// journaled and holds from the first one on.
    #[arg(long, conflicts_with_all = ["resume", "trading_state"])]
    halt: bool,
    /// Resume trading: set the trading state to `active`.
    #[arg(long, conflicts_with = "trading_state")]
    resume: bool,
    /// Set the trading state: `active`, `reduce_only` or `halted` (same as --halt).
    #[arg(long, value_name = "STATE", value_parser = parse_trading_state)]
    trading_state: Option<TradingState>,
    /// Set the mode: `paper` (also `sandbox`), `dry_run` or `live`.
    #[arg(long, value_parser = ["paper", "sandbox", "dry_run", "live"])]
    mode: Option<String>,
    /// Set the limit of the notional routed a day over all accounts, in the base currency.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    daily_notional_limit: Option<Decimal>,
    /// Set the daily loss from which only reductions pass, in the base currency.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    daily_loss_limit: Option<Decimal>,
    /// Who makes the change; recorded on the journal.
    #[arg(long, requires = "change")]
    actor: Option<String>,
    /// Why the change is made; recorded on the journal.
    #[arg(long, requires = "change")]
    reason: Option<String>,
    #[command(flatten)]
    polling: PollingArgs,
    #[command(flatten)]
    client: RequestArgs,
}

fn parse_trading_state(text: &str) -> Result<TradingState, &'static str> {
    TradingState::parse(text).ok_or("must be active, reduce_only or halted")
}

impl StateArgs {
    fn change_request(&self) -> Option<StateChangeRequest> {
        // The argument group allows an actor only with a change.
        self.actor.as_ref()?;
        let trading_state = match (self.halt, self.resume) {
            (true, _) => Some(TradingState::Halted),
            (_, true) => Some(TradingState::Active),
            _ => self.trading_state,
        };
        Some(StateChangeRequest {
            mode: self.mode.clone(),
            trading_state,
            daily_notional_limit: self.daily_notional_limit.map(NumberInput),
            daily_loss_limit: self.daily_loss_limit.map(NumberInput),
            actor: self.actor.clone(),
            reason: self.reason.clone(),
        })
    }
}

/// Changes the state, where a flag requests it, and prints the current one.
///
/// # Errors
/// When the change is refused, or there is no reply.
pub(crate) async fn run(args: &StateArgs, options: &GlobalOptions) -> CommandResult {
    const NAME: &str = "order-router state";
    if let Some(change) = args.change_request() {
        let client = CliClient::connect(options, &args.client, NAME).await?;
        let called = client.caller.set_state(&change, client.timeout).await;
        if let Err(error) = &called
            && let Some(reason) = journaled_halt::reason_to_journal(&change, error)
        {
            // A worker would refuse what it cannot read, and so must the journal.
            decode_state_change(&serde_json::to_vec(&change).map_err(anyhow::Error::from)?)?;
            return journaled_halt::append_and_print(&client, &change, &reason).await;
        }
        let state = client.report(called)?;
        output::print_line_while_read(if client.json {
            state.reply.body
        } else {
            state.render().into_bytes()
        })?;
        return Ok(());
    }
    let mut connected = None;
    let fetch = async || {
        let client = match &mut connected {
            Some(client) => client,
            unconnected => unconnected.insert(CliClient::connect(options, &args.client, NAME).await?),
        };
        Ok(client.caller.state(client.timeout).await?.reply.body)
    };
    polling::show_reply::<RouterState>(&args.polling, args.client.json, fetch).await
}

impl RenderReply for RouterState {
    fn render(&self) -> String {
        render_state(self)
    }
}

fn render_state(state: &RouterState) -> String {
    let mut table = TextTable::key_value();
    let pnl = state
        .daily_pnl
        .map_or_else(|| "unknown".to_owned(), |pnl| pnl.to_string());
    for (name, value) in [
        ("mode", state.mode.to_string()),
        ("trading state", state.trading_state.to_string()),
        ("daily notional limit", state.daily_notional_limit.to_string()),
        ("notional routed", state.notional_routed.to_string()),
        ("daily loss limit", state.daily_loss_limit.to_string()),
        ("daily profit or loss", pnl),
        ("trading date", state.trading_date.to_string()),
        ("version", state.version.to_string()),
    ] {
        table.push_row([name.to_owned(), value]);
    }
    for (name, count) in [("cancelled", state.cancelled), ("remaining", state.remaining_total)] {
        if let Some(count) = count {
            table.push_row([name.to_owned(), count.to_string()]);
        }
    }
    for order_id in state.remaining.iter().flatten() {
        table.push_row(["remains open".to_owned(), order_id.clone()]);
    }
    table.to_string()
}
