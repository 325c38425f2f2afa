use crate::sidecar::handlers::orders::submit::*;

const INTENT: &str = r#"{"broker":"binance","venue":"binance.spot","symbol":"BTCUSDT","side":"buy","quantity":0.30e0,
    "order_type":"market""#;

fn read(rest: &str, key: Option<&'static str>) -> Result<(Intent, String), Fault> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        headers.insert(IDEMPOTENCY_KEY_HEADER, HeaderValue::from_static(key));
    }
    let body = Bytes::from(format!("{INTENT}{rest}}}"));
    let (intent, body) = decode_with_client_order_id(&headers, body)?;
    Ok((intent, String::from_utf8(body.to_vec()).unwrap()))
}

#[test]
fn an_intent_with_an_id_goes_on_byte_for_byte() {
    let given = r#","client_order_id":"a1""#;
    for key in [None, Some("k1")] {
        let (intent, body) = read(given, key).unwrap();
        assert_eq!(intent.client_order_id.as_str(), "a1");
        assert_eq!(body, format!("{INTENT}{given}}}"));
    }
}

#[test]
fn an_intent_without_one_gets_it_before_it_goes_on() {
    for rest in ["", r#","client_order_id":null"#] {
        let (intent, body) = read(rest, None).unwrap();
        assert!(uuid::Uuid::parse_str(intent.client_order_id.as_str()).is_ok());
        let sent = decode_intent(body.as_bytes(), MissingIdPolicy::Refuse).unwrap();
        assert_eq!(sent, intent);
        assert!(body.contains("0.30e0"), "{body}");
        for key in ["k-1", "\"k-1\""] {
            let (intent, body) = read(rest, Some(key)).unwrap();
            let sent = decode_intent(body.as_bytes(), MissingIdPolicy::Refuse).unwrap();
            assert_eq!((sent.client_order_id.as_str(), &sent), ("k-1", &intent));
        }
    }
}

#[test]
fn a_key_that_is_no_id_is_refused() {
    for key in ["", "with space", "0123456789012345678901234567890123456789"] {
        let fault = read("", Some(key)).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some(IDEMPOTENCY_KEY_HEADER), "{key}");
    }
}
