//! What is kept of a settlement's id where there is no room for all of it.

use uuid::Uuid;

/// The last 32 bits of the id of the settlement that made a version of an order; 0 where it has none, as a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettlementEnd(pub u32);

impl SettlementEnd {
    /// Returns the end of an id.
    pub fn of(id: Option<Uuid>) -> Self {
        let bits = id.map_or(0, |id| id.as_u128() & u128::from(u32::MAX));
        Self(u32::try_from(bits).unwrap_or(u32::MAX))
    }

    /// Reports whether an event that builds on this settlement counts after the version that this one made. After a loss of
    /// Redis two effects can have one number: what builds on the other one is void. Where one of the ids is not known, the
    /// numbers alone say it.
    pub fn is_base_of(self, builds_on: Option<Uuid>) -> bool {
        self.0 == 0 || builds_on.is_none_or(|id| Self::of(Some(id)) == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_builds_on_the_settlement_counts_after_it() {
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let end = SettlementEnd::of(Some(one));
        assert!(end.is_base_of(Some(one)) && end.is_base_of(None));
        assert!(!end.is_base_of(Some(other)));
        assert!(SettlementEnd::of(None).is_base_of(Some(other)));
    }
}
