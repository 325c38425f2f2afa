//! The live venues of this worker: their sessions, the inbox for what they report by themselves, and their prices.
//!
//! - [`balances`]: the balances of a key against the journal; [`venue_uids`]: whose they are.
//! - [`binance`]: the sessions of the settings, one for each API key.
//! - [`environment`]: the environment that the journal's live orders belong to.
//! - [`gauges`]: whether a session takes orders.
//! - [`inbox`]: the bounded queue of a venue's reports; [`notices`]: how each of them is settled.
//! - [`limit_ledger`]: the counts of the venue's request limits, which all workers share.
//! - [`missing_keys`]: open live orders of accounts without a key.
//! - [`orphans`]: fills of orders that are not known here.
//! - [`session`]: the session of a key, as the worker runs it.
//! - [`prices`]: the venue's prices on the bus.

mod accounts;
mod balances;
pub(in crate::worker) mod binance;
pub mod environment;
mod gauges;
pub(in crate::worker) mod inbox;
pub mod limit_ledger;
mod missing_keys;
mod notices;
mod orphans;
mod prices;
mod session;
mod settled_trades;
mod venue_uids;
