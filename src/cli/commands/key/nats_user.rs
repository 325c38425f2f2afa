//! `key nats`: creates the NATS user of an algorithm.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::bus::subjects;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::domain::id::AccountId;

/// The end of `key nats --help`.
pub(super) const EXAMPLES: &str = "Example:
  order-router key nats --account alpha --seed-file alpha.nk

The block belongs in the list of users in nats.conf: nats-server reads it on SIGHUP. The seed is the algorithm's secret:
nats.nkey_file names its file, and nats.inbox_prefix must be the prefix that is printed.";

/// The mode of a file with a secret.
const SECRET_FILE_MODE: u32 = 0o600;

/// Arguments of `key nats`.
#[derive(Debug, Args)]
pub(super) struct NatsUserArgs {
    /// The account that the user is fenced into.
    #[arg(long, value_parser = AccountId::new)]
    account: AccountId,
    /// Write the user's NKey seed to this new file, readable for its owner alone.
    #[arg(long, value_name = "FILE")]
    seed_file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The output with `--json`.
#[derive(Serialize)]
struct NatsUserOutput<'a> {
    account: &'a str,
    nkey: &'a str,
    seed_file: &'a Path,
    inbox_prefix: &'a str,
    publish: &'a [String],
    subscribe: &'a [String],
    block: &'a str,
}

/// Creates a user: writes its seed to a file and prints its block.
///
/// # Errors
/// When the file exists or cannot be written.
pub(super) fn run(args: &NatsUserArgs) -> CommandResult {
    let pair = nkeys::KeyPair::new_user();
    let seed = pair
        .seed()
        .map_err(|error| CommandError::from_error("the key has no seed", error))?;
    write_new_secret(&args.seed_file, &seed).with_context(|| format!("writing {}", args.seed_file.display()))?;
    let (publish, subscribe) = (
        subjects::account_user_publishes(&args.account),
        subjects::account_user_subscriptions(&args.account),
    );
    let (nkey, inbox_prefix) = (pair.public_key(), subjects::account_inbox_prefix(&args.account));
    let block = user_block(&args.account, &nkey, &publish, &subscribe);
    if args.json {
        let created = NatsUserOutput {
            account: args.account.as_str(),
            nkey: &nkey,
            seed_file: &args.seed_file,
            inbox_prefix: &inbox_prefix,
            publish: &publish,
            subscribe: &subscribe,
            block: &block,
        };
        return Ok(output::print_line(output::to_json_line(&created)?)?);
    }
    let settings = format!(
        "# Settings of the algorithm:\n#   nats.nkey_file = \"{}\"\n#   nats.inbox_prefix = \"{inbox_prefix}\"",
        args.seed_file.display()
    );
    Ok(output::print_line(format!("{block}\n{settings}"))?)
}

fn write_new_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(SECRET_FILE_MODE)
        .open(path)?;
    writeln!(file, "{text}")
}

fn user_block(account: &AccountId, nkey: &str, publish: &[String], subscribe: &[String]) -> String {
    let list = |subjects: &[String]| {
        let lines: Vec<String> = subjects
            .iter()
            .map(|subject| format!("\n        {subject:?}"))
            .collect();
        format!("{{ allow: [{}\n    ] }}", lines.concat())
    };
    format!(
        "# The algorithm of account {account}.\n{{\n  nkey: {nkey}\n  permissions: {{\n    publish: {}\n    subscribe: {}\n  }}\n}}",
        list(publish),
        list(subscribe)
    )
}
