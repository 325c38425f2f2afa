//! `heartbeat`: sends a heartbeat of an account, or disarms its dead man's switch.

use clap::{ArgGroup, Args};

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::domain::id::AccountId;
use crate::wire::heartbeat::{
    HeartbeatAnswer, HeartbeatRequest, MAX_HEARTBEAT_TIMEOUT_MS, MIN_HEARTBEAT_TIMEOUT_MS, SwitchState,
};

/// Arguments of `heartbeat`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).args(["fires_after_ms", "disarm"])))]
pub(crate) struct HeartbeatArgs {
    /// The account.
    #[arg(long, value_parser = AccountId::new, default_value = "default")]
    account: AccountId,
    /// Lock the account and cancel its open orders when no heartbeat arrives for this long, in milliseconds, 1000 to
    /// 86400000.
    #[arg(long, value_parser = clap::value_parser!(u64).range(MIN_HEARTBEAT_TIMEOUT_MS..=MAX_HEARTBEAT_TIMEOUT_MS))]
    fires_after_ms: Option<u64>,
    /// Disarm the switch.
    #[arg(long, requires = "reason")]
    disarm: bool,
    /// The person or system that arms or disarms the switch [default: the account].
    #[arg(long)]
    actor: Option<String>,
    /// The reason for the change; required to disarm.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    client: RequestArgs,
}

/// Sends the heartbeat and prints the state of the switch.
///
/// # Errors
/// When the request is refused, or there is no reply.
pub(crate) async fn run(args: &HeartbeatArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router heartbeat").await?;
    let request = HeartbeatRequest {
        timeout_ms: args.fires_after_ms.unwrap_or(0),
        actor: args.actor.clone(),
        reason: args.reason.clone(),
    };
    let called = client.caller.heartbeat(&args.account, &request, client.timeout).await;
    let answer = client.report(called)?;
    Ok(client.print_reply(&answer.reply.body, || render(&answer))?)
}

fn render(answer: &HeartbeatAnswer) -> String {
    let account = &answer.account_id;
    let mut text = match (answer.state, answer.timeout_ms, answer.expires_at) {
        (SwitchState::Armed, Some(timeout_ms), Some(expires_at)) => {
            format!("{account}: armed for {timeout_ms} ms, fires at {expires_at} without another heartbeat")
        }
        (SwitchState::Armed, ..) => format!("{account}: armed"),
        (SwitchState::Disarmed, ..) => format!("{account}: disarmed"),
        (SwitchState::Fired, ..) => format!("{account}: fired, its open orders are being cancelled"),
    };
    if let Some(lock) = &answer.latch_id {
        text.push_str(&format!("; locked until {lock} is lifted"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn answer_is_one_line() {
        let armed = HeartbeatAnswer {
            account_id: "fund-7".to_owned(),
            state: SwitchState::Armed,
            timeout_ms: Some(5_000),
            expires_at: Some(Timestamp::from_milliseconds(5_000)),
            latch_id: None,
        };
        let fired = HeartbeatAnswer {
            state: SwitchState::Fired,
            timeout_ms: None,
            expires_at: None,
            latch_id: Some("paper.account.fund-7.dead_man_switch".to_owned()),
            ..armed.clone()
        };
        for (answer, expected) in [
            (
                armed,
                "fund-7: armed for 5000 ms, fires at 1970-01-01T00:00:05.000000Z without another heartbeat",
            ),
            (
                fired,
                "fund-7: fired, its open orders are being cancelled; locked until paper.account.fund-7.dead_man_switch is \
                 lifted",
            ),
        ] {
            assert_eq!(render(&answer), expected);
        }
    }
}
