//! The comparison of ledgers: every sum, and whether the account is listed among those that hold something.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use redis::{Pipeline, Value};

use crate::domain::sum_ledger::{SumHolding, SumLedger};
use crate::store::comparison::types::{ABSENT, StoreDifference, StoreExpectation, StorePlace};
use crate::store::comparison::values::{Fields, text};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::final_state::FLAT_TTL_MS;
use crate::store::script::decode_value;
use crate::store::sums::ledgers::{LedgerOwner, SUMS_FIELD};

/// A ledger as the store holds it.
struct FoundLedger {
    sums: SumLedger,
    /// How many holdings it counts as held.
    held: i128,
}

/// Adds the commands that read a ledger. Returns how many they are.
pub(super) fn add_reads(commands: &mut Pipeline, owner: &LedgerOwner) -> usize {
    let key = owner.key();
    commands.cmd("HGETALL").arg(&key);
    match owner {
        LedgerOwner::Account(mode, _) => {
            commands.cmd("SISMEMBER").arg(keys::holding_accounts(*mode)).arg(&key);
            2
        }
        LedgerOwner::Total(_) => 1,
    }
}

/// Returns the name of a ledger, as a difference has it.
fn name_of(owner: &LedgerOwner) -> String {
    match owner {
        LedgerOwner::Account(mode, account_id) => format!("account {account_id} ({mode})"),
        LedgerOwner::Total(mode) => format!("all accounts ({mode})"),
    }
}

/// Returns every difference of a ledger.
pub(super) fn compare(
    owner: &LedgerOwner,
    values: Vec<Value>,
    expected: &StoreExpectation<'_>,
) -> Result<Vec<StoreDifference>, StoreError> {
    let mut values = values.into_iter();
    let fields: Fields = decode_value(values.next().unwrap_or(Value::Nil))?;
    let is_listed: Option<bool> = values.next().map(decode_value).transpose()?;
    let name = name_of(owner);
    let difference =
        |field: &str, pair: (String, String)| StoreDifference::new(StorePlace::Ledger, name.clone(), field, pair);
    let of_journal = expected.state.ledgers.get(owner).cloned().unwrap_or_default();
    if fields.is_empty() && (may_be_dropped(owner, &of_journal, expected) || of_journal == SumLedger::default()) {
        return Ok(Vec::new());
    }
    let found = match parse_ledger(&fields) {
        Ok(found) => found,
        Err(field) => {
            let found = text(&fields, &field);
            return Ok(vec![difference(&field, ("eight numbers".to_owned(), found))]);
        }
    };
    let mut differences: Vec<StoreDifference> = Vec::new();
    for (field, pair) in compare_sums(&of_journal, &found, expected) {
        differences.push(difference(&field, pair));
    }
    if let Some(is_listed) = is_listed
        && is_listed != of_journal.is_kept()
    {
        let word = |is_listed: bool| if is_listed { "listed" } else { ABSENT }.to_owned();
        differences.push(difference(
            "holding_accounts",
            (word(of_journal.is_kept()), word(is_listed)),
        ));
    }
    Ok(differences)
}

/// Reports whether the ledger of an account that holds nothing may have expired.
fn may_be_dropped(owner: &LedgerOwner, ledger: &SumLedger, expected: &StoreExpectation<'_>) -> bool {
    if matches!(owner, LedgerOwner::Total(_)) || ledger.is_kept() || ledger.open_loss != 0 {
        return false;
    }
    let last_moved = expected.last_moved.map(|moved| moved.get(owner));
    match last_moved {
        Some(Some(at)) => at.saturating_add(Duration::from_millis(FLAT_TTL_MS)) <= expected.now,
        // Nothing but a snapshot is known of it.
        None | Some(None) => true,
    }
}

/// Returns the sums that differ. A ledger on which nothing but a claim that was released has moved since may have begun a
/// later day.
fn compare_sums(
    of_journal: &SumLedger,
    found: &FoundLedger,
    expected: &StoreExpectation<'_>,
) -> Vec<(String, (String, String))> {
    let latest_day = expected.control.day.as_ref();
    let latest_day = latest_day.map_or(i64::MAX, |day| day.trading_date.days_since_1970());
    let mut wanted = of_journal.clone();
    if found.sums.day > wanted.day && found.sums.day <= latest_day {
        (wanted.day, wanted.notional, wanted.fill_result) = (found.sums.day, 0, 0);
    }
    let held = i128::try_from(wanted.held()).unwrap_or(i128::MAX);
    let mut pairs: Vec<(String, i128, i128)> = vec![
        ("day".to_owned(), wanted.day.into(), found.sums.day.into()),
        ("notional".to_owned(), wanted.notional, found.sums.notional),
        ("open_loss".to_owned(), wanted.open_loss, found.sums.open_loss),
        ("fill_result".to_owned(), wanted.fill_result, found.sums.fill_result),
        ("held".to_owned(), held, found.held),
        (
            "unpriced_fees".to_owned(),
            wanted.unpriced_fees,
            found.sums.unpriced_fees,
        ),
    ];
    let holdings: BTreeMap<String, (SumHolding, SumHolding)> = join_holdings(&wanted, &found.sums);
    for (name, (mut wanted, found)) in holdings {
        if found.day > wanted.day && found.day <= latest_day {
            (wanted.day, wanted.start, wanted.cash_flow, wanted.fees) = (found.day, wanted.position, 0, 0);
        }
        for (field, expected, found) in [
            ("long", wanted.long, found.long),
            ("short", wanted.short, found.short),
            ("position", wanted.position, found.position),
            ("start", wanted.start, found.start),
            ("day", wanted.day.into(), found.day.into()),
            ("cash_flow", wanted.cash_flow, found.cash_flow),
            ("fees", wanted.fees, found.fees),
            ("open_orders", wanted.open_orders, found.open_orders),
        ] {
            pairs.push((format!("{name}.{field}"), expected, found));
        }
    }
    let differs = |(_, expected, found): &(String, i128, i128)| expected != found;
    let differing = pairs.into_iter().filter(differs);
    differing
        .map(|(field, expected, found)| (field, (expected.to_string(), found.to_string())))
        .collect()
}

fn join_holdings(wanted: &SumLedger, found: &SumLedger) -> BTreeMap<String, (SumHolding, SumHolding)> {
    let mut joined: BTreeMap<String, (SumHolding, SumHolding)> = BTreeMap::new();
    for ((venue, symbol), holding) in &wanted.holdings {
        joined.entry(keys::holding_name(venue, symbol)).or_default().0 = *holding;
    }
    for ((venue, symbol), holding) in &found.holdings {
        joined.entry(keys::holding_name(venue, symbol)).or_default().1 = *holding;
    }
    joined
}

/// Decodes a ledger.
///
/// # Errors
/// The field that is not readable.
fn parse_ledger(fields: &Fields) -> Result<FoundLedger, String> {
    let mut found = FoundLedger {
        sums: SumLedger::default(),
        held: 0,
    };
    let mut holdings = HashMap::new();
    for name in fields.keys() {
        if name == SUMS_FIELD {
            let [day, notional, open_loss, fill_result, _, _, held, unpriced_fees] =
                parse_numbers(&text(fields, name)).ok_or_else(|| name.clone())?;
            found.held = held;
            found.sums = SumLedger {
                day: i64::try_from(day).map_err(|_| name.clone())?,
                notional,
                open_loss,
                fill_result,
                unpriced_fees,
                ..found.sums
            };
        } else if let Some(instrument) = keys::parse_holding_name(name) {
            let [long, short, position, start, day, cash_flow, fees, open_orders] =
                parse_numbers(&text(fields, name)).ok_or_else(|| name.clone())?;
            let holding = SumHolding {
                long,
                short,
                position,
                start,
                day: i64::try_from(day).map_err(|_| name.clone())?,
                cash_flow,
                fees,
                open_orders,
            };
            holdings.insert(instrument, holding);
        }
    }
    found.sums.holdings = holdings;
    Ok(found)
}

fn parse_numbers(text: &str) -> Option<[i128; 8]> {
    let numbers: Option<Vec<i128>> = text.split(' ').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}
