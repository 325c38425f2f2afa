//! Points at which a test ends the process at once, as a kill between two steps would. Release builds have none.

/// The environment variable that names the point.
pub const ENVIRONMENT_VARIABLE: &str = "STOP_POINT";

/// Every point of an order, in the order of the pipeline.
pub const PIPELINE_POINTS: &[&str] = &[
    "before_reserve",
    "before_settle",
    "after_settle",
    "before_journal",
    "after_journal",
    "after_reply",
];

/// Every point of a replace that the pipeline does not have, in their order.
pub const REPLACE_POINTS: &[&str] = &[
    "before_replace",
    "after_replace",
    "replace_journaled",
    "replace_cancel_sent",
    "placement_announced",
    "placement_journaled",
    "replace_sent",
];

/// Every point of a change to the operator state or to locks.
pub const CHANGE_POINTS: &[&str] = &[
    "change_active",
    "change_journaled",
    "lock_active",
    "lock_journaled",
    "lift_journaled",
];
/// Every point of an adjustment, in their order.
pub const ADJUSTMENT_POINTS: &[&str] = &["after_adjust", "after_adjust_journal", "after_adjust_mark"];
/// Every point of a change of the limits, in their order.
pub const LIMITS_POINTS: &[&str] = &["limits_journaled", "limits_enforced"];

/// Every point of an alert, in their order.
pub const ALERT_POINTS: &[&str] = &["alert_marked", "alert_published"];

/// Every point of a dead man's switch, in their order.
pub const SWITCH_POINTS: &[&str] = &[
    "switch_armed",
    "switch_journaled",
    "switch_fired",
    "switch_locked",
    "switch_cancelled",
];

/// Every point of a snapshot, and of a rebuild from nothing, in their order.
pub const SNAPSHOT_POINTS: &[&str] = &[
    "snapshot_turn",
    "snapshot_folded",
    "snapshot_part",
    "snapshot_parts",
    "snapshot_written",
    "rebuild_folded",
    "rebuild_loaded",
];

/// Ends the process here if the environment variable names this point.
#[cfg(debug_assertions)]
pub fn reach(name: &'static str) {
    static REQUESTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    debug_assert!(
        [
            PIPELINE_POINTS,
            REPLACE_POINTS,
            CHANGE_POINTS,
            ADJUSTMENT_POINTS,
            LIMITS_POINTS,
            ALERT_POINTS,
            SWITCH_POINTS,
            SNAPSHOT_POINTS
        ]
        .iter()
        .any(|names| names.contains(&name))
    );
    if REQUESTED
        .get_or_init(|| std::env::var(ENVIRONMENT_VARIABLE).ok())
        .as_deref()
        == Some(name)
    {
        tracing::error!(name, "stop point reached: the process ends here");
        std::process::abort();
    }
}

/// Does nothing: release builds have no stop points.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_name: &'static str) {}
