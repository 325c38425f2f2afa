//! Tests of the schema: tables match their column lists; files of another version are rebuilt.

use super::*;
use crate::order_log::database::columns::Column;

fn table_columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection
        .prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")
        .unwrap();
    let names = statement.query_map([table], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

fn assert_table_matches<C: Column>(connection: &Connection) {
    let names: Vec<&str> = C::ALL.iter().map(|column| column.name()).collect();
    assert_eq!(table_columns(connection, C::TABLE), names, "{}", C::TABLE);
    for (place, column) in C::ALL.iter().enumerate() {
        assert_eq!(column.parameter(), place + 1, "{}", column.name());
    }
}

#[test]
fn tables_have_the_columns_of_their_lists() {
    let mut connection = Connection::open_in_memory().unwrap();
    create_tables(&mut connection).unwrap();
    assert_table_matches::<OrderColumn>(&connection);
    assert_table_matches::<ExecutionColumn>(&connection);
    assert_table_matches::<PositionColumn>(&connection);
}

#[test]
fn file_is_created_once_and_keeps_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let connection = open_read_write(&path).unwrap();
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    connection
        .execute("INSERT INTO notes (note_id) VALUES ('kept')", [])
        .unwrap();
    drop(connection);
    let connection = open_read_write(&path).unwrap();
    let notes: u32 = connection
        .query_row("SELECT count(*) FROM notes", [], |row| row.get(0))
        .unwrap();
    assert_eq!(notes, 1);
}

#[test]
fn file_of_another_version_or_program_requires_a_rebuild() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    let current = schema_version(&SCHEMA, PROJECTION_VERSION);
    drop(open_read_write(&path).unwrap());
    for other in [1, current - 1, current + 1] {
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", other).unwrap();
        drop(connection);
        assert!(requires_rebuild(&open_read_write(&path).unwrap_err()), "{other}");
    }
    std::fs::write(
        &path,
        "a shopping list, and no database of any kind at all ".repeat(100),
    )
    .unwrap();
    assert!(requires_rebuild(&open_read_write(&path).unwrap_err()));
}

#[test]
fn version_changes_with_the_shape_and_with_the_projection() {
    let current = schema_version(&SCHEMA, PROJECTION_VERSION);
    assert!(current > 0);
    assert_ne!(current, schema_version(&SCHEMA, PROJECTION_VERSION + 1));
    let other_shape = SCHEMA.replace("limit_price TEXT", "limit_price TEXT NOT NULL");
    assert_ne!(current, schema_version(&other_shape, PROJECTION_VERSION));
}
