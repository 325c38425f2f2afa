//! What the integration tests stand on: real servers that can be killed and paused, the router as a process, a TCP
//! proxy that misbehaves on request, and polling with a deadline.
//!
//! Everything cleans up after itself when dropped: processes are killed and reaped, directories removed, ports given
//! back. A failure in here is a panic that says what was awaited and shows the log of the process concerned.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]
#![allow(dead_code, reason = "a toolbox: a tool does not have to be in use at every moment")]

pub mod poll;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod servers;
