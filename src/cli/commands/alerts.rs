//! `alerts`: what the risk rules have said, the newest first.

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::requests::polling::RenderReply;
use crate::cli::requests::query_string;
use crate::cli::requests::rest_list::RestListArgs;
use crate::domain::id::AccountId;
use crate::wire::risk_signal::RiskSignal;

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
    list: RestListArgs,
}

impl AlertsArgs {
    fn request_path(&self) -> String {
        query_string::path_with_query(
            "/risk/alerts",
            [
                ("limit", Some(self.limit.to_string())),
                ("account_id", query_string::parameter_value(self.account.as_ref())),
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
pub(crate) async fn run(args: &AlertsArgs, options: &GlobalOptions) -> CommandResult {
    args.list
        .fetch_and_show::<Vec<RiskSignal>>(options, &args.request_path())
        .await
}

impl RenderReply for Vec<RiskSignal> {
    fn render(&self) -> String {
        if self.is_empty() {
            return "no alerts".to_owned();
        }
        alerts_table(self).to_string()
    }
}

/// Returns a text, or a dash where there is none.
fn cloned_or_dash(text: Option<&String>) -> String {
    text.map_or_else(|| "-".to_owned(), Clone::clone)
}

fn alerts_table(signals: &[RiskSignal]) -> TextTable {
    let mut table = TextTable::new(&[
        ("time", ColumnAlign::Left),
        ("level", ColumnAlign::Left),
        ("account", ColumnAlign::Left),
        ("symbol", ColumnAlign::Left),
        ("rule", ColumnAlign::Left),
        ("id", ColumnAlign::Left),
        ("message", ColumnAlign::Left),
    ]);
    for signal in signals {
        table.push_row([
            signal.timestamp.to_string(),
            signal.level.as_str().to_owned(),
            cloned_or_dash(signal.account_id.as_ref()),
            cloned_or_dash(signal.symbol.as_ref()),
            signal.rule_id.clone(),
            cloned_or_dash(signal.client_order_id.as_ref()),
            signal.message.clone(),
        ]);
    }
    table
}
