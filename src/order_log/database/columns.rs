//! One list of columns per table: CREATE, INSERT, UPDATE and SELECT are generated from it.
//!
//! [`columns!`] declares the list as an enum, one line a column: variant, name, SQL definition, what an update does with
//! it, and the value that is bound. A column's SQL parameter has the number of its line, in every statement, and a column
//! is read by its variant: no position is counted by hand.

use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::order_log::database::sql_types::{DomainColumn, StoredValue};

/// What an update of a row does to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::order_log) enum OnUpdate {
    /// Keeps the stored value.
    Keep,
    /// Replaces the stored value.
    Replace,
    /// Replaces the stored value, unless the new one is NULL.
    ReplaceIfPresent,
}

/// A column of a table. The first column of a table is the key of its updates.
pub(in crate::order_log) trait Column: Copy + PartialEq + 'static {
    /// The name of the table.
    const TABLE: &'static str;
    /// Every column, in the order of the table.
    const ALL: &'static [Self];

    /// Returns the column's name.
    fn name(self) -> &'static str;

    /// Returns the column's type and constraints, as SQL.
    fn definition(self) -> &'static str;

    /// Returns what an update does to the column.
    fn on_update(self) -> OnUpdate;

    /// Returns the number of the SQL parameter that carries the column's value, from 1.
    fn parameter(self) -> usize;
}

/// Declares the columns of a table.
///
/// `$row` names the source of a row in the values. The generated `write` binds the columns of a statement and runs it.
macro_rules! columns {
    (
        $(#[$doc:meta])*
        $column:ident of $table:literal from $row:ident: $row_type:ty {
            $($variant:ident: $name:literal $definition:literal, $on_update:ident = $value:expr;)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::order_log) enum $column { $($variant),+ }

        impl $crate::order_log::database::columns::Column for $column {
            const TABLE: &'static str = $table;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn definition(self) -> &'static str {
                match self { $(Self::$variant => $definition),+ }
            }

            fn on_update(self) -> $crate::order_log::database::columns::OnUpdate {
                match self { $(Self::$variant => $crate::order_log::database::columns::OnUpdate::$on_update),+ }
            }

            fn parameter(self) -> usize {
                self as usize + 1
            }
        }

        impl $column {
            /// Writes a row by a statement.
            pub(in crate::order_log) fn write(
                connection: &rusqlite::Connection,
                statement: &$crate::order_log::database::columns::RowStatement<Self>,
                $row: &$row_type,
            ) -> rusqlite::Result<()> {
                let mut prepared = connection.prepare_cached(&statement.sql)?;
                for &column in &statement.columns {
                    let parameter = $crate::order_log::database::columns::Column::parameter(column);
                    match column {
                        $(Self::$variant => prepared.raw_bind_parameter(parameter, $value)?,)+
                    }
                }
                prepared.raw_execute().map(drop)
            }
        }
    };
}
pub(in crate::order_log) use columns;

/// A statement that writes one row, and the columns whose values it takes.
#[derive(Debug)]
pub(in crate::order_log) struct RowStatement<C: Column> {
    /// The SQL text.
    pub(in crate::order_log) sql: String,
    /// The columns to bind.
    pub(in crate::order_log) columns: Vec<C>,
}

impl<C: Column> RowStatement<C> {
    /// Returns the statement that adds a row.
    pub(in crate::order_log) fn insert() -> Self {
        Self::write_all("INSERT")
    }

    /// Returns the statement that adds a row, in the place of one with the same primary key.
    pub(in crate::order_log) fn insert_or_replace() -> Self {
        Self::write_all("INSERT OR REPLACE")
    }

    fn write_all(verb: &str) -> Self {
        let names = join(C::ALL, |column| column.name().to_owned());
        let parameters = join(C::ALL, |column| format!("?{}", column.parameter()));
        Self {
            sql: format!("{verb} INTO {} ({names}) VALUES ({parameters})", C::TABLE),
            columns: C::ALL.to_vec(),
        }
    }

    /// Returns the statement that changes the row with the key: only the columns that an update does not keep.
    pub(in crate::order_log) fn update() -> Self {
        let (key, rest) = C::ALL.split_at(1);
        let is_updated = |column: &C| column.on_update() != OnUpdate::Keep;
        let updated: Vec<C> = rest.iter().copied().filter(is_updated).collect();
        let assignments = join(&updated, |column| {
            let (name, parameter) = (column.name(), column.parameter());
            match column.on_update() {
                OnUpdate::ReplaceIfPresent => format!("{name} = coalesce(?{parameter}, {name})"),
                OnUpdate::Keep | OnUpdate::Replace => format!("{name} = ?{parameter}"),
            }
        });
        let is_key = join(key, |column| format!("{} = ?{}", column.name(), column.parameter()));
        Self {
            sql: format!("UPDATE {} SET {assignments} WHERE {is_key}", C::TABLE),
            columns: [key, &updated].concat(),
        }
    }
}

/// Returns the statement that creates a table; `constraints` begins with a comma, if there are any.
pub(in crate::order_log) fn create_table<C: Column>(constraints: &str, options: &str) -> String {
    let columns = join(C::ALL, |column| format!("{} {}", column.name(), column.definition()));
    format!("CREATE TABLE {} ({columns}{constraints}) {options};\n", C::TABLE)
}

fn join<C: Column>(columns: &[C], text: impl Fn(C) -> String) -> String {
    let texts: Vec<String> = columns.iter().map(|&column| text(column)).collect();
    texts.join(", ")
}

/// The columns that a SELECT lists, one after the other.
#[derive(Debug, Clone, Copy)]
pub(in crate::order_log) struct Selection<C: Column> {
    columns: &'static [C],
    /// How many columns the SELECT lists before these.
    first: usize,
}

impl<C: Column> Selection<C> {
    /// Every column of the table.
    pub(in crate::order_log) const ALL: Self = Self::new(C::ALL);

    /// Returns the selection of some columns, at the beginning of a SELECT.
    pub(in crate::order_log) const fn new(columns: &'static [C]) -> Self {
        Self { columns, first: 0 }
    }

    /// Returns the selection of some columns, behind those of another table.
    pub(in crate::order_log) const fn after<B: Column>(before: Selection<B>, columns: &'static [C]) -> Self {
        Self {
            columns,
            first: before.first + before.columns.len(),
        }
    }

    /// Returns the list of columns of a SELECT from a table with an alias.
    pub(in crate::order_log) fn list(self, alias: &str) -> String {
        join(self.columns, |column| format!("{alias}.{}", column.name()))
    }

    /// Returns a result row of the SELECT, to be read by column.
    pub(in crate::order_log) fn of<'r>(self, row: &'r Row<'r>) -> SelectedRow<'r, C> {
        SelectedRow { selection: self, row }
    }
}

/// A result row of a SELECT.
#[derive(Debug, Clone, Copy)]
pub(in crate::order_log) struct SelectedRow<'r, C: Column> {
    selection: Selection<C>,
    row: &'r Row<'r>,
}

impl<C: Column> SelectedRow<'_, C> {
    /// Returns the value of a column.
    ///
    /// # Errors
    /// `InvalidColumnName` for a column that is not selected; a conversion error for a value that is not a `T`.
    pub(in crate::order_log) fn get<T: FromSql>(&self, column: C) -> rusqlite::Result<T> {
        let Selection { columns, first } = self.selection;
        let Some(place) = columns.iter().position(|&selected| selected == column) else {
            return Err(rusqlite::Error::InvalidColumnName(column.name().to_owned()));
        };
        self.row.get(first + place)
    }

    /// Returns the value of a column that stores a value of the domain.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(in crate::order_log) fn get_domain<T: StoredValue>(&self, column: C) -> rusqlite::Result<T> {
        self.get::<DomainColumn<T>>(column).map(|column| column.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_log::tables::executions::ExecutionColumn;
    use crate::order_log::tables::orders::OrderColumn;

    #[test]
    fn insert_binds_every_column_by_its_number() {
        let insert = RowStatement::<ExecutionColumn>::insert();
        assert_eq!(
            insert.sql,
            "INSERT INTO executions (ordinal, id, order_ordinal, exec_id, quantity, price, fees, fee_currency, \
             executed_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        );
        assert_eq!(insert.columns, ExecutionColumn::ALL);
    }

    #[test]
    fn update_sets_only_the_columns_that_reports_change() {
        let update = RowStatement::<OrderColumn>::update();
        assert_eq!(
            update.sql,
            "UPDATE orders SET limit_price = ?12, quantity = ?13, filled_quantity = ?14, status = ?15, is_released = ?16, \
             expires_at = coalesce(?19, expires_at), reported_at = ?20, version = ?24, settlement = ?25, \
             fills_total = ?26, reason = ?28 WHERE ordinal = ?1"
        );
        assert_eq!(update.columns.len(), 12);
    }
}
