//! `key`: creates API keys for REST, and NATS users for algorithms.

mod nats_user;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::config::api_keys::{ApiKey, Capability, KeyList, KeySettings};

/// The end of `key new --help`.
const EXAMPLES: &str = "Example:
  order-router key new --id desk --customer 'Trading desk' --can read,route_orders --account fund-7

The first line is the key, for its holder: it is printed once and stored nowhere. The rest belongs in the settings file
of each sidecar, which reads it at its next start or on SIGHUP.";

/// Arguments of `key`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Create a key and the `[[keys]]` block for the settings file.
    #[command(after_help = EXAMPLES)]
    New(NewKeyArgs),
    /// Create a NATS user that is fenced into one account: its key, and its block for nats.conf.
    #[command(after_help = nats_user::EXAMPLES)]
    Nats(nats_user::NatsUserArgs),
}

#[derive(Debug, Args)]
struct NewKeyArgs {
    /// The key's name in logs and on the journal: short, without spaces.
    #[arg(long)]
    id: String,
    /// The holder of the key.
    #[arg(long)]
    customer: String,
    /// The key's capabilities, separated by commas.
    #[arg(
        long = "can",
        value_name = "CAPABILITIES",
        required = true,
        value_enum,
        value_delimiter = ','
    )]
    capabilities: Vec<CapabilityArg>,
    /// Allow this account, or `*` for every account; repeatable.
    #[arg(long = "account", value_name = "ACCOUNT", required = true)]
    accounts: Vec<String>,
    /// Allow this many requests a second on average [default: 200].
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// Allow this many requests at once [default: one second's requests].
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum CapabilityArg {
    /// Read state, lists and events.
    #[value(alias = "can.read")]
    Read,
    /// Submit and cancel orders, and read the reports of single orders.
    #[value(alias = "can.route_orders")]
    RouteOrders,
    /// Change the router's state and lift locks.
    #[value(alias = "can.manage_state")]
    ManageState,
}

impl From<CapabilityArg> for Capability {
    fn from(capability: CapabilityArg) -> Self {
        match capability {
            CapabilityArg::Read => Self::Read,
            CapabilityArg::RouteOrders => Self::RouteOrders,
            CapabilityArg::ManageState => Self::ManageState,
        }
    }
}

/// The output with `--json`.
#[derive(Serialize)]
struct NewKeyOutput<'a> {
    key: &'a str,
    settings: &'a KeySettings,
    toml: &'a str,
}

/// The block for the settings file.
#[derive(Serialize)]
struct KeySettingsBlock {
    keys: KeyList,
}

/// Creates a key.
///
/// # Errors
/// When the key would be refused where it is used, or the output cannot be written.
pub(crate) fn run(args: &KeyArgs) -> CommandResult {
    match &args.action {
        KeyAction::New(args) => create_api_key(args),
        KeyAction::Nats(args) => nats_user::run(args),
    }
}

/// Creates an API key and prints it. The key is stored nowhere.
fn create_api_key(args: &NewKeyArgs) -> CommandResult {
    let key = ApiKey::generate();
    let settings = key_settings(args, &key);
    let block = KeySettingsBlock {
        keys: KeyList(vec![settings.clone()]),
    };
    let mut errors = Vec::new();
    block.keys.validate(&mut errors);
    if !errors.is_empty() {
        return Err(CommandError::Usage(errors.join("\n              ")));
    }
    let text = toml::to_string(&block)
        .map_err(|error| CommandError::from_error("the settings block cannot be written", error))?;
    if args.json {
        let created = NewKeyOutput {
            key: key.reveal(),
            settings: &settings,
            toml: &text,
        };
        return Ok(output::print_line(output::to_json_line(&created)?)?);
    }
    Ok(output::print_line(format!("{}\n\n{}", key.reveal(), text.trim_end()))?)
}

fn key_settings(args: &NewKeyArgs, key: &ApiKey) -> KeySettings {
    let mut capabilities: Vec<Capability> = args.capabilities.iter().map(|&capability| capability.into()).collect();
    capabilities.sort_unstable();
    capabilities.dedup();
    let accounts: Vec<&str> = args.accounts.iter().map(String::as_str).collect();
    let mut settings = KeySettings::new(key, &args.id, &args.customer, &capabilities, &accounts);
    if let Some(rate) = args.requests_per_second {
        settings.requests_per_second = rate;
    }
    settings.burst = args.burst;
    settings
}
