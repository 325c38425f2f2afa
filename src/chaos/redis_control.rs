//! Commands to the Redis servers and the Sentinels of a run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use redis::FromRedisValue;
use tokio::time::timeout;

use crate::chaos::servers::SENTINEL_SERVICE;

/// How long one command may take, the connection included.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a command over a connection of its own.
///
/// # Errors
/// When the server does not reply in time, or replies with an error.
pub(in crate::chaos) async fn send<T: FromRedisValue>(server: SocketAddr, words: &[&str]) -> anyhow::Result<T> {
    let client = redis::Client::open(format!("redis://{server}/"))?;
    let mut command = redis::Cmd::new();
    command.arg(words);
    let sent = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    };
    let what = || format!("{} at {server}", words.join(" "));
    timeout(COMMAND_TIMEOUT, sent)
        .await
        .with_context(what)?
        .with_context(what)
}

/// Returns the fields of `INFO replication`.
///
/// # Errors
/// As [`send`].
pub(in crate::chaos) async fn read_replication(server: SocketAddr) -> anyhow::Result<BTreeMap<String, String>> {
    let text: String = send(server, &["INFO", "replication"]).await?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    Ok(fields
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect())
}

/// Returns the address that a Sentinel names as the primary.
///
/// # Errors
/// As [`send`], and when the Sentinel knows no primary.
pub(in crate::chaos) async fn named_primary(sentinel: SocketAddr) -> anyhow::Result<SocketAddr> {
    let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SENTINEL_SERVICE];
    let named: Option<(String, u16)> = send(sentinel, &words).await?;
    let (host, port) = named.context("the Sentinel knows no primary")?;
    Ok(SocketAddr::new(host.parse()?, port))
}

/// Reports whether a Sentinel could fail over now: it reaches the replica and enough other Sentinels.
pub(in crate::chaos) async fn can_fail_over(sentinel: SocketAddr) -> bool {
    let quorum: anyhow::Result<String> = send(sentinel, &["SENTINEL", "CKQUORUM", SENTINEL_SERVICE]).await;
    let words = ["SENTINEL", "REPLICAS", SENTINEL_SERVICE];
    let replicas: anyhow::Result<Vec<BTreeMap<String, String>>> = send(sentinel, &words).await;
    let is_reached = |replica: &BTreeMap<String, String>| replica.get("flags").is_some_and(|flags| flags == "slave");
    quorum.is_ok_and(|text| text.starts_with("OK")) && replicas.is_ok_and(|all| all.iter().any(is_reached))
}
