//! `alerts`: what the risk rules have said, the newest first.

use std::time::Duration;

use clap::Args;

use super::client::ClientArgs;
use super::failure::{Failure, Outcome, because};
use super::options::{Kind, Options};
use super::table::{Align, Table};
use super::{http, output};
use crate::domain::id::AccountId;
use crate::wire::problem;
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
    rest: http::RestArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl AlertsArgs {
    fn path(&self) -> String {
        let account = self.account.as_ref().map(AccountId::as_str);
        let filters = [
            ("account_id", account),
            ("level", self.level.as_deref()),
            ("rule_id", self.rule.as_deref()),
        ];
        let filters = filters
            .into_iter()
            .filter_map(|(name, value)| Some(format!("&{name}={}", encoded(value?))));
        format!("/risk/alerts?limit={}{}", self.limit, filters.collect::<String>())
    }
}

/// Returns a text as the value of a query's parameter.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Lists alerts.
///
/// # Errors
/// When the request is refused, or there is no answer.
pub(crate) async fn run(args: &AlertsArgs, options: &Options) -> Outcome {
    let settings = options.start(Kind::Client)?;
    let rest = args.rest.rest(settings.http.addr)?;
    let limit = Duration::from_millis(args.client.timeout_ms);
    let body = match http::get(&rest, &args.path(), limit).await {
        Err(Failure::Refused(fault)) if args.client.json => {
            output::line(problem::encode(&fault))?;
            return Err(Failure::Told);
        }
        answer => answer?,
    };
    if args.client.json {
        return Ok(output::line(body)?);
    }
    let signals: Vec<RiskSignal> =
        serde_json::from_slice(&body).map_err(|error| because("the answer is none that this version reads", error))?;
    Ok(output::line(table(&signals).to_string())?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_add_a_parameter() {
        assert_eq!(encoded("max_notional&limit=1 é"), "max_notional%26limit%3D1%20%C3%A9");
    }
}
