//! The accounts that trade with one API key.

use std::sync::OnceLock;

use tokio::sync::OnceCell;

use crate::domain::id::{AccountId, BrokerId, VenueId};
use crate::domain::time::Timestamp;

/// The accounts that one API key trades for.
#[derive(Debug)]
pub(in crate::worker) struct VenueAccounts {
    /// The broker.
    pub(in crate::worker) broker: BrokerId,
    /// The venue.
    pub(in crate::worker) venue: VenueId,
    /// The name of the API key: a hash of it and the environment.
    pub(in crate::worker) key: String,
    /// The accounts, at least one: fills of orders that are not known here are booked to the first.
    pub(in crate::worker) accounts: Vec<AccountId>,
    /// When the router's mode first became live, once it has been read from the journal: it never changes.
    pub(in crate::worker) first_live: OnceLock<Timestamp>,
    /// The journal as it was at the first look, as `settled_trades` names it.
    pub(in crate::worker) journal: OnceCell<String>,
}
