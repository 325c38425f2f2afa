//! `state`: what is in force, changing it, and the kill switch.

use clap::{ArgGroup, Args};

use crate::bus::subjects;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::cli::requests::polling;
use crate::cli::requests::polling::{PollingArgs, RenderReply};
use crate::domain::decimal::Decimal;
use crate::domain::order_terms::TradingState;
use crate::wire::schema_numbers::NumberInput;
use crate::wire::state::{RouterState, StateChangeRequest};

/// Arguments of `state`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").multiple(true).requires_all(["actor", "reason"])
    .args(["mode", "trading_state", "halt", "resume", "daily_notional_limit", "daily_loss_limit"])
    .conflicts_with("watch")))]
pub(crate) struct StateArgs {
    /// Stops everything but cancels on all workers at once, and cancels every open order of every broker and account.
    #[arg(long, conflicts_with_all = ["resume", "trading_state"])]
    halt: bool,
    /// Takes orders again: the trading state `active`.
    #[arg(long, conflicts_with = "trading_state")]
    resume: bool,
    /// Sets what is let pass: `active`, `reduce_only` or `halted` (as --halt).
    #[arg(long, value_name = "STATE", value_parser = parse_trading_state)]
    trading_state: Option<TradingState>,
    /// Sets where orders' effects land: `paper` (or `sandbox`), `dry_run` or `live`.
    #[arg(long, value_parser = ["paper", "sandbox", "dry_run", "live"])]
    mode: Option<String>,
    /// Sets the cap of a day's routed notional over all accounts, in the base currency.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    daily_notional_limit: Option<Decimal>,
    /// Sets the loss of a day at which only reductions pass, in the base currency.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    daily_loss_limit: Option<Decimal>,
    /// Who changes it; kept on the journal.
    #[arg(long, requires = "change")]
    actor: Option<String>,
    /// Why; kept on the journal.
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
        // The grammar lets nobody be named without a change.
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

/// Changes the state if asked to, and shows what is in force.
///
/// # Errors
/// When the change is refused, or there is no answer.
pub(crate) async fn run(args: &StateArgs, options: &GlobalOptions) -> CommandResult {
    const NAME: &str = "order-router state";
    if let Some(change) = args.change_request() {
        let client = CliClient::connect(options, &args.client, NAME).await?;
        let body = serde_json::to_vec(&change).map_err(anyhow::Error::from)?;
        let (reply, state) = client.request_decoded::<RouterState>(subjects::STATE_SET, body).await?;
        output::print_line_while_read(if client.json {
            reply.body
        } else {
            state.render().into_bytes()
        })?;
        return Ok(());
    }
    let mut connected = None;
    let look = async || {
        let client = match &mut connected {
            Some(client) => client,
            away => away.insert(CliClient::connect(options, &args.client, NAME).await?),
        };
        Ok(client.request(subjects::STATE_GET, b"{}".to_vec()).await?.body)
    };
    polling::show_reply::<RouterState>(&args.polling, args.client.json, look).await
}

impl RenderReply for RouterState {
    fn render(&self) -> String {
        render_state(self)
    }
}

fn render_state(state: &RouterState) -> String {
    let mut table = TextTable::new(&[("", ColumnAlign::Left), ("", ColumnAlign::Left)]);
    let pnl = state
        .daily_pnl
        .map_or_else(|| "not known".to_owned(), |pnl| pnl.to_string());
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
