//! Whether every report of the venue has been read: the stream brings them while it is open, and a reconciliation reads what
//! it missed before.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Follows the connections of the user data stream and the reconciliations after them. Orders that open risk wait until the
/// reports are complete: before, the positions and open orders that they are judged by may be old.
#[derive(Debug, Default)]
pub struct ReportContinuity {
    /// The number of the connection of the stream, counted from 1.
    connection: AtomicU64,
    is_open: AtomicBool,
    /// The connection that a reconciliation has been completed in.
    reconciled: AtomicU64,
}

impl ReportContinuity {
    /// Records that the stream brings reports from now on.
    pub fn begin_connection(&self) {
        self.connection.fetch_add(1, Ordering::SeqCst);
        self.is_open.store(true, Ordering::SeqCst);
    }

    /// Records that the stream brings no more reports.
    pub fn end_connection(&self) {
        self.is_open.store(false, Ordering::SeqCst);
    }

    /// Returns the number of the connection, which a reconciliation reads before it begins.
    pub fn connection(&self) -> u64 {
        self.connection.load(Ordering::SeqCst)
    }

    /// Records that everything before a connection has been read: a reconciliation that began in it is complete.
    pub fn complete_reconciliation(&self, connection: u64) {
        self.reconciled.store(connection, Ordering::SeqCst);
    }

    /// Reports whether the stream is open and nothing before it is missing.
    pub fn is_complete(&self) -> bool {
        let connection = self.connection();
        self.is_open.load(Ordering::SeqCst) && connection > 0 && self.reconciled.load(Ordering::SeqCst) == connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_complete_after_a_reconciliation_in_the_open_connection() {
        let reports = ReportContinuity::default();
        let before = reports.connection();
        reports.complete_reconciliation(before);
        assert!(!reports.is_complete(), "no stream is open");
        reports.begin_connection();
        assert!(!reports.is_complete(), "what came before the connection is not read");
        reports.complete_reconciliation(before);
        assert!(
            !reports.is_complete(),
            "a reconciliation that began before the connection"
        );
        reports.complete_reconciliation(reports.connection());
        assert!(reports.is_complete());
        reports.end_connection();
        assert!(!reports.is_complete());
        reports.begin_connection();
        assert!(!reports.is_complete(), "what the second connection missed is not read");
    }
}
