//! The limits in force, as the rules need them.

use crate::domain::decimal::Decimal;
use crate::domain::money::Micros;

/// The limits that do not depend on the instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The cap of the notional routed in one day over all accounts, where the shared state names none.
    pub daily_notional: Micros,
    /// The loss at which an account stops, above zero, in the base currency.
    pub account_stop_loss: Decimal,
    /// From which share of a limit on a rule alerts, in per cent.
    pub alert_percent: i64,
}
