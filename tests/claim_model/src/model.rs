//! The model: a scene's bounds, and every step that may come next in a state.

use std::cell::Cell;

use crate::effects::Effects;
use crate::guards::Guard;
use crate::scripts::{Command, Reply, Rules};
use crate::world::{Adrift, Answers, AtVenue, Entry, INTENTS, Sent, Stage, Step, Violation, World};

/// What a run explores: every interleaving within these bounds.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    pub name: &'static str,
    /// Whether the venue is the store.
    pub is_paper: bool,
    pub intents: usize,
    /// The quantity of each order in lots; each lot is a trade of its own.
    pub lots: u8,
    /// The most exposure in lots.
    pub cap: i8,
    /// How often each intent is submitted: redeliveries and retries.
    pub calls: u8,
    /// How many workers die.
    pub crashes: u8,
    /// How often Redis returns to an earlier state.
    pub losses: u8,
    /// How many requests to Redis or the journal are given up by their sender: they take effect later, or never.
    pub lost_answers: u8,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label {
    /// The worker's index, where a worker takes the step.
    pub worker: Option<usize>,
    pub what: &'static str,
    /// Whether it is a fault: everything has to end without another one.
    pub is_fault: bool,
}

/// The steps that may come next, each with the state after it.
pub type Steps = Vec<(Label, World)>;

/// A scene with its rules.
pub struct Model {
    pub scene: Scene,
    pub effects: Effects,
    pub off: Option<Guard>,
    /// Whether a state needed more room on the journal than the model has.
    pub is_cut: Cell<bool>,
}

impl Model {
    /// Returns a scene with every guard, or one turned off.
    pub fn new(scene: Scene, effects: Effects, off: Option<Guard>) -> Self {
        Self {
            scene,
            effects,
            off,
            is_cut: Cell::default(),
        }
    }

    /// Whether a guard is on.
    pub fn is_on(&self, guard: Guard) -> bool {
        self.off != Some(guard)
    }

    /// The state before the first step: an empty store, an empty journal.
    pub fn start(&self) -> World {
        let mut answers = [Answers::default(); INTENTS];
        answers[..self.scene.intents]
            .iter_mut()
            .for_each(|answers| answers.calls_left = self.scene.calls);
        let redis = crate::world::Redis {
            epoch: 1,
            has_scripts: true,
            late_from: 1,
            ..Default::default()
        };
        let workers = [crate::world::Worker {
            epoch: 1,
            step: Step::Idle,
        }; crate::world::WORKERS];
        World {
            redis,
            copy: Default::default(),
            journal: Default::default(),
            workers,
            requests: Default::default(),
            answers,
            adrift: None,
            late_next: 1,
            epochs: 1,
            crashes_left: self.scene.crashes,
            losses_left: self.scene.losses,
            can_copy: self.scene.losses > 0,
            lost_answers_left: self.scene.lost_answers,
            broken: None,
            highest_id: 0,
        }
    }

    /// Returns every step that may come next.
    pub fn steps(&self, world: &World) -> Steps {
        let mut steps = Steps::new();
        for worker in 0..world.workers.len() {
            self.worker_steps(world, worker, &mut steps);
            self.lifecycle_steps(world, worker, &mut steps);
        }
        self.venue_steps(world, &mut steps);
        self.fault_steps(world, &mut steps);
        steps.retain_mut(|(_, next)| {
            self.check(next);
            *next != *world
        });
        steps
    }

    /// Runs a command for a worker, under the epoch that the worker knows.
    pub fn run(&self, world: &mut World, worker: usize, command: Command) -> Reply {
        let epoch = world.workers[worker].epoch;
        let reply = self.run_in(world, epoch, command);
        if reply == Reply::Stale {
            world.workers[worker].epoch = 0;
        }
        reply
    }

    fn run_in(&self, world: &mut World, epoch: u8, command: Command) -> Reply {
        let is_current = world.is_store_usable() && world.redis.epoch == epoch;
        if !is_current && (self.is_on(Guard::Epoch) || epoch == 0) {
            return Reply::Stale;
        }
        self.run_as_rebuilder(world, command)
    }

    /// Runs a command whatever the epoch.
    pub fn run_as_rebuilder(&self, world: &mut World, command: Command) -> Reply {
        let rules = Rules {
            effects: &self.effects,
            cap: self.scene.cap,
            off: self.off,
        };
        world.redis.run(command, &rules)
    }

    /// Appends an entry. A step that needs more room than the model's journal has is cut off.
    pub fn append(&self, world: &mut World, entry: Entry) -> Option<u8> {
        let sequence = world.journal.append(entry);
        if sequence.is_none() {
            self.is_cut.set(true);
        }
        sequence
    }

    /// Joining the epoch in force, and dying.
    fn lifecycle_steps(&self, world: &World, worker: usize, steps: &mut Steps) {
        let label = |what, is_fault| Label {
            worker: Some(worker),
            what,
            is_fault,
        };
        if world.is_store_usable() && world.workers[worker].epoch != world.redis.epoch && self.is_on(Guard::Epoch) {
            let mut next = *world;
            next.workers[worker].epoch = world.redis.epoch;
            steps.push((label("joins the epoch in force", false), next));
        }
        if world.crashes_left > 0 && world.workers[worker].step != Step::Idle {
            let mut next = *world;
            next.crashes_left -= 1;
            if let Some(intent) = world.workers[worker].step.caller() {
                next.answers[intent].is_unsure = true;
            }
            next.workers[worker] = Default::default();
            steps.push((label("dies, and is started again", true), next));
        }
    }

    /// What the venue and the time do.
    fn venue_steps(&self, world: &World, steps: &mut Steps) {
        let label = |what| Label {
            worker: None,
            what,
            is_fault: false,
        };
        for (at, request) in world.requests.iter().enumerate() {
            let Some(request) = request else { continue };
            let mut become_state = |what, state| {
                let mut next = *world;
                if let Some(request) = &mut next.requests[at] {
                    request.state = state;
                }
                steps.push((label(what), next));
            };
            match request.state {
                AtVenue::InFlight { is_old } => {
                    become_state("a request vanishes", AtVenue::Vanished);
                    become_state("the venue rejects an order", AtVenue::Rejected);
                    if !is_old {
                        become_state("the venue accepts an order", AtVenue::Accepted(0));
                    }
                }
                AtVenue::Accepted(trades) if trades.count_ones() < u32::from(self.scene.lots) => {
                    become_state("the venue fills a lot", AtVenue::Accepted(trades << 1 | 1));
                }
                _ => {}
            }
        }
        self.time_step(world, steps);
    }

    /// More time passes than the venue takes a request for.
    fn time_step(&self, world: &World, steps: &mut Steps) {
        let mut next = *world;
        for request in next.requests.iter_mut().flatten() {
            if let AtVenue::InFlight { is_old } = &mut request.state {
                *is_old = true;
            }
        }
        for worker in &mut next.workers {
            if let Step::Start { is_old, .. } | Step::Send { is_old, .. } = &mut worker.step {
                *is_old = true;
            }
        }
        for record in next.redis.records.iter_mut().chain(&mut next.copy.records) {
            if record.sent == Sent::Recently {
                record.sent = Sent::LongAgo;
            }
        }
        if next != *world {
            steps.push((
                Label {
                    worker: None,
                    what: "the time for a request is over",
                    is_fault: false,
                },
                next,
            ));
        }
    }

    /// Faults of Redis and of connections.
    fn fault_steps(&self, world: &World, steps: &mut Steps) {
        let label = |what, is_fault| Label {
            worker: None,
            what,
            is_fault,
        };
        if world.can_copy && world.losses_left > 0 {
            let mut next = *world;
            (next.copy, next.can_copy) = (world.redis, false);
            steps.push((label("Redis will return to this moment", true), next));
        }
        if world.losses_left > 0 {
            let mut next = *world;
            let is_noticed = self.is_on(Guard::Epoch);
            next.redis = crate::world::Redis {
                has_scripts: !is_noticed,
                epoch: if is_noticed {
                    world.copy.epoch
                } else {
                    world.redis.epoch
                },
                ..world.copy
            };
            (next.copy, next.losses_left) = (Default::default(), world.losses_left - 1);
            next.can_copy = next.losses_left > 0;
            if let Some(Adrift::Script(..)) = world.adrift {
                next.adrift = None;
            }
            steps.push((label("Redis loses its tail", true), next));
        }
        match world.adrift {
            Some(Adrift::Script(epoch, command)) => {
                let mut next = World { adrift: None, ..*world };
                steps.push((label("a request to Redis never arrives", false), next));
                self.run_in(&mut next, epoch, command);
                steps.push((
                    label("a request to Redis is executed after its sender gave up", false),
                    next,
                ));
            }
            Some(Adrift::Append(entry)) => {
                let mut next = World { adrift: None, ..*world };
                steps.push((label("an append never arrives", false), next));
                if self.append(&mut next, entry).is_some() {
                    steps.push((label("an append is stored after its sender gave up", false), next));
                }
            }
            None => {}
        }
    }

    /// Notes which law a state breaks.
    fn check(&self, world: &mut World) {
        for intent in 0..self.scene.intents {
            let of_intent = |world: &World| world.sent().filter(|sent| usize::from(sent.intent) == intent).count();
            if of_intent(world) > 1 {
                world.breaks(Violation::SentTwice);
            }
        }
        let executed: u32 = world.sent().map(|request| lots_of(request.state)).sum();
        if executed > self.scene.cap.unsigned_abs().into() {
            world.breaks(Violation::LimitPassed);
        }
        let ended_without = |order| {
            world.journal.iter().any(|(_, entry)| {
                matches!(entry, Entry::Report(report) if report.order == order && self.effects.is_not_placed(report.doc))
            })
        };
        let is_possible = |state| matches!(state, AtVenue::Accepted(_) | AtVenue::InFlight { is_old: false });
        if world
            .sent()
            .any(|request| is_possible(request.state) && ended_without(request.order))
        {
            world.breaks(Violation::EndedAndExecuted);
        }
        if world.is_store_usable() && self.sums_of_records(world) != (world.redis.long, world.redis.position) {
            world.breaks(Violation::SumsDiffer);
        }
        if world.broken.is_none() && self.is_quiet(world) {
            self.check_quiet(world);
        }
    }

    /// What the records make of the sums.
    fn sums_of_records(&self, world: &World) -> (i8, i8) {
        let share = |record: &crate::world::Record| match record.stage {
            Stage::Claimed | Stage::Sending => (self.effects.document(0).long, 0),
            Stage::Open | Stage::Ended => {
                let document = self.effects.document(record.doc);
                (document.long, document.position)
            }
            Stage::None | Stage::Releasing | Stage::Released | Stage::Denied => (0, 0),
        };
        let shares = world.redis.records.iter().map(share);
        shares.fold((0, 0), |(long, position), share| (long + share.0, position + share.1))
    }

    /// Whether nothing is in flight.
    pub fn is_quiet(&self, world: &World) -> bool {
        let is_idle = world.workers.iter().all(|worker| worker.step == Step::Idle);
        let is_at_rest = |record: &crate::world::Record| {
            let is_settled = match record.stage {
                Stage::None | Stage::Released | Stage::Ended | Stage::Denied => true,
                Stage::Open => !self.effects.is_unknown(record.doc),
                Stage::Claimed | Stage::Sending | Stage::Releasing => false,
            };
            is_settled && !record.in_outbox && record.waiting.len == 0
        };
        let is_done = |state| match state {
            AtVenue::InFlight { .. } => false,
            AtVenue::Accepted(trades) => trades.count_ones() == u32::from(self.scene.lots),
            AtVenue::Vanished | AtVenue::Rejected => true,
        };
        is_idle
            && world.adrift.is_none()
            && world.is_store_usable()
            && world.redis.records.iter().all(is_at_rest)
            && world.sent().all(|request| is_done(request.state))
            && self.stream_of(world).is_none()
            && self.late_event(world).is_none()
    }

    fn check_quiet(&self, world: &mut World) {
        let executed: u32 = world.sent().map(|request| lots_of(request.state)).sum();
        let mut booked = i64::from(executed);
        if self.scene.is_paper {
            booked = 0;
            for intent in 0..self.scene.intents {
                booked += self.journaled_position(world, intent);
            }
        }
        if booked != i64::from(world.redis.position) {
            world.breaks(Violation::ExecutionNotBooked);
        }
        for intent in 0..self.scene.intents {
            let record = world.redis.records[intent];
            let is_reported = matches!(record.stage, Stage::Open | Stage::Ended | Stage::Denied);
            if is_reported && world.first_order(intent) != Some(record.order) {
                world.breaks(Violation::VoidRecorded);
            }
            let answers = world.answers[intent];
            let is_only_refused = answers.is_refused && !answers.is_unsure && answers.order == 0;
            let is_executed = world
                .sent()
                .any(|sent| usize::from(sent.intent) == intent && lots_of(sent.state) > 0);
            if is_only_refused && (is_executed || self.scene.is_paper && world.first_order(intent).is_some()) {
                world.breaks(Violation::RefusedAndExecuted);
            }
        }
    }

    /// The position that the journal gives an intent: the first order counts, and the first event of each version.
    fn journaled_position(&self, world: &World, intent: usize) -> i64 {
        let first = world.first_order(intent);
        let mut highest = 0;
        let mut position = 0;
        for (_, entry) in world.journal.iter() {
            if let Entry::Report(report) = entry
                && Some(report.order) == first
                && report.version > highest
            {
                highest = report.version;
                position += i64::from(report.position);
            }
        }
        position
    }
}

fn lots_of(state: AtVenue) -> u32 {
    match state {
        AtVenue::Accepted(trades) => trades.count_ones(),
        _ => 0,
    }
}
