//! Schemas of parameters, headers and bodies.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::sidecar::extract::page::{DEFAULT_PAGE_LIMIT, MAX_PAGE_LIMIT};
use crate::wire::schema_patterns;

/// Returns a schema. A type with a name becomes a component, and the schema a reference to it.
pub(in crate::sidecar) type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

/// Returns the schema of a type.
pub(in crate::sidecar) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Returns the schema of any text.
pub(in crate::sidecar) fn text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string"})
}

/// Returns the schema of an account.
pub(in crate::sidecar) fn account_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::ACCOUNT})
}

/// Returns the schema of a broker.
pub(in crate::sidecar) fn token_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::TOKEN})
}

/// Returns the schema of an order id.
pub(in crate::sidecar) fn order_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::ORDER_ID})
}

/// Returns the schema of a client order id.
pub(in crate::sidecar) fn client_order_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::CLIENT_ORDER_ID})
}

/// Returns the schema of the header `Idempotency-Key`: a client order id, optionally in double quotes.
pub(in crate::sidecar) fn idempotency_key_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^([!-~]{1,36}|\"[!-~]{1,36}\")$"})
}

/// Returns the schema of a page's limit.
pub(in crate::sidecar) fn page_limit_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_PAGE_LIMIT, "default": DEFAULT_PAGE_LIMIT})
}
