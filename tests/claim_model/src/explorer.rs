//! Breadth-first exploration of every state of a model: the first violation with the shortest trace to it, and whether each
//! state leads to rest without another fault.

use std::collections::HashMap;

use crate::model::{Label, Model};
use crate::world::Violation;

/// What an exploration found.
#[derive(Debug)]
pub struct Explored {
    /// How many different states there are.
    pub states: usize,
    /// How many steps lead from one to another.
    pub steps: usize,
    /// How many states are at rest.
    pub quiet: usize,
    /// Whether steps were left out because the journal of the model was full.
    pub is_cut: bool,
    /// The most steps that a state is away from the start.
    pub depth: usize,
    /// The first law that is broken, and how.
    pub violation: Option<(Violation, Vec<String>)>,
}

/// A state as the exploration remembers it: where it was reached from, and by which step.
struct Reached {
    from: u32,
    step: u16,
}

/// The states that were reached, in order.
pub struct Explorer<'a> {
    model: &'a Model,
    reached: Vec<Reached>,
    quiet: Vec<bool>,
    /// Steps that are no faults, backwards.
    back: Vec<(u32, u32)>,
}

impl<'a> Explorer<'a> {
    /// Returns an explorer that has reached nothing.
    pub fn new(model: &'a Model) -> Self {
        Self {
            model,
            reached: vec![],
            quiet: vec![],
            back: vec![],
        }
    }

    /// Explores every state, or as far as the first violation. `most` bounds the states.
    pub fn explore(&mut self, most: usize) -> Explored {
        let (start, bytes, _) = self.model.start().canonical();
        let mut known = HashMap::from([(bytes.into_boxed_slice(), 0_u32)]);
        self.reached.push(Reached { from: 0, step: 0 });
        self.quiet.push(false);
        let mut level = vec![(0_u32, start)];
        let (mut steps, mut depth) = (0, 0);
        while !level.is_empty() {
            let mut following = vec![];
            for (at, world) in level {
                self.quiet[at as usize] = self.model.is_quiet(&world);
                for (number, (label, next)) in self.model.steps(&world).into_iter().enumerate() {
                    steps += 1;
                    let (next, bytes, _) = next.canonical();
                    let fresh = u32::try_from(self.reached.len()).expect("fewer states than fit");
                    let to = *known.entry(bytes.into_boxed_slice()).or_insert(fresh);
                    if to == fresh {
                        let step = u16::try_from(number).expect("few steps");
                        self.reached.push(Reached { from: at, step });
                        self.quiet.push(false);
                        if let Some(law) = next.broken {
                            return self.result(steps, depth + 1, Some((law, to)));
                        }
                        following.push((to, next));
                    }
                    if !label.is_fault {
                        self.back.push((to, at));
                    }
                }
            }
            depth += usize::from(!following.is_empty());
            assert!(
                self.reached.len() <= most,
                "{} states at a depth of {depth}: more than {most}",
                self.reached.len()
            );
            level = following;
        }
        let stuck = self.find_stuck();
        self.result(steps, depth, stuck.map(|at| (Violation::NeverQuiet, at)))
    }

    /// Returns the first state from which no state at rest is reached without another fault.
    fn find_stuck(&mut self) -> Option<u32> {
        self.back.sort_unstable();
        let mut ends_well = self.quiet.clone();
        let states = u32::try_from(ends_well.len()).expect("fewer states than fit");
        let mut waiting: Vec<u32> = (0..states).filter(|at| ends_well[*at as usize]).collect();
        while let Some(at) = waiting.pop() {
            let first = self.back.partition_point(|(to, _)| *to < at);
            for (_, from) in self.back[first..].iter().take_while(|(to, _)| *to == at) {
                if !std::mem::replace(&mut ends_well[*from as usize], true) {
                    waiting.push(*from);
                }
            }
        }
        (0..states).find(|at| !ends_well[*at as usize])
    }

    fn result(&self, steps: usize, depth: usize, found: Option<(Violation, u32)>) -> Explored {
        Explored {
            states: self.reached.len(),
            steps,
            quiet: self.quiet.iter().filter(|is_quiet| **is_quiet).count(),
            is_cut: self.model.is_cut.get(),
            depth,
            violation: found.map(|(law, at)| (law, self.trace(at))),
        }
    }

    /// Returns the steps to a state, the shortest way.
    fn trace(&self, at: u32) -> Vec<String> {
        let mut numbers = vec![];
        let mut back = at;
        while back != 0 {
            let Reached { from, step } = self.reached[back as usize];
            numbers.push(step);
            back = from;
        }
        // Equal states count once, whichever worker is which: the names follow the workers.
        let mut names = [1, 2];
        let mut world = self.model.start().canonical().0;
        let mut lines = vec![];
        for number in numbers.into_iter().rev() {
            let (label, next) = self.model.steps(&world).swap_remove(usize::from(number));
            lines.push(line_of(lines.len() + 1, label, names));
            let (next, _, is_swapped) = next.canonical();
            if is_swapped {
                names.reverse();
            }
            world = next;
        }
        lines
    }
}

fn line_of(number: usize, label: Label, names: [u8; 2]) -> String {
    let who = label
        .worker
        .map_or_else(String::new, |worker| format!("worker {} ", names[worker]));
    format!("{number:>3}. {who}{}", label.what)
}
