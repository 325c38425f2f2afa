//! The pure parts of an order by themselves: `cargo bench --bench pure`. `make bench` shows their medians beside the other
//! figures.

#[path = "parts.rs"]
mod parts;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

use crate::parts::PureParts;

/// An intent as callers send it.
const INTENT: &str = include_str!("intent.json");

fn pure_parts(criterion: &mut Criterion) {
    let parts = PureParts::new(INTENT).unwrap_or_else(|error| panic!("the inputs: {error:#}"));
    assert!(parts.judge(), "the order is approved");
    criterion.bench_function("decode an intent", |bencher| bencher.iter(|| black_box(parts.decode())));
    criterion.bench_function("verdict of all rules", |bencher| {
        bencher.iter(|| black_box(parts.judge()))
    });
    criterion.bench_function("encode a report", |bencher| {
        bencher.iter(|| black_box(parts.encode_report()));
    });
    criterion.bench_function("encode a journal report", |bencher| {
        bencher.iter(|| black_box(parts.encode_journal_report()));
    });
    criterion.bench_function("decode an intent and encode its report", |bencher| {
        bencher.iter(|| black_box(parts.decode() + parts.encode_report()));
    });
}

criterion_group!(benches, pure_parts);
criterion_main!(benches);
