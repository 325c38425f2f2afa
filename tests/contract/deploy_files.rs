//! Files below `deploy/` that are written from others, and the systemd units.

use std::collections::BTreeMap;
use std::process::Command;

use crate::generated::{assert_file, path, text};

/// What the configuration of a cluster has beside the shipped one, before the block of JetStream.
const CLUSTER_BLOCK: &str = r#"# Where the signal of preStop finds the process.
pid_file: /tmp/nats.pid
lame_duck_grace_period: "5s"
lame_duck_duration: "30s"

# TLS, where the overlay has it.
include "tls.conf"

# The network policies let only these servers in.
cluster {
  name: order-router
  port: 6222
  routes: [
    "nats://nats-0.nats-peers:6222", "nats://nats-1.nats-peers:6222", "nats://nats-2.nats-peers:6222"
  ]
}

"#;

/// Returns the configuration of one of the three servers on Kubernetes, from the shipped one.
fn cluster_configuration() -> String {
    let shipped = text("deploy/nats.conf");
    let (_, body) = shipped
        .split_once("\nserver_name: order-router\n")
        .expect("the server's name");
    let (before, jetstream) = body.split_once("jetstream {\n").expect("the block of JetStream");
    format!(
        "# NATS on Kubernetes, one of three servers. Written from deploy/nats.conf, which describes it: change that file, and\n\
         # run `UPDATE_SCHEMAS=1 cargo test --test contract`.\n\nserver_name: $POD_NAME\n{before}{CLUSTER_BLOCK}jetstream {{\n{jetstream}"
    )
}

#[test]
fn configurations_on_kubernetes_are_the_shipped_ones() {
    assert_file("deploy/kubernetes/base/nats.conf", &cluster_configuration());
    assert_file(
        "deploy/kubernetes/overlays/development/redis.conf",
        &text("deploy/redis.conf"),
    );
}

#[test]
fn nats_server_accepts_the_configuration_of_each_overlay() {
    let server = path(".tools/bin/nats-server");
    if !server.exists() {
        eprintln!("SKIPPED: `make setup` installs nats-server");
        return;
    }
    for tls in ["base/tls.conf", "overlays/production/tls.conf"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let certified = rcgen::generate_simple_self_signed(vec!["nats".to_owned()]).expect("a certificate");
        let files = [
            ("tls.crt", certified.cert.pem()),
            ("tls.key", certified.signing_key.serialize_pem()),
            ("ca.crt", certified.cert.pem()),
            ("nats.conf", cluster_configuration()),
            (
                "tls.conf",
                text(&format!("deploy/kubernetes/{tls}"))
                    .replace("/etc/nats-tls", &directory.path().display().to_string()),
            ),
        ];
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).expect("a file");
        }
        let variables = [
            "WORKER", "TOPOLOGY", "SIDECAR", "ALPHA", "CLIENT", "MARKET", "ARCHIVE", "OPERATOR",
        ];
        let output = Command::new(&server)
            .arg("-t")
            .arg("--config")
            .arg(directory.path().join("nats.conf"))
            .env("POD_NAME", "nats-0")
            .envs(variables.map(|user| (format!("DEPLOY_NATS_{user}_PASSWORD"), "a-password")))
            .output()
            .expect("nats-server");
        assert!(
            output.status.success(),
            "{tls}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The entries of a unit: section and key, with each value.
fn unit_entries(unit: &str) -> BTreeMap<(String, String), Vec<String>> {
    let mut entries = BTreeMap::<_, Vec<String>>::new();
    let mut section = String::new();
    for line in unit.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if !line.is_empty() && !line.starts_with('#') {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line:?} is no entry"));
            entries
                .entry((section.clone(), key.to_owned()))
                .or_default()
                .push(value.to_owned());
        }
    }
    entries
}

#[test]
fn systemd_units_run_the_commands_that_exist() {
    for (name, command) in [("worker", "worker"), ("sidecar", "sidecar"), ("topology", "topology")] {
        let unit = text(&format!("deploy/systemd/order-router-{name}.service"));
        let entries = unit_entries(&unit);
        let value = |section: &str, key: &str| {
            let found = entries.get(&(section.to_owned(), key.to_owned()));
            found.unwrap_or_else(|| panic!("{name} has no {key}")).join(" ")
        };
        assert_eq!(
            value("Service", "ExecStart"),
            format!("/usr/local/bin/order-router {command}")
        );
        assert_eq!(value("Service", "User"), "order-router");
        let is_service = name != "topology";
        assert_eq!(value("Service", "Type"), if is_service { "exec" } else { "oneshot" });
        if is_service {
            // docs/operations.md#drain
            assert_eq!(value("Service", "TimeoutStopSec"), "30s");
            assert_eq!(value("Service", "Restart"), "on-failure");
        }
        let variables = value("Service", "Environment");
        assert!(
            variables.contains("ORDER_ROUTER_CONFIG=/etc/order-router/"),
            "{variables}"
        );
        verify_with_systemd(name, &unit);
    }
}

/// Runs `systemd-analyze verify`, where it exists, on a copy whose program exists.
fn verify_with_systemd(name: &str, unit: &str) {
    let version = Command::new("systemd-analyze").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no systemd-analyze to verify the units with");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join(format!("order-router-{name}.service"));
    std::fs::write(&file, unit.replace("/usr/local/bin/order-router", "/bin/true")).expect("a unit");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&file)
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && !said.contains(&format!("order-router-{name}")),
        "{name}: {said}"
    );
}
