//! How values of the domain are stored: terms and exact decimals as text, points in time as microseconds since 1970,
//! lists as JSON.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Null, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;

/// A value stored as JSON text.
pub(in crate::order_log) struct JsonColumn<T>(pub(in crate::order_log) T);

/// A whole number stored as text: SQLite's integers have 64 bits.
pub(in crate::order_log) struct WideInteger(pub(in crate::order_log) i128);

/// A value of the domain in a column, or none.
pub(in crate::order_log) struct DomainColumn<T>(pub(in crate::order_log) T);

/// How a value of the domain is stored.
pub(in crate::order_log) trait StoredValue: Sized {
    /// Returns the value of a column.
    ///
    /// # Errors
    /// When the column holds no such value.
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self>;

    /// Returns what a column stores.
    fn to_column(&self) -> ToSqlOutput<'_>;
}

macro_rules! stored_terms {
    ($($term:ty),+) => {$(
        impl StoredValue for $term {
            fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
                <$term>::parse(value.as_str()?).ok_or(FromSqlError::InvalidType)
            }

            fn to_column(&self) -> ToSqlOutput<'_> {
                self.as_str().into()
            }
        }
    )+};
}

stored_terms!(Side, OrderType, OrderStatus, TimeInForce, Mode);

impl StoredValue for Decimal {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(conversion_error)
    }

    fn to_column(&self) -> ToSqlOutput<'_> {
        self.to_string().into()
    }
}

impl StoredValue for Timestamp {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_microseconds)
    }

    fn to_column(&self) -> ToSqlOutput<'_> {
        self.as_microseconds().into()
    }
}

impl<T: StoredValue> StoredValue for Option<T> {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::from_column(value).map(Some),
        }
    }

    fn to_column(&self) -> ToSqlOutput<'_> {
        self.as_ref().map_or(ToSqlOutput::from(Null), T::to_column)
    }
}

impl<T: StoredValue> FromSql for DomainColumn<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        T::from_column(value).map(Self)
    }
}

impl<T: StoredValue> ToSql for DomainColumn<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_column())
    }
}

impl<T: DeserializeOwned> FromSql for JsonColumn<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Self)
            .map_err(conversion_error)
    }
}

impl<T: Serialize> ToSql for JsonColumn<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0);
        text.map(Into::into)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

impl FromSql for WideInteger {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(conversion_error)
    }
}

impl ToSql for WideInteger {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

fn conversion_error(error: impl std::error::Error + Send + Sync + 'static) -> FromSqlError {
    FromSqlError::Other(Box::new(error))
}
