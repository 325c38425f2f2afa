//! The session of Binance Spot as the worker runs it.

use crate::brokers::binance::session::VenueSession;
use crate::worker::venue::inbox::WorkerInbox;
use crate::worker::venue::limit_ledger::SharedLimitLedger;

/// A session whose limits all workers share, and whose reports this worker settles.
pub(super) type BinanceSession = VenueSession<SharedLimitLedger, WorkerInbox>;
