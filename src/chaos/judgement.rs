//! What an order was judged by, as its first journal entry says: the measure of every cap before the order, what the order
//! added, and the limit.

use crate::domain::decimal::Decimal;
use crate::domain::metadata::{Metadata, MetadataValue};

/// The numbers before those of the caps: whether it is a reduction, whether a duplicate, the orders of the account and of
/// the broker in this second, the fills whose fee has no price.
const LEADING_READINGS: usize = 5;
/// The numbers of each cap: the measure before the order, and whether its alert is new.
const READINGS_A_CAP: usize = 2;
/// The decimals of a measured quantity.
const QUANTITY_SCALE: u32 = 8;
/// The decimals of a measured amount.
const AMOUNT_SCALE: u32 = 6;

/// The cap on the notional of a day over all accounts.
pub(in crate::chaos) const TOTAL_NOTIONAL: &str = "max_daily_notional";
/// The cap on the notional of a day of one account.
pub(in crate::chaos) const ACCOUNT_NOTIONAL: &str = "max_daily_notional.account";
/// The caps on the position of an account, by side.
pub(in crate::chaos) const POSITION_CAPS: [&str; 2] = ["position_limit.long", "position_limit.short"];

/// One cap of a judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) struct JudgedCap {
    /// The rule, with the cap's label where it has one.
    pub(in crate::chaos) name: String,
    /// The measure before the order.
    pub(in crate::chaos) before: Decimal,
    /// What the order added.
    pub(in crate::chaos) added: Decimal,
    /// The limit.
    pub(in crate::chaos) limit: Decimal,
}

/// What an order was judged by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::chaos) struct OrderJudgement {
    /// Whether the order only reduces a position: such an order passes most caps.
    pub(in crate::chaos) is_reduction: bool,
    /// The caps whose measure is known.
    pub(in crate::chaos) caps: Vec<JudgedCap>,
}

impl OrderJudgement {
    /// Returns the judgement that figures of the journal hold; an empty one where they hold none.
    pub(in crate::chaos) fn of(figures: &Metadata) -> Self {
        let readings: Vec<&str> = figures.text("readings").unwrap_or_default().split(' ').collect();
        let added = figures
            .iter()
            .filter_map(|(name, value)| Some((name.strip_suffix(".order")?, value)));
        let caps = added.enumerate().filter_map(|(index, (name, added))| {
            let before = readings.get(LEADING_READINGS + index * READINGS_A_CAP)?;
            let scale = match name.split('.').next()? {
                "max_daily_notional" | "max_daily_loss" | "stop_loss" => AMOUNT_SCALE,
                "max_open_orders" => 0,
                _ => QUANTITY_SCALE,
            };
            Some(JudgedCap {
                name: name.to_owned(),
                before: Decimal::from_parts(before.parse().ok()?, scale)?,
                added: number(added)?,
                limit: number(figures.get(&format!("{name}.limit"))?)?,
            })
        });
        Self {
            is_reduction: readings.first() == Some(&"1"),
            caps: caps.collect(),
        }
    }

    /// Returns a cap by its name.
    pub(in crate::chaos) fn cap(&self, name: &str) -> Option<&JudgedCap> {
        self.caps.iter().find(|cap| cap.name == name)
    }
}

impl JudgedCap {
    /// Returns the measure after the order.
    pub(in crate::chaos) fn after(&self) -> Option<Decimal> {
        self.before.checked_add(self.added)
    }
}

fn number(value: &MetadataValue) -> Option<Decimal> {
    match value {
        MetadataValue::Number(number) => Some(*number),
        MetadataValue::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_read_with_their_units() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        let figures = Metadata::new()
            .with("position_limit.long.order", number("0.5"))
            .with("position_limit.long.limit", number("2"))
            .with("max_daily_notional.order", number("15000"))
            .with("max_daily_notional.limit", number("20000"))
            .with("readings", "1 0 3 4 0 150000000 0 2500000 1");
        let judgement = OrderJudgement::of(&figures);
        assert!(judgement.is_reduction);
        assert_eq!(judgement.cap(POSITION_CAPS[0]).unwrap().after(), Some(number("2")));
        assert_eq!(judgement.cap(TOTAL_NOTIONAL).unwrap().after(), Some(number("15002.5")));
        assert_eq!(OrderJudgement::of(&Metadata::new()), OrderJudgement::default());
    }
}
