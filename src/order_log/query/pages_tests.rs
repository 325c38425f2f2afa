//! Round trips through the file: a row whose columns all differ reads back as it was written, so that two columns swapped in
//! a list, or in a row reader, are found.

use rusqlite::types::Value;
use serde_json::json;

use super::*;
use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::position_book::{PositionBook, PositionBookParts};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::settlement_end::SettlementEnd;
use crate::order_log::database::columns::Column;
use crate::order_log::database::schema::open_read_write;
use crate::order_log::ingest::entry::LoggedReport;
use crate::order_log::tables::executions::{self, ExecutionRow};
use crate::order_log::tables::orders::{self, OrderRow};
use crate::order_log::tables::positions::{self, PositionColumn, PositionRow};
use crate::wire::report::ReportedFill;

struct LogFile {
    connection: Connection,
    _directory: tempfile::TempDir,
}

fn create_file() -> LogFile {
    let directory = tempfile::tempdir().unwrap();
    let connection = open_read_write(&directory.path().join("orders.sqlite")).unwrap();
    LogFile {
        connection,
        _directory: directory,
    }
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn second(second: u32) -> Timestamp {
    Timestamp::parse(&format!("2026-03-02T09:00:{second:02}Z")).unwrap()
}

/// Returns a report in which every field differs from every other one.
fn first_report() -> LoggedReport {
    let text = json!({
        "order_id": "BN-1", "client_order_id": "client-2", "account_id": "account-3", "status": "accepted",
        "broker": "broker-4", "venue": "venue-5", "symbol": "SYMBOL6", "side": "sell", "order_type": "limit",
        "time_in_force": "FOK", "price": 7.5, "quantity": 8.5, "filled_quantity": 0, "submitted_at": second(9),
        "updated_at": second(10), "fills": [], "fills_total": 11, "tags": ["tag-12", "strategy:13"], "mode": "dry_run",
        "version": 14, "reason": {"code": "outcome_unknown", "message": "message-15"},
        "settlement": {"id": "00000000-0000-0000-0000-00000000003f", "lot_size": 0.5, "base_rate": 1, "due": {"at": second(16), "action": "expire"}},
    });
    serde_json::from_str(&text.to_string()).unwrap()
}

/// Returns a later report: what a report changes has changed, and everything else would if it were written.
fn second_report() -> LoggedReport {
    let text = json!({
        "order_id": "BN-21", "client_order_id": "client-22", "account_id": "account-23", "status": "partially_filled",
        "broker": "broker-24", "venue": "venue-25", "symbol": "SYMBOL26", "side": "buy", "order_type": "market",
        "time_in_force": "GTC", "price": null, "quantity": 28.5, "filled_quantity": 3.25, "submitted_at": second(29),
        "updated_at": second(30), "fills": [], "fills_total": 31, "tags": ["tag-32"], "mode": "live", "version": 34,
        "reason": null,
    });
    serde_json::from_str(&text.to_string()).unwrap()
}

fn order_row(report: &LoggedReport) -> OrderRow<'_> {
    OrderRow {
        ordinal: 17,
        sequence: 18,
        stored_at: second(19),
        status: report.status,
        claim: Some("claim-20"),
        report,
    }
}

fn fill() -> ReportedFill {
    ReportedFill {
        exec_id: "exec-41".to_owned(),
        quantity: decimal("42.5"),
        price: decimal("43.5"),
        timestamp: second(44),
        fee: decimal("0.45"),
        fee_currency: "FEE46".to_owned(),
    }
}

fn execution_row(fill: &ReportedFill) -> ExecutionRow<'_> {
    ExecutionRow {
        ordinal: 47,
        id: 48,
        order_ordinal: 17,
        stored_at: second(49),
        fill,
    }
}

fn position_row() -> PositionRow {
    let parts = PositionBookParts {
        quantity: 51,
        cost: 52,
        realized: -53,
        fees: 54,
    };
    PositionRow {
        mode: Mode::Live,
        account_id: "account-55".to_owned(),
        venue: "venue-56".to_owned(),
        symbol: "SYMBOL57".to_owned(),
        broker: "broker-58".to_owned(),
        book: PositionBook::from_parts(parts).unwrap(),
        lot_size: decimal("0.59"),
        base_rate: decimal("0.6"),
        base_asset: Some("ASSET61".to_owned()),
        is_exact: false,
    }
}

/// Returns the record of the first report.
fn first_record() -> OrderRecord {
    OrderRecord {
        id: 18,
        external_order_id: "BN-1".to_owned(),
        correlation_id: "client-2".to_owned(),
        account_id: "account-3".to_owned(),
        broker: "broker-4".to_owned(),
        venue: "venue-5".to_owned(),
        symbol: "SYMBOL6".to_owned(),
        side: Side::Sell,
        order_type: OrderType::Limit,
        quantity: decimal("8.5"),
        filled_quantity: Decimal::ZERO,
        limit_price: Some(decimal("7.5")),
        stop_price: None,
        status: OrderStatus::Accepted,
        time_in_force: TimeInForce::Fok,
        submitted_at: second(9),
        expires_at: Some(second(16)),
        notes: None,
        tags: vec!["tag-12".to_owned(), "strategy:13".to_owned()],
        created_at: second(19),
        updated_at: second(10),
        mode: Mode::DryRun,
        reason: Some(Reason::new(ReasonCode::OutcomeUnknown, "message-15")),
        executions: Vec::new(),
        executions_total: 11,
    }
}

/// Asserts that no two columns of a table's only row hold the same value, but for NULL: a swap of two would show.
fn assert_columns_differ<C: Column>(connection: &Connection) {
    let selection = Selection::<C>::ALL;
    let sql = format!("SELECT {} FROM {} t", selection.list("t"), C::TABLE);
    let values: Vec<Value> = connection
        .query_row(&sql, [], |row| {
            let row = selection.of(row);
            C::ALL.iter().map(|&column| row.get(column)).collect()
        })
        .unwrap();
    for (place, value) in values.iter().enumerate() {
        let twin = values[..place].iter().position(|other| other == value);
        let twin = twin.filter(|_| *value != Value::Null).map(|twin| C::ALL[twin].name());
        assert_eq!(
            twin,
            None,
            "{} of {} has the same value",
            C::ALL[place].name(),
            C::TABLE
        );
    }
}

#[test]
fn order_reads_back_as_it_was_written() {
    let file = create_file();
    let report = first_report();
    orders::insert(&file.connection, &order_row(&report)).unwrap();
    assert_columns_differ::<OrderColumn>(&file.connection);
    assert_eq!(load_order(&file.connection, 17).unwrap(), first_record());
    let found = orders::find(&file.connection, "BN-1").unwrap().unwrap();
    assert_eq!(
        (found.ordinal, found.version, found.status, found.is_released),
        (17, 14, OrderStatus::Accepted, false)
    );
    assert_eq!(found.settlement, SettlementEnd(63));
    assert_eq!(
        (
            found.claim.as_deref(),
            found.fills_total,
            found.filled_quantity.as_str()
        ),
        (Some("claim-20"), 11, "0")
    );
    assert!(orders::find(&file.connection, "BN-2").unwrap().is_none());
}

#[test]
fn later_report_replaces_what_reports_change_and_keeps_the_rest() {
    let file = create_file();
    orders::insert(&file.connection, &order_row(&first_report())).unwrap();
    orders::mark_released(&file.connection, 17, Some("claim-20")).unwrap();
    let report = second_report();
    let row = OrderRow {
        sequence: 38,
        stored_at: second(39),
        claim: None,
        ..order_row(&report)
    };
    orders::update(&file.connection, &row).unwrap();
    let expected = OrderRecord {
        limit_price: report.price,
        quantity: report.quantity,
        status: OrderStatus::PartiallyFilled,
        filled_quantity: decimal("3.25"),
        updated_at: second(30),
        reason: None,
        executions_total: 31,
        ..first_record()
    };
    assert_eq!(load_order(&file.connection, 17).unwrap(), expected);
    let found = orders::find(&file.connection, "BN-1").unwrap().unwrap();
    assert_eq!(
        (found.version, found.is_released, found.claim.as_deref()),
        (34, false, Some("claim-20"))
    );
}

#[test]
fn annotations_read_back_and_count_as_an_update() {
    let file = create_file();
    orders::insert(&file.connection, &order_row(&first_report())).unwrap();
    let mut annotations = orders::find_annotations(&file.connection, "BN-1", "account-3")
        .unwrap()
        .unwrap();
    annotations.notes = Some("note-35".to_owned());
    annotations.tags.push("tag-36".to_owned());
    assert_eq!((annotations.reported_at, annotations.noted_at), (second(10), None));
    annotations.noted_at = Some(second(37));
    orders::update_annotations(&file.connection, &annotations).unwrap();
    assert_columns_differ::<OrderColumn>(&file.connection);
    let expected = OrderRecord {
        notes: Some("note-35".to_owned()),
        tags: ["tag-12", "strategy:13", "tag-36"].map(str::to_owned).to_vec(),
        updated_at: second(37),
        ..first_record()
    };
    assert_eq!(load_order(&file.connection, 17).unwrap(), expected);
    let other_account = orders::find_annotations(&file.connection, "BN-1", "account-4").unwrap();
    assert!(other_account.is_none());
}

#[test]
fn execution_reads_back_with_what_it_shows_of_its_order() {
    let file = create_file();
    orders::insert(&file.connection, &order_row(&first_report())).unwrap();
    executions::insert(&file.connection, &execution_row(&fill())).unwrap();
    assert_columns_differ::<ExecutionColumn>(&file.connection);
    let expected = ExecutionRecord {
        id: 48,
        order_id: 18,
        external_execution_id: "exec-41".to_owned(),
        correlation_id: "client-2".to_owned(),
        account_id: "account-3".to_owned(),
        symbol: "SYMBOL6".to_owned(),
        side: Side::Sell,
        quantity: decimal("42.5"),
        price: decimal("43.5"),
        fees: decimal("0.45"),
        fee_currency: "FEE46".to_owned(),
        liquidity: None,
        executed_at: second(44),
        created_at: second(49),
        notes: None,
        tags: vec!["tag-12".to_owned(), "strategy:13".to_owned()],
    };
    assert_eq!(load_execution(&file.connection, 47).unwrap(), expected);
    assert_eq!(load_order(&file.connection, 17).unwrap().executions, [expected]);
}

#[test]
fn position_reads_back_as_it_was_written() {
    let file = create_file();
    let row = position_row();
    positions::replace(&file.connection, &row).unwrap();
    assert_columns_differ::<PositionColumn>(&file.connection);
    assert_eq!(
        positions::list(&file.connection, None).unwrap(),
        std::slice::from_ref(&row)
    );
    let changed = PositionRow {
        lot_size: decimal("0.01"),
        ..row
    };
    positions::replace(&file.connection, &changed).unwrap();
    let key = (
        changed.mode,
        changed.account_id.clone(),
        changed.venue.clone(),
        changed.symbol.clone(),
    );
    assert_eq!(positions::find(&file.connection, &key).unwrap(), Some(changed));
}

#[test]
fn column_outside_a_selection_is_an_error() {
    let file = create_file();
    orders::insert(&file.connection, &order_row(&first_report())).unwrap();
    let narrow = Selection::new(&[OrderColumn::Broker]);
    let sql = format!("SELECT {} FROM orders o", narrow.list("o"));
    let (broker, venue) = file
        .connection
        .query_row(&sql, [], |row| {
            let row = narrow.of(row);
            Ok((
                row.get::<String>(OrderColumn::Broker)?,
                row.get::<String>(OrderColumn::Venue),
            ))
        })
        .unwrap();
    assert_eq!(broker, "broker-4");
    assert!(matches!(venue, Err(rusqlite::Error::InvalidColumnName(name)) if name == "venue"));
}

#[test]
fn cursor_continues_where_the_last_page_ended_in_either_direction() {
    let matched: RoaringBitmap = [1, 2, 5, 7, 8].into_iter().collect();
    let window = |sort, limit, offset| PageWindow {
        sort,
        limit,
        offset,
        after: None,
    };
    let (asc, desc) = (SortDirection::Asc, SortDirection::Desc);
    for (window, boundary, ordinals, offset) in [
        (window(desc, 2, 0), None, vec![8, 7], 0),
        (window(desc, 2, 4), None, vec![1], 4),
        (window(desc, 2, 9), None, vec![], 9),
        (window(asc, 2, 1), None, vec![2, 5], 1),
        (window(desc, 2, 0), Some(7), vec![5, 2], 2),
        (window(desc, 2, 1), Some(7), vec![2, 1], 3),
        (window(asc, 2, 0), Some(8), vec![8], 4),
        // A row that does not match any more is a cursor, too.
        (window(desc, 2, 0), Some(6), vec![5, 2], 2),
        (window(asc, 9, 0), Some(6), vec![7, 8], 3),
        // Before the first and after the last row.
        (window(desc, 2, 0), Some(0), vec![], 5),
        (window(asc, 2, 0), Some(0), vec![1, 2], 0),
        (window(asc, 2, 0), Some(9), vec![], 5),
    ] {
        let selected = select_window(&matched, window, boundary);
        assert_eq!(
            (selected.ordinals, selected.offset, selected.total),
            (ordinals, offset, 5),
            "{window:?} {boundary:?}"
        );
    }
}
