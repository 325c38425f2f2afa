//! Why a call failed.

use crate::bus::connection::BusError;
use crate::bus::router_client::RequestError;
use crate::fault::Fault;

/// Why a call has no result.
///
/// ```
/// use order_router_client::CallError;
/// use order_router_client::fault::{Fault, FaultCode};
///
/// let halted = CallError::Refused(Fault::new(FaultCode::TradingHalted, "trading is halted"));
/// assert!(!halted.is_retryable());
/// let unknown = CallError::OutcomeUnknown { client_order_id: Some("a-1".to_owned()) };
/// assert_eq!(unknown.to_string(), "no reply in time: the outcome of order a-1 is unknown");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The router refused the call, a risk rule denied the order, or the call was not sent. With a status of 500 or above, or
    /// a code of the client's own, nothing was sent to a broker.
    #[error(transparent)]
    Refused(#[from] Fault),
    /// The call was sent, and no reply arrived in time: it may have been executed, or may be until its deadline. Send it
    /// again under the same id, or read the order.
    #[error("no reply in time: the outcome of {} is unknown", call_name(.client_order_id.as_deref()))]
    OutcomeUnknown {
        /// The caller's id of the order, where the call is about one.
        client_order_id: Option<String>,
    },
    /// The reply is not what the contract says: client and router are of versions that do not fit.
    #[error("this version cannot decode the reply: {0}")]
    Undecodable(String),
}

fn call_name(client_order_id: Option<&str>) -> String {
    client_order_id.map_or_else(|| "the request".to_owned(), |id| format!("order {id}"))
}

impl CallError {
    /// Reports whether the same call, under the same id, can succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(fault) => fault.code.is_retryable(),
            Self::OutcomeUnknown { .. } => true,
            Self::Undecodable(_) => false,
        }
    }

    /// Returns the error with the caller's id of the order, unless it has one.
    #[must_use]
    pub(crate) fn about(self, id: Option<&str>) -> Self {
        match self {
            Self::Refused(fault) if fault.client_order_id.is_none() => Self::Refused(match id {
                Some(id) => fault.with_client_order_id(id),
                None => fault,
            }),
            Self::OutcomeUnknown { client_order_id: None } => Self::OutcomeUnknown {
                client_order_id: id.map(str::to_owned),
            },
            other => other,
        }
    }
}

impl From<RequestError> for CallError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Fault(fault) => Self::Refused(fault),
            RequestError::Timeout => Self::OutcomeUnknown { client_order_id: None },
        }
    }
}

impl From<BusError> for CallError {
    fn from(error: BusError) -> Self {
        RequestError::from(error).into()
    }
}
