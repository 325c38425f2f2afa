//! Ledgers as tests read them: each number of a packed field under a name of its own.

use std::collections::BTreeMap;

use order_router::domain::time::TradingDate;

/// The numbers of a ledger's own field; the second and the count of its new orders are bookkeeping.
const SUMS: [&str; 8] = [
    "day",
    "daily_notional",
    "open_loss",
    "fill_result",
    "",
    "",
    "held",
    "unpriced_fees",
];
/// The numbers of a holding.
const HOLDING: [&str; 8] = [
    "long",
    "short",
    "position",
    "start",
    "day",
    "cash_flow",
    "fees",
    "open_orders",
];

/// Reports whether a key, without its hash tag, is that of a ledger.
pub fn is_ledger(key: &str) -> bool {
    key.starts_with("account:") || key.starts_with("totals:")
}

/// Returns a ledger's fields with each number by itself: `open_loss`, and `<venue>:<symbol>.long` of a holding.
pub fn unpack(fields: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut unpacked = BTreeMap::new();
    for (field, text) in fields {
        let (prefix, names): (String, &[&str]) = match field.as_str() {
            "sums" => (String::new(), &SUMS),
            name if name.contains(':') => (format!("{name}."), &HOLDING),
            _ => {
                unpacked.insert(field, text);
                continue;
            }
        };
        let named = names.iter().zip(text.split(' ')).filter(|(name, _)| !name.is_empty());
        unpacked.extend(named.map(|(name, number)| (format!("{prefix}{name}"), number.to_owned())));
    }
    unpacked
}

/// Returns the ledger's key, the unpacked field, and the day that the field must count for, of a name such as
/// `sums:paper:default:binance.spot:BTCUSDT` with the field `long`, or `day:paper:2026-03-02:default` with
/// `daily_notional`.
pub fn locate(key: &str, field: &str) -> Option<(String, String, Option<i64>)> {
    let parts: Vec<&str> = key.split(':').collect();
    match parts[..] {
        ["sums", mode, account, venue, symbol] => Some((
            format!("account:{mode}:{account}"),
            format!("{venue}:{symbol}.{field}"),
            None,
        )),
        ["day", mode, date] => Some((format!("totals:{mode}"), field.to_owned(), day_number(date))),
        ["day", mode, date, account] => Some((format!("account:{mode}:{account}"), field.to_owned(), day_number(date))),
        ["account" | "totals", ..] => Some((key.to_owned(), field.to_owned(), None)),
        _ => None,
    }
}

fn day_number(date: &str) -> Option<i64> {
    TradingDate::parse(date).map(TradingDate::days_since_1970)
}
