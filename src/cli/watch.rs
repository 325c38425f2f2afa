//! `watch`: reports and alerts as they happen.

use bytes::Bytes;
use clap::Args;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;

use super::failure::{Failure, Outcome, because};
use super::options::{Kind, Options};
use super::output;
use super::report;
use super::signals::Signals;
use super::table::plain;
use crate::bus::client::{Caller, Received};
use crate::bus::connection::{Patience, connect};
use crate::domain::id::AccountId;
use crate::wire::report::ExecutionReport;
use crate::wire::signal::RiskSignal;

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only this account's.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Prints one JSON object a line: `kind` (`report` or `alert`), `subject`, `body`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Happened {
    Report,
    Alert,
}

/// Follows until a signal comes.
///
/// # Errors
/// When the subscriptions cannot be made, or the output cannot be written.
pub(crate) async fn run(args: &WatchArgs, options: &Options) -> Outcome {
    let settings = options.start(Kind::Client)?;
    let mut signals = Signals::listen()?;
    let bus = connect(&settings.nats, "order-router watch", Patience::Once).await?;
    let caller = Caller::new(bus);
    let mut events = std::pin::pin!(follow(&caller, args.account.as_ref()).await?);
    let whose = args.account.as_ref().map_or("all accounts", AccountId::as_str);
    eprintln!("watching reports and alerts of {whose}; Ctrl-C ends");
    loop {
        let line = tokio::select! {
            _ = signals.next() => return Ok(()),
            event = events.next() => match event {
                Some((happened, received)) if args.json => json(happened, &received)?,
                Some((happened, received)) => text(happened, &received.body),
                None => return Err(because("watching ended", "the connection was closed").into()),
            },
        };
        match output::line(line) {
            // `order-router watch | head` has seen enough.
            Err(error) if output::is_closed(&error) => return Ok(()),
            written => written?,
        }
    }
}

async fn follow(
    caller: &Caller,
    account: Option<&AccountId>,
) -> Result<impl Stream<Item = (Happened, Received)> + use<>, Failure> {
    let reports = caller.subscribe_reports(account).await?;
    let alerts = caller.subscribe_alerts(account).await?;
    Ok(stream::select(
        reports.map(|received| (Happened::Report, received)),
        alerts.map(|received| (Happened::Alert, received)),
    ))
}

fn json(happened: Happened, received: &Received) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        kind: Happened,
        subject: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    }
    let body = serde_json::from_slice::<&RawValue>(&received.body).ok();
    // A line break inside of a document would end the line.
    let body = body.filter(|body| !body.get().contains('\n'));
    let text = body
        .is_none()
        .then(|| String::from_utf8_lossy(&received.body).into_owned());
    output::json(&Line {
        kind: happened,
        subject: &received.subject,
        body,
        text,
    })
}

fn text(happened: Happened, body: &Bytes) -> String {
    let read = match happened {
        Happened::Report => {
            ExecutionReport::decode(body).map(|read| format!("{} report {}", read.updated_at, report::line(&read)))
        }
        Happened::Alert => serde_json::from_slice::<RiskSignal>(body).map(|signal| alert(&signal)),
    };
    read.unwrap_or_else(|_| format!("not read: {}", plain(&String::from_utf8_lossy(body))))
}

fn alert(signal: &RiskSignal) -> String {
    let RiskSignal {
        timestamp,
        level,
        rule_id,
        account_id,
        symbol,
        message,
        client_order_id,
        ..
    } = signal;
    let level = level.as_str();
    plain(&format!(
        "{timestamp} {level} {account_id} {symbol} {rule_id}: {message}; id {client_order_id}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_becomes_one_line() {
        let received = |body: &'static str| Received {
            subject: "s".into(),
            body: Bytes::from_static(body.as_bytes()),
        };
        assert_eq!(
            json(Happened::Alert, &received(r#"{"limit":0.10}"#)).unwrap(),
            r#"{"kind":"alert","subject":"s","body":{"limit":0.10}}"#
        );
        assert_eq!(
            json(Happened::Report, &received("no json\n")).unwrap(),
            r#"{"kind":"report","subject":"s","text":"no json\n"}"#
        );
        assert_eq!(text(Happened::Report, &received("a\nb").body), "not read: a?b");
    }
}
