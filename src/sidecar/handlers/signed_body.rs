//! Requests to change something, signed with their actor, which a client cannot choose itself.

use bytes::Bytes;

use crate::fault::{Fault, FaultCode};
use crate::sidecar::json_splice::{SpliceError, with_text_fields};
use crate::wire::strict_object::StrictObject;

const ACTOR_FIELD: &str = "actor";

/// Returns the request with its actor, and with `default` unless the body has it.
///
/// # Errors
/// `malformed` if the body is not an object, `unknown_field` if it names an actor.
pub(super) fn sign(body: &[u8], actor: &str, default: (&str, &str)) -> Result<Bytes, Fault> {
    sign_fields(body, &[(ACTOR_FIELD, actor)], &[default])
}

/// Returns the request with its actor.
///
/// # Errors
/// As [`sign`].
pub(super) fn sign_as(body: &[u8], actor: &str) -> Result<Bytes, Fault> {
    sign_fields(body, &[(ACTOR_FIELD, actor)], &[])
}

/// Returns the request with its actor, with the id in its path as a field, and with `default` unless the body has it.
///
/// # Errors
/// As [`sign`], and `unknown_field` if the body has the path's field.
pub(super) fn sign_with_path_field(
    body: &[u8],
    actor: &str,
    path_field: (&str, &str),
    default: Option<(&str, &str)>,
) -> Result<Bytes, Fault> {
    sign_fields(body, &[(ACTOR_FIELD, actor), path_field], default.as_slice())
}

fn sign_fields(body: &[u8], fields: &[(&str, &str)], defaults: &[(&str, &str)]) -> Result<Bytes, Fault> {
    with_text_fields(body, fields, defaults).map_err(|error| match error {
        SpliceError::FieldExists(ACTOR_FIELD) => {
            Fault::for_field(FaultCode::UnknownField, ACTOR_FIELD, "is not a field of this request")
        }
        SpliceError::FieldExists(field) => {
            let rule = "must not be in the body: it is part of the path";
            Fault::for_field(FaultCode::UnknownField, field, rule)
        }
        // The reader's fault says more: where the JSON ends, or that the body is too large.
        SpliceError::NotAnObject => StrictObject::from_body(body)
            .err()
            .unwrap_or_else(|| Fault::new(FaultCode::Malformed, "the body is not a JSON object")),
    })
}
