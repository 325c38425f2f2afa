//! The comparison of the state that operators set, the limits and the trading day with the journal's newest events of each.

use redis::{Pipeline, Value};

use crate::domain::money::Micros;
use crate::domain::order_terms::{Mode, TradingState};
use crate::store::comparison::types::{ABSENT, StoreDifference, StoreExpectation, StorePlace};
use crate::store::comparison::values::{Fields, text};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::script::decode_value;

/// Adds the commands that read it. Returns how many they are.
pub(super) fn add_reads(commands: &mut Pipeline) -> usize {
    commands.cmd("HGETALL").arg(keys::operator_state());
    commands
        .cmd("HMGET")
        .arg(keys::meta())
        .arg(&["limits_sequence", "limits_hash"]);
    commands.cmd("GET").arg(keys::limits());
    3
}

/// Returns every difference.
pub(super) fn compare(values: Vec<Value>, expected: &StoreExpectation<'_>) -> Result<Vec<StoreDifference>, StoreError> {
    let mut values = values.into_iter();
    let mut next = || values.next().unwrap_or(Value::Nil);
    let state: Fields = decode_value(next())?;
    let limits: Vec<Option<String>> = decode_value(next())?;
    let document: Option<Vec<u8>> = decode_value(next())?;
    let mut differences = compare_state(&state, expected);
    differences.extend(compare_limits(&limits, document.as_deref(), expected));
    if let Some(day) = &expected.control.day {
        let (wanted, found) = (day.trading_date.to_string(), text(&state, "trading_date"));
        if wanted != found {
            differences.push(difference("trading day", "trading_date", (wanted, found)));
        }
    }
    Ok(differences)
}

fn difference(name: &str, field: &str, (expected, found): (String, String)) -> StoreDifference {
    let shown = |value: String| if value.is_empty() { ABSENT.to_owned() } else { value };
    StoreDifference::new(StorePlace::Control, name, field, (shown(expected), shown(found)))
}

fn compare_state(state: &Fields, expected: &StoreExpectation<'_>) -> Vec<StoreDifference> {
    let wanted = expected.control.state.as_ref();
    let values = wanted.map(|wanted| wanted.values).unwrap_or_default();
    let version = wanted.map_or(0, |wanted| wanted.version);
    let units = |limit: Option<Micros>| limit.map_or_else(String::new, |limit| limit.units().to_string());
    let found_version = Some(text(state, "version")).filter(|version| !version.is_empty());
    let mut differences = Vec::new();
    for (field, wanted, found) in [
        (
            "version",
            version.to_string(),
            found_version.unwrap_or_else(|| "0".to_owned()),
        ),
        (
            "mode",
            values.mode.map_or("", Mode::as_str).to_owned(),
            text(state, "mode"),
        ),
        (
            "trading_state",
            values.trading_state.map_or("", TradingState::as_str).to_owned(),
            text(state, "trading_state"),
        ),
        (
            "daily_notional_limit",
            units(values.daily_notional_limit),
            text(state, "daily_notional_limit"),
        ),
        (
            "daily_loss_limit",
            units(values.daily_loss_limit),
            text(state, "daily_loss_limit"),
        ),
    ] {
        if wanted != found {
            differences.push(difference("state", field, (wanted, found)));
        }
    }
    differences
}

fn compare_limits(
    found: &[Option<String>],
    document: Option<&[u8]>,
    expected: &StoreExpectation<'_>,
) -> Vec<StoreDifference> {
    let Some(wanted) = &expected.control.limits else {
        return Vec::new();
    };
    let field = |at: usize| found.get(at).cloned().flatten().unwrap_or_default();
    let mut differences = Vec::new();
    for (name, wanted, found) in [
        ("sequence", wanted.sequence.to_string(), field(0)),
        ("hash", wanted.hash.clone(), field(1)),
    ] {
        if wanted != found {
            differences.push(difference("limits", name, (wanted, found)));
        }
    }
    if document != Some(&wanted.document[..]) {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = document.map(shown).unwrap_or_default();
        differences.push(difference("limits", "document", (shown(&wanted.document), found)));
    }
    for one in &mut differences {
        one.sequence = Some(wanted.sequence);
    }
    differences
}
