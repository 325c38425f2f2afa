//! How many entries the store may hold or a call may return: every collection has a named maximum.

/// The most ledgers that one call reads: Redis serves no other client meanwhile.
pub const MAX_LEDGERS_PER_READ: usize = 64;

/// About how many accounts one look at the accounts that hold something covers: some tenths of a millisecond of Redis.
pub const SWEEP_ACCOUNTS: usize = 64;

/// The most buckets of remembered ids that one look covers: some tenths of a millisecond of Redis.
pub const SWEPT_BUCKETS: usize = 16;

/// The most orders in the outbox: beyond it no new order is claimed.
pub const MAX_OUTBOX_ORDERS: usize = 100_000;

/// The most orders that one read of a work queue returns.
pub const MAX_WAITING_ORDERS: usize = 256;

/// The most open orders of one account at a broker that one read returns; a cancel of all of them handles the rest in
/// further calls.
pub const MAX_OPEN_ORDERS: usize = 10_000;

/// The most pairs of broker and account whose open orders one measurement counts: Redis serves no other client meanwhile.
pub const MAX_OPEN_SETS: usize = 1_000;

/// The most locks in force. One more is refused, and with it the order that it would stop.
pub const MAX_LOCKS: usize = 1_000;

/// The most adjustments that are booked and not yet journaled; one more is refused.
pub const MAX_UNJOURNALED_ADJUSTMENTS: usize = 1_000;
