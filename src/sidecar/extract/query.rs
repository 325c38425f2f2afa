//! The query of a request, read strictly: an ignored parameter could cost money.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::response::problem::ProblemResponse;

/// The maximum number of parameters of a query.
const MAX_PARAMETERS: usize = 32;

/// The parameters that the handler has not taken yet.
#[derive(Debug)]
pub(in crate::sidecar) struct QueryParameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for QueryParameters {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemResponse> {
        let malformed = |detail: String| ProblemResponse(Fault::new(FaultCode::Malformed, detail));
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = query.map_err(|error| malformed(format!("the query string is invalid: {error}")))?;
        if pairs.len() > MAX_PARAMETERS {
            return Err(malformed(format!(
                "the query has more than {MAX_PARAMETERS} parameters"
            )));
        }
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(Fault::for_field(FaultCode::InvalidField, name, "must not be repeated").into());
            }
        }
        Ok(Self(pairs))
    }
}

impl QueryParameters {
    /// Takes a parameter and returns it as `parse` reads it, or `None` without the parameter.
    ///
    /// # Errors
    /// `invalid_field` if `parse` refuses it.
    pub(in crate::sidecar) fn take<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, text) = self.0.swap_remove(at);
        parse(&text)
            .map(Some)
            .map_err(|rule| Fault::for_field(FaultCode::InvalidField, name, rule))
    }

    /// Takes `account_id`. Returns the default account without it.
    ///
    /// # Errors
    /// `invalid_field` if it is not an account id.
    pub(in crate::sidecar) fn take_account(&mut self) -> Result<AccountId, Fault> {
        let account = self.take("account_id", AccountId::new)?;
        Ok(account.unwrap_or_else(AccountId::default_account))
    }

    /// Refuses the parameters that the handler did not take.
    ///
    /// # Errors
    /// `unknown_field` with the name of the first.
    pub(in crate::sidecar) fn reject_remaining(self) -> Result<(), Fault> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name = quoted(name);
                Err(Fault::for_field(
                    FaultCode::UnknownField,
                    &name,
                    "is not a parameter of this request",
                ))
            }
        }
    }
}
