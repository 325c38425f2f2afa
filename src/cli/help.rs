//! `order-router --help`: the commands in groups, as the derived grammar cannot show them.

use std::fmt::Write;

use clap::Command;
use clap::builder::StyledStr;

/// The groups in the order of their reading, and the commands of each.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Run the router",
        &[
            "dev",
            "run",
            "worker",
            "sidecar",
            "check",
            "topology",
            "order-log",
            "journal",
            "rebuild",
            "audit",
        ],
    ),
    ("Orders", &["submit", "get", "cancel", "replace", "cancel-all", "close"]),
    (
        "Lists",
        &["orders", "executions", "positions", "alerts", "brokers", "watch"],
    ),
    ("Control", &["state", "limits", "locks", "heartbeat", "adjust", "key"]),
    ("Measure and rehearse", &["bench", "venue", "chaos"]),
];

const FIRST_STEPS: &str = "Run `order-router dev` to try it on this machine, then `order-router submit --help` for a first \
                           order.";

/// Returns the command with its help in groups.
pub(crate) fn group_commands(command: Command) -> Command {
    let text = grouped_commands(&command);
    let heading = command.get_styles().get_header();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}{heading}Options:{heading:#}\n{{options}}\n\n{FIRST_STEPS}"
    );
    command.help_template(StyledStr::from(template))
}

fn grouped_commands(command: &Command) -> String {
    let (heading, literal) = (command.get_styles().get_header(), command.get_styles().get_literal());
    let names = GROUPS.iter().flat_map(|(_, names)| *names);
    let width = names.map(|name| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (group, names) in GROUPS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{heading}{group}:{heading:#}");
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {literal}{name:<width$}{literal:#}  {about}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_is_in_one_group_and_fits_on_a_line() {
        let command = Cli::command();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        grouped.sort_unstable();
        known.sort_unstable();
        assert_eq!(grouped, known);
        let help = group_commands(Cli::command()).render_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
        for name in known {
            assert!(help.contains(&format!("\n  {name} ")), "{help}");
        }
        assert!(help.contains("\nUsage: order-router [OPTIONS] <COMMAND>\n"), "{help}");
    }
}
