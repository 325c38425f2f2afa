//! What `bench` prints.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::bench::{LoadDoor, LoadMeasurements, ProcessUsage};
use crate::cli::commands::bench::environment::Environment;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::config::journal::AppendMode;

/// The measurements of a run.
#[derive(Debug, Serialize)]
pub(super) struct BenchOutput<'a> {
    pub(super) throughput_per_s: u64,
    pub(super) journal_entries_per_s: Option<u64>,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
    pub(super) errors: u64,
    pub(super) errors_by_code: &'a BTreeMap<&'static str, u64>,
    pub(super) unsent: u64,
    pub(super) orders: u64,
    pub(super) door: LoadDoor,
    pub(super) concurrency: u16,
    pub(super) rate: Option<u32>,
    pub(super) elapsed_ms: u64,
    pub(super) processes: Vec<MeasuredProcess>,
    pub(super) environment: Environment,
}

/// What one process used during a run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct MeasuredProcess {
    name: String,
    id: u32,
    /// Processor time during the run, in hundredths of one processor.
    cpu_percent: u64,
    cpu_ms: u64,
    /// Resident memory before the load.
    rest_kib: u64,
    /// The highest resident memory since the start of the process.
    peak_kib: u64,
}

impl MeasuredProcess {
    /// Returns what a process has used since `before`; `None` where it has ended.
    pub(super) fn of(
        name: &str,
        id: u32,
        at_rest: ProcessUsage,
        before: ProcessUsage,
        elapsed: Duration,
    ) -> Option<Self> {
        let now = ProcessUsage::read(id)?;
        let cpu_ms = milliseconds(now.cpu.saturating_sub(before.cpu));
        Some(Self {
            name: name.to_owned(),
            id,
            cpu_percent: cpu_ms.saturating_mul(100) / milliseconds(elapsed).max(1),
            cpu_ms,
            rest_kib: at_rest.resident_kib,
            peak_kib: now.peak_kib,
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<'a> BenchOutput<'a> {
    /// Returns the measurements of a load, without those of processes and environment.
    pub(super) fn of(
        door: LoadDoor,
        concurrency: u16,
        rate: Option<u32>,
        measured: &'a LoadMeasurements,
        journal_entries: Option<u64>,
    ) -> Self {
        let elapsed_ms = milliseconds(measured.elapsed);
        Self {
            throughput_per_s: measured.throughput_per_s(),
            journal_entries_per_s: journal_entries.map(|count| count.saturating_mul(1_000) / elapsed_ms.max(1)),
            p50_us: measured.latency_us(0.5),
            p90_us: measured.latency_us(0.9),
            p99_us: measured.latency_us(0.99),
            p999_us: measured.latency_us(0.999),
            max_us: measured.latency_us(1.0),
            errors: measured.errors_total(),
            errors_by_code: &measured.errors,
            unsent: measured.unsent,
            orders: measured.orders,
            door,
            concurrency,
            rate,
            elapsed_ms,
            processes: Vec::new(),
            environment: Environment::default(),
        }
    }
}

/// Returns the measurements as people read them.
pub(super) fn render_output(output: &BenchOutput<'_>) -> String {
    let mut table = TextTable::new(&[("", ColumnAlign::Left), ("", ColumnAlign::Right)]);
    let mut row = |name: &str, value: u64| table.push_row([name.to_owned(), value.to_string()]);
    row("orders", output.orders);
    row("orders a second", output.throughput_per_s);
    if let Some(entries) = output.journal_entries_per_s {
        row("journal entries a second", entries);
    }
    for (name, value) in [
        ("p50 µs", output.p50_us),
        ("p90 µs", output.p90_us),
        ("p99 µs", output.p99_us),
        ("p99.9 µs", output.p999_us),
        ("longest µs", output.max_us),
        ("errors", output.errors),
    ] {
        row(name, value);
    }
    for (code, count) in output.errors_by_code {
        row(&format!("  {code}"), *count);
    }
    if output.rate.is_some() {
        row("due and not sent", output.unsent);
    }
    format!(
        "{table}\n\n{}\n\n{}",
        process_table(&output.processes),
        environment_text(&output.environment)
    )
}

fn process_table(processes: &[MeasuredProcess]) -> String {
    let mut table = TextTable::new(&[
        ("process", ColumnAlign::Left),
        ("cpu %", ColumnAlign::Right),
        ("at rest KiB", ColumnAlign::Right),
        ("peak KiB", ColumnAlign::Right),
    ]);
    for process in processes {
        table.push_row([
            process.name.clone(),
            process.cpu_percent.to_string(),
            process.rest_kib.to_string(),
            process.peak_kib.to_string(),
        ]);
    }
    table.to_string()
}

fn environment_text(environment: &Environment) -> String {
    let Environment {
        order_router,
        nats,
        nats_sync,
        journal_append,
        redis,
        redis_aof,
        processors,
    } = environment;
    let journal_append = match journal_append {
        AppendMode::Pipelined => "pipelined",
        AppendMode::Atomic => "atomic",
    };
    format!(
        "order-router {order_router}; NATS {nats}, sync_interval {nats_sync}, journal.append {journal_append}; Redis {redis}, \
         AOF {redis_aof}; {processors} processors"
    )
}
