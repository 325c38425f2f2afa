//! Every id in a state, in a fixed order.

use crate::scripts::Command;
use crate::world::{Adrift, Answers, Batch, Entry, Id, Record, Redis, Report, Step, World};

/// Calls `visit` with each id of a state.
pub fn each(world: &mut World, visit: &mut dyn FnMut(&mut Id)) {
    for sequence in 0..world.journal.len {
        if let Some(entry) = world.journal.entry_mut(sequence) {
            of_entry(entry, visit);
        }
    }
    of_redis(&mut world.redis, visit);
    of_redis(&mut world.copy, visit);
    for request in world.requests.iter_mut().flatten() {
        visit(&mut request.order);
    }
    for worker in &mut world.workers {
        of_step(&mut worker.step, visit);
    }
    for Answers { order, .. } in &mut world.answers {
        visit(order);
    }
    match &mut world.adrift {
        Some(Adrift::Append(entry)) => of_entry(entry, visit),
        Some(Adrift::Script(_, command)) => of_command(command, visit),
        None => {}
    }
}

fn of_redis(redis: &mut Redis, visit: &mut dyn FnMut(&mut Id)) {
    visit(&mut redis.rebuilder);
    for Record {
        order,
        token,
        settlement,
        request,
        waiting,
        ..
    } in &mut redis.records
    {
        [order, token, settlement, request].into_iter().for_each(&mut *visit);
        of_batch(waiting, visit);
    }
}

fn of_batch(batch: &mut Batch, visit: &mut dyn FnMut(&mut Id)) {
    for report in &mut batch.events[..usize::from(batch.len)] {
        of_report(report, visit);
    }
}

fn of_report(report: &mut Report, visit: &mut dyn FnMut(&mut Id)) {
    visit(&mut report.order);
    visit(&mut report.settlement);
    visit(&mut report.base);
}

fn of_entry(entry: &mut Entry, visit: &mut dyn FnMut(&mut Id)) {
    match entry {
        Entry::Submitting { order, token, .. } | Entry::Released { order, token, .. } => {
            visit(order);
            visit(token);
        }
        Entry::Report(report) => of_report(report, visit),
    }
}

/// Calls `visit` with each id of a step.
pub fn of_step(step: &mut Step, visit: &mut dyn FnMut(&mut Id)) {
    match step {
        Step::Idle | Step::Read { .. } => {}
        Step::Deny { order, .. } => visit(order),
        Step::Claim { order, token, .. }
        | Step::Submit { order, token, .. }
        | Step::Send { order, token, .. }
        | Step::Await { order, token, .. }
        | Step::Withdraw { order, token, .. }
        | Step::AppendRelease { order, token, .. }
        | Step::MarkRelease { order, token, .. } => {
            visit(order);
            visit(token);
        }
        Step::Start {
            order, token, request, ..
        } => [order, token, request].into_iter().for_each(visit),
        Step::Ask(asking) | Step::NotFound(asking) => {
            visit(&mut asking.order);
            visit(&mut asking.turn);
            visit(&mut asking.base.settlement);
        }
        Step::Settle(settling) => {
            let base = &mut settling.base.settlement;
            [&mut settling.order, &mut settling.token, &mut settling.settlement, base]
                .into_iter()
                .for_each(visit);
        }
        Step::Append { batch, .. } | Step::Mark { batch, .. } => of_batch(batch, visit),
        Step::Replay { report, replaces, .. } => {
            of_report(report, visit);
            if let Some((order, _)) = replaces {
                visit(order);
            }
        }
        Step::AppendOther { other, report, .. } | Step::ReplayOther { other, report, .. } => {
            of_report(other, visit);
            of_report(report, visit);
        }
        Step::Rebuild { token, .. } => visit(token),
    }
}

fn of_command(command: &mut Command, visit: &mut dyn FnMut(&mut Id)) {
    match command {
        Command::Claim { order, token, .. }
        | Command::Withdraw { order, token, .. }
        | Command::MarkRelease { order, token, .. }
        | Command::TakeTurn { order, turn: token, .. }
        | Command::NotFound { order, turn: token, .. } => {
            visit(order);
            visit(token);
        }
        Command::Book(report) | Command::Deny(report) => of_report(report, visit),
        Command::Start {
            order, token, request, ..
        } => [order, token, request].into_iter().for_each(visit),
        Command::Settle { report, token, .. } => {
            of_report(report, visit);
            visit(token);
        }
        Command::Mark { report, .. } => of_report(report, visit),
        Command::Replay { report, replaces, .. } => {
            of_report(report, visit);
            if let Some((order, _)) = replaces {
                visit(order);
            }
        }
        Command::ReplaySubmission { entry, .. } => of_entry(entry, visit),
    }
}
