//! The legs of an order: a venue knows each set of terms that an order has had under a client order id of its own.
//!
//! Leg 1 has the order's own id. Each replace makes the next leg, whose id is the order's with one more character: what a
//! venue reports under any of them belongs to the one order.

use std::fmt;

use crate::domain::id::OrderId;

/// The most legs of an order.
pub const MAX_LEGS: u8 = 64;
/// The character of each leg's id, from leg 2 on.
const LEG_CHARACTERS: &[u8; 63] = b"23456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-0";
/// The number of the leg that the first of these characters stands for.
const FIRST_REPLACING_LEG: usize = 2;

/// The number of a leg, from 1 to [`MAX_LEGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegNumber(u8);

impl LegNumber {
    /// The leg that an order begins with.
    pub const FIRST: Self = Self(1);

    /// Returns the number of a leg; `None` beyond the last one.
    pub fn new(number: u8) -> Option<Self> {
        (1..=MAX_LEGS).contains(&number).then_some(Self(number))
    }

    /// Returns the number, from 1.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Returns the client order id that a venue knows the leg of an order by. Only an id that the router has not made is too
    /// long for another character; its legs have none.
    pub fn venue_id(self, order_id: &OrderId) -> OrderId {
        let place = usize::from(self.0).checked_sub(FIRST_REPLACING_LEG);
        let character = place.and_then(|place| LEG_CHARACTERS.get(place));
        let id = character.and_then(|character| OrderId::new(&format!("{order_id}{}", char::from(*character))).ok());
        id.unwrap_or_else(|| order_id.clone())
    }

    /// Returns the order and the leg that a venue's client order id names. An id that the router has not made names a first
    /// leg.
    pub fn split_venue_id(venue_id: &OrderId) -> (OrderId, Self) {
        let split = || {
            let (last, own) = venue_id.as_str().as_bytes().split_last()?;
            let place = LEG_CHARACTERS.iter().position(|character| character == last)?;
            let order_id = OrderId::new(std::str::from_utf8(own).ok()?).ok()?;
            order_id.uuid()?;
            let number = u8::try_from(place + FIRST_REPLACING_LEG).ok()?;
            Some((order_id, Self::new(number)?))
        };
        split().unwrap_or_else(|| (venue_id.clone(), Self::FIRST))
    }
}

impl fmt::Display for LegNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::OrderIdPrefix;
    use uuid::Uuid;

    #[test]
    fn each_leg_has_an_id_of_its_own_that_leads_back_to_the_order() {
        let order_id = OrderId::from_uuid(OrderIdPrefix("BN"), Uuid::now_v7());
        let mut ids = std::collections::HashSet::new();
        for number in 1..=MAX_LEGS {
            let leg = LegNumber::new(number).unwrap();
            let venue_id = leg.venue_id(&order_id);
            assert!(venue_id.as_str().len() <= 36);
            assert_eq!(LegNumber::split_venue_id(&venue_id), (order_id.clone(), leg));
            assert!(ids.insert(venue_id));
        }
        assert_eq!(LegNumber::FIRST.venue_id(&order_id), order_id);
        assert_eq!((LegNumber::new(0), LegNumber::new(MAX_LEGS + 1)), (None, None));
    }

    #[test]
    fn id_that_the_router_has_not_made_names_a_first_leg() {
        for text in ["x-manual2", "2", "BN-0195561f2a007c3e9d1b2f4a6c8e0d1"] {
            let id = OrderId::new(text).unwrap();
            assert_eq!(LegNumber::split_venue_id(&id), (id.clone(), LegNumber::FIRST));
        }
    }
}
