//! The medians of the pure parts, in nanoseconds. `cargo bench --bench pure` has their distributions.

use std::hint::black_box;
use std::time::Instant;

use crate::INTENT;
use crate::parts::PureParts;
use crate::table::{Row, median};

/// Calls of one sample, and samples of a median.
const CALLS: u32 = 2_000;
const SAMPLES: usize = 51;

/// Measures the pure parts and prints their rows.
pub fn print() -> anyhow::Result<()> {
    let parts = PureParts::new(INTENT)?;
    let verdict = median_ns(|| usize::from(parts.judge()));
    let codec = median_ns(|| parts.decode() + parts.encode_report());
    let journal = median_ns(|| parts.encode_journal_report());
    for (measure, value, target) in [
        ("risk verdict alone, all rules", verdict, "<= 2000 ns"),
        ("decode an intent and encode its report", codec, "<= 5000 ns"),
        ("encode the journal's report", journal, ""),
    ] {
        let row = Row {
            measure,
            floor_name: "",
            unit: " ns",
            runs: vec![(0, value)],
            target,
        };
        row.print();
    }
    Ok(())
}

fn median_ns(mut part: impl FnMut() -> usize) -> u64 {
    median((0..SAMPLES).map(|_| {
        let started_at = Instant::now();
        for _ in 0..CALLS {
            black_box(part());
        }
        u64::try_from(started_at.elapsed().as_nanos()).unwrap_or(u64::MAX) / u64::from(CALLS)
    }))
}
