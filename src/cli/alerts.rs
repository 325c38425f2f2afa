//! `alerts`: what the risk rules have said, the newest first.

use clap::Args;

use super::failure::Outcome;
use super::list::ListArgs;
use super::options::Options;
use super::query;
use super::table::{Align, Table};
use super::watching::Answer;
use crate::domain::id::AccountId;
use crate::wire::signal::RiskSignal;

/// Arguments of `alerts`.
#[derive(Debug, Args)]
pub(crate) struct AlertsArgs {
    /// Only this account's.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Only `alert` (the order went on) or `lock` (it was stopped).
    #[arg(long, value_parser = ["alert", "lock"])]
    level: Option<String>,
    /// Only this rule's.
    #[arg(long, value_name = "RULE_ID")]
    rule: Option<String>,
    /// How many at most, 1 to 500.
    #[arg(long, default_value_t = 100)]
    limit: u16,
    #[command(flatten)]
    list: ListArgs,
}

impl AlertsArgs {
    fn path(&self) -> String {
        query::path(
            "/risk/alerts",
            [
                ("limit", Some(self.limit.to_string())),
                ("account_id", query::text(self.account.as_ref())),
                ("level", self.level.clone()),
                ("rule_id", self.rule.clone()),
            ],
        )
    }
}

/// Lists alerts.
///
/// # Errors
/// When the request is refused, or there is no answer.
pub(crate) async fn run(args: &AlertsArgs, options: &Options) -> Outcome {
    args.list.show::<Vec<RiskSignal>>(options, &args.path()).await
}

impl Answer for Vec<RiskSignal> {
    fn text(&self) -> String {
        if self.is_empty() {
            return "no alerts".to_owned();
        }
        table(self).to_string()
    }
}

/// Returns a text, or a dash where there is none.
fn told(text: Option<&String>) -> String {
    text.map_or_else(|| "-".to_owned(), Clone::clone)
}

fn table(signals: &[RiskSignal]) -> Table {
    let mut table = Table::new(&[
        ("time", Align::Left),
        ("level", Align::Left),
        ("account", Align::Left),
        ("symbol", Align::Left),
        ("rule", Align::Left),
        ("id", Align::Left),
        ("message", Align::Left),
    ]);
    for signal in signals {
        table.row([
            signal.timestamp.to_string(),
            signal.level.as_str().to_owned(),
            told(signal.account_id.as_ref()),
            told(signal.symbol.as_ref()),
            signal.rule_id.clone(),
            told(signal.client_order_id.as_ref()),
            signal.message.clone(),
        ]);
    }
    table
}
