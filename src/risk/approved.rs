//! The witness that an order has passed every rule and holds what it needs of the shared limits.

/// Something the risk engine has approved. Its field is private: nobody else can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved<T>(T);

impl<T> Approved<T> {
    pub(super) fn new(inner: T) -> Self {
        Self(inner)
    }

    /// Returns what was approved.
    pub fn inner(&self) -> &T {
        &self.0
    }

    /// Returns what was approved, giving the approval up: it can be used once.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Returns an approval nobody checked, for tests of what stands behind the risk engine.
#[cfg(test)]
pub fn approve_unchecked<T>(inner: T) -> Approved<T> {
    Approved::new(inner)
}
