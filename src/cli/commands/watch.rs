//! `watch`: follows reports, alerts, notes, and changes of the state and of locks.

use clap::Args;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::bus::connection::{ConnectPolicy, connect};
use crate::bus::router_client::{RouterClient, SubscriptionMessage};
use crate::bus::subjects;
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::output::report;
use crate::cli::output::text::strip_control_characters;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::domain::id::AccountId;
use crate::wire::lock::{LockChange, LockEvent};
use crate::wire::note::NoteEvent;
use crate::wire::report::ExecutionReport;
use crate::wire::risk_signal::RiskSignal;
use crate::wire::state::StateEvent;

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Follow this account only [default: every account].
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Print one JSON object a line, with `kind` (`report`, `alert` or `event`), `subject` and `body`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum WatchedKind {
    Report,
    Alert,
    Event,
}

/// Prints messages until a signal comes.
///
/// # Errors
/// When a subscription fails, the connection is closed, or the output cannot be written.
pub(crate) async fn run(args: &WatchArgs, options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let mut signals = ShutdownSignals::listen()?;
    let bus = connect(&settings.nats, "order-router watch", ConnectPolicy::Once).await?;
    let caller = RouterClient::new(bus);
    let mut messages = std::pin::pin!(subscribe(&caller, args.account.as_ref()).await?);
    let accounts = args.account.as_ref().map_or("all accounts", AccountId::as_str);
    eprintln!("watching reports, alerts and changes of {accounts}; Ctrl-C ends");
    loop {
        let line = tokio::select! {
            _ = signals.next_signal() => return Ok(()),
            message = messages.next() => match message {
                Some((kind, received)) if args.json => render_json_line(kind, &received)?,
                Some((kind, received)) => render_line(kind, &received),
                None => return Err(error_with_reason("the watch ended", "NATS closed the connection; start it again").into()),
            },
        };
        if !output::print_line_while_read(line)? {
            return Ok(());
        }
    }
}

async fn subscribe(
    caller: &RouterClient,
    account: Option<&AccountId>,
) -> Result<impl Stream<Item = (WatchedKind, SubscriptionMessage)> + use<>, CommandError> {
    let reports = caller.subscribe_reports(account).await?;
    let alerts = caller.subscribe_alerts(account).await?;
    let events = caller.subscribe_events(account).await?;
    let signals = stream::select(
        reports.map(|received| (WatchedKind::Report, received)),
        alerts.map(|received| (WatchedKind::Alert, received)),
    );
    Ok(stream::select(
        signals,
        events.map(|received| (WatchedKind::Event, received)),
    ))
}

fn render_json_line(kind: WatchedKind, received: &SubscriptionMessage) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct WatchLine<'a> {
        kind: WatchedKind,
        subject: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    }
    let body = serde_json::from_slice::<&RawValue>(&received.body).ok();
    // A line break inside a document would end the line.
    let body = body.filter(|body| !body.get().contains('\n'));
    let text = body
        .is_none()
        .then(|| String::from_utf8_lossy(&received.body).into_owned());
    output::to_json_line(&WatchLine {
        kind,
        subject: &received.subject,
        body,
        text,
    })
}

fn render_line(kind: WatchedKind, received: &SubscriptionMessage) -> String {
    let body = &received.body;
    let read = match kind {
        WatchedKind::Report => ExecutionReport::decode(body)
            .map(|read| format!("{} report {}", read.updated_at, report::render_report_line(&read))),
        WatchedKind::Alert => serde_json::from_slice::<RiskSignal>(body).map(|signal| render_alert(&signal)),
        WatchedKind::Event => return render_event(received),
    };
    read.unwrap_or_else(|_| {
        format!(
            "cannot decode: {}",
            strip_control_characters(&String::from_utf8_lossy(body))
        )
    })
}

/// Returns the line of a state change, a lock change or a note. Other events are shown as they are.
fn render_event(received: &SubscriptionMessage) -> String {
    let body = &received.body;
    let kind = received.subject.split('.').nth(2).unwrap_or_default();
    let line = match kind {
        subjects::STATE_EVENT_KIND => serde_json::from_slice::<StateEvent>(body)
            .ok()
            .map(|event| render_state_change(&event)),
        subjects::LOCK_EVENT_KIND => serde_json::from_slice::<LockEvent>(body)
            .ok()
            .map(|event| render_lock_change(&event)),
        subjects::NOTE_EVENT_KIND => NoteEvent::decode(body).ok().map(|event| render_note(&event)),
        _ => None,
    };
    strip_control_characters(&line.unwrap_or_else(|| format!("{kind} {}", String::from_utf8_lossy(body))))
}

fn render_state_change(event: &StateEvent) -> String {
    let changes = [
        event.mode.map(|mode| format!("mode {mode}")),
        event.trading_state.map(|state| format!("trading state {state}")),
        event
            .daily_notional_limit
            .map(|limit| format!("daily notional limit {limit}")),
        event.daily_loss_limit.map(|limit| format!("daily loss limit {limit}")),
    ];
    let changes: Vec<String> = changes.into_iter().flatten().collect();
    let StateEvent {
        timestamp,
        version,
        actor,
        reason,
        ..
    } = event;
    format!(
        "{timestamp} state {version}: {}; by {actor}: {reason}",
        changes.join(", ")
    )
}

fn render_lock_change(event: &LockEvent) -> String {
    let change = match event.event {
        LockChange::Locked => "locked",
        LockChange::Lifted => "lifted",
    };
    let LockEvent {
        timestamp,
        actor,
        reason,
        lock,
        ..
    } = event;
    format!("{timestamp} {change} {}; by {actor}: {reason}", lock.latch_id)
}

fn render_note(event: &NoteEvent) -> String {
    let NoteEvent {
        timestamp,
        order_id,
        account_id,
        actor,
        ..
    } = event;
    let tags: String = event.tags.iter().map(|tag| format!(" [{tag}]")).collect();
    let text = event.notes.as_ref().map_or_else(String::new, |text| format!(" {text}"));
    format!("{timestamp} note {account_id} {order_id}:{text}{tags}; by {actor}")
}

fn render_alert(signal: &RiskSignal) -> String {
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
    let scope: Vec<&str> = [account_id, symbol].into_iter().flatten().map(String::as_str).collect();
    let scope = scope.join(" ");
    let id = client_order_id
        .as_ref()
        .map_or_else(String::new, |id| format!("; id {id}"));
    strip_control_characters(&format!("{timestamp} {level} {scope} {rule_id}: {message}{id}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_message_is_one_line() {
        let received = |body: &'static str| SubscriptionMessage {
            subject: "s".into(),
            body: Bytes::from_static(body.as_bytes()),
        };
        assert_eq!(
            render_json_line(WatchedKind::Alert, &received(r#"{"limit":0.10}"#)).unwrap(),
            r#"{"kind":"alert","subject":"s","body":{"limit":0.10}}"#
        );
        assert_eq!(
            render_json_line(WatchedKind::Report, &received("no json\n")).unwrap(),
            r#"{"kind":"report","subject":"s","text":"no json\n"}"#
        );
        assert_eq!(
            render_line(WatchedKind::Report, &received("a\nb")),
            "cannot decode: a?b"
        );
        let event = |subject: &str, body: &'static str| {
            let subject = subject.to_owned();
            render_line(
                WatchedKind::Event,
                &SubscriptionMessage {
                    subject,
                    ..received(body)
                },
            )
        };
        assert_eq!(
            event(
                &subjects::event(subjects::STATE_EVENT_KIND, None),
                r#"{"version":2,"trading_state":"halted","actor":"mira","reason":"news","timestamp":"2026-03-02T09:00:00Z"}"#
            ),
            "2026-03-02T09:00:00.000000Z state 2: trading state halted; by mira: news"
        );
        assert_eq!(
            event(
                &subjects::event(subjects::NOTE_EVENT_KIND, None),
                r#"{"note_id":"0195561f-2a00-7c3e-9d1b-2f4a6c8e0d12","order_id":"BN-1","account_id":"fund-7","broker":"binance",
                    "notes":"late\nagain","tags":["desk:7"],"actor":"mira","timestamp":"2026-03-02T09:00:00Z"}"#
            ),
            "2026-03-02T09:00:00.000000Z note fund-7 BN-1: late?again [desk:7]; by mira"
        );
        assert_eq!(event(&subjects::event("day", None), "{}\n"), "day {}?");
    }
}
