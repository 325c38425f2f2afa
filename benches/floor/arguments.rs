//! The arguments of a bench.

/// Returns the arguments without the `--bench` that cargo adds to those of a bench target.
pub fn arguments() -> Vec<String> {
    std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect()
}
