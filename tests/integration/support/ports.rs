//! TCP ports that stay reserved: a server can be killed and restarted on the same one.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports to choose from. They lie below the range the kernel gives to outgoing connections (32768 and up on Linux): from
/// there, a port could be taken between a kill and a restart, and a client that keeps trying a dead port could even end up
/// connected to itself.
const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// A port on 127.0.0.1 that no other lease has, in this process or another, until it is dropped.
#[derive(Debug)]
pub struct PortLease {
    number: u16,
    /// Locked as long as the lease lives; the lock goes with the process, however that ends.
    _lock: File,
}

impl PortLease {
    /// Returns a port that is free now.
    ///
    /// # Panics
    /// When every port of the range is taken.
    pub fn take() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes start at different places, so that they rarely try the same port.
        let offset = (std::process::id() % u32::from(COUNT)) as u16;
        // One directory for all checkouts of a user; another user's directory is not writable.
        let user = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
        let directory = std::env::temp_dir().join(format!("order-router-test-ports-{user}"));
        std::fs::create_dir_all(&directory).expect("a directory for the ports' locks");
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (offset.wrapping_mul(31) % COUNT + step % COUNT) % COUNT;
            let Ok(lock) = File::create(directory.join(number.to_string())) else {
                continue;
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => panic!("locking port {number}: {error}"),
            }
            // Another program's server may use the port.
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port among {FIRST}..{}", FIRST + COUNT);
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The address on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
