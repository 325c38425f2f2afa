//! The opaque id of a holding: which position of which account it is. Whoever is given one hands it back as it is.

use std::fmt;

use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::order_terms::Mode;

/// The byte an id of this kind opens with; another kind of id gets another one.
const HOLDING_ID_VERSION: u8 = 1;
/// What stands between two parts; none of them can hold it.
const PART_SEPARATOR: char = '\0';
/// The longest id: two digits a byte of the version, the mode, an account and a venue of 64 characters, a symbol of 32,
/// and what stands between them, with some to spare.
pub const MAX_HOLDING_ID_LENGTH: usize = 2 * 192;

/// What a holding's id names: one position of one account in one mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldingId {
    /// The mode whose sums it is of.
    pub mode: Mode,
    /// The account.
    pub account_id: AccountId,
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
}

impl HoldingId {
    /// Reads an id; `None` for a text that no holding has for one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_HOLDING_ID_LENGTH {
            return None;
        }
        let bytes = decode_hex(text)?;
        let (version, rest) = bytes.split_first()?;
        let mut parts = std::str::from_utf8(rest).ok()?.split(PART_SEPARATOR);
        let id = Self {
            mode: Mode::parse(parts.next()?)?,
            account_id: AccountId::new(parts.next()?).ok()?,
            venue: VenueId::new(parts.next()?).ok()?,
            symbol: Symbol::parse(parts.next()?).ok()?,
        };
        // One holding has one id: what says the same in other words is none.
        (*version == HOLDING_ID_VERSION && parts.next().is_none() && id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for HoldingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, account, venue, symbol) = (self.mode, &self.account_id, &self.venue, &self.symbol);
        let parts = format!("{mode}{PART_SEPARATOR}{account}{PART_SEPARATOR}{venue}{PART_SEPARATOR}{symbol}");
        write!(formatter, "{HOLDING_ID_VERSION:02x}")?;
        parts.bytes().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(mode: Mode, account: &str, venue: &str, symbol: &str) -> HoldingId {
        HoldingId {
            mode,
            account_id: AccountId::new(account).unwrap(),
            venue: VenueId::new(venue).unwrap(),
            symbol: Symbol::parse(symbol).unwrap(),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_id_is_read_as_it_was_written_and_no_two_are_the_same() {
        let (long, symbol) = ("x".repeat(64), "S".repeat(32));
        let ids = [
            id(Mode::Paper, "default", "binance.spot", "BTCUSDT"),
            id(Mode::Live, "default", "binance.spot", "BTCUSDT"),
            id(Mode::Paper, "default", "binance.spot", "BTCUSD"),
            id(Mode::Paper, "defaul", "binance.spot", "BTCUSDT"),
            id(Mode::DryRun, &long, &long, &symbol),
        ];
        for (at, one) in ids.iter().enumerate() {
            let text = one.to_string();
            assert_eq!(HoldingId::parse(&text).as_ref(), Some(one));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
            assert!(ids[..at].iter().all(|other| other.to_string() != text));
        }
    }

    #[test]
    fn what_is_no_id_is_none() {
        let good = id(Mode::Paper, "a", "v", "S").to_string();
        for text in [
            String::new(),
            "BTCUSDT".to_owned(),
            "0".repeat(MAX_HOLDING_ID_LENGTH + 1),
            good[1..].to_owned(),
            good[..good.len() - 2].to_owned(),
            id(Mode::Paper, "o", "v", "S").to_string().to_uppercase(),
            good.replacen("01", "02", 1),
            hex(b"\x01paper\0a\0v\0S\0x"),
            hex(b"\x01paper\0a\0v\0s"),
            hex(b"\x01paper\0a b\0v\0S"),
            hex(b"\x01sandbox\0a\0v\0S"),
            hex(b"\x01paper\0a\0v\0\xff"),
            "ü".repeat(3),
        ] {
            assert_eq!(HoldingId::parse(&text), None, "{text:?}");
        }
        assert_eq!(HoldingId::parse(&hex(b"\x01paper\0a\0v\0S")).unwrap().to_string(), good);
    }
}
