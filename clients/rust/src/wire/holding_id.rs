//! The opaque id of a holding: it encodes one position of one account in one mode. A client returns it unchanged.

use std::fmt;

use crate::domain::hex;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::order_terms::Mode;
use crate::domain::symbol::Symbol;

/// The first byte of an id, its version: another encoding gets another one.
const HOLDING_ID_VERSION: u8 = 1;
/// The separator of two parts, which no part can contain.
const PART_SEPARATOR: char = '\0';
/// The maximum length of an id, in characters: two hex digits per byte of the version, the mode, an account and a venue of
/// 64 characters each, a symbol of 32 and the separators, rounded up.
pub const MAX_HOLDING_ID_LENGTH: usize = 2 * 192;

/// One position of one account in one mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldingId {
    /// The mode that the position is held in.
    pub mode: Mode,
    /// The account that holds the position.
    pub account_id: AccountId,
    /// The instrument's venue.
    pub venue: VenueId,
    /// The instrument's symbol.
    pub symbol: Symbol,
}

impl HoldingId {
    /// Parses an id, or returns `None` for a text that is not the id of any holding.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_HOLDING_ID_LENGTH {
            return None;
        }
        let bytes = hex::decode(text)?;
        let (version, rest) = bytes.split_first()?;
        let mut parts = std::str::from_utf8(rest).ok()?.split(PART_SEPARATOR);
        let id = Self {
            mode: Mode::parse(parts.next()?)?,
            account_id: AccountId::new(parts.next()?).ok()?,
            venue: VenueId::new(parts.next()?).ok()?,
            symbol: Symbol::parse(parts.next()?).ok()?,
        };
        // A holding has exactly one id: another spelling of the same parts is refused.
        (*version == HOLDING_ID_VERSION && parts.next().is_none() && id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for HoldingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, account, venue, symbol) = (self.mode, &self.account_id, &self.venue, &self.symbol);
        let parts = format!("{mode}{PART_SEPARATOR}{account}{PART_SEPARATOR}{venue}{PART_SEPARATOR}{symbol}");
        write!(formatter, "{HOLDING_ID_VERSION:02x}{}", hex::encode(parts.as_bytes()))
    }
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

    #[test]
    fn ids_round_trip_and_are_unique() {
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
    fn invalid_id_is_refused() {
        let good = id(Mode::Paper, "a", "v", "S").to_string();
        for text in [
            String::new(),
            "BTCUSDT".to_owned(),
            "0".repeat(MAX_HOLDING_ID_LENGTH + 1),
            good[1..].to_owned(),
            good[..good.len() - 2].to_owned(),
            id(Mode::Paper, "o", "v", "S").to_string().to_uppercase(),
            good.replacen("01", "02", 1),
            hex::encode(b"\x01paper\0a\0v\0S\0x"),
            hex::encode(b"\x01paper\0a\0v\0s"),
            hex::encode(b"\x01paper\0a b\0v\0S"),
            hex::encode(b"\x01sandbox\0a\0v\0S"),
            hex::encode(b"\x01paper\0a\0v\0\xff"),
            "ü".repeat(3),
        ] {
            assert_eq!(HoldingId::parse(&text), None, "{text:?}");
        }
        assert_eq!(
            HoldingId::parse(&hex::encode(b"\x01paper\0a\0v\0S"))
                .unwrap()
                .to_string(),
            good
        );
    }
}
