//! Explores the model of the claim (`tests/claim_model`): every interleaving within the bounds of each scene keeps the laws,
//! and with a guard turned off there is one that breaks a law. docs/reliability.md explains it.

#![allow(clippy::expect_used, reason = "in a test a panic is the verdict")]

mod effects;

use claim_model::explorer::{Explored, Explorer};
use claim_model::guards::Guard;
use claim_model::model::{Model, Scene};
use claim_model::world::Violation;
use effects::OrderTable;

/// One intent for a venue outside of the store, submitted twice.
const LIVE: Scene = Scene {
    name: "live, submitted twice",
    is_paper: false,
    intents: 1,
    lots: 1,
    cap: 1,
    calls: 2,
    crashes: 0,
    losses: 0,
    lost_answers: 0,
};
/// The same, submitted once.
const LIVE_ONCE: Scene = Scene {
    name: "live, submitted once",
    calls: 1,
    ..LIVE
};
/// One intent for a paper venue, submitted twice, with each fault.
const PAPER: Scene = Scene {
    name: "paper, submitted twice: a crash, a loss of Redis, a lost answer",
    is_paper: true,
    crashes: 1,
    losses: 1,
    lost_answers: 1,
    ..LIVE
};

/// What `cargo test` explores.
const SCENES: &[Scene] = &[
    LIVE,
    Scene {
        name: "live, two trades",
        lots: 2,
        cap: 2,
        ..LIVE_ONCE
    },
    Scene {
        name: "live, submitted twice: a crash",
        crashes: 1,
        ..LIVE
    },
    Scene {
        name: "live, submitted once: a loss of Redis",
        losses: 1,
        ..LIVE_ONCE
    },
    Scene {
        name: "live, submitted once: a lost answer",
        lost_answers: 1,
        ..LIVE_ONCE
    },
    PAPER,
    Scene {
        name: "paper, submitted three times: two crashes, a lost answer",
        calls: 3,
        crashes: 2,
        losses: 0,
        ..PAPER
    },
    Scene {
        name: "paper, two intents and room for one: a crash",
        intents: 2,
        losses: 0,
        lost_answers: 0,
        ..PAPER
    },
];

/// Two intents of which only one has room under the limit.
const LIVE_LIMIT: Scene = Scene {
    name: "live, two intents and room for one",
    intents: 2,
    ..LIVE_ONCE
};

/// What `make interleavings` explores.
const DEEP_SCENES: &[Scene] = &[
    Scene {
        name: "live, submitted twice: a loss of Redis",
        losses: 1,
        ..LIVE
    },
    Scene {
        name: "live, submitted twice: a lost answer",
        lost_answers: 1,
        ..LIVE
    },
    Scene {
        name: "live, submitted once: a crash, a lost answer",
        crashes: 1,
        lost_answers: 1,
        ..LIVE_ONCE
    },
    Scene {
        name: "live, submitted once: a crash, a loss of Redis",
        crashes: 1,
        losses: 1,
        ..LIVE_ONCE
    },
    Scene {
        name: "paper, submitted three times: a crash, two losses of Redis",
        calls: 3,
        losses: 2,
        lost_answers: 0,
        ..PAPER
    },
];

/// The most states that fit into the memory of a small machine.
const MOST_STATES: usize = 12_000_000;

fn explore(scene: Scene, off: Option<Guard>) -> Explored {
    let model = Model::new(scene, OrderTable::new(scene.lots).effects, off);
    Explorer::new(&model).explore(MOST_STATES)
}

fn holds(scene: Scene) {
    let started = std::time::Instant::now();
    let found = explore(scene, None);
    println!(
        "{}: {} states, {} steps, {} at rest, at most {} steps deep, {:.1?}",
        scene.name,
        found.states,
        found.steps,
        found.quiet,
        found.depth,
        started.elapsed()
    );
    if let Some((law, trace)) = found.violation {
        panic!("{}: {law:?}\n{}", scene.name, trace.join("\n"));
    }
    assert!(!found.is_cut, "{}: the model's journal is too short", scene.name);
    assert!(found.quiet > 0, "{}: nothing ends", scene.name);
}

#[test]
fn every_interleaving_keeps_the_laws() {
    SCENES.iter().for_each(|scene| holds(*scene));
}

#[test]
fn every_interleaving_of_two_intents_keeps_the_laws() {
    holds(LIVE_LIMIT);
}

#[test]
#[ignore = "minutes, and gigabytes of memory: make interleavings"]
fn every_interleaving_of_the_deep_scenes_keeps_the_laws() {
    DEEP_SCENES.iter().for_each(|scene| holds(*scene));
}

/// Guards, a scene that needs each, and what is found without it.
const NEEDED: &[(Guard, Scene, &[Violation])] = &[
    (Guard::Claim, LIVE, &[Violation::SumsDiffer, Violation::SentTwice]),
    (Guard::LeaseToken, LIVE, &[Violation::SumsDiffer, Violation::SentTwice]),
    (Guard::SubmissionEvent, LIVE_ONCE, &[Violation::SentBeforeJournal]),
    (
        Guard::SendingStage,
        LIVE,
        &[Violation::SentTwice, Violation::ExecutionNotBooked],
    ),
    (
        Guard::Epoch,
        PAPER,
        &[
            Violation::ExecutionNotBooked,
            Violation::SumsDiffer,
            Violation::VoidRecorded,
        ],
    ),
    (Guard::Outbox, PAPER, &[Violation::NeverQuiet]),
    (Guard::JournalBeforeReply, PAPER, &[Violation::AnsweredBeforeJournal]),
    (
        Guard::FillDedupe,
        LIVE_ONCE,
        &[Violation::SumsDiffer, Violation::ExecutionNotBooked],
    ),
    (Guard::NotFoundWindow, LIVE_ONCE, &[Violation::EndedAndExecuted]),
    (Guard::QuestionTime, LIVE_ONCE, &[Violation::EndedAndExecuted]),
    (
        Guard::TakeOver,
        Scene {
            crashes: 1,
            ..LIVE_ONCE
        },
        &[Violation::NeverQuiet],
    ),
    (
        Guard::ReplayedSubmission,
        Scene { losses: 1, ..LIVE },
        &[Violation::SentTwice, Violation::ExecutionNotBooked],
    ),
    (
        Guard::LateEvents,
        PAPER,
        &[
            Violation::ExecutionNotBooked,
            Violation::VoidRecorded,
            Violation::NeverQuiet,
        ],
    ),
    (Guard::JournalsReplaced, PAPER, &[Violation::VoidRecorded]),
];

#[test]
fn without_any_one_guard_an_interleaving_breaks_a_law() {
    for (guard, scene, expected) in NEEDED {
        let found = explore(*scene, Some(*guard));
        let (law, trace) = found
            .violation
            .unwrap_or_else(|| panic!("{guard:?} is not needed: {} states", found.states));
        println!(
            "without {guard:?}: {law:?} after {} states\n{}\n",
            found.states,
            trace.join("\n")
        );
        assert!(expected.contains(&law), "without {guard:?}: {law:?}");
    }
}

/// Guards against what takes many steps.
#[test]
#[ignore = "a minute: make interleavings"]
fn without_a_guard_of_deep_scenes_an_interleaving_breaks_a_law() {
    let after_a_crash = Scene {
        crashes: 1,
        losses: 1,
        ..LIVE_ONCE
    };
    for (guard, scene) in [
        (Guard::FirstSubmission, Scene { losses: 1, ..LIVE }),
        (Guard::EffectBase, after_a_crash),
    ] {
        let (law, trace) = explore(scene, Some(guard)).violation.expect("the guard is needed");
        println!("without {guard:?}: {law:?}\n{}", trace.join("\n"));
    }
}
