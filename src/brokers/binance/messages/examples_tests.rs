//! The messages in the shapes that the venue documents, in `tests/fixtures/binance`, and the documented examples
//! themselves where they are at hand.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::brokers::binance::messages::account::Account;
use crate::brokers::binance::messages::book_ticker::BookTicker;
use crate::brokers::binance::messages::error_body::VenueError;
use crate::brokers::binance::messages::exchange_info::{ExchangeInfo, RateLimit};
use crate::brokers::binance::messages::order_state::{OrderState, PlacedOrder};
use crate::brokers::binance::messages::server_time::ServerTime;
use crate::brokers::binance::messages::stream_message::StreamMessage;
use crate::brokers::binance::messages::trade::Trade;

/// Names a directory with further examples, as JSON with comments (`*.jsonc`).
const EXAMPLES_VARIABLE: &str = "BINANCE_EXAMPLES";

/// Returns the kind of message that a JSON document is, by its shape alone.
fn kind_of(document: &Value) -> &'static str {
    let first = match document {
        Value::Array(items) => items.first().unwrap_or(&Value::Null),
        other => other,
    };
    let has = |name: &str| first.get(name).is_some();
    match document {
        _ if has("event") || has("e") => "event",
        _ if has("id") && has("status") => "reply",
        _ if has("serverTime") && has("symbols") => "exchange information",
        _ if has("serverTime") => "time",
        _ if has("code") && has("msg") => "error",
        _ if has("balances") => "account",
        _ if has("rateLimitType") => "limits",
        _ if has("bidPrice") || has("b") && has("a") && has("s") => "ticker",
        _ if has("commissionAsset") => "trades",
        Value::Array(_) if has("executedQty") => "orders",
        _ if has("transactTime") && !has("origClientOrderId") => "placement",
        _ if has("executedQty") => "order",
        _ => "unused",
    }
}

/// Reads a document as the message that it is. Returns what it was read as.
fn read_document(text: &str) -> Result<&'static str, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let kind = kind_of(&document);
    let as_list = |text: &str| {
        if document.is_array() {
            text.to_owned()
        } else {
            format!("[{text}]")
        }
    };
    let read = match kind {
        "event" | "reply" => StreamMessage::read(text).map(|_| ()),
        "exchange information" => serde_json::from_str::<ExchangeInfo>(text).map(|_| ()),
        "time" => serde_json::from_str::<ServerTime>(text).map(|_| ()),
        "error" => serde_json::from_str::<VenueError>(text).map(|_| ()),
        "account" => serde_json::from_str::<Account>(text).map(|_| ()),
        "limits" => serde_json::from_str::<Vec<RateLimit>>(text).map(|_| ()),
        "ticker" => serde_json::from_str::<Vec<BookTicker>>(&as_list(text)).map(|_| ()),
        "trades" => serde_json::from_str::<Vec<Trade>>(text).map(|_| ()),
        "orders" => read_orders(&document),
        "placement" => serde_json::from_str::<PlacedOrder>(text).map(|_| ()),
        "order" => serde_json::from_str::<OrderState>(text).map(|_| ()),
        _ => Ok(()),
    };
    read.map(|()| kind).map_err(|error| format!("{kind}: {error}"))
}

/// A list of cancelled orders may have order lists among them, which this adapter does not place.
fn read_orders(document: &Value) -> Result<(), serde_json::Error> {
    for item in document.as_array().into_iter().flatten() {
        if item.get("executedQty").is_some() {
            serde_json::from_str::<OrderState>(&item.to_string())?;
        }
    }
    Ok(())
}

/// Removes the comments of JSON with comments.
fn without_comments(text: &str) -> String {
    let mut plain = String::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut end = line.len();
        let bytes = line.as_bytes();
        for at in 0..bytes.len() {
            match bytes[at] {
                b'"' if at == 0 || bytes[at - 1] != b'\\' => in_string = !in_string,
                b'/' if !in_string && bytes.get(at + 1) == Some(&b'/') => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        plain.push_str(&line[..end]);
        plain.push('\n');
    }
    plain
}

fn documents_in(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut documents: Vec<(PathBuf, String)> = read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json" || extension == "jsonc")
        })
        .map(|path| (path.clone(), without_comments(&read_to_string(path).unwrap())))
        .collect();
    documents.sort();
    documents
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/binance")
}

#[test]
fn every_fixture_is_read_as_what_its_name_says() {
    let documents = documents_in(&fixtures());
    assert!(documents.len() >= 12, "{}", documents.len());
    for (path, text) in documents {
        let kind = read_document(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap().to_string_lossy().replace('_', " ");
        assert!(name.starts_with(kind), "{} was read as {kind}", path.display());
    }
}

#[test]
fn every_documented_example_at_hand_is_read() {
    let Some(directory) = std::env::var_os(EXAMPLES_VARIABLE) else {
        return;
    };
    let mut unused = 0;
    for (path, text) in documents_in(Path::new(&directory)) {
        let kind = read_document(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        unused += usize::from(kind == "unused");
    }
    // Order lists, cancel-and-replace, test orders, amendments, and two requests of a client.
    assert!(unused <= 8, "{unused} documents have no reader");
}
