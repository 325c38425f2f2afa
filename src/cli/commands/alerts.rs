//! `alerts`: lists the alerts and locks of the risk rules, the newest first.

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::output::text::text_or_dash;
use crate::cli::requests::polling::RenderReply;
use crate::cli::requests::query_string;
use crate::cli::requests::rest_list::RestListArgs;
use crate::domain::id::AccountId;
use crate::wire::risk_signal::RiskSignal;

/// Arguments of `alerts`.
#[derive(Debug, Args)]
pub(crate) struct AlertsArgs {
    /// Show this account only.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Show `alert` (the order passed) or `lock` (the order was denied) only.
    #[arg(long, value_parser = ["alert", "lock"])]
    level: Option<String>,
    /// Show this rule only, such as `max_notional`.
    #[arg(long, value_name = "RULE_ID")]
    rule: Option<String>,
    /// Show at most this many alerts, 1 to 500.
    #[arg(long, value_name = "N", default_value_t = 100)]
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
/// When the request is refused, or there is no response.
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
            text_or_dash(signal.account_id.as_ref()),
            text_or_dash(signal.symbol.as_ref()),
            signal.rule_id.clone(),
            text_or_dash(signal.client_order_id.as_ref()),
            signal.message.clone(),
        ]);
    }
    table
}
