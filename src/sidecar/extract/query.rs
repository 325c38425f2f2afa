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
        Ok(Self(pairs))
    }
}

impl QueryParameters {
    /// Takes a parameter and returns it as `parse` reads it, or `None` without the parameter.
    ///
    /// # Errors
    /// `invalid_field` if it is repeated or `parse` refuses it.
    pub(in crate::sidecar) fn take<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, text) = self.0.swap_remove(at);
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(Fault::for_field(FaultCode::InvalidField, name, "must not be repeated"));
        }
        parse(&text)
            .map(Some)
            .map_err(|rule| Fault::for_field(FaultCode::InvalidField, name, rule))
    }

    /// Takes a parameter with several values, which are separated by commas or each in a parameter of its own. Returns each
    /// value as `parse` reads it.
    ///
    /// # Errors
    /// `invalid_field` if `parse` refuses a value.
    pub(in crate::sidecar) fn take_list<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Fault> {
        let given = self.0.extract_if(.., |(known, _)| known == name);
        let texts: Vec<String> = given.map(|(_, text)| text).collect();
        let values = texts.iter().flat_map(|text| text.split(','));
        values
            .map(|value| parse(value).map_err(|rule| Fault::for_field(FaultCode::InvalidField, name, rule)))
            .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> QueryParameters {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        QueryParameters(pairs.iter().map(own).collect())
    }

    #[test]
    fn only_a_list_may_be_repeated() {
        let pairs = [("n", "1"), ("list", "2,3"), ("list", "4")];
        let mut query = parameters(&pairs);
        assert_eq!(query.take_list("list", str::parse::<u8>), Ok(vec![2, 3, 4]));
        assert_eq!(query.take_list("list", str::parse::<u8>), Ok(vec![]));
        assert_eq!(query.take("n", str::parse::<u8>), Ok(Some(1)));
        assert_eq!(query.reject_remaining(), Ok(()));
        let refused = parameters(&pairs).take("list", str::parse::<u8>).unwrap_err();
        assert_eq!(refused.detail, "list must not be repeated");
        for text in ["", "1,", "1,,2", "1, 2"] {
            let refused = parameters(&[("list", text)]).take_list("list", str::parse::<u8>);
            assert_eq!(refused.unwrap_err().field.as_deref(), Some("list"), "{text:?}");
        }
    }
}
