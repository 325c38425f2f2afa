//! What each target checks of its input: no panic, and the properties below.

use std::collections::BTreeMap;
use std::io::Write;

use order_router::brokers::binance::messages::account::Account;
use order_router::brokers::binance::messages::book_ticker::BookTicker;
use order_router::brokers::binance::messages::error_body::VenueError;
use order_router::brokers::binance::messages::exchange_info::{ExchangeInfo, RateLimit};
use order_router::brokers::binance::messages::execution_report::ExecutionReport;
use order_router::brokers::binance::messages::order_state::{OrderState, PlacedOrder};
use order_router::brokers::binance::messages::server_time::ServerTime;
use order_router::brokers::binance::messages::stream_message::StreamMessage;
use order_router::brokers::binance::messages::trade::Trade;
use order_router::brokers::binance::parameters::push_encoded;
use order_router::brokers::binance::reports;
use order_router::bus::headers;
use order_router::config::Settings;
use order_router::config::load::setting_paths;
use order_router::domain::decimal::Decimal;
use order_router::domain::time::Timestamp;
use order_router::venue::parameters::Parameters;
use order_router::wire::intent::{MissingIdPolicy, decode_intent};
use serde_json::value::RawValue;

/// A target: its name, which is its corpus' folder, what it checks, and words that its inputs are made of.
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Checks one input.
    pub check: fn(&[u8]),
    /// Words of the input's language.
    pub words: &'static [&'static str],
}

const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1e9",
    "0.00000001",
    "1E-40",
    "\\u0000",
    "9007199254740993",
    "99999999999999999999999999999999",
    "\"quantity\":",
    "\"price\":",
    "\"client_order_id\":",
    "\"i\":",
    "\"X\":",
    "\"x\":",
    "\"executedQty\":",
    "\"status\":",
    "NEW",
    "FILLED",
    "EXPIRED",
];

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "intent",
        check: intent,
        words: JSON_WORDS,
    },
    Target {
        name: "values",
        check: values,
        words: &[
            "-",
            ".",
            "e",
            "E",
            "+",
            "0",
            "9",
            "T",
            "Z",
            ":",
            "2026-01-31",
            "23:59:60",
            "+14:00",
            "1e-28",
            "1e28",
        ],
    },
    Target {
        name: "headers",
        check: deadline_and_reply,
        words: &[
            "2026-01-31T00:00:00Z",
            "_INBOX.",
            "orders.replies.",
            "*",
            ">",
            ".",
            " ",
            "T",
            "Z",
        ],
    },
    Target {
        name: "venue_messages",
        check: venue_messages,
        words: JSON_WORDS,
    },
    Target {
        name: "venue_requests",
        check: venue_requests,
        words: &[
            "&",
            "=",
            "%",
            "%2",
            "%00",
            "%C3%A9",
            "symbol=",
            "quantity=",
            "timestamp=",
            "recvWindow=",
            "signature=",
        ],
    },
    Target {
        name: "settings",
        check: settings,
        words: &[
            "[",
            "]",
            "=",
            "\"",
            "\n",
            "[[instruments]]\n",
            "[risk]\n",
            "[redis]\n",
            "url = ",
            "1",
            "true",
            "{}",
            "'",
            "#",
        ],
    },
    Target {
        name: "cursor",
        check: cursor,
        words: &["-", "0", "9", "f", "18446744073709551615", "00ab00cdffffffff"],
    },
];

/// An intent means the same whatever the order of its fields, and is refused with a field repeated.
pub fn intent(data: &[u8]) {
    let Ok(decoded) = decode_intent(data, MissingIdPolicy::Refuse) else {
        return;
    };
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(data).expect("an intent is an object");
    let member =
        |name: &String, value: &RawValue| format!("{}:{}", serde_json::to_string(name).expect("a text"), value.get());
    let members: Vec<String> = fields.iter().map(|(name, value)| member(name, value)).collect();
    let sorted = format!("{{{}}}", members.join(","));
    assert_eq!(
        decode_intent(sorted.as_bytes(), MissingIdPolicy::Refuse).as_ref(),
        Ok(&decoded)
    );
    for repeated in &members {
        let body = format!("{{{},{repeated}}}", members.join(","));
        assert!(
            decode_intent(body.as_bytes(), MissingIdPolicy::Refuse).is_err(),
            "{body}"
        );
    }
}

/// A number and a time are what their text says: the text of what was read is read as the same.
pub fn values(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(number) = text.parse::<Decimal>() {
        let shown = number.to_string();
        assert_eq!(shown.parse::<Decimal>().as_ref(), Ok(&number), "{shown}");
        assert!(!shown.contains(['e', 'E', '+']), "{shown}");
        assert!(!shown.contains('.') || !shown.ends_with('0'), "{shown}");
        let (mantissa, scale) = number.parts();
        assert_eq!(Decimal::from_parts(mantissa, scale), Some(number));
        assert!(serde_json::from_str::<Box<RawValue>>(&shown).is_ok(), "{shown}");
    }
    if let Ok(time) = Timestamp::parse(text) {
        assert_eq!(Timestamp::parse(&time.to_string()).as_ref(), Ok(&time), "{time}");
        assert_eq!(Timestamp::from_microseconds(time.as_microseconds()), time);
    }
}

/// A deadline in a header is the time that its text says, and a reply goes to no wildcard.
pub fn deadline_and_reply(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut map = async_nats::HeaderMap::new();
    headers::set(&mut map, headers::DEADLINE, text);
    headers::set(&mut map, headers::REPLY_TO, text);
    let clean = headers::sanitise(text);
    if let Ok(deadline) = headers::parse_deadline(Some(&map)) {
        assert_eq!(deadline, Timestamp::parse(clean.trim()).ok());
        assert!(deadline.is_some(), "a deadline is never passed over: {text:?}");
    }
    if let Ok(Some(reply_to)) = headers::parse_reply_to(Some(&map), Some("default")) {
        assert!(!reply_to.contains(['*', '>', ' ']), "{reply_to:?}");
        assert!(
            reply_to.starts_with("_INBOX.") || reply_to.starts_with("orders.replies."),
            "{reply_to:?}"
        );
    }
}

/// What a message of the venue says of quantities is exact and not below zero.
pub fn venue_messages(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = StreamMessage::read(text);
    let _ = VenueError::read(data).map(|error| error.shown());
    let _ = serde_json::from_str::<ServerTime>(text);
    let _ = serde_json::from_str::<ExchangeInfo>(text);
    let _ = serde_json::from_str::<Vec<RateLimit>>(text);
    let _ = serde_json::from_str::<Account>(text);
    let _ = serde_json::from_str::<BookTicker>(text);
    let trades = serde_json::from_str::<Vec<Trade>>(text).unwrap_or_default();
    for trade in &trades {
        if let Ok(fill) = reports::trade_fill(trade) {
            assert!(
                fill.quantity.decimal().is_positive() && fill.price.decimal().is_positive(),
                "{fill:?}"
            );
        }
    }
    if let Ok(state) = serde_json::from_str::<OrderState>(text) {
        let _ = state.placed_client_order_id();
        let _ = reports::queried_notice(&state, &[]);
        if let Ok(report) = reports::queried_report(&state, &[]) {
            assert!(report.fills.is_empty());
            let cumulative = report.cumulative_quantity.unwrap_or(Decimal::ZERO);
            assert!(cumulative.is_zero() || cumulative.is_positive(), "{cumulative}");
        }
    }
    let _ = serde_json::from_str::<PlacedOrder>(text);
    if let Ok(event) = serde_json::from_str::<ExecutionReport>(text) {
        let _ = event.placed_client_order_id();
        let _ = reports::execution_notice(&event, "USDT");
    }
}

/// The local exchange reads a request again as it read it, once the adapter's encoder has written it.
pub fn venue_requests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (query, body) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(parameters) = Parameters::from_forms(query, body) else {
        return;
    };
    let names = [
        "symbol",
        "side",
        "type",
        "quantity",
        "price",
        "timestamp",
        "recvWindow",
        "newClientOrderId",
    ];
    let mut encoded = String::new();
    for name in names {
        if let Some(value) = parameters.get(name) {
            encoded.push_str(if encoded.is_empty() { "" } else { "&" });
            encoded.push_str(name);
            encoded.push('=');
            push_encoded(&mut encoded, value);
        }
    }
    let again = Parameters::from_forms(&encoded, "").expect("what was read can be written");
    for name in names {
        assert_eq!(again.get(name), parameters.get(name), "{name} in {encoded}");
    }
    let _ = (parameters.amount("quantity"), parameters.client_id("newClientOrderId"));
    let _ = (parameters.symbol().is_ok(), parameters.timing(), parameters.finish());
    let _ = parameters.sorted_payload();
}

/// A settings file that is refused names a key of the file or a setting, unless it is no TOML at all.
pub fn settings(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(data).expect("a written file");
    let Err(refused) = Settings::load(Some(file.path()), [], &[]) else {
        return;
    };
    assert!(!refused.0.is_empty());
    let Some(table) = std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok())
    else {
        return;
    };
    let mut names = setting_paths();
    collect_names(&toml::Value::Table(table), &mut names);
    for error in &refused.0 {
        assert!(
            names.iter().any(|name| error.contains(name.as_str())),
            "{error} names no key"
        );
    }
}

fn collect_names(value: &toml::Value, names: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                names.push(name.clone());
                collect_names(value, names);
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

/// The text of a cursor that was read is read as the same cursor.
pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(shown) = order_router::sidecar::rewrite_event_cursor(text) {
        assert_eq!(
            order_router::sidecar::rewrite_event_cursor(&shown),
            Some(shown.clone()),
            "{text}"
        );
        assert!(shown.len() <= text.len(), "{text} became {shown}");
    }
}
