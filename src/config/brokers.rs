//! Settings of the brokers (`[brokers]`): which are enabled, the bounds of their tasks, and how paper venues fill.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::binance_live::BinanceLiveSettings;
use crate::config::range::check_range;
use crate::domain::decimal::Decimal;

/// The brokers this build has an adapter for.
pub const KNOWN_BROKERS: &[&str] = &["binance", "ibkr"];

const QUEUE_BOUNDS: RangeInclusive<usize> = 1..=1_000_000;
const MAX_IN_FLIGHT_BOUNDS: RangeInclusive<usize> = 1..=65_536;
const CALL_TIMEOUT_MS_BOUNDS: RangeInclusive<u64> = 1..=60_000;
const FIRST_FILL_PERCENT_BOUNDS: RangeInclusive<u8> = 1..=100;
const RETRY_DELAY_MS_BOUNDS: RangeInclusive<u64> = 10..=600_000;
const NOT_FOUND_MIN_BOUNDS: RangeInclusive<u32> = 2..=100;
const NOT_FOUND_WINDOW_MS_BOUNDS: RangeInclusive<u64> = 100..=86_400_000;
const UNKNOWN_S_BOUNDS: RangeInclusive<u64> = 1..=86_400;
/// Binance Spot: a recvWindow of 5 s, 10 s until its engine gives up, and a margin of 5 s.
const SHORTEST_LIVE_NOT_FOUND_WINDOW_MS: u64 = 20_000;
/// The longest delay of a paper order's remainder, in milliseconds: a day, as for deadlines.
const MAX_REST_FILL_MS: u64 = 86_400_000;

/// Settings of all brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokersSettings {
    /// The enabled brokers. Default: `binance` and `ibkr`.
    pub enabled: Vec<String>,
    /// Whether orders may go to live venues: `true` needs `[brokers.binance_live]` and a limit of each live order's notional, `risk.max_live_order_notional`. The mode is paper until an operator switches it to live. Default false.
    pub allow_live: bool,
    /// The bounds of each broker's task.
    pub task: BrokerTaskSettings,
    /// How the paper venue of `ibkr` fills.
    pub paper_ibkr: PaperIbkrSettings,
    /// The fees of the paper venues.
    pub paper_fees: PaperFeeSettings,
    /// The inquiries to venues about unknown orders.
    pub inquiry: InquirySettings,
    /// Live trading at Binance Spot.
    pub binance_live: BinanceLiveSettings,
}

/// Bounds of one broker's task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerTaskSettings {
    /// Maximum number of waiting orders and due effects, 1 to 1000000; default 4096. Further ones are refused at once.
    pub queue_max: usize,
    /// Maximum number of waiting cancels, 1 to 1000000; default 1024. They have a queue of their own.
    pub cancel_queue_max: usize,
    /// Maximum number of adapter calls in flight, counted separately for orders and for cancels, which never wait for
    /// orders; 1 to 65536, default 512.
    pub max_in_flight: usize,
    /// Time limit of one adapter call, in milliseconds, 1 to 60000; default 5000. After it the outcome is unknown.
    pub call_timeout_ms: u64,
}

/// How the paper venue of `ibkr` fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaperIbkrSettings {
    /// The share of an order that fills at once, in percent, 1 to 100, rounded down to the lot; default 95.
    pub first_fill_percent: u8,
    /// When the remainder fills: a time of at most a day, such as `"3s"` or `"500ms"`, or `"never"`. Default `"3s"`.
    pub rest_fill: RestFill,
}

/// The schedule of inquiries to a venue about an order whose outcome is unknown, and when "not found" is conclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InquirySettings {
    /// The delay after the first inconclusive inquiry, in milliseconds, 10 to 600000; default 500. It doubles with each
    /// further inquiry.
    pub first_pause_ms: u64,
    /// The longest delay between two inquiries, in milliseconds, 10 to 600000; default 30000.
    pub longest_pause_ms: u64,
    /// How many "not found" replies of a venue are conclusive, 2 to 100; default 3.
    pub not_found_min: u32,
    /// How long after its submission an order may still appear at the venue, in milliseconds, 100 to 86400000; default
    /// 30000. It covers the validity of a request, the venue's own time limit, and a margin.
    pub not_found_window_ms: u64,
    /// How long an outcome may be unknown before an alert says so, in seconds, 1 to 86400; default 60.
    pub alert_after_s: u64,
    /// How long an outcome may be unknown before its account opens nothing more, by a lock that an operator lifts, in
    /// seconds, 1 to 86400; default 300.
    pub lock_after_s: u64,
}

/// The fees of the paper venues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaperFeeSettings {
    /// The fee as a share of a fill, 0 to 1, such as `"0.001"`; fees are rounded up to eight decimals. Default `"0"`.
    pub rate: String,
    /// The asset that fees are paid in: `quote`, or `received`, as spot venues do: a buy pays in the traded asset if the
    /// instrument names it as `base_asset`, a sell in the quote currency. Default `quote`.
    pub paid_in: String,
}

/// The asset that a fee is paid in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeeAsset {
    /// The quote currency.
    Quote,
    /// What the order receives: the traded asset for a buy of an instrument that names it, else the quote currency.
    Received,
}

/// When the remainder of a paper order fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestFill {
    /// This long after the first fill.
    After(Duration),
    /// Never: it stays open until it is cancelled or its day ends.
    Never,
}

/// The error of a text that is no [`RestFill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number with its unit, such as \"3s\" or \"500ms\", of at most a day, or \"never\"")]
pub struct RestFillError;

impl Default for BrokersSettings {
    fn default() -> Self {
        Self {
            enabled: KNOWN_BROKERS.iter().map(|&name| name.to_owned()).collect(),
            allow_live: false,
            task: BrokerTaskSettings::default(),
            paper_ibkr: PaperIbkrSettings::default(),
            paper_fees: PaperFeeSettings::default(),
            inquiry: InquirySettings::default(),
            binance_live: BinanceLiveSettings::default(),
        }
    }
}

impl Default for BrokerTaskSettings {
    fn default() -> Self {
        Self {
            queue_max: 4_096,
            cancel_queue_max: 1_024,
            max_in_flight: 512,
            call_timeout_ms: 5_000,
        }
    }
}

impl Default for PaperFeeSettings {
    fn default() -> Self {
        Self {
            rate: "0".to_owned(),
            paid_in: "quote".to_owned(),
        }
    }
}

impl Default for PaperIbkrSettings {
    fn default() -> Self {
        Self {
            first_fill_percent: 95,
            rest_fill: RestFill::After(Duration::from_secs(3)),
        }
    }
}

impl Default for InquirySettings {
    fn default() -> Self {
        Self {
            first_pause_ms: 500,
            longest_pause_ms: 30_000,
            not_found_min: 3,
            // Binance Spot: a recvWindow of 5 s, 10 s until its engine gives up, and the same again as margin.
            not_found_window_ms: 30_000,
            alert_after_s: 60,
            lock_after_s: 300,
        }
    }
}

impl BrokersSettings {
    /// Adds a sentence to `errors` for every invalid setting.
    pub fn validate(&self, errors: &mut Vec<String>) {
        if self.enabled.is_empty() {
            errors.push(format!(
                "brokers.enabled must name at least one of {}",
                KNOWN_BROKERS.join(", ")
            ));
        }
        for (at, name) in self.enabled.iter().enumerate() {
            if !KNOWN_BROKERS.contains(&name.as_str()) {
                errors.push(format!(
                    "brokers.enabled names {name:?}, which is none of {}",
                    KNOWN_BROKERS.join(", ")
                ));
            }
            if self.enabled[..at].contains(name) {
                errors.push(format!("brokers.enabled names {name:?} twice"));
            }
        }
        self.task.validate(errors);
        self.paper_ibkr.validate(errors);
        self.paper_fees.validate(errors);
        self.inquiry.validate(errors);
        self.binance_live
            .validate(self.allow_live, self.task.call_timeout_ms, errors);
        let is_real_venue = self.allow_live && self.binance_live.rest_url.is_empty();
        if is_real_venue && self.inquiry.not_found_window_ms < SHORTEST_LIVE_NOT_FOUND_WINDOW_MS {
            errors.push(format!(
                "brokers.inquiry.not_found_window_ms is {}; with brokers.allow_live it must be at least \
                 {SHORTEST_LIVE_NOT_FOUND_WINDOW_MS}: until then an order may still take effect at the venue",
                self.inquiry.not_found_window_ms
            ));
        }
        if self.allow_live && !self.enabled.iter().any(|name| name == "binance") {
            errors.push(
                "brokers.allow_live needs binance in brokers.enabled: no other broker has a live venue".to_owned(),
            );
        }
    }
}

impl BrokerTaskSettings {
    /// Adds a sentence to `errors` for every invalid setting.
    pub fn validate(&self, errors: &mut Vec<String>) {
        check_range(errors, "brokers.task.queue_max", self.queue_max, &QUEUE_BOUNDS);
        check_range(
            errors,
            "brokers.task.cancel_queue_max",
            self.cancel_queue_max,
            &QUEUE_BOUNDS,
        );
        check_range(
            errors,
            "brokers.task.max_in_flight",
            self.max_in_flight,
            &MAX_IN_FLIGHT_BOUNDS,
        );
        check_range(
            errors,
            "brokers.task.call_timeout_ms",
            self.call_timeout_ms,
            &CALL_TIMEOUT_MS_BOUNDS,
        );
    }

    /// Returns the time limit of one adapter call.
    pub fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }
}

impl PaperFeeSettings {
    /// Returns the fee as a share of a fill; `None` if the setting is invalid.
    pub fn fee_rate(&self) -> Option<Decimal> {
        let rate = self.rate.parse::<Decimal>().ok()?;
        (rate >= Decimal::ZERO && rate <= Decimal::from(1) && rate.scale() <= 8).then_some(rate)
    }

    /// Returns the asset that fees are paid in; `None` if the setting is invalid.
    pub fn fee_asset(&self) -> Option<FeeAsset> {
        match self.paid_in.as_str() {
            "quote" => Some(FeeAsset::Quote),
            "received" => Some(FeeAsset::Received),
            _ => None,
        }
    }

    /// Adds a sentence to `errors` for every invalid setting.
    pub fn validate(&self, errors: &mut Vec<String>) {
        if self.fee_rate().is_none() {
            errors.push(format!(
                "brokers.paper_fees.rate is {:?}; it must be a number from 0 to 1 with at most eight decimals",
                self.rate
            ));
        }
        if self.fee_asset().is_none() {
            errors.push(format!(
                "brokers.paper_fees.paid_in is {:?}; it must be \"quote\" or \"received\"",
                self.paid_in
            ));
        }
    }
}

impl PaperIbkrSettings {
    /// Adds a sentence to `errors` for every invalid setting.
    pub fn validate(&self, errors: &mut Vec<String>) {
        check_range(
            errors,
            "brokers.paper_ibkr.first_fill_percent",
            self.first_fill_percent,
            &FIRST_FILL_PERCENT_BOUNDS,
        );
    }
}

impl InquirySettings {
    /// Adds a sentence to `errors` for every invalid setting.
    pub fn validate(&self, errors: &mut Vec<String>) {
        let pauses = [
            ("brokers.inquiry.first_pause_ms", self.first_pause_ms),
            ("brokers.inquiry.longest_pause_ms", self.longest_pause_ms),
        ];
        for (name, value) in pauses {
            check_range(errors, name, value, &RETRY_DELAY_MS_BOUNDS);
        }
        for (name, value) in [
            ("brokers.inquiry.alert_after_s", self.alert_after_s),
            ("brokers.inquiry.lock_after_s", self.lock_after_s),
        ] {
            check_range(errors, name, value, &UNKNOWN_S_BOUNDS);
        }
        let (min, window) = (self.not_found_min, self.not_found_window_ms);
        check_range(errors, "brokers.inquiry.not_found_min", min, &NOT_FOUND_MIN_BOUNDS);
        check_range(
            errors,
            "brokers.inquiry.not_found_window_ms",
            window,
            &NOT_FOUND_WINDOW_MS_BOUNDS,
        );
    }

    /// Returns the delay after the first inquiry.
    pub fn first_retry_delay(&self) -> Duration {
        Duration::from_millis(self.first_pause_ms)
    }
}

impl FromStr for RestFill {
    type Err = RestFillError;

    fn from_str(text: &str) -> Result<Self, RestFillError> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let (digits, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(digits), _) => (digits, 1),
            (None, Some(digits)) => (digits, 1_000),
            (None, None) => return Err(RestFillError),
        };
        // `parse` alone would accept a plus sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RestFillError);
        }
        let number: u64 = digits.parse().map_err(|_| RestFillError)?;
        match number.checked_mul(unit_ms) {
            Some(span_ms) if span_ms <= MAX_REST_FILL_MS => Ok(Self::After(Duration::from_millis(span_ms))),
            _ => Err(RestFillError),
        }
    }
}

impl fmt::Display for RestFill {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => formatter.write_str("never"),
            Self::After(span) if span.subsec_millis() == 0 => write!(formatter, "{}s", span.as_secs()),
            Self::After(span) => write!(formatter, "{}ms", span.as_millis()),
        }
    }
}

impl Serialize for RestFill {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RestFill {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_fill_reads_a_time_with_its_unit_or_never() {
        let after = |span_ms| Some(RestFill::After(Duration::from_millis(span_ms)));
        for (text, read) in [
            ("3s", after(3_000)),
            ("500ms", after(500)),
            ("0s", after(0)),
            ("86400s", after(86_400_000)),
            ("never", Some(RestFill::Never)),
            ("86401s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615s", None),
            ("3", None),
            ("s", None),
            ("-3s", None),
            ("+3s", None),
            ("1.5s", None),
            ("3 s", None),
            ("3m", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), read, "{text:?}");
        }
    }

    #[test]
    fn settings_survive_a_round_trip_and_refuse_unknown_keys() {
        let read: BrokersSettings = toml::from_str("[paper_ibkr]\nrest_fill = \"1500ms\"\n").unwrap();
        assert_eq!(read.enabled, ["binance", "ibkr"]);
        assert_eq!(read.paper_ibkr.rest_fill, RestFill::After(Duration::from_millis(1_500)));
        assert_eq!(
            toml::from_str::<BrokersSettings>(&toml::to_string(&read).unwrap()).unwrap(),
            read
        );
        for text in ["[task]\nqueue = 1\n", "[paper_ibkr]\nrest_fill = 3\n", "[paper]\n"] {
            assert!(toml::from_str::<BrokersSettings>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_invalid_setting_is_reported() {
        let mut errors = Vec::new();
        BrokersSettings::default().validate(&mut errors);
        assert_eq!(errors, Vec::<String>::new());
        BrokersSettings {
            enabled: vec!["ibkr".into(), "kraken".into(), "ibkr".into()],
            allow_live: false,
            binance_live: BinanceLiveSettings::default(),
            task: BrokerTaskSettings {
                queue_max: 0,
                cancel_queue_max: 0,
                max_in_flight: 0,
                call_timeout_ms: 0,
            },
            paper_ibkr: PaperIbkrSettings {
                first_fill_percent: 101,
                rest_fill: RestFill::Never,
            },
            paper_fees: PaperFeeSettings {
                rate: "1.1".into(),
                paid_in: "EUR".into(),
            },
            inquiry: InquirySettings {
                first_pause_ms: 0,
                longest_pause_ms: 0,
                not_found_min: 0,
                not_found_window_ms: 0,
                alert_after_s: 0,
                lock_after_s: 0,
            },
        }
        .validate(&mut errors);
        assert_eq!(errors.len(), 15, "{errors:?}");
    }
}
