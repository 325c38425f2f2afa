use crate::sidecar::handlers::orders::submit::*;

const INTENT: &str = r#"{"broker":"binance","venue":"binance.spot","symbol":"BTCUSDT","side":"buy","quantity":0.30e0,
    "order_type":"market""#;

fn decode(fields: &str, key: Option<&'static str>) -> Result<(Intent, String), Fault> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        headers.insert(IDEMPOTENCY_KEY_HEADER, HeaderValue::from_static(key));
    }
    let body = Bytes::from(format!("{INTENT}{fields}}}"));
    let (intent, body) = decode_with_client_order_id(&headers, body)?;
    Ok((intent, String::from_utf8(body.to_vec()).unwrap()))
}

#[test]
fn intent_with_an_id_is_forwarded_byte_for_byte() {
    let id = r#","client_order_id":"a1""#;
    for key in [None, Some("a1"), Some("\"a1\"")] {
        let (intent, body) = decode(id, key).unwrap();
        assert_eq!(intent.client_order_id.as_str(), "a1");
        assert_eq!(body, format!("{INTENT}{id}}}"));
    }
}

#[test]
fn intent_without_an_id_is_forwarded_with_one() {
    for fields in ["", r#","client_order_id":null"#] {
        let (intent, body) = decode(fields, None).unwrap();
        assert!(uuid::Uuid::parse_str(intent.client_order_id.as_str()).is_ok());
        let forwarded = decode_intent(body.as_bytes(), MissingIdPolicy::Refuse).unwrap();
        assert_eq!(forwarded, intent);
        assert!(body.contains("0.30e0"), "{body}");
        for key in ["k-1", "\"k-1\""] {
            let (intent, body) = decode(fields, Some(key)).unwrap();
            let forwarded = decode_intent(body.as_bytes(), MissingIdPolicy::Refuse).unwrap();
            assert_eq!((forwarded.client_order_id.as_str(), &forwarded), ("k-1", &intent));
        }
    }
}

#[test]
fn idempotency_key_beside_another_id_is_a_conflict() {
    let fault = decode(r#","client_order_id":"a1""#, Some("k1")).unwrap_err();
    assert_eq!(fault.code, FaultCode::ClientOrderIdConflict);
    assert_eq!(fault.client_order_id.as_deref(), Some("a1"));
    assert!(fault.detail.contains("k1"), "{}", fault.detail);
}

#[test]
fn invalid_idempotency_key_is_refused() {
    for key in ["", "with space", "0123456789012345678901234567890123456789"] {
        let fault = decode("", Some(key)).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some(IDEMPOTENCY_KEY_HEADER), "{key}");
    }
}
