//! The version of a NATS server, and what the router needs of it.

/// The version of a NATS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
}

impl ServerVersion {
    /// The oldest version that works at all.
    pub const MINIMUM: Self = Self { major: 2, minor: 9 };
    /// The oldest supported version: it can sync each append (`sync_interval`).
    pub const SUPPORTED: Self = Self { major: 2, minor: 10 };
    /// The oldest version with atomic batches.
    pub const ATOMIC_BATCHES: Self = Self { major: 2, minor: 12 };

    /// Parses the version that a server reports, such as `2.12.1` or `v2.11.0-beta`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim_start_matches('v').split(['.', '-']);
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(ServerVersion::parse("2.9.10").unwrap() < ServerVersion::SUPPORTED);
        assert!(ServerVersion::parse("v2.12.0-beta.1").unwrap() >= ServerVersion::ATOMIC_BATCHES);
        assert_eq!(ServerVersion::parse("main"), None);
    }
}
