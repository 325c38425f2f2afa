//! Claim and reserve, in one step for all workers (`lua/reserve.lua`).

use serde::Serialize;

use super::connection::Core;
use super::error::StoreError;
use super::keys::{self, OrderKey};
use super::script::{KeyTable, RESERVE, Reply, day_ttl_ms, json};
use crate::domain::id::{BrokerId, ContentHash, LeaseToken, OrderId};
use crate::domain::settlement::{Counter, Scope};
use crate::risk::{Cap, CapLimit, Observed};

/// The most orders that may wait for the journal: beyond it no new one is taken.
pub const MAX_OUTBOX: usize = 100_000;

/// Asks what is known of an id and, where nothing is, to claim, look or deny.
#[derive(Debug, Clone)]
pub struct Reserve {
    /// The id.
    pub key: OrderKey,
    /// The order id it is given if it is new.
    pub order_id: OrderId,
    /// The hash of its content.
    pub content: ContentHash,
    /// What to do if it is new.
    pub action: ReserveAction,
}

/// What to do with an id nothing is known of.
#[derive(Debug, Clone)]
pub enum ReserveAction {
    /// Reserve under every cap and claim, or nothing.
    Claim {
        /// Which sums.
        scope: Scope,
        /// The broker whose open orders it joins.
        broker: BrokerId,
        /// The caps.
        caps: Vec<Cap>,
        /// The lease it is claimed under.
        lease: LeaseToken,
        /// The order's document, for whoever takes an expired lease over.
        document: Vec<u8>,
    },
    /// Only look at the sums.
    Probe {
        /// Which sums.
        scope: Scope,
        /// The caps.
        caps: Vec<Cap>,
    },
    /// Only look whether the id is known.
    Look,
    /// Record the denial as the id's final outcome.
    Deny {
        /// Its journal document.
        document: Vec<u8>,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// The id is known.
    Known(KnownOrder),
    /// Claimed, with what each cap saw.
    Claimed(Vec<Observed>),
    /// A cap had no room; nothing was changed. What each cap saw.
    Over(Vec<Observed>),
    /// Nothing is known of the id. What each cap saw.
    Probed(Vec<Observed>),
    /// The denial is recorded.
    Denied,
    /// The store holds as many keys as it may.
    Full,
    /// A sum would leave the range that is counted exactly.
    Inexact,
}

/// What is known of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOrder {
    /// How far it has come.
    pub stage: Stage,
    /// The hash of its content.
    pub content: ContentHash,
    /// Its order id.
    pub order_id: OrderId,
    /// Its version.
    pub version: u32,
    /// The version that is on the journal.
    pub journaled_version: u32,
    /// That version's journal sequence; 0 while none is.
    pub journal_sequence: u64,
}

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Claimed by a worker; nothing has been sent.
    Claimed,
    /// At its venue.
    Open,
    /// Ended.
    Ended,
    /// Denied by a risk rule.
    Denied,
}

impl Stage {
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "claimed" => Ok(Self::Claimed),
            "open" => Ok(Self::Open),
            "ended" => Ok(Self::Ended),
            "denied" => Ok(Self::Denied),
            other => Err(StoreError::Corrupt(format!("an order's stage is {other:?}"))),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Open => "open",
            Self::Ended => "ended",
            Self::Denied => "denied",
        }
    }
}

#[derive(Serialize)]
struct Command<'a> {
    k: usize,
    i: usize,
    op: usize,
    n: String,
    o: &'a str,
    h: &'a str,
    a: &'static str,
    t: &'a str,
    l: u64,
    c: Vec<(usize, &'static str, i64, i64, &'static str, bool)>,
}

/// Runs a batch.
pub(super) async fn run(core: Core, batch: Vec<Reserve>) -> Result<Vec<Reserved>, StoreError> {
    let epoch = core.epoch()?;
    let mut keys = KeyTable::new(vec![keys::meta(), keys::state(), keys::leases(), keys::outbox()]);
    let mut arguments = Vec::with_capacity(batch.len() * 2);
    for reserve in &batch {
        let (command, document) = encode(reserve, &mut keys, core.settings.lease_ms);
        arguments.push((json(&command)?, document));
    }
    let mut command = RESERVE.call(epoch, keys.keys());
    command.arg(core.settings.max_keys).arg(day_ttl_ms()).arg(MAX_OUTBOX);
    for (json, document) in &arguments {
        command.arg(json).arg(*document);
    }
    let replies = core.query(command).await.and_then(Reply::all_of);
    core.noting(epoch, replies)?.into_iter().map(decode).collect()
}

fn encode<'a>(reserve: &'a Reserve, keys: &mut KeyTable, lease_ms: u64) -> (Command<'a>, &'a [u8]) {
    let k = keys.own(reserve.key.record());
    let i = keys.own(keys::index(&reserve.order_id));
    let (a, scope, caps, t, op, document): (_, _, &[Cap], _, _, &[u8]) = match &reserve.action {
        ReserveAction::Claim {
            scope,
            broker,
            caps,
            lease,
            document,
        } => {
            let op = keys.place(keys::open(broker, reserve.key.account_id()));
            ("claim", Some(scope), caps, lease.as_str(), op, document)
        }
        ReserveAction::Probe { scope, caps } => ("probe", Some(scope), caps, "", 0, &[]),
        ReserveAction::Look => ("probe", None, &[], "", 0, &[]),
        ReserveAction::Deny { document } => ("deny", None, &[], "", 0, document),
    };
    let c = scope.map_or_else(Vec::new, |scope| {
        caps.iter().map(|cap| encode_cap(cap, scope, keys)).collect()
    });
    let command = Command {
        k,
        i,
        op,
        n: reserve.key.name(),
        o: reserve.order_id.as_str(),
        h: &reserve.content.0,
        a,
        t,
        l: lease_ms,
        c,
    };
    (command, document)
}

fn encode_cap(cap: &Cap, scope: &Scope, keys: &mut KeyTable) -> (usize, &'static str, i64, i64, &'static str, bool) {
    let (key, field) = keys::counter(scope, cap.counter);
    let (limit, shared) = match cap.limit {
        CapLimit::Fixed(limit) => (limit, ""),
        CapLimit::DailyNotional(limit) => (limit, keys::DAILY_NOTIONAL_LIMIT),
    };
    (
        keys.place(key),
        field,
        cap.delta,
        limit,
        shared,
        cap.counter == Counter::DailyNotional,
    )
}

fn decode(mut reply: Reply) -> Result<Reserved, StoreError> {
    Ok(match reply.verdict.as_str() {
        "known" => Reserved::Known(decode_known(&mut reply)?),
        "claimed" => Reserved::Claimed(decode_observed(&mut reply)?),
        "over" => Reserved::Over(decode_observed(&mut reply)?),
        "probed" => Reserved::Probed(decode_observed(&mut reply)?),
        "denied" => Reserved::Denied,
        "full" => Reserved::Full,
        "inexact" => Reserved::Inexact,
        _ => return Err(reply.unexpected()),
    })
}

/// Reads stage, hash, order id, version, journaled version and journal sequence.
pub(super) fn decode_known(reply: &mut Reply) -> Result<KnownOrder, StoreError> {
    Ok(KnownOrder {
        stage: Stage::parse(&reply.text()?)?,
        content: ContentHash(reply.text()?.into()),
        order_id: OrderId::new(&reply.text()?).map_err(|rule| StoreError::Corrupt(format!("an order id {rule}")))?,
        version: reply.integer()?,
        journaled_version: reply.integer()?,
        journal_sequence: reply.integer()?,
    })
}

fn decode_observed(reply: &mut Reply) -> Result<Vec<Observed>, StoreError> {
    let mut observed = Vec::new();
    while reply.has_more() {
        observed.push(Observed {
            before: reply.integer()?,
            limit: reply.integer()?,
        });
    }
    Ok(observed)
}
