use crate::fault::FaultCode;
use crate::wire::intent::*;

const GOOD: &str = r#"{"broker":"binance","venue":"binance.spot","symbol":"btc/usdt","side":"buy","quantity":"0.001",
    "order_type":"limit","price":0.30e5,"client_order_id":"a1","tags":["strategy:x"],"account_id":"fund"}"#;

fn fault(body: &str) -> (FaultCode, Option<String>) {
    let fault = decode_intent(body.as_bytes(), MissingIdPolicy::Assign).unwrap_err();
    assert!(!fault.detail.is_empty());
    (fault.code, fault.field)
}

/// Returns GOOD with one field set to raw JSON, or left out.
fn with(field: &str, raw: Option<&str>) -> String {
    let mut object: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_str(GOOD).unwrap();
    object.remove(field);
    if let Some(raw) = raw {
        object.insert(
            field.into(),
            serde_json::value::RawValue::from_string(raw.into()).unwrap(),
        );
    }
    serde_json::to_string(&object).unwrap()
}

#[test]
fn intent_is_normalised() {
    let intent = decode_intent(GOOD.as_bytes(), MissingIdPolicy::Refuse).unwrap();
    assert_eq!(intent.symbol.as_str(), "BTCUSDT");
    assert_eq!(intent.quantity.to_string(), "0.001");
    assert_eq!(intent.price.unwrap().to_string(), "30000");
    assert_eq!(intent.time_in_force, TimeInForce::Gtc);
    let market = decode_intent(
        with("order_type", Some("\"market\"")).as_bytes(),
        MissingIdPolicy::Refuse,
    )
    .unwrap();
    assert_eq!(market.price, None);
}

#[test]
fn market_order_ignores_its_price() {
    for price in ["0", "-1", "\"30000\"", "\"free\"", "{}", "[1]", "true", "null", "1e400"] {
        let body = with("order_type", Some("\"market\"")).replace("0.30e5", price);
        let intent = decode_intent(body.as_bytes(), MissingIdPolicy::Refuse).unwrap();
        assert_eq!(intent.price, None, "{price}");
    }
}

#[test]
fn account_is_the_intents_own_or_that_of_its_risk_values() {
    for (own, risk, expected) in [
        (Some("\"fund\""), Some(r#"{"account_id":"other"}"#), "fund"),
        (None, Some(r#"{"account_id":"other"}"#), "other"),
        (Some("null"), Some(r#"{"account_id":"other"}"#), "other"),
        (None, Some("{}"), "default"),
        (None, None, "default"),
    ] {
        let body = with("account_id", own);
        let risk = risk.map(|risk| format!("{{\"risk\":{risk},")).unwrap_or("{".to_owned());
        let body = body.replacen('{', &risk, 1);
        let intent = decode_intent(body.as_bytes(), MissingIdPolicy::Refuse).unwrap();
        assert_eq!(intent.account_id.as_str(), expected, "{body}");
    }
}

#[test]
fn content_hash_takes_tags_as_a_set() {
    let hash = |tags: &str| {
        let body = with("tags", Some(tags));
        decode_intent(body.as_bytes(), MissingIdPolicy::Refuse)
            .unwrap()
            .content_hash()
    };
    let first = hash(r#"["a","b"]"#);
    assert_eq!(hash(r#"["b","a"]"#), first);
    assert_eq!(hash(r#"["b","a","b"]"#), first);
    assert_ne!(hash(r#"["a"]"#), first);
    assert_ne!(hash(r#"["ab"]"#), first);
}

#[test]
fn content_hash_covers_the_normalised_intent_without_its_conditions() {
    let hash = |body: &str| {
        decode_intent(body.as_bytes(), MissingIdPolicy::Refuse)
            .unwrap()
            .content_hash()
    };
    let good = hash(GOOD);
    for (field, raw) in [
        ("symbol", "\"BTC-USDT\""),
        ("quantity", "1e-3"),
        ("price", "\"30000.00\""),
        ("time_in_force", "\"GTC\""),
        ("expires_at", "\"2026-01-01T00:00:00Z\""),
        ("mode", "\"paper\""),
        ("risk", r#"{"realized_pnl":-5}"#),
        ("estimated_loss", "7"),
    ] {
        assert_eq!(hash(&with(field, Some(raw))), good, "{field}");
    }
    for (field, raw) in [
        ("symbol", "\"ETHUSDT\""),
        ("quantity", "0.002"),
        ("price", "30001"),
        ("side", "\"sell\""),
        ("time_in_force", "\"IOC\""),
        ("tags", "[\"strategy:y\"]"),
        ("reduce_only", "true"),
        ("venue", "\"binance.margin\""),
    ] {
        assert_ne!(hash(&with(field, Some(raw))), good, "{field}");
    }
}

#[test]
fn body_that_is_no_object_is_malformed() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        "",
        "  ",
        "null",
        "[]",
        "42",
        "{",
        &GOOD[..GOOD.len() - 1],
        &format!("{GOOD}{{}}"),
        &deep,
    ] {
        assert_eq!(fault(body).0, FaultCode::Malformed, "{body:.40}");
    }
    assert_eq!(
        decode_intent(b"{\"broker\":\"\xff\"}", MissingIdPolicy::Assign)
            .unwrap_err()
            .code,
        FaultCode::Malformed
    );
    let large = vec![b' '; crate::wire::strict_object::MAX_BODY_BYTES + 1];
    assert_eq!(
        decode_intent(&large, MissingIdPolicy::Assign).unwrap_err().code,
        FaultCode::PayloadTooLarge
    );
    let many = (0..1_000).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(",");
    assert_eq!(fault(&format!("{{{many}}}")).0, FaultCode::Malformed);
}

#[test]
fn error_names_its_field() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let long_tags = format!("[{}]", vec!["\"t\""; 33].join(","));
    for (field, raw) in [
        ("broker", Some("\"a.b\"")),
        ("broker", None),
        ("venue", Some("7")),
        ("symbol", Some("\"/\"")),
        ("side", Some("\"BUY\"")),
        ("quantity", None),
        ("quantity", Some("0")),
        ("quantity", Some("-1")),
        ("quantity", Some("\"NaN\"")),
        ("quantity", Some("1e400")),
        ("quantity", Some("1234567890123456789012345678901234567890")),
        ("quantity", Some("0.000000001")),
        ("quantity", Some("100000000000")),
        ("quantity", Some("true")),
        ("quantity", Some("\"1_000\"")),
        ("quantity", Some("\".5\"")),
        ("quantity", Some(&deep)),
        ("order_type", Some("\"stop\"")),
        ("price", None),
        ("price", Some("null")),
        ("price", Some("1000000000")),
        ("time_in_force", Some("\"gtc\"")),
        ("client_order_id", Some("\"with space\"")),
        ("client_order_id", Some("12")),
        ("account_id", Some("\"a.b\"")),
        ("account_id", Some("\"_\"")),
        ("tags", Some("\"strategy:x\"")),
        ("tags", Some("[\"\"]")),
        ("tags", Some(&long_tags)),
        ("reduce_only", Some("\"yes\"")),
        ("mode", Some("\"sandbox\"")),
        ("expires_at", Some("\"soon\"")),
        ("expires_at", Some("\"20261129T005130Z\"")),
        ("expires_at", Some("\"2026-11-29T00:51:30+25:00\"")),
        ("estimated_loss", Some("99999999999")),
        ("risk", Some("[]")),
    ] {
        assert_eq!(
            fault(&with(field, raw)),
            (FaultCode::InvalidField, Some(field.into())),
            "{field} {raw:?}"
        );
    }
    assert_eq!(
        fault(&with("stop_price", Some("1"))),
        (FaultCode::UnknownField, Some("stop_price".into()))
    );
    assert_eq!(
        fault(&with("risk", Some(r#"{"stop_los":1}"#))),
        (FaultCode::UnknownField, Some("risk.stop_los".into()))
    );
    assert_eq!(
        fault(&with("risk", Some(r#"{"stop_loss":0}"#))),
        (FaultCode::InvalidField, Some("risk.stop_loss".into()))
    );
    let invalid = fault(&with("risk", Some(r#"{"account_id":"_"}"#)));
    assert_eq!(invalid, (FaultCode::InvalidField, Some("risk.account_id".into())));
    let repeated = GOOD.replacen('{', r#"{"broker":"binance","#, 1);
    assert_eq!(fault(&repeated), (FaultCode::InvalidField, Some("broker".into())));
    let escaped = GOOD.replacen('{', r#"{"\u0062roker":"binance","#, 1);
    assert_eq!(fault(&escaped), (FaultCode::InvalidField, Some("broker".into())));
}

#[test]
fn missing_id_is_assigned_or_refused() {
    let anonymous = with("client_order_id", None);
    assert!(decode_intent(anonymous.as_bytes(), MissingIdPolicy::Assign).is_ok());
    let refused = decode_intent(anonymous.as_bytes(), MissingIdPolicy::Refuse).unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("client_order_id"));
}

#[test]
fn error_names_its_order() {
    let fault = decode_intent(with("side", Some("\"x\"")).as_bytes(), MissingIdPolicy::Refuse).unwrap_err();
    assert_eq!(fault.client_order_id.as_deref(), Some("a1"));
}

#[test]
fn schema_has_the_decoded_fields() {
    let schema = serde_json::to_value(schemars::schema_for!(ExecutionIntent)).unwrap();
    let known: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    for field in &known {
        // A known field of a wrong type is invalid, not unknown.
        let code = match field.as_str() {
            "price" | "estimated_loss" => fault(&with(field, Some("{}"))).0,
            _ => fault(&with(field, Some("[[]]"))).0,
        };
        assert_eq!(code, FaultCode::InvalidField, "{field}");
    }
    assert_eq!(known.len(), 16);
}
