//! A strict parser of Prometheus' text format: any deviation from the format and its conventions fails the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use order_router::telemetry::{CONTENT_TYPE, METRICS, Metric, MetricKind};

use crate::rest_fixture::client;
use crate::support::poll;

type Labels = BTreeMap<String, String>;

/// The samples of one scrape.
#[derive(Debug)]
pub struct Scrape {
    samples: BTreeMap<(String, Labels), String>,
    families: BTreeSet<&'static str>,
}

impl Scrape {
    /// Scrapes an address.
    pub async fn fetch(address: SocketAddr) -> Self {
        let response = client().get(format!("http://{address}/metrics")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
        Self::read(&response.text().await.unwrap())
    }

    /// Scrapes until a sample has this value, or is absent for `None`.
    pub async fn wait_for(address: SocketAddr, name: &str, labels: &[(&str, &str)], value: Option<&str>) -> Self {
        let what = format!("{name}{labels:?} is {value:?}");
        poll::eventually(crate::rig::SOON, what, async || {
            let scrape = Self::fetch(address).await;
            (scrape.get(name, labels) == value).then_some(scrape)
        })
        .await
    }

    /// Returns the value of a sample, as it is written.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<&str> {
        let owned = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let key = (name.to_owned(), owned.collect());
        self.samples.get(&key).map(String::as_str)
    }

    /// Returns every sample of a name that is not zero: the labels' values in the order of the table, and the value.
    pub fn counts(&self, name: &str) -> BTreeMap<Vec<&str>, u64> {
        let metric = metric(name).unwrap();
        let of_name = self.samples.iter().filter(|((of, _), _)| of == name);
        let counts = of_name.map(|((_, labels), value)| {
            let values = metric.labels.iter().map(|label| labels[*label].as_str()).collect();
            (values, value.parse().unwrap())
        });
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Whether a metric has samples.
    pub fn has(&self, name: &str) -> bool {
        self.families.contains(name)
    }

    /// Parses a text, and checks every line.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut scrape = Self {
            samples: BTreeMap::new(),
            families: BTreeSet::new(),
        };
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) = line
                .strip_prefix("# HELP ")
                .and_then(|rest| rest.split_once(' '))
                .unwrap_or_else(|| panic!("a family begins with its help: {line}"));
            let metric = metric(name).unwrap_or_else(|| panic!("{name} is not in the table"));
            assert_eq!(help, metric.help);
            assert!(scrape.families.insert(metric.name), "{name} comes twice");
            let kind = format!("# TYPE {name} {}", metric.kind.as_str());
            assert_eq!(lines.next(), Some(&*kind));
            let mut count = 0;
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                scrape.take(metric, line);
                count += 1;
            }
            assert!(count > 0, "{name} has no samples");
            if matches!(metric.kind, MetricKind::Histogram(_)) {
                scrape.check_histogram(metric);
            }
        }
        scrape
    }

    #[track_caller]
    fn take(&mut self, metric: &Metric, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (name, mut labels) = match series.split_once('{') {
            Some((name, rest)) => (name, read_labels(rest.strip_suffix('}').expect(line))),
            None => (series, Labels::new()),
        };
        let number: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(number.is_finite() && number >= 0.0, "{line}");
        let mut names: BTreeSet<&str> = metric.labels.iter().copied().collect();
        let suffix = name.strip_prefix(metric.name).unwrap_or_else(|| panic!("{line}"));
        match (metric.kind, suffix) {
            (MetricKind::Histogram(_), "_bucket") => assert!(names.insert("le")),
            (MetricKind::Histogram(_), "_sum" | "_count") | (MetricKind::Counter | MetricKind::Gauge, "") => {}
            _ => panic!("{line} is no sample of {}", metric.name),
        }
        // The format allows several spellings of a bound: 0.00005 and 5e-05 are equal.
        if let Some(bound) = labels.get_mut("le") {
            *bound = bound.parse::<f64>().expect(line).to_string();
        }
        let names_found: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
        assert_eq!(names_found, names, "{line}");
        let key = (name.to_owned(), labels);
        assert!(
            self.samples.insert(key, value.to_owned()).is_none(),
            "{line} comes twice"
        );
    }

    #[track_caller]
    fn check_histogram(&self, metric: &Metric) {
        let MetricKind::Histogram(bounds) = metric.kind else {
            return;
        };
        let name = |suffix: &str| format!("{}{suffix}", metric.name);
        let counts = self.samples.iter().filter(|((of, _), _)| *of == name("_count"));
        for ((_, labels), count) in counts {
            assert!(self.samples.contains_key(&(name("_sum"), labels.clone())), "{labels:?}");
            let mut before = 0;
            let bounds = bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
            for bound in bounds.map(|bound| bound.to_string()) {
                let with_bound = labels.clone().into_iter().chain([("le".to_owned(), bound)]);
                let bucket = &self.samples[&(name("_bucket"), with_bound.collect())];
                let bucket: u64 = bucket.parse().unwrap();
                assert!(bucket >= before, "{} {labels:?}", metric.name);
                before = bucket;
            }
            assert_eq!(before.to_string(), *count, "{} {labels:?}", metric.name);
        }
    }
}

fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[track_caller]
fn read_labels(text: &str) -> Labels {
    let (mut labels, mut rest) = (Labels::new(), text);
    while !rest.is_empty() {
        rest = rest.strip_prefix(',').unwrap_or(rest);
        let (name, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(!name.is_empty() && name.bytes().all(is_name), "{text}");
        let (mut value, mut characters) = (String::new(), quoted.char_indices());
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("no end: {text}")) {
                (at, '"') => break at,
                (_, '\\') => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                    other => panic!("{other:?} is no escape: {text}"),
                },
                (_, other) => value.push(other),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{text}");
        rest = &quoted[end + 1..];
        assert!(rest.is_empty() || rest.starts_with(','), "{text}");
    }
    labels
}

#[test]
fn parser_accepts_only_the_exposition_format() {
    let telemetry = order_router::telemetry::Telemetry::new();
    let good = telemetry.render();
    assert!(Scrape::read(&good).has("order_router_stage_duration_seconds"));
    let line = "order_router_build_info{version=";
    for (found, put) in [
        ("# HELP order_router_build_info", "# HELP order_router_strange"),
        (
            "# TYPE order_router_build_info gauge",
            "# TYPE order_router_build_info counter",
        ),
        (line, "order_router_build_info{other="),
        (line, "order_router_build_info{version=\"x\",version="),
        ("le=\"+Inf\"} 0", "le=\"+Inf\"} 1"),
        ("le=\"5e-05\"} 0", "le=\"5e-05\"} 1"),
        ("le=\"0.0005\"}", "le=\"0.0006\"}"),
    ] {
        assert!(good.contains(found), "{found}");
        let bad = good.replacen(found, put, 1);
        assert!(std::panic::catch_unwind(|| Scrape::read(&bad)).is_err(), "{put}");
    }
    let doubled = format!("{good}{good}");
    assert!(std::panic::catch_unwind(|| Scrape::read(&doubled)).is_err());
}
