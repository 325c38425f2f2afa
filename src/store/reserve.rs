//! Claim and reserve, in one step for all workers (`lua/reserve.lua`).

use serde::Serialize;

use super::connection::Core;
use super::day::MAX_HOLDINGS;
use super::error::StoreError;
use super::keys::{self, OrderKey};
use super::script::{KeyTable, Move, RESERVE, Reply, day_ttl_ms, json};
use crate::domain::id::{BrokerId, ContentHash, LeaseToken, OrderId};
use crate::domain::settlement::{Counter, Deltas, Scope};
use crate::domain::signal::Level;
use crate::domain::terms::Side;
use crate::risk::limits::{AlertLevels, Duplicates, RateLimits};
use crate::risk::{Cap, Measure, Observed, Sight};

/// The most orders that may wait for the journal: beyond it no new one is taken.
pub const MAX_OUTBOX: usize = 100_000;

/// How old the figures may be that an order was judged by when it is claimed: their age when it was judged, and what the
/// way to Redis may take. A worker that slept in between judges anew.
pub const MAX_JUDGED_AGE_MS: i64 = 1_000;

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
    /// Judge it by the shared sums, and claim it where the question asks for that.
    Judge(Box<Question>),
    /// Only look whether the id is known.
    Look,
    /// Record the denial as the id's final outcome.
    Deny {
        /// Its journal document.
        document: Vec<u8>,
    },
}

/// What the store is asked about an order.
#[derive(Debug, Clone)]
pub struct Question {
    /// Which sums.
    pub scope: Scope,
    /// The broker, whose open orders it joins.
    pub broker: BrokerId,
    /// Its side.
    pub side: Side,
    /// Its quantity in lots.
    pub lots: i64,
    /// The lot in units of 1e-8, where fees may be paid in the base asset.
    pub base_lot: Option<i64>,
    /// The generation of the control it was judged by.
    pub generation: u64,
    /// When the figures were taken that it was judged by, in milliseconds by Redis' clock.
    pub judged_at_ms: i64,
    /// The caps.
    pub caps: Vec<Cap>,
    /// When rules alert.
    pub alerts: AlertLevels,
    /// How many orders the account and the broker may have in a second.
    pub rates: RateLimits,
    /// What makes it a duplicate, where that is judged: the terms that duplicates share.
    pub duplicate: Option<(Duplicates, String)>,
    /// Whether it counts: a dry run is looked at and leaves nothing behind.
    pub counts: bool,
    /// The claim, unless the sums are only to be looked at.
    pub claim: Option<ClaimOf>,
}

/// How an order is claimed.
#[derive(Debug, Clone)]
pub struct ClaimOf {
    /// Only if it turns out to be a reduction.
    pub only_reductions: bool,
    /// What it takes of the shared sums.
    pub deltas: Deltas,
    /// The lease it is claimed under.
    pub lease: LeaseToken,
    /// The order's document, for whoever takes an expired lease over.
    pub document: Vec<u8>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// The id is known.
    Known(KnownOrder),
    /// The control has changed to this generation: the order is to be judged anew.
    Outdated(u64),
    /// Claimed.
    Claimed(Sight),
    /// Something had no room; nothing was reserved.
    Over(Sight),
    /// Nothing is known of the id, and nothing was reserved.
    Probed(Sight),
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
    /// On its way to a venue that outlives us: it may have been sent, and nothing has been told of it.
    Sending,
    /// It was given back and nothing of it was sent; that is not known to be on the journal yet.
    Releasing,
    /// It was given back and nothing of it was sent: the same order may be claimed anew, under its own id.
    Released,
    /// At its venue.
    Open,
    /// Ended.
    Ended,
    /// Denied by a risk rule.
    Denied,
}

impl Stage {
    /// Whether it is under way, with nothing to tell of it yet.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Claimed | Self::Sending | Self::Releasing)
    }

    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "claimed" => Ok(Self::Claimed),
            "sending" => Ok(Self::Sending),
            "releasing" => Ok(Self::Releasing),
            "released" => Ok(Self::Released),
            "open" => Ok(Self::Open),
            "ended" => Ok(Self::Ended),
            "denied" => Ok(Self::Denied),
            other => Err(StoreError::Corrupt(format!("an order's stage is {other:?}"))),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Sending => "sending",
            Self::Releasing => "releasing",
            Self::Released => "released",
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
    n: String,
    o: &'a str,
    h: &'a str,
    a: &'static str,
    #[serde(flatten)]
    judged: Option<JudgedBy>,
    #[serde(flatten)]
    claimed: Option<ClaimedBy<'a>>,
}

#[derive(Serialize)]
struct JudgedBy {
    g: u64,
    v: i64,
    x: (usize, &'static str, i64, i64, i64),
    c: Vec<CapBy>,
    w: Vec<(usize, i64)>,
    m: bool,
    u: DuplicateBy,
}

/// Key index, field, delta, most, alert from, calm below, whether reductions pass, name of the alert.
#[derive(Serialize)]
struct CapBy(usize, &'static str, i64, i64, AlertFrom, i64, bool, String);

#[derive(Serialize)]
#[serde(untagged)]
enum AlertFrom {
    At(i64),
    Never(bool),
}

#[derive(Serialize)]
#[serde(untagged)]
enum DuplicateBy {
    Judged(usize, i64, bool),
    Off(bool),
}

#[derive(Serialize)]
struct ClaimedBy<'a> {
    op: usize,
    oa: usize,
    t: &'a str,
    l: u64,
    d: Vec<Move>,
    s: usize,
    sn: String,
}

/// Runs a batch.
pub(super) async fn run(core: Core, batch: Vec<Reserve>) -> Result<Vec<Reserved>, StoreError> {
    let epoch = core.epoch()?;
    let mut keys = KeyTable::new(vec![keys::meta(), keys::state(), keys::leases(), keys::outbox()]);
    let mut arguments = Vec::with_capacity(batch.len() * 2);
    let mut alert_repeat_ms = 0;
    for reserve in &batch {
        if let ReserveAction::Judge(question) = &reserve.action {
            alert_repeat_ms = question.alerts.repeat_ms;
        }
        let (command, document) = encode(reserve, &mut keys, core.settings.lease_ms);
        arguments.push((json(&command)?, document));
    }
    let mut command = RESERVE.call(epoch, keys.keys());
    command
        .arg(core.settings.max_keys)
        .arg(day_ttl_ms())
        .arg(MAX_OUTBOX)
        .arg(alert_repeat_ms)
        .arg(MAX_HOLDINGS)
        .arg(MAX_JUDGED_AGE_MS);
    for (json, document) in &arguments {
        command.arg(json).arg(*document);
    }
    let replies = core.query(command).await.and_then(Reply::all_of);
    core.noting(epoch, replies)?.into_iter().map(decode).collect()
}

fn encode<'a>(reserve: &'a Reserve, keys: &mut KeyTable, lease_ms: u64) -> (Command<'a>, &'a [u8]) {
    let mut command = Command {
        k: keys.own(reserve.key.record()),
        i: keys.own(keys::index(&reserve.order_id)),
        n: reserve.key.name(),
        o: reserve.order_id.as_str(),
        h: &reserve.content.0,
        a: "look",
        judged: None,
        claimed: None,
    };
    match &reserve.action {
        ReserveAction::Look => (command, &[]),
        ReserveAction::Deny { document } => {
            command.a = "deny";
            (command, document)
        }
        ReserveAction::Judge(question) => {
            command.judged = Some(encode_question(question, keys));
            let Some(claim) = &question.claim else {
                command.a = "probe";
                return (command, &[]);
            };
            command.a = if claim.only_reductions { "reduce" } else { "claim" };
            command.claimed = Some(ClaimedBy {
                op: keys.place(keys::open(&question.broker, reserve.key.account_id())),
                oa: keys.place(keys::open_sets()),
                t: claim.lease.as_str(),
                l: lease_ms,
                d: keys.moves(&question.scope, &claim.deltas),
                s: keys.place(keys::sums_names(question.scope.mode)),
                sn: keys::sums_name(&question.scope),
            });
            (command, &claim.document)
        }
    }
}

fn encode_question(question: &Question, keys: &mut KeyTable) -> JudgedBy {
    let scope = &question.scope;
    let (counter, sign) = match question.side {
        Side::Buy => (Counter::Long, -1),
        Side::Sell => (Counter::Short, 1),
    };
    let (key, field) = keys::counter(scope, counter);
    let exposure = keys.place(key);
    let caps = question.caps.iter();
    JudgedBy {
        g: question.generation,
        v: question.judged_at_ms,
        x: (exposure, field, question.lots, sign, question.base_lot.unwrap_or(0)),
        c: caps.map(|cap| encode_cap(cap, question, exposure, keys)).collect(),
        w: vec![
            (
                keys.place(keys::account_rate(scope.mode, &scope.account_id)),
                question.rates.account,
            ),
            (
                keys.place(keys::broker_rate(scope.mode, &question.broker)),
                question.rates.broker,
            ),
        ],
        m: question.counts,
        u: match &question.duplicate {
            None => DuplicateBy::Off(false),
            Some((rule, terms)) => DuplicateBy::Judged(
                keys.place(keys::duplicate(scope.mode, terms)),
                rule.window_ms,
                rule.level == Level::Lock,
            ),
        },
    }
}

fn encode_cap(cap: &Cap, question: &Question, exposure: usize, keys: &mut KeyTable) -> CapBy {
    let scope = &question.scope;
    let (key, field) = match cap.measure {
        Measure::Sum(counter) => {
            let (key, field) = keys::counter(scope, counter);
            (keys.place(key), field)
        }
        Measure::Exposure => (exposure, "@"),
        Measure::Known => (keys.place(keys::account(scope.mode, &scope.account_id)), ""),
    };
    let (from, calm) = match cap.alert_at(question.alerts) {
        Some((from, calm)) => (AlertFrom::At(from), calm),
        None => (AlertFrom::Never(false), 0),
    };
    CapBy(
        key,
        field,
        cap.delta,
        cap.room(),
        from,
        calm,
        cap.spares_reductions,
        cap.alert_name(),
    )
}

fn decode(mut reply: Reply) -> Result<Reserved, StoreError> {
    Ok(match reply.verdict.as_str() {
        "known" => Reserved::Known(decode_known(&mut reply)?),
        "generation" => Reserved::Outdated(reply.integer()?),
        "claimed" => Reserved::Claimed(decode_sight(&mut reply)?),
        "over" => Reserved::Over(decode_sight(&mut reply)?),
        "probed" => Reserved::Probed(decode_sight(&mut reply)?),
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

fn decode_sight(reply: &mut Reply) -> Result<Sight, StoreError> {
    let is_reduction = reply.text()? == "1";
    let is_duplicate = reply.text()? == "1";
    let rates = match reply.integer::<usize>()? {
        2 => Some([reply.integer()?, reply.integer()?]),
        _ => None,
    };
    let mut caps = Vec::new();
    while reply.has_more() {
        caps.push(Observed {
            before: reply.integer()?,
            is_crossing: reply.text()? == "1",
        });
    }
    Ok(Sight {
        is_reduction,
        is_duplicate,
        rates,
        caps,
    })
}
