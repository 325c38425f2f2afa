//! The binary `order-router`.

use std::process::ExitCode;

fn main() -> ExitCode {
    order_router::cli::main()
}
