//! The state of the model: what Redis, the journal, the venue and the workers hold, and what a worker does next.
//!
//! Ids (of orders, leases, settlements, requests) are small numbers; 0 is none. States that differ only in the numbering of
//! ids, or in which worker is which, are the same state: see [`World::canonical`].

use std::hash::{Hash, Hasher};

use crate::effects::{Doc, Word};

/// The most intents.
pub const INTENTS: usize = 2;
/// The workers.
pub const WORKERS: usize = 2;
/// The most journal entries. A state that needs more is cut off and counted.
pub const JOURNAL: usize = 14;
/// The most events of one order that wait for the journal.
pub const WAITING: usize = 3;

/// An order, lease, settlement or request.
pub type Id = u8;

/// The stage of a record, as `src/store/orders/record.rs` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Stage {
    #[default]
    None,
    Claimed,
    Sending,
    Releasing,
    Released,
    Open,
    Ended,
    Denied,
}

/// When an order's request was sent, as far as the record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sent {
    /// The record does not say.
    #[default]
    Unsaid,
    /// Within the time in which the venue takes the request.
    Recently,
    /// Before that.
    LongAgo,
}

/// One report of an order, as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Report {
    pub intent: u8,
    pub order: Id,
    pub version: u8,
    pub settlement: Id,
    /// The settlement that made the version before; 0 for a first report.
    pub base: Id,
    pub doc: Doc,
    /// What it moves the exposure and the position by, in lots: a first report from nothing.
    pub long: i8,
    pub position: i8,
    pub epoch: u8,
}

/// An event on the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entry {
    Submitting {
        intent: u8,
        order: Id,
        token: Id,
        epoch: u8,
    },
    Released {
        intent: u8,
        order: Id,
        token: Id,
        epoch: u8,
    },
    Report(Report),
}

impl Entry {
    /// The intent that the event belongs to.
    pub fn intent(&self) -> usize {
        let (Self::Submitting { intent, .. } | Self::Released { intent, .. } | Self::Report(Report { intent, .. })) =
            self;
        usize::from(*intent)
    }

    /// The epoch that the event was made in.
    pub fn epoch(&self) -> u8 {
        let (Self::Submitting { epoch, .. } | Self::Released { epoch, .. } | Self::Report(Report { epoch, .. })) = self;
        *epoch
    }

    /// Whether both are one message to the journal's duplicate detection.
    fn is_same_message(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Submitting { order: a, token: s, .. }, Self::Submitting { order: b, token: t, .. })
            | (Self::Released { order: a, token: s, .. }, Self::Released { order: b, token: t, .. }) => {
                (a, s) == (b, t)
            }
            (Self::Report(a), Self::Report(b)) => {
                (a.order, a.version, a.settlement) == (b.order, b.version, b.settlement)
            }
            _ => false,
        }
    }
}

/// The journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Journal {
    entries: [Option<Entry>; JOURNAL],
    pub len: u8,
}

impl Journal {
    /// The entry of a sequence, from 1.
    pub fn get(&self, sequence: u8) -> Option<Entry> {
        self.entries
            .get(usize::from(sequence).checked_sub(1)?)
            .copied()
            .flatten()
    }

    /// The entry at an index, from 0.
    pub fn entry_mut(&mut self, index: u8) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(index))?.as_mut()
    }

    /// Every entry with its sequence.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Entry)> + '_ {
        (1..=self.len).filter_map(|sequence| Some((sequence, self.get(sequence)?)))
    }

    /// Appends an entry, once under its message id. Returns its sequence; `None` where the model's journal is full.
    pub fn append(&mut self, entry: Entry) -> Option<u8> {
        let known = self.iter().find(|(_, other)| other.is_same_message(&entry));
        if let Some((sequence, _)) = known {
            return Some(sequence);
        }
        *self.entries.get_mut(usize::from(self.len))? = Some(entry);
        self.len += 1;
        Some(self.len)
    }
}

impl Hash for Journal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|(_, entry)| entry.hash(state));
    }
}

/// The record of an intent's id in Redis, or what is remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Record {
    pub stage: Stage,
    pub order: Id,
    pub version: u8,
    /// The version up to which the journal has the order (`jv`).
    pub journaled: u8,
    /// The lease or the turn of an inquiry (`tok`).
    pub token: Id,
    pub settlement: Id,
    pub request: Id,
    pub doc: Doc,
    /// The journal sequences of the last and of the first report, and of the last submission or release (`sq`).
    pub sequence: u8,
    pub first: u8,
    pub submitted: u8,
    /// A sequence that the submission comes after.
    pub after: u8,
    /// Events that the journal does not have: the versions after `journaled`.
    pub waiting: Batch,
    pub has_lease: bool,
    pub in_outbox: bool,
    pub sent: Sent,
    pub not_founds: u8,
    /// Whether a rebuild has withdrawn the claim.
    pub by_rebuild: bool,
    /// Whether the record says what it reserves (`net`).
    pub says_reserved: bool,
    /// Whether only the entry of a remembered id is left.
    pub is_remembered: bool,
}

impl Record {
    /// What the next effect builds on.
    pub fn base(&self) -> Base {
        Base {
            doc: self.doc,
            version: self.version,
            settlement: self.settlement,
        }
    }
}

/// A few events of one order, each with its journal sequence once it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Batch {
    pub len: u8,
    pub events: [Report; WAITING],
}

impl Batch {
    /// The batch of one event.
    pub fn of(report: Report) -> Self {
        let mut batch = Self::default();
        batch.push(report);
        batch
    }

    /// Adds an event.
    pub fn push(&mut self, report: Report) {
        self.events[usize::from(self.len)] = report;
        self.len += 1;
    }

    /// The events.
    pub fn as_slice(&self) -> &[Report] {
        &self.events[..usize::from(self.len)]
    }

    /// Keeps the events of which the test says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Report) -> bool) {
        let all = *self;
        *self = Self::default();
        all.as_slice()
            .iter()
            .filter(|event| keep(event))
            .for_each(|event| self.push(*event));
    }
}

/// The shared state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Redis {
    /// The epoch in force; 0 in an empty store.
    pub epoch: u8,
    /// The token of the worker that rebuilds the store; 0 where none does.
    pub rebuilder: Id,
    /// Whether the store is being loaded from nothing.
    pub is_loading: bool,
    /// Whether the scripts of the epoch are loaded: a restart drops them.
    pub has_scripts: bool,
    /// The journal sequence up to which every event is in the store, and those known to be missing (bits).
    pub watermark: u8,
    pub missing: u16,
    /// The first sequence that a late event may have; 0 before the first rebuild.
    pub late_from: u8,
    pub records: [Record; INTENTS],
    pub long: i8,
    pub position: i8,
}

/// What became of a request at the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtVenue {
    /// On its way. A request that is too old is refused when it arrives.
    InFlight { is_old: bool },
    /// It never arrives.
    Vanished,
    /// The venue refused it.
    Rejected,
    /// The venue has the order, and these trades of it (bits).
    Accepted(u8),
}

/// A request that left a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    pub intent: u8,
    pub order: Id,
    pub state: AtVenue,
}

/// What a worker does with a report once it is settled or journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// It answers its caller.
    Reply,
    /// It reads the order again, for its caller.
    ReadAgain { may_submit: bool },
    /// Nothing: no caller waits.
    Nothing,
}

/// What an effect builds on: a version of an order, and the effect that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Base {
    pub doc: Doc,
    pub version: u8,
    /// 0 before the first report.
    pub settlement: Id,
}

/// A report that is being settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settling {
    pub intent: u8,
    pub order: Id,
    /// The lease or turn that it needs; 0 for the venue's own word.
    pub token: Id,
    pub settlement: Id,
    pub base: Base,
    pub word: Word,
    pub then: Then,
}

/// An order that a worker asks the venue about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asking {
    pub intent: u8,
    pub order: Id,
    pub turn: Id,
    pub base: Base,
    /// Whether the venue can no longer receive the request when the question is asked.
    pub is_late: bool,
}

/// The next step of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Step {
    #[default]
    Idle,
    /// It claims the id for this order, under this lease (live) or settlement (paper).
    Claim {
        intent: u8,
        order: Id,
        token: Id,
        may_be_booked: bool,
    },
    /// It records a denial.
    Deny {
        intent: u8,
        order: Id,
    },
    /// It reads a known id.
    Read {
        intent: u8,
        may_submit: bool,
    },
    /// It journals the submission.
    Submit {
        intent: u8,
        order: Id,
        token: Id,
    },
    /// It moves the record to `sending`. The request's timestamp is read already.
    Start {
        intent: u8,
        order: Id,
        token: Id,
        sequence: u8,
        request: Id,
        is_old: bool,
    },
    /// The next thing is the first byte.
    Send {
        intent: u8,
        order: Id,
        token: Id,
        is_old: bool,
    },
    /// It waits for the venue's answer.
    Await {
        intent: u8,
        order: Id,
        token: Id,
    },
    Settle(Settling),
    /// It appends events and takes them out of the outbox; `done` of them are on the journal.
    Append {
        batch: Batch,
        done: u8,
        then: Then,
    },
    Mark {
        batch: Batch,
        sequences: [u8; WAITING],
        done: u8,
        then: Then,
    },
    /// It replays an event that the store lacks, in the place of another order's or effect's record.
    Replay {
        report: Report,
        sequence: u8,
        replaces: Option<(Id, u8)>,
        is_late: bool,
    },
    /// It journals the event in the place of a replayed one, and puts it into the store as journaled: which of the two came
    /// first decides.
    AppendOther {
        other: Report,
        report: Report,
        sequence: u8,
        is_late: bool,
    },
    ReplayOther {
        other: Report,
        other_sequence: u8,
        report: Report,
        sequence: u8,
        is_late: bool,
    },
    /// It releases an order that was not sent.
    Withdraw {
        intent: u8,
        order: Id,
        token: Id,
        from_sending: bool,
        then: Then,
    },
    AppendRelease {
        intent: u8,
        order: Id,
        token: Id,
        then: Then,
    },
    MarkRelease {
        intent: u8,
        order: Id,
        token: Id,
        sequence: u8,
        then: Then,
    },
    /// It asks the venue about an order, in its turn.
    Ask(Asking),
    /// The venue does not have the order.
    NotFound(Asking),
    /// It rebuilds the store: the next journal sequence to replay.
    Rebuild {
        token: Id,
        next: u8,
    },
}

/// A worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Worker {
    /// The epoch that it knows; 0 where it knows none.
    pub epoch: u8,
    pub step: Step,
}

/// What the callers of an intent were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Answers {
    /// Calls that may still be made.
    pub calls_left: u8,
    /// The order of a report or denial that was answered.
    pub order: Id,
    /// Whether a call was answered that nothing was sent.
    pub is_refused: bool,
    /// Whether a call had another answer, or none.
    pub is_unsure: bool,
}

/// A message that its sender has given up waiting for: it may still take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Adrift {
    Script(u8, crate::scripts::Command),
    Append(Entry),
}

/// A law that a state breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    SentTwice,
    SentBeforeJournal,
    LimitPassed,
    SumsDiffer,
    EndedAndExecuted,
    AnsweredBeforeJournal,
    TwoOutcomes,
    VoidAnswered,
    VoidRecorded,
    RefusedAndExecuted,
    ExecutionNotBooked,
    NeverQuiet,
}

/// Everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub redis: Redis,
    /// What Redis returns to when it loses its tail: an earlier state, at first an empty one.
    pub copy: Redis,
    pub journal: Journal,
    pub workers: [Worker; WORKERS],
    pub requests: [Option<Request>; 3],
    pub answers: [Answers; INTENTS],
    pub adrift: Option<Adrift>,
    /// The first sequence of which late events are not replayed yet.
    pub late_next: u8,
    pub epochs: u8,
    pub crashes_left: u8,
    pub losses_left: u8,
    pub can_copy: bool,
    pub lost_answers_left: u8,
    pub broken: Option<Violation>,
    /// The highest id in a canonical state.
    pub highest_id: Id,
}

impl World {
    /// Notes the first law that is broken.
    pub fn breaks(&mut self, law: Violation) {
        self.broken = self.broken.or(Some(law));
    }

    /// Whether a worker of the epoch in force can run scripts.
    pub fn is_store_usable(&self) -> bool {
        self.redis.has_scripts && self.redis.rebuilder == 0 && self.redis.epoch != 0
    }

    /// The requests that left a worker.
    pub fn sent(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().flatten()
    }

    /// What the venue has of an order.
    pub fn at_venue(&self, order: Id) -> Option<AtVenue> {
        self.sent()
            .filter(|request| request.order == order)
            .map(|request| request.state)
            .last()
    }

    /// Returns the state with its ids numbered in the order of their appearance and its workers in a fixed order, its bytes,
    /// which are equal for states that are the same, and whether the workers changed places.
    pub fn canonical(self) -> (Self, Vec<u8>, bool) {
        let mut swapped = self;
        swapped.workers.reverse();
        match self.workers[0]
            .bytes_without_ids()
            .cmp(&self.workers[1].bytes_without_ids())
        {
            std::cmp::Ordering::Less => self.numbered(false),
            std::cmp::Ordering::Greater => swapped.numbered(true),
            std::cmp::Ordering::Equal => {
                let (one, other) = (self.numbered(false), swapped.numbered(true));
                if one.1 <= other.1 { one } else { other }
            }
        }
    }

    fn numbered(mut self, is_swapped: bool) -> (Self, Vec<u8>, bool) {
        let mut numbers = [0_u8; 256];
        let mut next = 0;
        crate::ids::each(&mut self, &mut |id: &mut Id| {
            if *id == 0 {
                return;
            }
            let number = &mut numbers[usize::from(*id)];
            if *number == 0 {
                next += 1;
                *number = next;
            }
            *id = *number;
        });
        self.highest_id = next;
        let mut bytes = Bytes(Vec::with_capacity(256));
        self.hash(&mut bytes);
        (self, bytes.0, is_swapped)
    }

    /// Returns an id that nothing in a canonical state has. The one after it is free, too.
    pub fn new_id(&self) -> Id {
        self.highest_id + 1
    }

    /// The journal's report of a document, where one is on it.
    pub fn is_journaled(&self, order: Id, version: u8) -> bool {
        self.journal.iter().any(
            |(_, entry)| matches!(entry, Entry::Report(report) if report.order == order && report.version == version),
        )
    }

    /// The order whose report came first on the journal of all orders of an intent.
    pub fn first_order(&self, intent: usize) -> Option<Id> {
        self.journal.iter().find_map(|(_, entry)| match entry {
            Entry::Report(report) if usize::from(report.intent) == intent => Some(report.order),
            _ => None,
        })
    }
}

impl Worker {
    fn bytes_without_ids(mut self) -> Vec<u8> {
        crate::ids::of_step(&mut self.step, &mut |id: &mut Id| *id = 0);
        let mut bytes = Bytes(Vec::with_capacity(32));
        self.hash(&mut bytes);
        bytes.0
    }
}

/// Collects the bytes that a value is hashed by: equal values have equal bytes.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    // Discriminants and lengths are small.
    fn write_isize(&mut self, number: isize) {
        self.0.push(number.to_le_bytes()[0]);
    }

    fn write_usize(&mut self, number: usize) {
        self.0.push(number.to_le_bytes()[0]);
    }
}
