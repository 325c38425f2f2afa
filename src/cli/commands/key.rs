//! `key`: keys for REST.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::config::api_keys::{ApiKey, Capability, KeyList, KeySettings};

/// An example for the help.
const EXAMPLES: &str = "Example:
  order-router key new --id desk --customer 'Trading desk' --can read,route_orders --account fund-7

The first line is the key, for its holder: it is shown once and kept nowhere. The rest belongs into the file of settings of
each sidecar, which takes it up at its next start.";

/// Arguments of `key`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Makes a key and the `[[keys]]` block for the file of settings.
    #[command(after_help = EXAMPLES)]
    New(NewKeyArgs),
}

#[derive(Debug, Args)]
struct NewKeyArgs {
    /// A short name, for logs and the journal.
    #[arg(long)]
    id: String,
    /// Who holds it.
    #[arg(long)]
    customer: String,
    /// What it may be used for, separated by commas.
    #[arg(
        long = "can",
        value_name = "CAPABILITIES",
        required = true,
        value_enum,
        value_delimiter = ','
    )]
    capabilities: Vec<CapabilityArg>,
    /// An account it may be used for, or `*` for every one; may be repeated.
    #[arg(long = "account", value_name = "ACCOUNT", required = true)]
    accounts: Vec<String>,
    /// How many requests a second it may make in the long run [default: 200].
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// How many of them may come at once [default: as many as in a second].
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// Prints one JSON object, for machines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum CapabilityArg {
    /// To read.
    #[value(alias = "can.read")]
    Read,
    /// To submit and cancel orders, and to read the reports of single ones.
    #[value(alias = "can.route_orders")]
    RouteOrders,
    /// To change the router's state and to lift locks.
    #[value(alias = "can.manage_state")]
    ManageState,
}

impl From<CapabilityArg> for Capability {
    fn from(can: CapabilityArg) -> Self {
        match can {
            CapabilityArg::Read => Self::Read,
            CapabilityArg::RouteOrders => Self::RouteOrders,
            CapabilityArg::ManageState => Self::ManageState,
        }
    }
}

/// What machines are told.
#[derive(Serialize)]
struct NewKeyOutput<'a> {
    key: &'a str,
    settings: &'a KeySettings,
    toml: &'a str,
}

/// The block of the settings' file.
#[derive(Serialize)]
struct KeySettingsBlock {
    keys: KeyList,
}

/// Makes a key. It is kept nowhere: what is printed is all there is of it.
///
/// # Errors
/// When the key could not stand in the settings, or nobody reads the output.
pub(crate) fn run(args: &KeyArgs) -> CommandResult {
    let KeyAction::New(args) = &args.action;
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
    let text = toml::to_string(&block).map_err(|error| CommandError::from_error("writing the settings", error))?;
    if args.json {
        let made = NewKeyOutput {
            key: key.reveal(),
            settings: &settings,
            toml: &text,
        };
        return Ok(output::print_line(output::to_json_line(&made)?)?);
    }
    Ok(output::print_line(format!("{}\n\n{}", key.reveal(), text.trim_end()))?)
}

fn key_settings(args: &NewKeyArgs, key: &ApiKey) -> KeySettings {
    let mut capabilities: Vec<Capability> = args.capabilities.iter().map(|&can| can.into()).collect();
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
