//! The state log: what was appended is there again, and a file that was cut at any byte gives a whole number of commands.

use std::fs;

use super::*;
use crate::venue::amount::Amount;
use crate::venue::settings::CommissionSettings;

fn commands() -> Vec<Command> {
    let amount = |text: &str| text.parse::<Amount>().unwrap();
    let configure = Command::Configure {
        symbols: vec!["BTC/USDT=100,0.01,0.001,1".parse().unwrap()],
        commissions: CommissionSettings {
            maker: amount("0.001"),
            taker: amount("0.001"),
        },
    };
    let transfer = |account: &str, amount: Amount| Command::Transfer {
        account: account.into(),
        asset: "USDT".into(),
        amount,
    };
    vec![
        configure,
        transfer("a", amount("100")),
        transfer("b", amount("50.5")),
        transfer("a", amount("-30")),
    ]
}

/// Applies and appends commands, and returns the states before the first and after each.
fn append_all(directory: &Path, commands: &[Command]) -> Vec<Exchange> {
    let (mut log, mut exchange) = StateLog::open(directory, SyncPolicy::Write).unwrap();
    let mut states = vec![exchange.clone()];
    for (time, command) in commands.iter().enumerate() {
        let time = u64::try_from(time).unwrap();
        exchange.apply(time, command).unwrap();
        log.append(time, command, &exchange).unwrap();
        states.push(exchange.clone());
    }
    states
}

fn reopen(directory: &Path) -> Result<Exchange, StateLogError> {
    StateLog::open(directory, SyncPolicy::Disk).map(|(_, exchange)| exchange)
}

#[test]
fn file_cut_at_any_byte_gives_the_commands_that_are_complete() {
    let directory = tempfile::tempdir().unwrap();
    let states = append_all(directory.path(), &commands());
    let whole = fs::read(directory.path().join(FILE)).unwrap();
    for length in 0..=whole.len() {
        let cut = tempfile::tempdir().unwrap();
        fs::write(cut.path().join(FILE), &whole[..length]).unwrap();
        let complete = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        let exchange = reopen(cut.path()).unwrap();
        assert_eq!(exchange, states[complete], "cut at {length}");
        // What is appended after the cut is there again too.
        let transfer = Command::Transfer {
            account: "z".into(),
            asset: "USDT".into(),
            amount: Amount::ONE,
        };
        let after = append_all(cut.path(), &[transfer]);
        assert_eq!(reopen(cut.path()).unwrap(), after[1], "cut at {length}");
    }
}

#[test]
fn damage_before_the_last_line_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    append_all(directory.path(), &commands());
    let path = directory.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[CHECKSUM_DIGITS + 10] ^= 1;
    fs::write(&path, damaged).unwrap();
    assert!(matches!(reopen(directory.path()), Err(StateLogError::Damaged(_, 1, _))));
}

#[test]
fn compaction_keeps_the_state_and_a_second_venue_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let states = append_all(directory.path(), &commands());
    let (mut log, exchange) = StateLog::open(directory.path(), SyncPolicy::Write).unwrap();
    assert_eq!(log.commands(), commands().len());
    log.compact(&exchange).unwrap();
    assert!(matches!(reopen(directory.path()), Err(StateLogError::InUse(_))));
    drop(log);
    let lines = fs::read_to_string(directory.path().join(FILE)).unwrap().lines().count();
    assert_eq!(lines, 1);
    assert_eq!(reopen(directory.path()).unwrap(), *states.last().unwrap());
}
