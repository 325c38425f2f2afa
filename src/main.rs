//! The binary `order-router`.

use std::process::ExitCode;

/// The hot path makes many small allocations on several threads, which this allocator serves without shared locks
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    order_router::cli::main()
}
