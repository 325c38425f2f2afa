//! The table follows the conventions of Prometheus, and the exposition has the recorded values.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::telemetry::*;

/// Returns the suffix that a metric's name needs for its kind and unit.
fn required_suffix(metric: &Metric) -> &'static str {
    match (metric.kind, metric.unit) {
        (MetricKind::Counter, MetricUnit::One) => "_total",
        (_, MetricUnit::One) => "",
        (_, MetricUnit::Seconds) => "_seconds",
        (_, MetricUnit::Bytes) => "_bytes",
        (_, MetricUnit::Ratio) => "_ratio",
    }
}

#[test]
fn every_metric_follows_the_conventions() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        let Metric { name, labels, help, .. } = metric;
        let is_word = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            text.bytes().all(fits) && !text.contains("__")
        };
        assert!(names.insert(*name), "{name} is listed twice");
        assert!(name.starts_with("order_router_") && is_word(name), "{name}");
        assert!(name.ends_with(required_suffix(metric)), "{name}: {:?}", metric.unit);
        assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
        for suffix in ["_sum", "_count", "_bucket", "_ms", "_percent", "_minutes"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
        assert!(labels.iter().all(|label| is_word(label) && *label != "le"), "{name}");
        let reveals = |label: &&&str| ["account", "account_id", "order_id", "client_order_id", "path"].contains(*label);
        assert_eq!(
            labels.iter().find(reveals),
            None,
            "{name} has a label with a series per caller"
        );
        assert!(help.len() > 10 && !help.ends_with('.'), "{name}: {help}");
        if let MetricKind::Histogram(bounds) = metric.kind {
            assert!(bounds.is_sorted() && !bounds.is_empty(), "{name}");
            assert_eq!(metric.unit, MetricUnit::Seconds, "{name}");
        }
    }
}

#[test]
fn exposition_has_the_recorded_values() {
    let telemetry = Telemetry::new();
    telemetry.increment(MetricId::Requests, &["submit", "ok"]);
    telemetry.increment(MetricId::Requests, &["submit", "ok"]);
    telemetry.increment(MetricId::Requests, &["get", "a\"b\\c\nd"]);
    for micros in [49, 50, 51, 2_500_000, 60_000_000] {
        telemetry.observe_stage(PipelineStage::Broker, Duration::from_micros(micros));
    }
    telemetry.set_gauge(MetricId::LimitUsed, &["daily_loss"], limit_ratio(125_000, 1_000_000));
    telemetry.set_gauge(
        MetricId::OutboxAge,
        &[],
        Some(duration_micros(Duration::from_millis(1_500))),
    );
    let held = telemetry.track_in_flight(MetricId::InFlight, &["request"]);
    drop(telemetry.track_in_flight(MetricId::InFlight, &["request"]));
    let text = telemetry.render();
    for line in [
        "# TYPE order_router_requests_total counter",
        r#"order_router_requests_total{endpoint="submit",code="ok"} 2"#,
        r#"order_router_requests_total{endpoint="get",code="a\"b\\c\nd"} 1"#,
        r#"order_router_stage_duration_seconds_bucket{stage="broker",le="5e-05"} 2"#,
        r#"order_router_stage_duration_seconds_bucket{stage="broker",le="0.0001"} 3"#,
        r#"order_router_stage_duration_seconds_bucket{stage="broker",le="2.5"} 4"#,
        r#"order_router_stage_duration_seconds_bucket{stage="broker",le="10"} 4"#,
        r#"order_router_stage_duration_seconds_bucket{stage="broker",le="+Inf"} 5"#,
        r#"order_router_stage_duration_seconds_sum{stage="broker"} 62.50015"#,
        r#"order_router_stage_duration_seconds_count{stage="broker"} 5"#,
        r#"order_router_stage_duration_seconds_count{stage="queue"} 0"#,
        r#"order_router_limit_used_ratio{limit="daily_loss"} 0.125"#,
        "order_router_outbox_oldest_age_seconds 1.5",
        r#"order_router_requests_in_flight{door="request"} 1"#,
    ] {
        assert!(text.lines().any(|rendered| rendered == line), "{line} in\n{text}");
    }
    drop(held);
    telemetry.set_gauge(MetricId::OutboxAge, &[], None);
    let text = telemetry.render();
    assert!(text.contains(r#"order_router_requests_in_flight{door="request"} 0"#));
    assert!(!text.contains("order_router_outbox_oldest_age_seconds"), "{text}");
}

#[test]
fn series_of_a_metric_are_bounded() {
    let telemetry = Telemetry::new();
    for code in 0..=MAX_SERIES {
        telemetry.increment(MetricId::Requests, &["submit", &code.to_string()]);
    }
    telemetry.increment(MetricId::Requests, &["submit", "0"]);
    let text = telemetry.render();
    let series = text
        .lines()
        .filter(|line| line.starts_with("order_router_requests_total{"));
    assert_eq!(series.count(), MAX_SERIES);
    assert!(text.contains(r#"order_router_requests_total{endpoint="submit",code="0"} 2"#));
    assert!(text.contains(r#"order_router_series_dropped_total{metric="order_router_requests_total"} 1"#));
}

#[test]
fn limit_ratios_are_exact_and_unknown_brokers_share_a_label() {
    for (used, limit, held) in [
        (1, 3, Some(333_333)),
        (-5, 3, Some(0)),
        (i64::MAX, 1, Some(u64::MAX)),
        (1, 0, None),
    ] {
        assert_eq!(limit_ratio(used, limit), held, "{used} of {limit}");
    }
    let known = [BrokerId::new("ibkr").unwrap()];
    assert_eq!(broker_label("ibkr", known.iter()), "ibkr");
    assert_eq!(broker_label("anything", known.iter()), OTHER_LABEL);
}

#[tokio::test]
async fn listener_serves_metrics_and_health_only() {
    let telemetry = Telemetry::new();
    let address = "localhost:0".parse().unwrap();
    let listener = MetricsListener::open(&address, telemetry.clone()).await.unwrap();
    // reqwest has no TLS provider of its own; a second installation fails and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |method: reqwest::Method, path: &str| {
        let request = client.request(method, format!("http://{}{path}", listener.address()));
        let response = request.timeout(Duration::from_secs(20)).send().await.unwrap();
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), media_type, response.text().await.unwrap())
    };
    let (status, media_type, text) = send(reqwest::Method::GET, "/metrics").await;
    assert_eq!((status, media_type.as_str()), (200, CONTENT_TYPE));
    assert!(text.contains("order_router_build_info{version="), "{text}");
    assert_eq!(send(reqwest::Method::GET, "/health/live").await.0, 200);
    assert_eq!(send(reqwest::Method::GET, "/health").await.0, 503);
    telemetry.set_ready(Ok(()));
    assert_eq!(send(reqwest::Method::GET, "/health").await.0, 200);
    telemetry.set_ready(Err("a reason".to_owned()));
    let (status, _, text) = send(reqwest::Method::GET, "/health").await;
    assert_eq!(
        (status, text.as_str()),
        (503, "this worker accepts no orders: a reason\n")
    );
    telemetry.set_stopping();
    telemetry.set_ready(Ok(()));
    assert_eq!(send(reqwest::Method::GET, "/health").await.0, 503);
    assert_eq!(send(reqwest::Method::GET, "/orders").await.0, 404);
    assert_eq!(send(reqwest::Method::POST, "/metrics").await.0, 405);
    let address = listener.address();
    listener.close().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
