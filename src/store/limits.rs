//! How many entries the store may hold or a call may return: every collection has a named maximum.

/// The most ledgers that one call reads: Redis serves no other client meanwhile.
pub const MAX_LEDGERS_PER_READ: usize = 8;

/// About how many accounts one look at the accounts that hold something covers: some tenths of a millisecond of Redis.
pub const SWEEP_ACCOUNTS: usize = 64;

/// The most buckets of remembered ids that one look covers: some tenths of a millisecond of Redis.
pub const SWEPT_BUCKETS: usize = 16;

/// The most orders in the outbox: beyond it no new order is claimed.
pub const MAX_OUTBOX_ORDERS: usize = 100_000;

/// The most orders that one read of a work queue returns.
pub const MAX_WAITING_ORDERS: usize = 256;

/// About how many open orders one call lists or reads: some tenths of a millisecond of Redis.
pub const OPEN_ORDERS_PAGE: usize = 64;

/// About how many pairs of broker and account with open orders one call lists or counts.
pub const OPEN_SETS_PAGE: usize = 256;

/// The most pairs of broker and account whose open orders one measurement counts.
pub const MAX_OPEN_SETS: usize = 1_000;

/// The most locks in force. One more is refused, and with it the order that it would stop.
pub const MAX_LOCKS: usize = 1_000;

/// The most adjustments that are booked and not yet journaled; one more is refused.
pub const MAX_UNJOURNALED_ADJUSTMENTS: usize = 1_000;

/// The most dead man's switches; one more is not armed.
pub const MAX_DEAD_MAN_SWITCHES: usize = 50_000;

/// The most switches that one call lets fire: some tenths of a millisecond of Redis.
pub const MAX_EXPIRED_SWITCHES: usize = 64;

/// The most switches that one call returns for the journal.
pub const MAX_UNJOURNALED_SWITCHES: usize = 64;

/// How many accounts one call looks up switches of: some tenths of a millisecond of Redis.
pub const SWITCHES_PAGE: usize = 256;

/// How many marks of journaled events, or reads of ledgers, cost Redis about as much as one order: a script call may have so
/// many for each order of `redis.batch_max`.
pub(super) const CHEAP_CALLS_PER_ORDER: usize = 4;
