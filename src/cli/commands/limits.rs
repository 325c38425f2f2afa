//! `limits`: shows the limits that all workers enforce, and puts those of the settings in force.

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::bus::journal::JournalReader;
use crate::bus::journal::limits::{JournaledLimits, change_limits};
use crate::cli::arguments::audit::AuditArgs;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::{CommandError, CommandResult, undecodable_reply};
use crate::cli::output;
use crate::cli::output::text::strip_control_characters;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::client::error::CallError;
use crate::config::limits::{LimitDifference, LimitSettings};
use crate::fault::FaultCode;
use crate::wire::limits::{LimitsChangeRequest, LimitsEvent, PackedLimits};

/// What the help ends with.
pub(crate) const EXAMPLES: &str = "\
Examples:
  order-router limits show                 the limits in force, as sections of a settings file
  order-router --config new.toml limits apply --actor mira --reason 'smaller book'";

/// Arguments of `limits`.
#[derive(Debug, Args)]
pub(crate) struct LimitsArgs {
    #[command(subcommand)]
    action: LimitsAction,
}

#[derive(Debug, Subcommand)]
enum LimitsAction {
    /// Show the limits in force, and how those of the settings differ.
    Show(RequestArgs),
    /// Put the limits of the settings in force for all workers: `[risk]`, `[[instruments]]` and `[[accounts]]`.
    Apply(LimitsApplyArgs),
}

#[derive(Debug, Args)]
struct LimitsApplyArgs {
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    client: RequestArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// When the change is refused, or neither a worker nor the journal replies.
pub(crate) async fn run(args: &LimitsArgs, options: &GlobalOptions) -> CommandResult {
    const NAME: &str = "order-router limits";
    match &args.action {
        LimitsAction::Show(client) => show(&CliClient::connect(options, client, NAME).await?).await,
        LimitsAction::Apply(args) => apply(&CliClient::connect(options, &args.client, NAME).await?, &args.audit).await,
    }
}

/// The limits in force, and whether a worker has returned them.
struct InForce {
    event: Option<LimitsEvent>,
    is_from_worker: bool,
}

/// Reads the limits in force from a worker, or from the journal where no worker replies.
async fn read_in_force(client: &CliClient) -> Result<InForce, CommandError> {
    let (event, is_from_worker) = match client.caller.limits(client.timeout).await {
        Ok(reply) => (Some(reply.document), true),
        Err(CallError::Refused(fault)) if fault.code == FaultCode::NotFound => (None, true),
        Err(CallError::Refused(fault)) if fault.code != FaultCode::NoWorker => return Err(client.print_refusal(fault)),
        Err(error @ CallError::Undecodable(_)) => return Err(error.into()),
        Err(error) => {
            let newest = JournalReader::new(client.caller.bus().clone()).read_limits().await;
            let newest = newest.with_context(|| format!("{error}; the journal could not be read either"))?;
            (newest.map(|newest| newest.event), false)
        }
    };
    Ok(InForce { event, is_from_worker })
}

async fn show(client: &CliClient) -> CommandResult {
    let Some(event) = read_in_force(client).await?.event else {
        let text = "no limits are in force yet: the first worker puts those of its settings in force";
        return Ok(output::print_line(text)?);
    };
    if client.json {
        return Ok(output::print_line(output::to_json_line(&event)?)?);
    }
    let json = event.packed.unpack().map_err(undecodable_reply)?;
    let own = LimitSettings::of(&client.settings);
    let differences = LimitSettings::differences_from_json(&json, &own);
    let LimitsEvent {
        version,
        actor,
        reason,
        timestamp,
        ..
    } = &event;
    let mut text = format!("# limits in force: version {version}, {timestamp}, by {actor}: {reason}\n");
    match differences.as_slice() {
        [] => text.push_str("# the settings have the same\n"),
        differences => {
            text.push_str("# the settings have others (in force to settings):\n");
            for difference in differences {
                text.push_str(&format!("#   {difference}\n"));
            }
        }
    }
    let limits = LimitSettings::from_json(&json)?;
    let sections = toml::to_string(&limits).context("the limits have no TOML")?;
    text = format!("{}\n{sections}", strip_lines(&text));
    output::print_line_while_read(text.trim_end())?;
    Ok(())
}

/// Removes control characters within lines: an actor's text must not end a comment.
fn strip_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(strip_control_characters).collect();
    lines.join("\n") + "\n"
}

async fn apply(client: &CliClient, audit: &AuditArgs) -> CommandResult {
    LimitsChangeRequest::check_audit(&audit.actor, &audit.reason)?;
    let own = LimitSettings::of(&client.settings);
    let in_force = read_in_force(client).await?;
    let differences = match &in_force.event {
        None => Vec::new(),
        Some(event) => {
            let json = event.packed.unpack().map_err(undecodable_reply)?;
            LimitSettings::differences_from_json(&json, &own)
        }
    };
    if let (Some(event), []) = (&in_force.event, differences.as_slice()) {
        let body = serde_json::to_vec(event).map_err(anyhow::Error::from)?;
        let version = event.version;
        return Ok(client.print_reply(&body, || {
            format!("the limits of the settings are in force already, as version {version}")
        })?);
    }
    let base_hash = in_force.event.as_ref().map(|event| event.hash.as_str());
    let event = match (in_force.is_from_worker, base_hash) {
        (true, Some(base_hash)) => apply_by_worker(client, &own, base_hash, audit).await?,
        _ => apply_by_journal(client, &own, base_hash, audit).await?.event,
    };
    let effect = match in_force.is_from_worker {
        true => "in force for all workers",
        false => "on the journal: every worker enforces them before it accepts an order",
    };
    let body = serde_json::to_vec(&event).map_err(anyhow::Error::from)?;
    Ok(client.print_reply(&body, || render_applied(&event, effect, &differences))?)
}

async fn apply_by_worker(
    client: &CliClient,
    own: &LimitSettings,
    base_hash: &str,
    audit: &AuditArgs,
) -> Result<LimitsEvent, CommandError> {
    let json = own.to_json().map_err(anyhow::Error::from)?;
    let request = LimitsChangeRequest {
        packed: PackedLimits::pack(&json).map_err(anyhow::Error::from)?,
        base_hash: base_hash.to_owned(),
        actor: audit.actor.clone(),
        reason: audit.reason.clone(),
    };
    let called = client.caller.set_limits(&request, client.timeout).await;
    Ok(client.report(called)?.document)
}

/// Appends the limits to the journal, from which every worker takes them.
async fn apply_by_journal(
    client: &CliClient,
    own: &LimitSettings,
    base_hash: Option<&str>,
    audit: &AuditArgs,
) -> anyhow::Result<JournaledLimits> {
    let (reader, writer) = client.open_journal();
    let changed = change_limits(&reader, &writer, own, base_hash, (&audit.actor, &audit.reason)).await;
    Ok(changed?)
}

fn render_applied(event: &LimitsEvent, effect: &str, differences: &[LimitDifference]) -> String {
    let mut text = format!("limits version {} are {effect}", event.version);
    for difference in differences {
        text.push_str(&format!("\n  {}", strip_control_characters(&difference.to_string())));
    }
    text
}
