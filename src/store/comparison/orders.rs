//! The comparison of an order: its record while it is open, its remembered id afterwards, and the sets that list it.

use redis::{Pipeline, Value};

use crate::domain::id::OrderId;
use crate::domain::order_key::OrderKey;
use crate::domain::time::Timestamp;
use crate::store::comparison::types::{ABSENT, StoreDifference, StoreExpectation, StorePlace};
use crate::store::comparison::values::{Fields, text};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::record::RecordStage;
use crate::store::orders::remembered::split_entry;
use crate::store::rebuild::final_state::record_fields;
use crate::store::rebuild::fold::FoldedState;
use crate::store::rebuild::fold::record::{FoldedOrder, FoldedStage, OpenPart};
use crate::store::rebuild::fold::remembered::{RememberedId, bucket_of};
use crate::store::script::{EncodedMoves, decode_value};

/// What is read of an order.
struct FoundOrder {
    record: Fields,
    entry: Option<Vec<u8>>,
    /// The sets that list it; `None` where the journal had no open order when it was read.
    sets: Option<FoundSets>,
    /// Whether the one more set lists it.
    is_listed: bool,
}

/// The sets that list an open order.
struct FoundSets {
    is_open: bool,
    is_set_known: bool,
    /// The moment of its next effect, in milliseconds.
    due: Option<String>,
    has_lease: bool,
}

/// Adds the commands that read an order. Returns how many they are.
pub(super) fn add_reads(
    commands: &mut Pipeline,
    key: OrderKey,
    listed_in: Option<&str>,
    state: &FoldedState,
    buckets: u64,
) -> usize {
    let name = key.name();
    commands.cmd("HGETALL").arg(keys::order_record(&key));
    let bucket = format!("{}{}", keys::remembered_ids_bucket(), bucket_of(key, buckets));
    commands.cmd("HGET").arg(bucket).arg(&name);
    let mut count = 2;
    if let Some(open) = state.orders.get(&key).and_then(FoldedOrder::open_part) {
        let set = keys::open_orders(&open.broker, &open.account_id);
        commands.cmd("SISMEMBER").arg(&set).arg(&name);
        commands.cmd("SISMEMBER").arg(keys::open_order_sets()).arg(&set);
        commands.cmd("ZSCORE").arg(keys::due_orders(&open.broker)).arg(&name);
        commands.cmd("ZSCORE").arg(keys::leases()).arg(&name);
        count += 4;
    }
    if let Some(set) = listed_in {
        let command = if keys::is_due_orders(set) {
            "ZSCORE"
        } else {
            "SISMEMBER"
        };
        commands.cmd(command).arg(set).arg(&name);
        count += 1;
    }
    count
}

fn decode(values: Vec<Value>, has_sets: bool, listed_in: Option<&str>) -> Result<FoundOrder, StoreError> {
    let mut values = values.into_iter();
    let mut next = || values.next().unwrap_or(Value::Nil);
    let (record, entry) = (decode_value(next())?, decode_value(next())?);
    let sets = match has_sets {
        false => None,
        true => Some(FoundSets {
            is_open: decode_value(next())?,
            is_set_known: decode_value(next())?,
            due: decode_value(next())?,
            has_lease: decode_value::<Option<String>>(next())?.is_some(),
        }),
    };
    let is_listed = match listed_in {
        None => false,
        Some(set) if keys::is_due_orders(set) => decode_value::<Option<String>>(next())?.is_some(),
        Some(_) => decode_value(next())?,
    };
    Ok(FoundOrder {
        record,
        entry,
        sets,
        is_listed,
    })
}

/// Returns every difference of an order.
pub(super) fn compare(
    key: OrderKey,
    listed_in: Option<&str>,
    has_sets: bool,
    values: Vec<Value>,
    expected: &StoreExpectation<'_>,
) -> Result<Vec<StoreDifference>, StoreError> {
    let order = expected.state.orders.get(&key);
    let open = order.and_then(FoldedOrder::open_part);
    let found = decode(values, has_sets, listed_in)?;
    let mut differences = match order {
        Some(order) => compare_record(order, &found, expected),
        None => compare_unexpected_record(&found.record),
    };
    match (order.zip(open), &found.sets) {
        (Some((order, open)), Some(sets)) => differences.extend(compare_sets(order, open, sets, &found.record)),
        // The journal was read on since.
        (Some(_), None) => differences.push(difference(StorePlace::Order, "open orders", ("listed", "not read yet"))),
        (None, Some(sets)) if sets.is_open || sets.due.is_some() => {
            differences.push(difference(StorePlace::Order, "open orders", (ABSENT, "listed")));
        }
        (None, _) => {}
    }
    differences.extend(compare_entry(key, order.is_some(), found.entry.as_deref(), expected));
    if let Some(set) = listed_in.filter(|set| found.is_listed && !is_list_of(open, set)) {
        differences.push(difference(StorePlace::Order, set, (ABSENT, "listed")));
    }
    let remembered = expected.state.remembered.get(&key);
    let order_id = order.map(|order| order.order_id.clone());
    let order_id = order_id.or_else(|| expected.state.foreign_ids.get(&key).cloned());
    let order_id = order_id.or_else(|| remembered?.order_id(key));
    let order_id = order_id.or_else(|| OrderId::new(&text(&found.record, "o")).ok());
    let sequence = order.map(|order| order.sequence);
    let sequence = sequence.or_else(|| remembered.map(RememberedId::sequence));
    for one in &mut differences {
        one.name = key.name();
        one.order_id.clone_from(&order_id);
        one.sequence = one.sequence.or(sequence);
    }
    Ok(differences)
}

fn difference(place: StorePlace, field: &str, pair: (impl ToString, impl ToString)) -> StoreDifference {
    StoreDifference::new(place, "", field, pair)
}

/// Reports whether a set lists an open order rightly.
fn is_list_of(open: Option<&OpenPart>, set: &str) -> bool {
    open.is_some_and(|open| {
        set == keys::open_orders(&open.broker, &open.account_id) || set == keys::due_orders(&open.broker)
    })
}

fn compare_record(order: &FoldedOrder, found: &FoundOrder, expected: &StoreExpectation<'_>) -> Vec<StoreDifference> {
    let record = &found.record;
    if record.is_empty() {
        let is_dropped = !order.is_open() && is_past(order.since.saturating_add(expected.retention), expected);
        let missing = difference(StorePlace::Order, "record", ("a record", ABSENT));
        return (!is_dropped).then_some(missing).into_iter().collect();
    }
    let mut wanted: Vec<(String, Vec<u8>)> = Vec::new();
    let fields = record_fields(order);
    for pair in fields.chunks_exact(2) {
        if let [name, value] = pair {
            wanted.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        }
    }
    match &order.stage {
        FoldedStage::Open(open) => wanted.push(("doc".to_owned(), open.document.to_vec())),
        FoldedStage::Sending(sending) => {
            let moves = EncodedMoves::new(&sending.scope, &sending.reserved, sending.scope.trading_date);
            wanted.push(("net".to_owned(), moves.to_string().into_bytes()));
        }
        FoldedStage::Released(_) => {}
    }
    let differs = |(name, value): &(String, Vec<u8>)| record.get(name) != Some(value);
    let mut differences = Vec::new();
    for (name, value) in wanted.into_iter().filter(differs) {
        let shown = |bytes: &[u8]| match name.as_str() {
            "h" => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        let stored = record
            .get(&name)
            .map_or_else(|| ABSENT.to_owned(), |stored| shown(stored));
        let of_journal = shown(&value);
        let mut one = difference(StorePlace::Order, &name, (&of_journal, &stored));
        if matches!(name.as_str(), "seq" | "fs" | "sq") {
            one.sequence = of_journal.parse().ok();
            one.repeated_at = stored.parse().ok();
        }
        differences.push(one);
    }
    differences
}

/// Returns the difference of a record that the journal says nothing of. A claim is none of the journal's business, and
/// neither is one that was released before it was announced.
fn compare_unexpected_record(record: &Fields) -> Vec<StoreDifference> {
    let stage = text(record, "st");
    let is_of_store = matches!(
        RecordStage::parse(&stage),
        Ok(RecordStage::Claimed | RecordStage::Releasing | RecordStage::Released)
    );
    if record.is_empty() || is_of_store {
        return Vec::new();
    }
    let found = format!("a record in stage {stage:?}, version {}", text(record, "v"));
    vec![difference(StorePlace::Order, "record", (ABSENT, found))]
}

fn compare_sets(order: &FoldedOrder, open: &OpenPart, sets: &FoundSets, record: &Fields) -> Vec<StoreDifference> {
    let mut differences = Vec::new();
    let word = |is_listed: bool| if is_listed { "listed" } else { ABSENT };
    let mut check = |field: &str, wanted: bool, found: bool| {
        if wanted != found {
            differences.push(difference(StorePlace::Order, field, (word(wanted), word(found))));
        }
    };
    check("open orders", true, sets.is_open);
    check("open sets", true, sets.is_set_known);
    check("leases", matches!(order.stage, FoldedStage::Sending(_)), sets.has_lease);
    let due = open.due_at.map(|at| at.as_milliseconds().to_string());
    // The moment of the next inquiry about an order that was sent is the store's own.
    let is_asked_about = record.contains_key("sent");
    if due != sets.due && !is_asked_about {
        let show = |due: &Option<String>| due.clone().unwrap_or_else(|| ABSENT.to_owned());
        differences.push(difference(StorePlace::Order, "due", (show(&due), show(&sets.due))));
    }
    differences
}

/// Compares the entry of an order that has ended. Of one that was reopened the entry of its first end may stay.
fn compare_entry(
    key: OrderKey,
    is_open: bool,
    entry: Option<&[u8]>,
    expected: &StoreExpectation<'_>,
) -> Vec<StoreDifference> {
    let wanted = expected.state.remembered.get(&key).filter(|_| !is_open);
    let id_of = |id: &RememberedId, tail: &str| match tail {
        "" => id.order_id(key).map(|id| id.to_string()).unwrap_or_default(),
        tail => tail.to_owned(),
    };
    let entry = match entry.map(split_entry) {
        None => None,
        Some(Some((id, tail))) => Some((id, tail)),
        Some(None) => {
            return vec![difference(
                StorePlace::RememberedId,
                "entry",
                ("an entry", "unreadable bytes"),
            )];
        }
    };
    match (wanted, entry) {
        (None, None) => Vec::new(),
        (Some(wanted), None) => {
            let is_dropped = is_past(wanted.remembered_until(), expected);
            let missing = difference(StorePlace::RememberedId, "entry", ("an entry", ABSENT));
            (!is_dropped).then_some(missing).into_iter().collect()
        }
        (None, Some((found, tail))) => {
            let is_dropped = is_open || is_past(found.remembered_until(), expected);
            let shown = format!("an entry of {}, version {}", id_of(&found, &tail), found.version());
            let extra = difference(StorePlace::RememberedId, "entry", (ABSENT, shown));
            (!is_dropped).then_some(extra).into_iter().collect()
        }
        (Some(wanted), Some((found, tail))) => {
            let foreign = expected.state.foreign_ids.get(&key);
            let foreign = foreign.map_or("", |id| id.as_str());
            compare_entries((wanted, &id_of(wanted, foreign)), (&found, &id_of(&found, &tail)))
        }
    }
}

fn compare_entries(
    (wanted, wanted_id): (&RememberedId, &str),
    (found, found_id): (&RememberedId, &str),
) -> Vec<StoreDifference> {
    let content = |id: &RememberedId| -> String {
        let content = id.content().map(|content| content.0).unwrap_or_default();
        content.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let stage = |id: &RememberedId| match id.is_denied() {
        Some(true) => "denied",
        Some(false) => "ended",
        None => "unreadable",
    };
    let mut differences = Vec::new();
    for (field, of_journal, stored) in [
        ("stage", stage(wanted).to_owned(), stage(found).to_owned()),
        ("order id", wanted_id.to_owned(), found_id.to_owned()),
        ("content", content(wanted), content(found)),
        ("version", wanted.version().to_string(), found.version().to_string()),
        (
            "settlement",
            wanted.settlement_end().0.to_string(),
            found.settlement_end().0.to_string(),
        ),
    ] {
        if of_journal != stored {
            differences.push(difference(StorePlace::RememberedId, field, (of_journal, stored)));
        }
    }
    for (field, of_journal, stored) in [
        ("sequence", wanted.sequence(), found.sequence()),
        ("first sequence", wanted.first_sequence(), found.first_sequence()),
    ] {
        if of_journal != stored {
            differences.push(StoreDifference {
                sequence: Some(of_journal),
                repeated_at: Some(stored),
                ..difference(StorePlace::RememberedId, field, (of_journal, stored))
            });
        }
    }
    differences
}

fn is_past(at: Timestamp, expected: &StoreExpectation<'_>) -> bool {
    at <= expected.now
}
