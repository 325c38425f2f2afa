//! The proof that an order has passed every rule and holds its share of the shared limits.

/// A value that the risk engine has approved. Its field is private: only the risk engine creates one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved<T>(T);

impl<T> Approved<T> {
    pub(super) fn new(inner: T) -> Self {
        Self(inner)
    }

    /// Returns the approved value.
    pub fn inner(&self) -> &T {
        &self.0
    }

    /// Returns the approved value and consumes the approval, which can be used once.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A value that no rule stops before the shared sums are read: it takes effect only in the step that compares its caps.
/// Its field is private: only the risk engine creates one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedUnderCaps<T>(T);

impl<T> ApprovedUnderCaps<T> {
    pub(super) fn new(inner: T) -> Self {
        Self(inner)
    }

    /// Returns the value.
    pub fn inner(&self) -> &T {
        &self.0
    }
}

/// Returns an approval without any check, for tests of the code behind the risk engine.
#[cfg(test)]
pub fn approve_unchecked<T>(inner: T) -> Approved<T> {
    Approved::new(inner)
}

/// Returns an approval under caps without any check, for tests of the code behind the risk engine.
#[cfg(test)]
pub fn approve_under_caps_unchecked<T>(inner: T) -> ApprovedUnderCaps<T> {
    ApprovedUnderCaps::new(inner)
}
