//! What a worker does outside of calls: `src/worker/background/` and `src/worker/rebuild/`.

use crate::call::Turn;
use crate::effects::Word;
use crate::guards::Guard;
use crate::model::Model;
use crate::scripts::{Command, Reply};
use crate::world::{Asking, AtVenue, Entry, Id, Record, Redis, Report, Settling, Stage, Step, Then, World};

impl Model {
    /// What an idle worker may begin.
    pub fn idle_steps(&self, turn: &mut Turn) {
        let (world, worker) = (turn.world, turn.worker);
        if !world.is_store_usable() {
            if self.is_on(Guard::Epoch) {
                self.begin_rebuild(turn);
            }
            if self.is_on(Guard::Epoch) || world.workers[worker].epoch == 0 {
                return;
            }
        }
        for intent in 0..self.scene.intents {
            let number = u8::try_from(intent).expect("few intents");
            if world.answers[intent].calls_left > 0 {
                let mut next = *world;
                next.answers[intent].calls_left -= 1;
                if world.workers[worker].epoch == 0 {
                    next.answers[intent].is_refused = true;
                } else {
                    next.go(worker, self.new_claim(world, number, None));
                }
                turn.push("gets an intent", next);
            }
        }
        if world.workers[worker].epoch != world.redis.epoch {
            return;
        }
        for intent in 0..self.scene.intents {
            self.recovery_steps(turn, intent);
        }
        if let Some((intent, word)) = self.stream_of(world) {
            let record = world.redis.records[intent];
            let settling = self.settling(world, intent, &record, 0, word);
            let mut next = *world;
            next.go(worker, Step::Settle(settling));
            turn.push("gets an event of the venue", next);
        }
        if let Some((sequence, entry)) = self.late_event(world) {
            late_step(turn, sequence, entry);
        }
    }

    fn settling(&self, world: &World, intent: usize, record: &Record, token: Id, word: Word) -> Settling {
        Settling {
            intent: u8::try_from(intent).expect("few intents"),
            order: record.order,
            token,
            settlement: world.new_id(),
            base: record.base(),
            word,
            then: Then::Nothing,
        }
    }

    /// Expired leases, the outbox and due inquiries.
    fn recovery_steps(&self, turn: &mut Turn, intent: usize) {
        let (world, worker) = (turn.world, turn.worker);
        let record = world.redis.records[intent];
        let (number, Record { order, token, .. }) = (u8::try_from(intent).expect("few intents"), record);
        let go = |turn: &mut Turn, what, step| {
            let mut next = *world;
            next.go(worker, step);
            turn.push(what, next);
        };
        let then = Then::Nothing;
        if record.has_lease && self.is_on(Guard::TakeOver) {
            match record.stage {
                Stage::Claimed => {
                    let step = Step::Withdraw {
                        intent: number,
                        order,
                        token,
                        from_sending: false,
                        then,
                    };
                    go(turn, "finds a claim whose lease has expired", step);
                }
                Stage::Sending => {
                    let settling = self.settling(world, intent, &record, token, Word::Unknown);
                    go(turn, "finds an order that was being sent", Step::Settle(settling));
                }
                _ => {}
            }
        }
        if record.in_outbox && self.is_on(Guard::Outbox) {
            match record.stage {
                Stage::Releasing => {
                    go(
                        turn,
                        "finds a release in the outbox",
                        Step::AppendRelease {
                            intent: number,
                            order,
                            token,
                            then,
                        },
                    );
                }
                _ if record.waiting.len > 0 => {
                    go(
                        turn,
                        "finds reports in the outbox",
                        Step::Append {
                            batch: record.waiting,
                            done: 0,
                            then,
                        },
                    );
                }
                _ => {
                    let report = Report {
                        intent: number,
                        order,
                        version: record.version,
                        ..Report::default()
                    };
                    let sequence = record.sequence;
                    let command = Command::Mark { report, sequence };
                    turn.script("drops a name from the outbox", command, |_, _, _| {}, |_, _| {});
                }
            }
        }
        if record.stage == Stage::Open && self.effects.is_unknown(record.doc) {
            let asked = Asking {
                intent: number,
                order,
                turn: world.new_id(),
                base: record.base(),
                is_late: false,
            };
            let command = Command::TakeTurn {
                intent: number,
                order,
                turn: asked.turn,
            };
            turn.script(
                "takes the turn to ask the venue",
                command,
                |_, world, reply| {
                    if let Reply::Turn { is_late } = reply {
                        world.go(worker, Step::Ask(Asking { is_late, ..asked }));
                    }
                },
                |_, world| world.go(worker, Step::Idle),
            );
        }
    }

    /// An event that the venue has for an order in the store, which says something new.
    pub fn stream_of(&self, world: &World) -> Option<(usize, Word)> {
        world.redis.records.iter().enumerate().find_map(|(intent, record)| {
            let is_known = matches!(record.stage, Stage::Sending | Stage::Open | Stage::Ended);
            let Some(AtVenue::Accepted(trades)) = world.at_venue(record.order).filter(|_| is_known) else {
                return None;
            };
            let word = Word::Working(trades);
            self.effects.apply(record.doc, word).map(|_| (intent, word))
        })
    }

    /// The next event that workers of an earlier epoch appended after the rebuild.
    pub fn late_event(&self, world: &World) -> Option<(u8, Entry)> {
        if !self.is_on(Guard::LateEvents) {
            return None;
        }
        let mut events = world
            .journal
            .iter()
            .filter(|(sequence, _)| *sequence >= world.late_next);
        events.find(|(_, entry)| entry.epoch() != world.redis.epoch)
    }

    /// The steps of background jobs.
    pub fn background_steps(&self, turn: &mut Turn, step: Step) {
        match step {
            Step::Ask(asking) => ask(turn, asking),
            Step::NotFound(asking) => note_not_found(turn, asking),
            Step::Replay {
                report,
                sequence,
                replaces,
                is_late,
            } => {
                self.replay(turn, report, sequence, replaces, is_late);
            }
            Step::AppendOther {
                other,
                report,
                sequence,
                is_late,
            } => append_other(turn, other, report, sequence, is_late),
            Step::ReplayOther { .. } => replay_other(turn, step),
            Step::Rebuild { token, next } => self.rebuild(turn, token, next),
            _ => {}
        }
    }

    /// Replays an event into a store in use. Of two orders for one id, the first on the journal counts.
    fn replay(&self, turn: &mut Turn, report: Report, sequence: u8, replaces: Option<(Id, u8)>, is_late: bool) {
        let (worker, is_paper) = (turn.worker, self.scene.is_paper);
        let end = move |world: &mut World| {
            if is_late && world.late_next == sequence {
                world.late_next += 1;
            }
            world.go(worker, Step::Idle);
        };
        turn.script(
            "replays a report that the store lacks",
            Command::Replay {
                report,
                sequence,
                replaces,
            },
            |model, world, reply| match reply {
                Reply::Conflict if is_paper => {
                    let record = world.redis.records[usize::from(report.intent)];
                    let replaces = Some((record.order, record.version));
                    let step = match record.waiting.as_slice().first() {
                        Some(other) if model.is_on(Guard::JournalsReplaced) => Step::AppendOther {
                            other: *other,
                            report,
                            sequence,
                            is_late,
                        },
                        _ => Step::Replay {
                            report,
                            sequence,
                            replaces,
                            is_late,
                        },
                    };
                    world.go(worker, step);
                }
                Reply::Stale => world.go(worker, Step::Idle),
                _ => end(world),
            },
            |_, world| world.go(worker, Step::Idle),
        );
    }

    /// Takes the store for a rebuild, whoever had it before.
    fn begin_rebuild(&self, turn: &mut Turn) {
        let mut next = *turn.world;
        let token = turn.world.new_id();
        let redis = &mut next.redis;
        redis.is_loading |= redis.epoch == 0;
        redis.rebuilder = token;
        redis.has_scripts = true;
        let late = if redis.late_from > 0 {
            redis.late_from - 1
        } else {
            redis.watermark
        };
        let from = if redis.is_loading { 0 } else { redis.watermark.min(late) };
        if redis.is_loading {
            // What is there is cleared: the journal is loaded as a whole.
            let Redis {
                epoch,
                rebuilder,
                has_scripts,
                late_from,
                ..
            } = *redis;
            *redis = Redis {
                epoch,
                rebuilder,
                has_scripts,
                late_from,
                is_loading: true,
                ..Redis::default()
            };
        } else {
            self.withdraw_claims(&mut next);
        }
        next.go(turn.worker, Step::Rebuild { token, next: from + 1 });
        turn.push("begins to rebuild the store", next);
    }

    /// Withdraws every claim of the epoch before, and replays the submissions that each may have.
    fn withdraw_claims(&self, world: &mut World) {
        let claims: Vec<(usize, Record)> = world.redis.records.iter().copied().enumerate().collect();
        let (watermark, journal) = (world.redis.watermark, world.journal);
        for (intent, record) in claims {
            let number = u8::try_from(intent).expect("few intents");
            if record.stage == Stage::Claimed {
                let Record { order, token, .. } = record;
                let command = Command::Withdraw {
                    intent: number,
                    order,
                    token,
                    from_sending: false,
                    by_rebuild: true,
                };
                self.run_as_rebuilder(world, command);
            }
            if !matches!(record.stage, Stage::Claimed | Stage::Releasing) {
                continue;
            }
            for (sequence, entry) in journal.iter() {
                let is_report = matches!(entry, Entry::Report(_));
                if entry.intent() == intent && sequence > record.after && sequence <= watermark && !is_report {
                    self.run_as_rebuilder(
                        world,
                        Command::ReplaySubmission {
                            entry,
                            sequence,
                            in_rebuild: true,
                        },
                    );
                }
            }
        }
    }

    /// Replays the journal up to its end, and puts a new epoch in force.
    fn rebuild(&self, turn: &mut Turn, token: Id, from: u8) {
        let mut next = *turn.world;
        if turn.world.redis.rebuilder != token || !turn.world.redis.has_scripts {
            next.go(turn.worker, Step::Idle);
            turn.push("finds that another rebuilds the store", next);
            return;
        }
        if from <= next.journal.len {
            let journal = next.journal;
            for (sequence, entry) in journal.iter().filter(|(sequence, _)| *sequence >= from) {
                self.replay_in_rebuild(&mut next, sequence, entry);
            }
            next.go(
                turn.worker,
                Step::Rebuild {
                    token,
                    next: journal.len + 1,
                },
            );
            turn.push("replays the journal", next);
            return;
        }
        next.epochs += 1;
        let redis = &mut next.redis;
        (redis.epoch, redis.rebuilder, redis.is_loading) = (next.epochs, 0, false);
        (redis.late_from, redis.missing) = (from, 0);
        next.late_next = from;
        next.workers[turn.worker].epoch = next.epochs;
        next.go(turn.worker, Step::Idle);
        turn.push("puts the rebuilt store in force", next);
    }

    fn replay_in_rebuild(&self, world: &mut World, sequence: u8, entry: Entry) {
        let Entry::Report(report) = entry else {
            self.run_as_rebuilder(
                world,
                Command::ReplaySubmission {
                    entry,
                    sequence,
                    in_rebuild: true,
                },
            );
            return;
        };
        let replay = |report, sequence, replaces| Command::Replay {
            report,
            sequence,
            replaces,
        };
        let is_conflict = |reply| reply == Reply::Conflict && self.scene.is_paper;
        if !is_conflict(self.run_as_rebuilder(world, replay(report, sequence, None))) {
            return;
        }
        let waiting = world.redis.records[usize::from(report.intent)].waiting;
        if let Some(other) = waiting
            .as_slice()
            .first()
            .filter(|_| self.is_on(Guard::JournalsReplaced))
        {
            let Some(other_sequence) = self.append(world, Entry::Report(*other)) else {
                return;
            };
            self.run_as_rebuilder(world, replay(*other, other_sequence, None));
        }
        if is_conflict(self.run_as_rebuilder(world, replay(report, sequence, None))) {
            let record = world.redis.records[usize::from(report.intent)];
            self.run_as_rebuilder(world, replay(report, sequence, Some((record.order, record.version))));
        }
    }
}

/// The venue answers an inquiry, or does not have the order.
fn ask(turn: &mut Turn, asking: Asking) {
    let mut next = *turn.world;
    if let Some(AtVenue::Accepted(trades)) = turn.world.at_venue(asking.order) {
        let settling = settling_of(turn.world, asking, 0, Word::Working(trades));
        next.go(turn.worker, Step::Settle(settling));
        turn.push("finds the order at the venue", next);
    } else {
        next.go(turn.worker, Step::NotFound(asking));
        turn.push("does not find the order at the venue", next);
    }
}

fn settling_of(world: &World, asking: Asking, token: Id, word: Word) -> Settling {
    Settling {
        intent: asking.intent,
        order: asking.order,
        token,
        settlement: world.new_id(),
        base: asking.base,
        word,
        then: Then::Nothing,
    }
}

/// Records that the venue does not have an order. It is conclusive where the question was asked after the time in which the
/// request could still arrive, however late the answer is recorded.
fn note_not_found(turn: &mut Turn, asking: Asking) {
    let (worker, settling) = (
        turn.worker,
        settling_of(turn.world, asking, asking.turn, Word::NotPlaced),
    );
    let Asking {
        intent,
        order,
        turn: token,
        ..
    } = asking;
    turn.script(
        "records that the venue does not have the order",
        Command::NotFound {
            intent,
            order,
            turn: token,
        },
        |model, world, reply| {
            let is_conclusive = match reply {
                Reply::Turn { .. } if !model.is_on(Guard::NotFoundWindow) => true,
                Reply::Turn { is_late } if !model.is_on(Guard::QuestionTime) => is_late,
                Reply::Turn { .. } => asking.is_late,
                _ => false,
            };
            world.go(
                worker,
                if is_conclusive {
                    Step::Settle(settling)
                } else {
                    Step::Idle
                },
            );
        },
        |_, world| world.go(worker, Step::Idle),
    );
}

fn append_other(turn: &mut Turn, other: Report, report: Report, sequence: u8, is_late: bool) {
    let worker = turn.worker;
    turn.append(
        "journals what a replayed report would replace",
        Entry::Report(other),
        |_, world, other_sequence| {
            let step = Step::ReplayOther {
                other,
                other_sequence,
                report,
                sequence,
                is_late,
            };
            world.go(worker, step);
        },
        |_, world| world.go(worker, Step::Idle),
    );
}

fn replay_other(turn: &mut Turn, step: Step) {
    let Step::ReplayOther {
        other,
        other_sequence,
        report,
        sequence,
        is_late,
    } = step
    else {
        return;
    };
    let worker = turn.worker;
    let command = Command::Replay {
        report: other,
        sequence: other_sequence,
        replaces: None,
    };
    let again = Step::Replay {
        report,
        sequence,
        replaces: None,
        is_late,
    };
    turn.script(
        "puts what it journaled into the store",
        command,
        |_, world, reply| world.go(worker, if reply == Reply::Stale { Step::Idle } else { again }),
        |_, world| world.go(worker, Step::Idle),
    );
}

/// Replays a late event.
fn late_step(turn: &mut Turn, sequence: u8, entry: Entry) {
    let worker = turn.worker;
    match entry {
        Entry::Report(report) => {
            let mut next = *turn.world;
            next.late_next = sequence;
            next.go(
                worker,
                Step::Replay {
                    report,
                    sequence,
                    replaces: None,
                    is_late: true,
                },
            );
            turn.push("finds a late report", next);
        }
        _ => turn.script(
            "replays a late submission or release",
            Command::ReplaySubmission {
                entry,
                sequence,
                in_rebuild: false,
            },
            |_, world, _| world.late_next = sequence + 1,
            |_, _| {},
        ),
    }
}
