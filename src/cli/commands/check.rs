//! `check`: settings, keys, connections, streams, clock and permissions. It trades nothing and changes nothing.

mod live;
mod permissions;

use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;

use crate::bus::connection::{Bus, ConnectPolicy, connect};
use crate::bus::journal::JournalReader;
use crate::bus::permission_probe;
use crate::bus::topology::{self, ReconcileOutcome};
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::commands::check::permissions::Role;
use crate::cli::commands::topology::enabled_brokers;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::config::Settings;
use crate::config::limits::LimitSettings;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;
use crate::http;
use crate::store::Store;
use crate::store::rebuild::epoch::STORE_SCHEMA;
use crate::worker::trading_day::MAX_CLOCK_SKEW;

/// The difference of two clocks that is worth a warning, in milliseconds.
const NOTED_SKEW_MS: u64 = 1_000;

/// The most limits that a line names.
const MAX_LISTED_DIFFERENCES: usize = 8;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// What the settings are for.
    #[arg(long, value_enum, default_value_t = Role::Run)]
    role: Role,
    /// The account whose subjects are checked.
    #[arg(long, value_name = "ACCOUNT", value_parser = AccountId::new, default_value_t = AccountId::default_account())]
    account: AccountId,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The verdict of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct CheckResult {
    check: &'static str,
    verdict: Verdict,
    detail: String,
}

/// Prints each result as it is known.
pub(super) struct CheckReport {
    json: bool,
    has_failed: bool,
}

impl CheckReport {
    fn add(&mut self, check: &'static str, verdict: Verdict, detail: impl Into<String>) -> anyhow::Result<()> {
        self.has_failed |= verdict == Verdict::Failed;
        let detail = detail.into();
        if self.json {
            let result = CheckResult { check, verdict, detail };
            return output::print_line(output::to_json_line(&result)?);
        }
        let verdict = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
        };
        output::print_line(format!("{verdict:<8} {check:<12} {}", detail.replace('\n', " ")))
    }
}

/// Runs every check and prints a line for each.
///
/// # Errors
/// When a check has failed; the line says why.
pub(crate) async fn run(args: &CheckArgs, options: &GlobalOptions) -> CommandResult {
    let mut report = CheckReport {
        json: args.json,
        has_failed: false,
    };
    let settings = match options.load_settings_and_start_log(CommandKind::Client) {
        Ok(settings) => settings,
        Err(error) => {
            // The text of the error follows on standard error.
            let detail = match args.json {
                true => error.message().unwrap_or_default(),
                false => "they cannot be used".to_owned(),
            };
            report.add("settings", Verdict::Failed, detail)?;
            return Err(error);
        }
    };
    let file = options
        .config_file()
        .map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    report.add("settings", Verdict::Ok, file)?;
    if args.role.serves_rest() {
        check_keys(&settings, &mut report).await?;
    }
    match connect(&settings.nats, "order-router check", ConnectPolicy::Once).await {
        Err(error) => report.add("nats", Verdict::Failed, error.to_string())?,
        Ok(bus) => {
            let nats = &settings.nats;
            let files = [&nats.credentials_file, &nats.nkey_file];
            let user = files.into_iter().flatten().next().or(nats.user.as_ref());
            let user = user.map_or("no user", String::as_str);
            let version = &bus.client.server_info().version;
            report.add(
                "nats",
                Verdict::Ok,
                format!("{}, version {version}, as {user}", settings.nats.url),
            )?;
            let brokers = enabled_brokers(&settings)?;
            if args.role.reads_streams() {
                check_streams(&bus, &settings, &brokers, &mut report).await?;
            }
            check_permissions(&bus, args, &brokers, &mut report).await?;
            if args.role.knows_limits() {
                check_limits(bus, &settings, &mut report).await?;
            }
        }
    }
    if args.role.uses_redis() {
        check_redis(&settings, &mut report).await?;
        report_remembered_ids(&settings, &mut report)?;
    }
    if args.role.places_orders() {
        live::check_live(&settings, &mut report).await?;
    }
    if report.has_failed {
        return Err(CommandError::Reported);
    }
    Ok(())
}

async fn check_keys(settings: &Settings, report: &mut CheckReport) -> anyhow::Result<()> {
    let (address, count) = (&settings.http.addr, settings.keys.0.len());
    let resolved = match http::resolve_host(address.host(), address.port()).await {
        Ok(resolved) => resolved,
        Err(error) => return report.add("keys", Verdict::Failed, format!("http.addr {address}: {error}")),
    };
    let is_loopback = resolved.iter().all(|one| one.ip().to_canonical().is_loopback());
    let (verdict, detail) = match (count, is_loopback) {
        (0, true) => (
            Verdict::Warning,
            format!("none: every program on this machine may trade at {address}"),
        ),
        (0, false) => (
            Verdict::Failed,
            format!("none, and http.addr {address} is no loopback address: create one with `order-router key new`"),
        ),
        (count, _) => (Verdict::Ok, format!("{count}, at {address}")),
    };
    report.add("keys", verdict, detail)
}

/// Says how many new orders a second can last, and how many of them one account can use up by denials.
fn report_remembered_ids(settings: &Settings, report: &mut CheckReport) -> anyhow::Result<()> {
    let redis = &settings.redis;
    let (ids, hours) = (redis.max_remembered_ids(), redis.retention_h);
    let detail = format!(
        "{ids} for {hours} h each, in {} MiB: {} new orders a second last",
        redis.remembered_ids_mb,
        redis.lasting_orders_per_second()
    );
    let denials = u64::try_from(settings.risk.max_denials_per_hour)
        .unwrap_or_default()
        .saturating_mul(hours);
    if denials.saturating_mul(10) > ids {
        let detail = format!(
            "{detail}; risk.max_denials_per_hour lets one account use up {denials} of them by denials: lower it, or raise \
             redis.remembered_ids_mb"
        );
        return report.add("ids", Verdict::Warning, detail);
    }
    report.add("ids", Verdict::Ok, detail)
}

async fn check_streams(
    bus: &Bus,
    settings: &Settings,
    brokers: &[BrokerId],
    report: &mut CheckReport,
) -> anyhow::Result<()> {
    let resources = match topology::check(bus, &settings.nats, &settings.doors, brokers).await {
        Ok(resources) => resources,
        Err(error) => return report.add("streams", Verdict::Failed, error.to_string()),
    };
    let named = |wanted: ReconcileOutcome| -> Vec<&str> {
        let found = resources.iter().filter(|resource| resource.outcome == wanted);
        found.map(|resource| resource.name.as_str()).collect()
    };
    let (missing, different) = (named(ReconcileOutcome::Missing), named(ReconcileOutcome::Differs));
    if missing.is_empty() && different.is_empty() {
        return report.add(
            "streams",
            Verdict::Ok,
            format!("{} streams and consumers", resources.len()),
        );
    }
    let list = |what: &str, names: &[&str]| match names {
        [] => String::new(),
        names => format!("{} {what}; ", names.join(", ")),
    };
    let detail = format!(
        "{}{}run `order-router topology`",
        list("missing", &missing),
        list("with other limits than the settings", &different)
    );
    report.add("streams", Verdict::Failed, detail)
}

async fn check_permissions(
    bus: &Bus,
    args: &CheckArgs,
    brokers: &[BrokerId],
    report: &mut CheckReport,
) -> anyhow::Result<()> {
    let Some(broker) = brokers.first() else {
        return report.add("permissions", Verdict::Failed, "brokers.enabled names no broker");
    };
    let subjects = args.role.required_subjects(broker, &args.account);
    let probes = join_all(
        subjects
            .iter()
            .map(|subject| permission_probe::may_publish(bus, subject)),
    )
    .await;
    let mut denied = Vec::new();
    for (subject, probe) in subjects.iter().zip(probes) {
        match probe {
            Ok(true) => {}
            Ok(false) => denied.push(subject.as_str()),
            Err(error) => return report.add("permissions", Verdict::Failed, error.to_string()),
        }
    }
    if denied.is_empty() {
        return report.add(
            "permissions",
            Verdict::Ok,
            format!("may publish to {} subjects", subjects.len()),
        );
    }
    report.add(
        "permissions",
        Verdict::Failed,
        format!("may not publish to {}", denied.join(", ")),
    )
}

/// Compares the limits in force with those of the settings.
async fn check_limits(bus: Bus, settings: &Settings, report: &mut CheckReport) -> anyhow::Result<()> {
    let compared = match JournalReader::new(bus).read_limits().await {
        Err(error) => return report.add("limits", Verdict::Failed, error.to_string()),
        Ok(None) => {
            let detail = "none are in force: the first worker puts those of its settings in force";
            return report.add("limits", Verdict::Ok, detail);
        }
        Ok(Some(newest)) => newest
            .differences(&LimitSettings::of(settings))
            .map(|differences| (newest.event, differences)),
    };
    let (event, differences) = match compared {
        Ok(compared) => compared,
        Err(error) => return report.add("limits", Verdict::Failed, error.to_string()),
    };
    let (version, actor) = (event.version, event.actor);
    if differences.is_empty() {
        return report.add(
            "limits",
            Verdict::Ok,
            format!("those in force, version {version} by {actor}"),
        );
    }
    let (named, more) = differences.split_at(differences.len().min(MAX_LISTED_DIFFERENCES));
    let named: Vec<String> = named.iter().map(ToString::to_string).collect();
    let more = match more.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let detail = format!(
        "others than those in force (version {version} by {actor}): {}{more}; no worker starts with them. Put them in force \
         with `order-router limits apply`, or change the settings",
        named.join(", ")
    );
    report.add("limits", Verdict::Failed, detail)
}

async fn check_redis(settings: &Settings, report: &mut CheckReport) -> anyhow::Result<()> {
    let read = async {
        let store = Store::connect(&settings.redis).await?;
        Ok::<_, crate::store::StoreError>((store.read_status().await?, store.read_clock().await?))
    };
    let (status, clock) = match read.await {
        Ok(read) => read,
        Err(error) => return report.add("redis", Verdict::Failed, error.to_string()),
    };
    if let Some(found) = status.foreign_schema() {
        let found = if found.is_empty() { "0" } else { found };
        let detail = format!(
            "the shared state follows schema {found}, and this release schema {STORE_SCHEMA}: no worker of this release starts. \
             Stop the workers of the other release and empty Redis (`FLUSHDB`)"
        );
        return report.add("redis", Verdict::Failed, detail);
    }
    match status.active_epoch() {
        Some(epoch) => report.add(
            "redis",
            Verdict::Ok,
            format!("the shared state is complete, epoch {epoch}"),
        )?,
        None => report.add(
            "redis",
            Verdict::Warning,
            "the shared state is not built: the next worker builds it from the journal",
        )?,
    }
    let (verdict, detail) = judge_clocks(Timestamp::now(), clock);
    report.add("clock", verdict, detail)
}

/// Judges the difference between this machine's clock and Redis', which opens trading days and ends leases.
fn judge_clocks(here: Timestamp, redis: Timestamp) -> (Verdict, String) {
    let difference_ms = here.as_milliseconds().abs_diff(redis.as_milliseconds());
    let verdict = match difference_ms {
        ms if u128::from(ms) > MAX_CLOCK_SKEW.as_millis() => Verdict::Failed,
        ms if ms > NOTED_SKEW_MS => Verdict::Warning,
        _ => Verdict::Ok,
    };
    let detail = format!(
        "{difference_ms} ms from Redis' clock; at most {} ms are allowed",
        MAX_CLOCK_SKEW.as_millis()
    );
    (verdict, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_too_much_fail() {
        let redis = Timestamp::from_milliseconds(1_000_000);
        for (here, verdict) in [
            (1_000_900, Verdict::Ok),
            (998_900, Verdict::Warning),
            (1_005_000, Verdict::Warning),
            (1_005_001, Verdict::Failed),
            (990_000, Verdict::Failed),
        ] {
            assert_eq!(
                judge_clocks(Timestamp::from_milliseconds(here), redis).0,
                verdict,
                "{here}"
            );
        }
    }
}
