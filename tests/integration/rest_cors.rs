//! CORS: off by default; once origins are configured, only those are allowed.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use order_router::bus::request::Endpoint;
use order_router::config::api_keys::{ApiKey, Capability, KeySettings};

use crate::rest_fixture::{Rest, RestResponse};
use crate::rig::intent;

const DESK: &str = "https://desk.example.com";
const OTHER: &str = "https://other.example.com";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

async fn preflight(rest: &Rest, origin: &str) -> RestResponse {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    rest.send("OPTIONS", "/orders", "", &headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cors_is_off_unless_origins_are_configured() {
    let rest = Rest::start().await;
    for origin in [DESK, "http://localhost:3000"] {
        let response = preflight(&rest, origin).await;
        assert_eq!(
            (response.header(ALLOW_ORIGIN), response.header("vary")),
            ("", ""),
            "{response:?}"
        );
        let response = rest.send("GET", "/state", "", &[("Origin", origin)]).await;
        assert_eq!(
            (response.header(ALLOW_ORIGIN), response.header("vary")),
            ("", ""),
            "{response:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_origin_can_send_a_key_and_read_the_response() {
    let key = ApiKey::generate();
    let bearer = format!("Bearer {}", key.reveal());
    let rest = Rest::start_with(|settings| {
        settings.http.cors_origins = vec![DESK.to_owned()];
        settings.keys.0 = vec![KeySettings::new(&key, "page", "Desk", &Capability::ALL, &["*"])];
    })
    .await;
    let response = preflight(&rest, DESK).await;
    assert_eq!(
        (response.status, response.header(ALLOW_ORIGIN), response.header("vary")),
        (200, DESK, "origin")
    );
    assert!(response.header("access-control-allow-methods").contains("PUT"));
    assert_eq!(response.header("access-control-allow-credentials"), "");
    let allowed = response.header("access-control-allow-headers").to_lowercase();
    for name in [
        "authorization",
        "content-type",
        "idempotency-key",
        "deadline",
        "x-request-id",
        "last-event-id",
    ] {
        assert!(allowed.contains(name), "{name}");
    }
    assert_ne!(response.header("x-request-id"), "");
    // The page can read every response, errors included.
    let order = intent("a1", &[]);
    for (origin, authorization, status, allowed) in [
        (DESK, bearer.as_str(), 201, DESK),
        (DESK, "Bearer none", 401, DESK),
        (OTHER, &bearer, 201, ""),
        ("https://desk.example.com.evil.example", &bearer, 201, ""),
        ("null", &bearer, 201, ""),
    ] {
        let headers = [("Origin", origin), ("Authorization", authorization)];
        let response = rest.send("POST", "/orders", &order, &headers).await;
        assert_eq!(
            (response.status, response.header(ALLOW_ORIGIN)),
            (status, allowed),
            "{origin}"
        );
        assert_eq!(response.header("vary"), "origin", "{origin}");
        let exposed = response.header("access-control-expose-headers");
        for name in ["location", "idempotent-replay", "retry-after", "x-request-id"] {
            assert!(exposed.contains(name), "{origin}: {name}");
        }
    }
    for origin in [OTHER, "null"] {
        let response = preflight(&rest, origin).await;
        assert_eq!((response.status, response.header(ALLOW_ORIGIN)), (200, ""), "{origin}");
    }
    // A browser sends one origin; a request with two matches none.
    for second in [DESK, OTHER] {
        let headers = [("Origin", DESK), ("Origin", second), ("Authorization", &bearer)];
        let response = rest.send("GET", "/state", "", &headers).await;
        assert_eq!(response.header(ALLOW_ORIGIN), "", "{second}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_must_be_configured_even_without_keys() {
    let rest = Rest::start_with(|settings| settings.http.cors_origins = vec![DESK.to_owned()]).await;
    let submit = async |origin| {
        rest.send("POST", "/orders", &intent("a1", &[]), &[("Origin", origin)])
            .await
    };
    let response = submit(OTHER).await;
    assert_eq!((response.status, response.code().as_str()), (403, "not_entitled"));
    assert!(rest.actor.calls(Endpoint::Submit).is_empty());
    let response = submit(DESK).await;
    assert_eq!((response.status, response.header(ALLOW_ORIGIN)), (201, DESK));
}
