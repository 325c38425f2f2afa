//! The foundation of the integration tests: real servers that can be killed and paused, the router as a process, a TCP
//! proxy that injects faults, and polling with a deadline.
//!
//! Everything cleans up after itself when dropped: processes are killed and reaped, directories removed, ports
//! released. A failure here is a panic that names what was awaited and shows the log of the process concerned.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]
#![allow(dead_code, reason = "a toolbox: not every tool is in use all the time")]

pub mod poll;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod servers;
