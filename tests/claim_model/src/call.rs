//! The steps of a call: `src/worker/submission/` and `src/worker/journaling/`.

use crate::effects::{CLAIMED, DENIED, Word};
use crate::guards::Guard;
use crate::model::{Label, Model, Steps};
use crate::scripts::{Command, Reply};
use crate::world::{
    Adrift, AtVenue, Base, Batch, Entry, Id, Report, Request, Settling, Stage, Step, Then, Violation, WAITING, World,
};

impl Step {
    /// The intent whose caller waits for this worker.
    pub fn caller(&self) -> Option<usize> {
        let waits = |intent: u8, then: Then| (then != Then::Nothing).then_some(usize::from(intent));
        match *self {
            Self::Claim { intent, .. }
            | Self::Deny { intent, .. }
            | Self::Read { intent, .. }
            | Self::Submit { intent, .. }
            | Self::Start { intent, .. }
            | Self::Send { intent, .. }
            | Self::Await { intent, .. } => Some(usize::from(intent)),
            Self::Settle(settling) => waits(settling.intent, settling.then),
            Self::Withdraw { intent, then, .. }
            | Self::AppendRelease { intent, then, .. }
            | Self::MarkRelease { intent, then, .. } => waits(intent, then),
            Self::Append { batch, then, .. } => waits(batch.events[0].intent, then),
            Self::Mark { batch, then, .. } => waits(batch.events[0].intent, then),
            _ => None,
        }
    }
}

/// One worker's step from one state.
pub struct Turn<'a> {
    pub model: &'a Model,
    pub world: &'a World,
    pub worker: usize,
    pub steps: &'a mut Steps,
}

impl Turn<'_> {
    /// Adds a step.
    pub fn push(&mut self, what: &'static str, next: World) {
        self.push_step(what, false, next);
    }

    fn push_step(&mut self, what: &'static str, is_fault: bool, next: World) {
        self.steps.push((
            Label {
                worker: Some(self.worker),
                what,
                is_fault,
            },
            next,
        ));
    }

    /// Adds the step of a script call: its reply, or none, whatever becomes of the request.
    pub fn script(
        &mut self,
        what: &'static str,
        command: Command,
        on_reply: impl Fn(&Model, &mut World, Reply),
        on_silence: impl Fn(&Model, &mut World),
    ) {
        let mut next = *self.world;
        let reply = self.model.run(&mut next, self.worker, command);
        on_reply(self.model, &mut next, reply);
        self.push(what, next);
        if self.world.lost_answers_left > 0 && self.world.adrift.is_none() {
            let mut next = *self.world;
            next.lost_answers_left -= 1;
            next.adrift = Some(Adrift::Script(self.world.workers[self.worker].epoch, command));
            on_silence(self.model, &mut next);
            self.push_step("gets no reply from Redis", true, next);
        }
    }

    /// Adds the step of an append, acknowledged or not.
    pub fn append(
        &mut self,
        what: &'static str,
        entry: Entry,
        on_stored: impl Fn(&Model, &mut World, u8),
        on_silence: impl Fn(&Model, &mut World),
    ) {
        let mut next = *self.world;
        if let Some(sequence) = self.model.append(&mut next, entry) {
            on_stored(self.model, &mut next, sequence);
            self.push(what, next);
        }
        if self.world.lost_answers_left > 0 && self.world.adrift.is_none() {
            let mut next = *self.world;
            next.lost_answers_left -= 1;
            next.adrift = Some(Adrift::Append(entry));
            on_silence(self.model, &mut next);
            self.push_step("gets no acknowledgement from the journal", true, next);
        }
    }
}

impl World {
    /// Sets what a worker does next.
    pub fn go(&mut self, worker: usize, step: Step) {
        self.workers[worker].step = step;
    }

    fn refuse(&mut self, worker: usize, intent: u8) {
        self.answers[usize::from(intent)].is_refused = true;
        self.go(worker, Step::Idle);
    }

    fn give_receipt(&mut self, worker: usize, intent: u8) {
        self.answers[usize::from(intent)].is_unsure = true;
        self.go(worker, Step::Idle);
    }

    /// Ends a call without an outcome; a background job just ends.
    pub fn end_unsure(&mut self, worker: usize, intent: u8, then: Then) {
        match then {
            Then::Nothing => self.go(worker, Step::Idle),
            Then::Reply | Then::ReadAgain { .. } => self.give_receipt(worker, intent),
        }
    }

    /// Reads what became of an order, for a caller that gets a receipt otherwise; a background job just ends.
    fn read_outcome(&mut self, worker: usize, intent: u8, then: Then) {
        let step = if then == Then::Nothing {
            Step::Idle
        } else {
            Step::Read {
                intent,
                may_submit: false,
            }
        };
        self.go(worker, step);
    }
}

impl Model {
    /// Answers a call with a report or a denial.
    fn answer(&self, world: &mut World, intent: u8, order: Id, version: u8) {
        if !world.is_journaled(order, version) {
            world.breaks(Violation::AnsweredBeforeJournal);
        }
        let answers = &mut world.answers[usize::from(intent)];
        let other = std::mem::replace(&mut answers.order, order);
        // A known limit: docs/reliability.md.
        if self.scene.is_paper && world.losses_left < self.scene.losses {
            return;
        }
        if other != 0 && other != order {
            world.breaks(Violation::TwoOutcomes);
        }
        if world
            .first_order(usize::from(intent))
            .is_some_and(|first| first != order)
        {
            world.breaks(Violation::VoidAnswered);
        }
    }

    /// The steps of a worker.
    pub fn worker_steps(&self, world: &World, worker: usize, steps: &mut Steps) {
        let mut turn = Turn {
            model: self,
            world,
            worker,
            steps,
        };
        match world.workers[worker].step {
            Step::Idle => self.idle_steps(&mut turn),
            Step::Claim {
                intent,
                order,
                token,
                may_be_booked,
            } => {
                if self.scene.is_paper {
                    book(&mut turn, intent, order, token, may_be_booked);
                } else {
                    claim(&mut turn, intent, order, token);
                }
            }
            Step::Deny { intent, order } => deny(&mut turn, intent, order),
            Step::Read { intent, may_submit } => read(&mut turn, intent, may_submit),
            Step::Submit { intent, order, token } => submit(&mut turn, intent, order, token),
            step @ Step::Start { .. } => start(&mut turn, step),
            Step::Send {
                intent,
                order,
                token,
                is_old,
            } => send(&mut turn, intent, order, token, is_old),
            Step::Await { intent, order, token } => await_answer(&mut turn, intent, order, token),
            Step::Settle(settling) => settle(&mut turn, settling),
            Step::Append { batch, done, then } => append(&mut turn, batch, done, then),
            Step::Mark {
                batch,
                sequences,
                done,
                then,
            } => mark(&mut turn, batch, sequences, done, then),
            Step::Withdraw {
                intent,
                order,
                token,
                from_sending,
                then,
            } => {
                withdraw(&mut turn, intent, order, token, from_sending, then);
            }
            Step::AppendRelease {
                intent,
                order,
                token,
                then,
            } => {
                append_release(&mut turn, intent, order, token, then);
            }
            Step::MarkRelease {
                intent,
                order,
                token,
                sequence,
                then,
            } => {
                mark_release(&mut turn, intent, order, token, sequence, then);
            }
            step => self.background_steps(&mut turn, step),
        }
    }

    /// A new claim of an intent's id.
    pub fn new_claim(&self, world: &World, intent: u8, reused: Option<Id>) -> Step {
        let id = world.new_id();
        let (order, token) = reused.map_or((id, id + 1), |order| (order, id));
        Step::Claim {
            intent,
            order,
            token,
            may_be_booked: false,
        }
    }
}

fn claim(turn: &mut Turn, intent: u8, order: Id, token: Id) {
    let worker = turn.worker;
    turn.script(
        "claims the id",
        Command::Claim { intent, order, token },
        |_, world, reply| match reply {
            Reply::Done => world.go(worker, Step::Submit { intent, order, token }),
            Reply::Over => world.go(worker, Step::Deny { intent, order }),
            Reply::Known(_) => world.go(
                worker,
                Step::Read {
                    intent,
                    may_submit: true,
                },
            ),
            _ => world.refuse(worker, intent),
        },
        |_, world| world.refuse(worker, intent),
    );
}

fn book(turn: &mut Turn, intent: u8, order: Id, settlement: Id, may_be_booked: bool) {
    let (worker, effects) = (turn.worker, &turn.model.effects);
    let filled = effects
        .apply(CLAIMED, Word::Working((1 << effects.lots) - 1))
        .expect("a fill is new");
    let document = effects.document(filled.doc);
    let report = Report {
        intent,
        order,
        version: 1,
        settlement,
        base: 0,
        doc: filled.doc,
        long: document.long,
        position: document.position,
        epoch: turn.world.workers[worker].epoch,
    };
    turn.script(
        "claims the id and books the fill",
        Command::Book(report),
        |model, world, reply| match reply {
            Reply::Booked(_) => append_or_reply_early(model, world, worker, Batch::of(report), Then::Reply),
            Reply::Over => world.go(worker, Step::Deny { intent, order }),
            Reply::Known(_) => world.go(
                worker,
                Step::Read {
                    intent,
                    may_submit: true,
                },
            ),
            Reply::Repeated => world.go(
                worker,
                Step::Read {
                    intent,
                    may_submit: false,
                },
            ),
            _ if may_be_booked => world.go(
                worker,
                Step::Read {
                    intent,
                    may_submit: false,
                },
            ),
            _ => world.refuse(worker, intent),
        },
        |_, world| {
            world.go(
                worker,
                Step::Claim {
                    intent,
                    order,
                    token: settlement,
                    may_be_booked: true,
                },
            )
        },
    );
}

fn deny(turn: &mut Turn, intent: u8, order: Id) {
    let worker = turn.worker;
    let epoch = turn.world.workers[worker].epoch;
    let report = Report {
        intent,
        order,
        version: 1,
        doc: DENIED,
        epoch,
        ..Report::default()
    };
    turn.script(
        "records a denial",
        Command::Deny(report),
        |model, world, reply| match reply {
            Reply::Done => append_or_reply_early(model, world, worker, Batch::of(report), Then::Reply),
            Reply::Known(_) => world.go(
                worker,
                Step::Read {
                    intent,
                    may_submit: true,
                },
            ),
            _ => world.refuse(worker, intent),
        },
        |_, world| world.refuse(worker, intent),
    );
}

/// Reads a known id: `idempotent_replay`, `current_report` and `unknown_outcome::read_outcome`.
fn read(turn: &mut Turn, intent: u8, may_submit: bool) {
    let (model, worker) = (turn.model, turn.worker);
    let mut next = *turn.world;
    let record = next.redis.records[usize::from(intent)];
    let is_current = next.is_store_usable() && next.workers[worker].epoch == next.redis.epoch;
    if !is_current && model.is_on(Guard::Epoch) {
        next.workers[worker].epoch = 0;
        if may_submit {
            next.refuse(worker, intent)
        } else {
            next.give_receipt(worker, intent)
        }
        turn.push("cannot read the order", next);
        return;
    }
    match record.stage {
        Stage::None if may_submit => next.go(worker, model.new_claim(turn.world, intent, None)),
        Stage::Released if may_submit => next.go(worker, model.new_claim(turn.world, intent, Some(record.order))),
        Stage::None | Stage::Released | Stage::Claimed | Stage::Sending | Stage::Releasing => {
            next.give_receipt(worker, intent);
        }
        _ if record.waiting.len > 0 => {
            let then = Then::ReadAgain { may_submit };
            next.go(
                worker,
                Step::Append {
                    batch: record.waiting,
                    done: 0,
                    then,
                },
            );
        }
        _ => {
            model.answer(&mut next, intent, record.order, record.version);
            next.go(worker, Step::Idle);
        }
    }
    turn.push("reads the order", next);
}

fn submit(turn: &mut Turn, intent: u8, order: Id, token: Id) {
    let worker = turn.worker;
    let request = turn.world.new_id();
    let start = |sequence| Step::Start {
        intent,
        order,
        token,
        sequence,
        request,
        is_old: false,
    };
    if !turn.model.is_on(Guard::SubmissionEvent) {
        let mut next = *turn.world;
        next.go(worker, start(0));
        turn.push("does not journal the submission", next);
        return;
    }
    let unsent = Step::Withdraw {
        intent,
        order,
        token,
        from_sending: true,
        then: Then::Reply,
    };
    let epoch = turn.world.workers[worker].epoch;
    if epoch == 0 {
        let mut next = *turn.world;
        next.go(worker, unsent);
        turn.push("knows no epoch, and does not submit", next);
        return;
    }
    turn.append(
        "journals the submission",
        Entry::Submitting {
            intent,
            order,
            token,
            epoch,
        },
        |_, world, sequence| world.go(worker, start(sequence)),
        |_, world| world.go(worker, unsent),
    );
}

fn start(turn: &mut Turn, step: Step) {
    let Step::Start {
        intent,
        order,
        token,
        sequence,
        request,
        is_old,
    } = step
    else {
        return;
    };
    let worker = turn.worker;
    let send = Step::Send {
        intent,
        order,
        token,
        is_old,
    };
    if !turn.model.is_on(Guard::SendingStage) {
        let mut next = *turn.world;
        next.go(worker, send);
        turn.push("does not move the record to sending", next);
        return;
    }
    let unsent = Step::Withdraw {
        intent,
        order,
        token,
        from_sending: true,
        then: Then::Reply,
    };
    turn.script(
        "moves the record to sending",
        Command::Start {
            intent,
            order,
            token,
            request,
            sequence,
        },
        |_, world, reply| world.go(worker, if reply == Reply::Done { send } else { unsent }),
        // It is sent again, a few times; the last silence is like the first refusal.
        |_, world| world.go(worker, unsent),
    );
    if turn.world.lost_answers_left > 0 && turn.world.adrift.is_none() {
        let mut next = *turn.world;
        next.lost_answers_left -= 1;
        let command = Command::Start {
            intent,
            order,
            token,
            request,
            sequence,
        };
        next.adrift = Some(Adrift::Script(turn.world.workers[worker].epoch, command));
        turn.push_step("gets no reply from Redis, and sends the step again", true, next);
    }
}

fn send(turn: &mut Turn, intent: u8, order: Id, token: Id, is_old: bool) {
    let worker = turn.worker;
    let mut next = *turn.world;
    let is_journaled = next
        .journal
        .iter()
        .any(|(_, entry)| matches!(entry, Entry::Submitting { order: submitted, .. } if submitted == order));
    if !is_journaled {
        next.breaks(Violation::SentBeforeJournal);
    }
    if let Some(free) = next.requests.iter_mut().find(|request| request.is_none()) {
        *free = Some(Request {
            intent,
            order,
            state: AtVenue::InFlight { is_old },
        });
    }
    next.go(worker, Step::Await { intent, order, token });
    turn.push("sends the order", next);
    if turn.world.lost_answers_left > 0 {
        let mut next = *turn.world;
        next.lost_answers_left -= 1;
        next.go(
            worker,
            Step::Withdraw {
                intent,
                order,
                token,
                from_sending: true,
                then: Then::Reply,
            },
        );
        turn.push_step("cannot connect to the venue: nothing is sent", true, next);
    }
}

fn await_answer(turn: &mut Turn, intent: u8, order: Id, token: Id) {
    let settling = |token, word| {
        let settlement = turn.world.new_id();
        let (doc, version, then) = (CLAIMED, 0, Then::Reply);
        Step::Settle(Settling {
            intent,
            order,
            token,
            settlement,
            base: Base {
                doc,
                version,
                settlement: 0,
            },
            word,
            then,
        })
    };
    let word = match turn.world.at_venue(order) {
        Some(AtVenue::Accepted(trades)) => Some(Word::Working(trades)),
        Some(AtVenue::Rejected) => Some(Word::Rejected),
        _ => None,
    };
    let worker = turn.worker;
    if let Some(word) = word {
        let mut next = *turn.world;
        next.go(worker, settling(0, word));
        turn.push("gets the venue's answer", next);
    }
    let mut next = *turn.world;
    next.go(worker, settling(token, Word::Unknown));
    turn.push("gets no answer from the venue", next);
}

/// Settles a report: `settle_venue_report` and `settle_with_lease`.
fn settle(turn: &mut Turn, settling: Settling) {
    let (
        worker,
        Settling {
            intent,
            order,
            token,
            then,
            ..
        },
    ) = (turn.worker, settling);
    let Some(effect) = turn.model.effects.apply(settling.base.doc, settling.word) else {
        let mut next = *turn.world;
        next.read_outcome(worker, intent, then);
        turn.push("has nothing new to settle", next);
        return;
    };
    let reserved = if settling.base.version == 0 {
        turn.model.effects.document(CLAIMED).long
    } else {
        0
    };
    let report = Report {
        intent,
        order,
        version: settling.base.version + 1,
        settlement: settling.settlement,
        base: settling.base.settlement,
        doc: effect.doc,
        long: effect.long + reserved,
        position: effect.position,
        epoch: turn.world.workers[worker].epoch,
    };
    let settlement = turn.world.new_id();
    turn.script(
        "settles a report",
        Command::Settle { report, token },
        |model, world, reply| match reply {
            Reply::Booked(mut batch) if usize::from(batch.len) < WAITING => {
                batch.push(report);
                append_or_reply_early(model, world, worker, batch, then);
            }
            Reply::Superseded(base) if token == 0 => {
                world.go(
                    worker,
                    Step::Settle(Settling {
                        settlement,
                        base,
                        ..settling
                    }),
                );
            }
            Reply::Superseded(..) | Reply::LeaseLost | Reply::Missing => world.read_outcome(worker, intent, then),
            _ => world.end_unsure(worker, intent, then),
        },
        // It is sent again under the same id, or given up.
        |_, world| world.go(worker, Step::Settle(settling)),
    );
}

/// Journals events and replies; without the guard the reply goes first.
pub fn append_or_reply_early(model: &Model, world: &mut World, worker: usize, batch: Batch, then: Then) {
    let mut then = then;
    if !model.is_on(Guard::JournalBeforeReply) && then == Then::Reply {
        let last = batch.as_slice()[batch.as_slice().len() - 1];
        model.answer(world, last.intent, last.order, last.version);
        then = Then::Nothing;
    }
    world.go(worker, Step::Append { batch, done: 0, then });
}

fn append(turn: &mut Turn, batch: Batch, done: u8, then: Then) {
    let worker = turn.worker;
    let report = batch.as_slice()[usize::from(done)];
    turn.append(
        "journals a report",
        Entry::Report(report),
        |_, world, _| {
            let done = done + 1;
            if done < batch.len {
                world.go(worker, Step::Append { batch, done, then });
                return;
            }
            let sequences = std::array::from_fn(|at| world.sequence_of(batch.events[at]));
            world.go(
                worker,
                Step::Mark {
                    batch,
                    sequences,
                    done: 0,
                    then,
                },
            );
        },
        |_, world| world.end_unsure(worker, report.intent, then),
    );
}

/// Replies, then takes events out of the outbox. What the store lacks is replayed into it.
fn mark(turn: &mut Turn, batch: Batch, sequences: [u8; WAITING], done: u8, then: Then) {
    let worker = turn.worker;
    let report = batch.as_slice()[usize::from(done)];
    if then == Then::Reply {
        let mut next = *turn.world;
        let last = batch.as_slice()[batch.as_slice().len() - 1];
        turn.model.answer(&mut next, last.intent, last.order, last.version);
        next.go(
            worker,
            Step::Mark {
                batch,
                sequences,
                done,
                then: Then::Nothing,
            },
        );
        turn.push("replies with a report", next);
        return;
    }
    let sequence = sequences[usize::from(done)];
    let after = move |world: &mut World| {
        let done = done + 1;
        let step = match then {
            _ if done < batch.len => Step::Mark {
                batch,
                sequences,
                done,
                then,
            },
            Then::ReadAgain { may_submit } => Step::Read {
                intent: report.intent,
                may_submit,
            },
            _ => Step::Idle,
        };
        world.go(worker, step);
    };
    turn.script(
        "marks a report as journaled",
        Command::Mark { report, sequence },
        |model, world, reply| match reply {
            Reply::Done => after(world),
            // The next attempt shows whether the rebuild included the event.
            Reply::Stale => {}
            _ if !model.is_on(Guard::LateEvents) => after(world),
            _ => {
                if let Some(intent) = world.workers[worker].step.caller() {
                    world.answers[intent].is_unsure = true;
                }
                world.go(
                    worker,
                    Step::Replay {
                        report,
                        sequence,
                        replaces: None,
                        is_late: false,
                    },
                );
            }
        },
        |_, world| world.end_unsure(worker, report.intent, then),
    );
    if turn.world.workers[worker].epoch == 0 {
        let mut next = *turn.world;
        next.end_unsure(worker, report.intent, then);
        turn.push("leaves a report in the outbox", next);
    }
}

fn withdraw(turn: &mut Turn, intent: u8, order: Id, token: Id, from_sending: bool, then: Then) {
    let worker = turn.worker;
    turn.script(
        "withdraws the order",
        Command::Withdraw {
            intent,
            order,
            token,
            from_sending,
            by_rebuild: false,
        },
        |_, world, reply| match reply {
            Reply::Done => world.go(
                worker,
                Step::AppendRelease {
                    intent,
                    order,
                    token,
                    then,
                },
            ),
            _ => world.read_outcome(worker, intent, then),
        },
        |_, world| world.read_outcome(worker, intent, then),
    );
}

fn append_release(turn: &mut Turn, intent: u8, order: Id, token: Id, then: Then) {
    let worker = turn.worker;
    let epoch = turn.world.workers[worker].epoch;
    turn.append(
        "journals the release",
        Entry::Released {
            intent,
            order,
            token,
            epoch,
        },
        |_, world, sequence| {
            world.go(
                worker,
                Step::MarkRelease {
                    intent,
                    order,
                    token,
                    sequence,
                    then,
                },
            )
        },
        |_, world| world.read_outcome(worker, intent, then),
    );
}

fn mark_release(turn: &mut Turn, intent: u8, order: Id, token: Id, sequence: u8, then: Then) {
    let worker = turn.worker;
    turn.script(
        "marks the release as journaled",
        Command::MarkRelease {
            intent,
            order,
            token,
            sequence,
        },
        |_, world, reply| match (reply, then) {
            (Reply::Stale, _) => world.read_outcome(worker, intent, then),
            (_, Then::Nothing) => world.go(worker, Step::Idle),
            _ => world.refuse(worker, intent),
        },
        |_, world| world.read_outcome(worker, intent, then),
    );
}

impl World {
    /// The journal sequence of a report; 0 where it is not on the journal.
    pub fn sequence_of(&self, report: Report) -> u8 {
        let same = |entry: &Entry| matches!(entry, Entry::Report(other) if (other.order, other.version, other.settlement) == (report.order, report.version, report.settlement));
        self.journal
            .iter()
            .find(|(_, entry)| same(entry))
            .map_or(0, |(sequence, _)| sequence)
    }
}
