use crate::config::Settings;
use crate::config::limits::LimitSettings;
use crate::worker::trading_day::reference_prices::*;

const MAX_AGE: Duration = Duration::from_secs(10);

fn at(text: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-03-02T{text}Z")).unwrap()
}

fn price(text: &str) -> Option<Price> {
    Some(Price::new(text.parse().unwrap()).unwrap())
}

fn bitcoin() -> (ReferencePrices, Instrument) {
    let instruments = Instruments::of(&LimitSettings::of(&Settings::default()));
    let prices = ReferencePrices::new(&instruments);
    let bitcoin = instruments.all().find(|one| one.symbol.as_str() == "BTCUSDT").unwrap();
    (prices, bitcoin.clone())
}

fn publish(prices: &ReferencePrices, body: &str, now: &str) {
    let message = QuoteMessage {
        subject: subjects::quote("binance.spot", "BTCUSDT"),
        body: body.to_owned().into(),
    };
    prices.record_quote(&message, at(now));
}

#[test]
fn newest_quote_is_the_reference_price_until_it_is_too_old() {
    let (prices, bitcoin) = bitcoin();
    let reference = |now| prices.reference_price_at(&bitcoin, Mode::Live, MAX_AGE, at(now));
    publish(
        &prices,
        r#"{"last": "29000", "timestamp": "2026-03-02T12:00:00Z"}"#,
        "12:00:01",
    );
    assert_eq!(reference("12:00:01"), price("29000"));
    assert_eq!(reference("12:00:10"), price("29000"));
    assert_eq!(reference("12:00:10.000001"), None);
    assert_eq!(prices.mark_price(&bitcoin, Mode::Live), price("29000"));
    // An older one changes nothing, one as old as the newest does.
    publish(
        &prices,
        r#"{"last": 1, "timestamp": "2026-03-02T11:59:59.999999Z"}"#,
        "12:00:02",
    );
    assert_eq!(reference("12:00:02"), price("29000"));
    publish(
        &prices,
        r#"{"bid": 28000, "ask": 28001, "timestamp": "2026-03-02T12:00:00Z"}"#,
        "12:00:02",
    );
    assert_eq!(reference("12:00:02"), price("28000.5"));
    assert_eq!(prices.refused_count(), 0);
}

#[test]
fn price_of_the_settings_replaces_a_missing_quote_but_never_in_live() {
    let (prices, bitcoin) = bitcoin();
    for mode in [Mode::Paper, Mode::DryRun] {
        assert_eq!(prices.reference_price(&bitcoin, mode, MAX_AGE), price("30000"));
        assert_eq!(prices.mark_price(&bitcoin, mode), price("30000"));
    }
    assert_eq!(prices.reference_price(&bitcoin, Mode::Live, MAX_AGE), None);
    assert_eq!(prices.mark_price(&bitcoin, Mode::Live), None);
    // A quote that was too old on arrival is a quote all the same: the price of the settings no longer applies.
    publish(
        &prices,
        r#"{"last": 1, "timestamp": "2026-03-01T12:00:00Z"}"#,
        "12:00:00",
    );
    assert_eq!(
        prices.reference_price_at(&bitcoin, Mode::Paper, MAX_AGE, at("12:00:00")),
        None
    );
    assert_eq!(prices.mark_price(&bitcoin, Mode::Paper), price("1"));
}

#[test]
fn quote_from_the_near_future_ages_from_its_arrival_and_one_from_the_far_future_is_refused() {
    let (prices, bitcoin) = bitcoin();
    publish(
        &prices,
        r#"{"last": 1, "timestamp": "2026-03-02T12:00:05Z"}"#,
        "12:00:00",
    );
    assert_eq!(
        prices.reference_price_at(&bitcoin, Mode::Live, MAX_AGE, at("12:00:10")),
        price("1")
    );
    assert_eq!(
        prices.reference_price_at(&bitcoin, Mode::Live, MAX_AGE, at("12:00:11")),
        None
    );
    publish(
        &prices,
        r#"{"last": 2, "timestamp": "2026-03-02T12:00:05.000001Z"}"#,
        "12:00:00",
    );
    assert_eq!(
        (prices.mark_price(&bitcoin, Mode::Live), prices.refused_count()),
        (price("1"), 1)
    );
}

#[test]
fn invalid_quote_is_counted_and_changes_nothing() {
    let (prices, bitcoin) = bitcoin();
    for body in [
        "",
        "[]",
        "{",
        r#"{"timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"last": 29000}"#,
        r#"{"last": 0, "timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"last": -1, "timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"last": 1e400, "timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"last": "NaN", "timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"last": 29000, "last": 1, "timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"last": 29000, "bid": true, "timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"bid": 29000, "timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"bid": 29001, "ask": 29000, "timestamp": "2026-03-02T12:00:00Z"}"#,
        r#"{"last": 29000, "timestamp": "yesterday"}"#,
        r#"{"last": 29000, "timestamp": 1772452800}"#,
    ] {
        let before = prices.refused_count();
        publish(&prices, body, "12:00:00");
        assert_eq!(prices.refused_count(), before + 1, "{body}");
        assert_eq!(prices.mark_price(&bitcoin, Mode::Live), None, "{body}");
    }
    // Unknown fields are ignored, and so are instruments that are not in the settings.
    publish(
        &prices,
        r#"{"last": 29000, "volume": 3, "timestamp": "2026-03-02T12:00:00Z"}"#,
        "12:00:00",
    );
    assert_eq!(prices.mark_price(&bitcoin, Mode::Live), price("29000"));
    let before = prices.refused_count();
    let elsewhere = QuoteMessage {
        subject: subjects::quote("binance.spot", "DOGEUSDT"),
        body: "{".into(),
    };
    prices.record_quote(&elsewhere, at("12:00:00"));
    assert_eq!(prices.refused_count(), before);
}
