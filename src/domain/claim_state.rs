//! What submissions and releases on the journal say of an order that has no report yet.

/// The claim of an order's last submission or release that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimState<'a> {
    /// The token of the claim.
    pub claim: &'a str,
    /// Whether it was released: nothing was sent under it.
    pub is_released: bool,
}

impl ClaimState<'_> {
    /// Reports whether a later entry of the same order changes what is known. An order is claimed under another token only once
    /// the release of the claim before is journaled. So a submission counts behind the release of another claim: any other is
    /// that of a worker that was late, and was not sent. A release counts for the claim that was submitted; behind a release it
    /// is that of a later claim, whose submission may come yet.
    pub fn is_changed_by(&self, next: &ClaimState<'_>) -> bool {
        match (self.is_released, next.is_released) {
            (true, _) => self.claim != next.claim,
            (false, true) => self.claim == next.claim,
            (false, false) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_entries_change_nothing() {
        let submitted = |claim| ClaimState {
            claim,
            is_released: false,
        };
        let released = |claim| ClaimState {
            claim,
            is_released: true,
        };
        for (known, next, changes) in [
            (submitted("a"), submitted("a"), false),
            (submitted("a"), submitted("b"), false),
            (submitted("a"), released("a"), true),
            (submitted("a"), released("b"), false),
            (released("a"), submitted("a"), false),
            (released("a"), submitted("b"), true),
            (released("a"), released("a"), false),
            (released("a"), released("b"), true),
        ] {
            assert_eq!(known.is_changed_by(&next), changes, "{known:?}, then {next:?}");
        }
    }
}
