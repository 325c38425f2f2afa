//! Places where a test can end the process at once, as a kill between two steps would. In release builds there are
//! none.

/// The environment variable that names the place.
pub const ENVIRONMENT_VARIABLE: &str = "STOP_POINT";

/// Every place of an order, in the order of the pipeline.
pub const PIPELINE_POINTS: &[&str] = &[
    "before_reserve",
    "after_reserve",
    "before_settle",
    "after_settle",
    "before_journal",
    "after_journal",
    "after_reply",
];

/// Every place on the way of a change of what is in force: of the state, and of locks.
pub const CHANGE_POINTS: &[&str] = &[
    "change_in_force",
    "change_journaled",
    "latch_in_force",
    "latch_journaled",
    "lift_journaled",
];
/// The places of an adjustment, in their order.
pub const ADJUSTMENT_POINTS: &[&str] = &["after_adjust", "after_adjust_journal", "after_adjust_mark"];

/// Ends the process here when a test asks for it.
#[cfg(debug_assertions)]
pub fn reach(name: &'static str) {
    static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    debug_assert!(
        [PIPELINE_POINTS, CHANGE_POINTS, ADJUSTMENT_POINTS]
            .iter()
            .any(|names| names.contains(&name))
    );
    if WANTED
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
