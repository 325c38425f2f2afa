//! The scripts of `src/store/lua/` as functions on the model's Redis, command by command. A change of a script is made here,
//! too.

use crate::effects::{CLAIMED, DENIED, Doc, Effects};
use crate::guards::Guard;
use crate::world::{Base, Batch, Entry, Id, Record, Redis, Report, Sent, Stage};

/// One command of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// `reserve.lua`: claims an order under a lease.
    Claim { intent: u8, order: Id, token: Id },
    /// `reserve.lua`: claims an order and books its first effect.
    Book(Report),
    /// `reserve.lua`: records a denial.
    Deny(Report),
    /// `start.lua`
    Start {
        intent: u8,
        order: Id,
        token: Id,
        request: Id,
        sequence: u8,
    },
    /// `withdraw.lua`
    Withdraw {
        intent: u8,
        order: Id,
        token: Id,
        from_sending: bool,
        by_rebuild: bool,
    },
    /// `withdrawn.lua`
    MarkRelease {
        intent: u8,
        order: Id,
        token: Id,
        sequence: u8,
    },
    /// `settle.lua`
    Settle { report: Report, token: Id },
    /// `journaled.lua`
    Mark { report: Report, sequence: u8 },
    /// `inquire.lua`
    TakeTurn { intent: u8, order: Id, turn: Id },
    /// `inquire.lua`
    NotFound { intent: u8, order: Id, turn: Id },
    /// `replay.lua`
    Replay {
        report: Report,
        sequence: u8,
        replaces: Option<(Id, u8)>,
    },
    /// `replay_submission.lua`
    ReplaySubmission {
        entry: Entry,
        sequence: u8,
        in_rebuild: bool,
    },
}

/// The reply to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The caller's epoch is not the store's.
    Stale,
    /// Claimed, sending, withdrawn, marked, denied or replayed.
    Done,
    /// Not done: the id is known, or the record is another's or has moved on.
    Known(Stage),
    Refused,
    /// A cap has no room.
    Over,
    /// The effect is booked; these events go on the journal before its own.
    Booked(Batch),
    /// An earlier call booked it.
    Repeated,
    /// The store has no such order.
    Missing,
    LeaseLost,
    /// Another effect came first: what the record holds.
    Superseded(Base),
    /// The turn to ask is the caller's; whether the venue can no longer receive the request.
    Turn {
        is_late: bool,
    },
    /// What is in the event's place is later on the journal, or an order of the same id.
    Conflict,
    /// The event builds on another effect than the newest one in the store.
    Unfounded,
}

/// What a command is judged by.
pub struct Rules<'a> {
    pub effects: &'a Effects,
    /// The most exposure, in lots.
    pub cap: i8,
    pub off: Option<Guard>,
}

impl Rules<'_> {
    fn lots(&self) -> i8 {
        self.effects.document(CLAIMED).long
    }

    fn is_on(&self, guard: Guard) -> bool {
        self.off != Some(guard)
    }
}

impl Redis {
    /// Runs a command. The caller has compared the epoch.
    pub fn run(&mut self, command: Command, rules: &Rules) -> Reply {
        match command {
            Command::Claim { intent, order, token } => self.claim(intent, order, token, rules),
            Command::Book(report) => self.book(report, rules),
            Command::Deny(report) => self.deny(report, rules),
            Command::Start {
                intent,
                order,
                token,
                request,
                sequence,
            } => {
                let record = &mut self.records[usize::from(intent)];
                start(record, order, token, request, sequence, rules)
            }
            Command::Withdraw {
                intent,
                token,
                from_sending,
                by_rebuild,
                ..
            } => self.withdraw(intent, token, from_sending, by_rebuild, rules),
            Command::MarkRelease {
                intent,
                order,
                token,
                sequence,
            } => mark_release(&mut self.records[usize::from(intent)], order, token, sequence),
            Command::Settle { report, token } => self.settle(report, token, rules),
            Command::Mark { report, sequence } => self.mark(report, sequence),
            Command::TakeTurn { intent, order, turn } => take_turn(&mut self.records[usize::from(intent)], order, turn),
            Command::NotFound { intent, order, turn } => {
                not_found(&mut self.records[usize::from(intent)], order, turn, rules)
            }
            Command::Replay {
                report,
                sequence,
                replaces,
            } => self.replay(report, sequence, replaces, rules),
            Command::ReplaySubmission {
                entry,
                sequence,
                in_rebuild,
            } => self.replay_submission(entry, sequence, in_rebuild, rules),
        }
    }

    /// What `reserve.lua` answers where the id is known.
    fn known(&self, intent: u8, order: Id, settlement: Id, rules: &Rules) -> Option<Reply> {
        let record = &self.records[usize::from(intent)];
        let is_free = record.stage == Stage::None || record.stage == Stage::Released && record.order == order;
        if is_free || !rules.is_on(Guard::Claim) {
            return None;
        }
        if settlement != 0 && record.settlement == settlement {
            return Some(Reply::Repeated);
        }
        Some(Reply::Known(record.stage))
    }

    fn claim(&mut self, intent: u8, order: Id, token: Id, rules: &Rules) -> Reply {
        if let Some(known) = self.known(intent, order, 0, rules) {
            return known;
        }
        if self.long + rules.lots() > rules.cap {
            return Reply::Over;
        }
        self.long += rules.lots();
        let record = &mut self.records[usize::from(intent)];
        *record = Record {
            stage: Stage::Claimed,
            order,
            token,
            has_lease: true,
            after: self.watermark,
            // What a released record had beside these stays in it.
            submitted: record.submitted,
            by_rebuild: record.by_rebuild,
            ..Record::default()
        };
        Reply::Done
    }

    fn book(&mut self, report: Report, rules: &Rules) -> Reply {
        if let Some(known) = self.known(report.intent, report.order, report.settlement, rules) {
            return known;
        }
        if self.long + rules.lots() > rules.cap {
            return Reply::Over;
        }
        self.long += report.long;
        self.position += report.position;
        self.records[usize::from(report.intent)] = with_first_report(report, effect_stage(report.doc, rules));
        Reply::Booked(Batch::default())
    }

    fn deny(&mut self, report: Report, rules: &Rules) -> Reply {
        if let Some(known) = self.known(report.intent, report.order, 0, rules) {
            return known;
        }
        self.records[usize::from(report.intent)] = with_first_report(report, Stage::Denied);
        Reply::Done
    }

    fn withdraw(&mut self, intent: u8, token: Id, from_sending: bool, by_rebuild: bool, rules: &Rules) -> Reply {
        let record = &mut self.records[usize::from(intent)];
        let is_own = record.token == token || !rules.is_on(Guard::LeaseToken);
        let is_unsent = record.stage == Stage::Claimed || record.stage == Stage::Sending && from_sending;
        if !is_own || !is_unsent {
            return Reply::Refused;
        }
        record.stage = Stage::Releasing;
        record.by_rebuild = by_rebuild;
        record.says_reserved = false;
        (record.sent, record.request, record.has_lease, record.in_outbox) = (Sent::Unsaid, 0, false, true);
        self.long -= rules.lots();
        Reply::Done
    }

    fn settle(&mut self, report: Report, token: Id, rules: &Rules) -> Reply {
        let record = &mut self.records[usize::from(report.intent)];
        if record.order != report.order || matches!(record.stage, Stage::None | Stage::Releasing | Stage::Released) {
            return Reply::Missing;
        }
        let is_deduplicated = rules.is_on(Guard::FillDedupe);
        if record.settlement == report.settlement && is_deduplicated {
            let mut before = record.waiting;
            before.retain(|event| event.version < record.version);
            return Reply::Booked(before);
        }
        let is_built_on = record.version + 1 == report.version
            && (record.settlement == report.base || !rules.is_on(Guard::EffectBase));
        if !is_built_on && is_deduplicated || record.stage == Stage::Denied {
            return Reply::Superseded(record.base());
        }
        if token != 0 && record.token != token && rules.is_on(Guard::LeaseToken) {
            return Reply::LeaseLost;
        }
        let reserved = if report.version == 1 { rules.lots() } else { 0 };
        self.long += report.long - reserved;
        self.position += report.position;
        let before = record.waiting;
        if usize::from(before.len) == crate::world::WAITING {
            // Only with the dedupe off: the model has no room for more.
            return Reply::Missing;
        }
        record.waiting.push(report);
        if record.token != 0 {
            record.has_lease = false;
        }
        record.stage = effect_stage(report.doc, rules);
        record.is_remembered = false;
        record.in_outbox = true;
        (record.version, record.settlement, record.doc, record.token) =
            (report.version, report.settlement, report.doc, 0);
        Reply::Booked(before)
    }

    fn mark(&mut self, report: Report, sequence: u8) -> Reply {
        let record = &mut self.records[usize::from(report.intent)];
        let mut is_known =
            record.stage != Stage::None && record.order == report.order && report.version <= record.version;
        let is_newest = report.version == record.version;
        if is_known && (report.version > record.journaled || is_newest) && report.settlement != 0 {
            let id = settlement_of(record, report.version);
            is_known = id == 0 || id == report.settlement;
        }
        if !is_known {
            self.note_missing(sequence);
            return Reply::Missing;
        }
        if report.version == record.version {
            record.in_outbox = false;
        }
        if report.version > record.journaled {
            record.journaled = report.version;
            record.sequence = sequence;
            record.first = if record.first == 0 { sequence } else { record.first };
            record.waiting.retain(|event| event.version > report.version);
            if report.version == record.version && matches!(record.stage, Stage::Ended | Stage::Denied) {
                remember(record);
            }
        }
        self.raise_watermark(sequence);
        Reply::Done
    }

    fn replay(&mut self, report: Report, sequence: u8, replaces: Option<(Id, u8)>, rules: &Rules) -> Reply {
        let effects = rules.effects;
        let record = &mut self.records[usize::from(report.intent)];
        let mut moves = (report.long, report.position);
        if let Some((order, version)) = replaces {
            let whole = effects.document(report.doc);
            moves = (whole.long, whole.position);
            let is_it = record.stage != Stage::None && record.order == order && record.version == version;
            if is_it && (is_later(record, &report, sequence) || !rules.is_on(Guard::ReplacesLaterOnly)) {
                let undone = effects.document(record.doc);
                self.long -= undone.long;
                self.position -= undone.position;
                let first = if order != report.order || report.version == 1 {
                    0
                } else {
                    record.first
                };
                let in_outbox = record.in_outbox;
                *record = Record {
                    first,
                    in_outbox,
                    ..Record::default()
                };
            }
        }
        if record.stage != Stage::None && record.order != report.order && record.stage != Stage::Released {
            if record.journaled == 0 || record.first != 0 && sequence < record.first {
                self.note_missing(sequence);
                self.raise_watermark(sequence);
                return Reply::Conflict;
            }
        } else if record.stage != Stage::None && report.version <= record.version {
            if is_other_effect(record, &report, sequence) {
                self.note_missing(sequence);
                self.raise_watermark(sequence);
                return Reply::Conflict;
            }
            if report.version > record.journaled {
                record.journaled = report.version;
                record.sequence = sequence;
                record.waiting.retain(|event| event.version != report.version);
                if report.version == record.version {
                    record.in_outbox = false;
                }
                if report.version == record.version && record.stage != Stage::Open {
                    record.first = if record.first == 0 { sequence } else { record.first };
                    remember(record);
                }
            }
        } else if record.version > 0
            && record.order == report.order
            && record.settlement != report.base
            && rules.is_on(Guard::EffectBase)
        {
            self.note_missing(sequence);
            self.raise_watermark(sequence);
            return Reply::Unfounded;
        } else {
            if record.version == 0 && record.says_reserved {
                self.long -= rules.lots();
            }
            self.long += moves.0;
            self.position += moves.1;
            let first = if record.first == 0 { sequence } else { record.first };
            let stage = if report.doc == DENIED {
                Stage::Denied
            } else {
                effect_stage(report.doc, rules)
            };
            *record = Record {
                stage,
                order: report.order,
                version: report.version,
                journaled: report.version,
                settlement: report.settlement,
                doc: report.doc,
                sequence,
                first,
                is_remembered: stage != Stage::Open,
                // The outbox keeps the name: a sweep takes it out.
                in_outbox: record.in_outbox,
                ..Record::default()
            };
        }
        self.missing &= !(1 << sequence);
        self.raise_watermark(sequence);
        Reply::Done
    }

    fn replay_submission(&mut self, entry: Entry, sequence: u8, in_rebuild: bool, rules: &Rules) -> Reply {
        let record = &mut self.records[entry.intent()];
        let (is_submitting, order, token) = match entry {
            Entry::Submitting { order, token, .. } => (true, order, token),
            Entry::Released { order, token, .. } => (false, order, token),
            Entry::Report(_) => unreachable!("a submission or a release"),
        };
        let changes = if is_submitting {
            is_submitted(record, order, token, sequence, in_rebuild, rules)
        } else {
            is_released(record, order, token, sequence)
        };
        if changes && rules.is_on(Guard::ReplayedSubmission) {
            if record.says_reserved {
                self.long -= rules.lots();
            }
            *record = Record {
                stage: if is_submitting { Stage::Sending } else { Stage::Released },
                order,
                token,
                submitted: sequence,
                has_lease: is_submitting,
                says_reserved: is_submitting,
                ..Record::default()
            };
            if is_submitting {
                self.long += rules.lots();
            }
        }
        self.raise_watermark(sequence);
        Reply::Done
    }

    fn note_missing(&mut self, sequence: u8) {
        self.missing |= 1 << sequence;
    }

    fn raise_watermark(&mut self, sequence: u8) {
        let below = if self.missing == 0 {
            sequence
        } else {
            sequence.min(self.missing.trailing_zeros() as u8 - 1)
        };
        self.watermark = self.watermark.max(below);
    }
}

fn effect_stage(doc: Doc, rules: &Rules) -> Stage {
    if rules.effects.is_ended(doc) {
        Stage::Ended
    } else {
        Stage::Open
    }
}

/// The record of an order after its first report, which waits for the journal.
fn with_first_report(report: Report, stage: Stage) -> Record {
    Record {
        stage,
        order: report.order,
        version: 1,
        settlement: report.settlement,
        doc: report.doc,
        waiting: Batch::of(report),
        in_outbox: true,
        ..Record::default()
    }
}

fn start(record: &mut Record, order: Id, token: Id, request: Id, sequence: u8, rules: &Rules) -> Reply {
    let is_own = record.token == token || !rules.is_on(Guard::LeaseToken);
    if record.order != order || !is_own {
        return Reply::LeaseLost;
    }
    if record.stage == Stage::Sending && record.request == request {
        return Reply::Done;
    }
    let may_start = record.stage == Stage::Claimed || !rules.is_on(Guard::LeaseToken) && record.stage == Stage::Sending;
    if !may_start {
        return Reply::LeaseLost;
    }
    record.stage = Stage::Sending;
    (record.sent, record.request, record.submitted) = (Sent::Recently, request, sequence);
    (record.says_reserved, record.has_lease) = (true, true);
    Reply::Done
}

fn mark_release(record: &mut Record, order: Id, token: Id, sequence: u8) -> Reply {
    if record.stage != Stage::Releasing || record.order != order || record.token != token {
        return Reply::Refused;
    }
    (record.stage, record.submitted, record.in_outbox) = (Stage::Released, sequence, false);
    Reply::Done
}

fn take_turn(record: &mut Record, order: Id, turn: Id) -> Reply {
    if record.stage != Stage::Open || record.order != order {
        return Reply::Refused;
    }
    record.token = turn;
    if record.sent == Sent::Unsaid {
        record.sent = Sent::Recently;
    }
    Reply::Turn {
        is_late: record.sent == Sent::LongAgo,
    }
}

fn not_found(record: &mut Record, order: Id, turn: Id, rules: &Rules) -> Reply {
    let is_own = record.token == turn || !rules.is_on(Guard::LeaseToken);
    if record.stage != Stage::Open || record.order != order || !is_own {
        return Reply::Refused;
    }
    record.not_founds = 1;
    Reply::Turn {
        is_late: record.sent == Sent::LongAgo,
    }
}

/// Of an order that has ended and is journaled, only an entry stays.
fn remember(record: &mut Record) {
    *record = Record {
        stage: record.stage,
        order: record.order,
        version: record.version,
        journaled: record.version,
        settlement: record.settlement,
        doc: record.doc,
        sequence: record.sequence,
        first: record.first,
        is_remembered: true,
        ..Record::default()
    };
}

fn settlement_of(record: &Record, version: u8) -> Id {
    if version == record.version {
        return record.settlement;
    }
    let waiting = record.waiting.as_slice().iter().find(|event| event.version == version);
    waiting.map_or(0, |event| event.settlement)
}

/// Whether what is recorded came after an event on the journal, or is not on it.
fn is_later(record: &Record, report: &Report, sequence: u8) -> bool {
    if record.order != report.order {
        return record.journaled == 0 || record.first != 0 && sequence < record.first;
    }
    report.version > record.journaled || sequence < record.sequence
}

/// Whether an event's version is another effect's, which is later on the journal or not on it.
fn is_other_effect(record: &Record, report: &Report, sequence: u8) -> bool {
    let other = if report.version > record.journaled {
        settlement_of(record, report.version)
    } else if report.version == record.version && sequence < record.sequence {
        record.settlement
    } else {
        0
    };
    other != 0 && report.settlement != 0 && other != report.settlement
}

fn is_submitted(record: &Record, order: Id, token: Id, sequence: u8, in_rebuild: bool, rules: &Rules) -> bool {
    let is_withdrawn = in_rebuild && record.stage == Stage::Releasing && record.by_rebuild;
    if record.stage == Stage::None {
        return true;
    }
    if record.is_remembered {
        return false;
    }
    if record.order != order {
        return record.stage == Stage::Released || is_withdrawn;
    }
    if record.version > 0 || record.submitted >= sequence {
        return false;
    }
    if !rules.is_on(Guard::FirstSubmission) {
        return is_withdrawn || record.token != token && matches!(record.stage, Stage::Sending | Stage::Released);
    }
    // A claim under another token comes after the release of the one before: a submission of that is void by then.
    is_withdrawn && record.token == token || record.stage == Stage::Released && record.token != token
}

fn is_released(record: &Record, order: Id, token: Id, sequence: u8) -> bool {
    if record.stage == Stage::None {
        return true;
    }
    if record.is_remembered || record.order != order || record.version > 0 {
        return false;
    }
    match record.stage {
        Stage::Released => record.token != token && record.submitted < sequence,
        Stage::Sending | Stage::Releasing => record.token == token,
        _ => false,
    }
}
