//! The checks of `fuzz/` on a stable toolchain: over the committed corpus in `cargo test`, and over random changes of it in
//! `make fuzz`. `cargo fuzz` runs the same checks, led by coverage, where a nightly toolchain is at hand.

#![allow(clippy::expect_used, reason = "in a test a panic is the verdict")]

#[path = "../../fuzz/src/checks.rs"]
mod checks;
mod mutation;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checks::{TARGETS, Target};
use mutation::Mutator;

fn folder(kind: &str, target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(kind)
        .join(target.name)
}

/// Returns the inputs of a target's corpus.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder("corpus", target)).expect("a corpus");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("an input"))
        .collect()
}

#[test]
fn every_input_of_the_corpora_holds_its_properties() {
    for target in TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 3, "{} has a corpus", target.name);
        inputs.iter().for_each(|input| (target.check)(input));
    }
}

#[test]
fn a_few_changes_of_the_corpora_hold_their_properties() {
    for target in TARGETS {
        let mut inputs = Mutator::new(1, corpus(target), target.words);
        (0..100).for_each(|_| check(target, &inputs.next_input()));
    }
}

/// Checks one input; one that fails is kept.
fn check(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.check)(input))).is_err() {
        let kept = folder("artifacts", target);
        std::fs::create_dir_all(&kept).expect("a folder");
        let path = kept.join(format!("failed-{}", std::process::id()));
        std::fs::write(&path, input).expect("a kept input");
        panic!(
            "{} fails for {}: {:?}",
            target.name,
            path.display(),
            String::from_utf8_lossy(input)
        );
    }
}

/// Runs every target for `FUZZ_SECONDS`, or the one that `FUZZ_TARGET` names.
#[test]
#[ignore = "as long as asked: make fuzz"]
fn changes_of_the_corpora_hold_their_properties_for_as_long_as_asked() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let named = std::env::var("FUZZ_TARGET").ok();
    let (seconds, seed) = (
        number("FUZZ_SECONDS", 60),
        number("FUZZ_SEED", u64::from(std::process::id())),
    );
    println!("seed {seed}, {seconds} s each");
    for target in TARGETS
        .iter()
        .filter(|target| named.as_deref().is_none_or(|name| name == target.name))
    {
        let mut inputs = Mutator::new(seed, corpus(target), target.words);
        let (end, mut count) = (Instant::now() + Duration::from_secs(seconds), 0_u64);
        while Instant::now() < end {
            (0..256).for_each(|_| check(target, &inputs.next_input()));
            count += 256;
        }
        println!("{}: {count} inputs", target.name);
    }
}
