//! What the venue is started with. Keys and their secrets never show in `Debug`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::venue::amount::{Amount, DECIMALS};
use crate::venue::faults::spec::FaultPlan;

/// The multiple of the reference price that is the highest price.
const MAX_PRICE_FACTOR: i128 = 100;
/// The characters of an asset's name, at most.
const MAX_ASSET_LENGTH: usize = 10;
/// The characters of an API key, at most.
const MAX_KEY_LENGTH: usize = 128;

/// The account of the market maker.
pub const MARKET_MAKER: &str = "market-maker";
/// The account outside of the book, on the other side of the fills that a fault or the control endpoint makes.
pub const OUTSIDE: &str = "outside";
/// The accounts that no key can have.
pub const RESERVED_ACCOUNTS: [&str; 2] = [MARKET_MAKER, OUTSIDE];

/// When the state log is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Each command is written to the operating system before its answer: it survives the process, not the machine.
    Write,
    /// Each command is synced to the disk before its answer.
    Disk,
}

/// Settings of the venue.
#[derive(Debug, Clone)]
pub struct VenueSettings {
    /// The directory of the state log.
    pub data_dir: PathBuf,
    /// When the state log is on disk.
    pub sync: SyncPolicy,
    /// The API keys.
    pub keys: Vec<KeySettings>,
    /// The balances that each new account begins with.
    pub balances: Vec<BalanceSettings>,
    /// The symbols.
    pub symbols: Vec<SymbolSettings>,
    /// The commissions.
    pub commissions: CommissionSettings,
    /// The rate limits.
    pub limits: LimitSettings,
    /// The faults in force from the start.
    pub faults: Vec<FaultPlan>,
    /// The seed of faults and of the market maker.
    pub seed: u64,
    /// The market maker; `None` for none.
    pub market_maker: Option<MarketMakerSettings>,
    /// The time between two pings of a WebSocket connection.
    pub ping_interval: Duration,
}

/// The rates of the commission, as shares of the received amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommissionSettings {
    /// Of the order on the book.
    pub maker: Amount,
    /// Of the incoming order.
    pub taker: Amount,
}

impl CommissionSettings {
    /// Returns these rates.
    pub fn new(maker: Rate, taker: Rate) -> Self {
        Self {
            maker: maker.0,
            taker: taker.0,
        }
    }
}

/// A share of an amount, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(Amount);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate: Amount = text.parse().map_err(|error| format!("the rate {error}"))?;
        match (Amount::ZERO..=Amount::ONE).contains(&rate) {
            true => Ok(Self(rate)),
            false => Err("the rate must be between 0 and 1".into()),
        }
    }
}

/// The rate limits.
#[derive(Debug, Clone, Copy)]
pub struct LimitSettings {
    /// The weight of one address in one minute.
    pub weight_per_minute: u32,
    /// The unfilled orders of one account in ten seconds.
    pub orders_per_10_seconds: u32,
    /// The unfilled orders of one account in one day.
    pub orders_per_day: u32,
    /// The refused requests of one address in one minute that lead to a ban.
    pub ban_after: u32,
}

/// The market maker.
#[derive(Debug, Clone, Copy)]
pub struct MarketMakerSettings {
    /// The time between two rounds of quotes.
    pub interval: Duration,
}

/// The signature scheme of a key and what verifies it.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySecret {
    /// HMAC-SHA256 with this secret.
    Hmac(String),
    /// Ed25519 with this public key.
    Ed25519([u8; 32]),
}

/// An API key and the account that it trades for.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySettings {
    /// The key, as `X-MBX-APIKEY` carries it.
    pub key: String,
    /// The account.
    pub account: String,
    /// The secret.
    pub secret: KeySecret,
}

impl fmt::Debug for KeySettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("KeySettings");
        shown.field("account", &self.account).finish_non_exhaustive()
    }
}

impl FromStr for KeySettings {
    type Err = String;

    /// Parses `KEY[@ACCOUNT]:SECRET`, where the secret is an HMAC secret, `ed25519:BASE64` for the 32 bytes of a public key,
    /// or `file:PATH` for a file with an HMAC secret or a public key in PEM.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, secret) = text
            .split_once(':')
            .ok_or("must be KEY[@ACCOUNT]:SECRET, such as venue-key:venue-secret")?;
        let (key, account) = name.split_once('@').unwrap_or((name, name));
        for part in [key, account] {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if part.is_empty() || part.len() > MAX_KEY_LENGTH || !part.bytes().all(is_word) {
                return Err("the key and the account must be 1 to 128 letters, digits, hyphens or underscores".into());
            }
        }
        if RESERVED_ACCOUNTS.contains(&account) {
            return Err(format!("the account {account} is the venue's own"));
        }
        let secret = match secret.strip_prefix("file:") {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
                parse_secret(text.trim())?
            }
            None => parse_secret(secret)?,
        };
        Ok(Self {
            key: key.to_owned(),
            account: account.to_owned(),
            secret,
        })
    }
}

fn parse_secret(text: &str) -> Result<KeySecret, String> {
    use base64::Engine as _;
    let encoded = match (
        text.strip_prefix("ed25519:"),
        text.strip_prefix("-----BEGIN PUBLIC KEY-----"),
    ) {
        (Some(raw), _) => raw.to_owned(),
        (None, Some(pem)) => pem.lines().filter(|line| !line.contains("-----")).collect(),
        (None, None) if text.is_empty() => return Err("the secret is empty".into()),
        (None, None) => return Ok(KeySecret::Hmac(text.to_owned())),
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .map_err(|_| "the public key is not base64")?;
    // A PEM file wraps the 32 bytes in a SubjectPublicKeyInfo, where they come last (RFC 8410).
    let tail = bytes.len().saturating_sub(32);
    let key = bytes[tail..].try_into().map_err(|_| "the public key is not 32 bytes")?;
    Ok(KeySecret::Ed25519(key))
}

/// An amount that each new account begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceSettings {
    /// The account; `None` for every account.
    pub account: Option<String>,
    /// The asset.
    pub asset: String,
    /// The amount.
    pub amount: Amount,
}

impl FromStr for BalanceSettings {
    type Err = String;

    /// Parses `[ACCOUNT:]ASSET=AMOUNT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, amount) = text
            .split_once('=')
            .ok_or("must be [ACCOUNT:]ASSET=AMOUNT, such as USDT=1000000")?;
        let (account, asset) = match name.split_once(':') {
            Some((account, asset)) => (Some(account.to_owned()), asset),
            None => (None, name),
        };
        let amount: Amount = amount.parse().map_err(|error| format!("the amount {error}"))?;
        if amount < Amount::ZERO {
            return Err("the amount must not be negative".into());
        }
        Ok(Self {
            account,
            asset: parse_asset(asset)?,
            amount,
        })
    }
}

fn parse_asset(text: &str) -> Result<String, String> {
    let is_word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    match !text.is_empty() && text.len() <= MAX_ASSET_LENGTH && text.bytes().all(is_word) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no asset: 1 to 10 capital letters or digits")),
    }
}

/// A symbol and its filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolSettings {
    /// The asset that is bought and sold.
    pub base: String,
    /// The asset that pays.
    pub quote: String,
    /// The price that the symbol begins with.
    pub reference_price: Amount,
    /// The step of prices, and the lowest price.
    pub tick_size: Amount,
    /// The highest price.
    pub max_price: Amount,
    /// The step of quantities, and the lowest quantity.
    pub step_size: Amount,
    /// The highest quantity of an order.
    pub max_quantity: Amount,
    /// The highest quantity of a market order.
    pub max_market_quantity: Amount,
    /// The lowest notional of an order.
    pub min_notional: Amount,
    /// The highest notional of an order.
    pub max_notional: Amount,
}

impl SymbolSettings {
    /// Returns the symbol's name, such as `BTCUSDT`.
    pub fn name(&self) -> String {
        format!("{}{}", self.base, self.quote)
    }
}

impl FromStr for SymbolSettings {
    type Err = String;

    /// Parses `BASE/QUOTE=PRICE,TICK,STEP[,MIN_NOTIONAL]`.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be BASE/QUOTE=PRICE,TICK,STEP[,MIN_NOTIONAL], such as BTC/USDT=30000,0.01,0.00001,5";
        let (assets, numbers) = text.split_once('=').ok_or(FORM)?;
        let (base, quote) = assets.split_once('/').ok_or(FORM)?;
        let mut amounts = Vec::new();
        for number in numbers.split(',') {
            let amount: Amount = number.parse().map_err(|error| format!("{number:?} {error}"))?;
            if !amount.is_positive() {
                return Err(format!("{number:?} must be positive"));
            }
            amounts.push(amount);
        }
        let (price, tick, step, min_notional) = match amounts[..] {
            [price, tick, step] => (price, tick, step, Amount::from_units(5 * Amount::ONE.units())),
            [price, tick, step, min_notional] => (price, tick, step, min_notional),
            _ => return Err(FORM.into()),
        };
        if tick.used_decimals() + step.used_decimals() > DECIMALS {
            return Err("tick and step must together have at most 8 decimals, so that a notional is exact".into());
        }
        if !price.is_multiple_of(tick) {
            return Err("the price must be a multiple of the tick".into());
        }
        let whole = |units: i128| Amount::from_units(units * Amount::ONE.units());
        Ok(Self {
            base: parse_asset(base)?,
            quote: parse_asset(quote)?,
            reference_price: price,
            tick_size: tick,
            max_price: Amount::from_units(price.units() * MAX_PRICE_FACTOR).floor_to(tick),
            step_size: step,
            max_quantity: whole(9_000),
            max_market_quantity: whole(1_000),
            min_notional,
            max_notional: whole(9_000_000),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parsed_and_never_shown() {
        let key: KeySettings = "desk@fund-7:hush".parse().unwrap();
        assert_eq!((key.key.as_str(), key.account.as_str()), ("desk", "fund-7"));
        assert!(!format!("{key:?}").contains("hush") && !format!("{key:?}").contains("desk"));
        let public = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----");
        assert!(matches!(parse_secret(&pem), Ok(KeySecret::Ed25519(_))));
        for text in [
            "desk",
            ":secret",
            "desk:",
            "a b:secret",
            "desk:ed25519:AAAA",
            "desk:file:/no/such/file",
            "desk@market-maker:secret",
        ] {
            assert!(text.parse::<KeySettings>().is_err(), "{text}");
        }
    }

    #[test]
    fn symbols_and_balances_are_parsed_or_refused() {
        let symbol: SymbolSettings = "BTC/USDT=30000,0.01,0.00001".parse().unwrap();
        assert_eq!(symbol.name(), "BTCUSDT");
        for text in [
            "BTC/USDT=30000,0.01",
            "BTCUSDT=1,1,1",
            "A/B=1,0.00001,0.00001",
            "A/B=1.5,1,1",
            "A/B=0,1,1",
        ] {
            assert!(text.parse::<SymbolSettings>().is_err(), "{text}");
        }
        let balance: BalanceSettings = "fund-7:BTC=1.5".parse().unwrap();
        assert_eq!(balance.account.as_deref(), Some("fund-7"));
        for text in ["BTC", "btc=1", "BTC=-1", "BTC=x"] {
            assert!(text.parse::<BalanceSettings>().is_err(), "{text}");
        }
    }
}
