//! One server: its address, its certificates and the time limits of its connections.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError,
    RedisResult, TlsCertificates,
};

use crate::config::redis::RedisSettings;
use crate::config::tls::TlsFiles;
use crate::store::error::StoreError;

/// Returns the time limits of a connection.
pub(super) fn connection_config(settings: &RedisSettings) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(settings.connect_timeout_ms)))
        .set_response_timeout(Some(Duration::from_millis(settings.response_timeout_ms)))
}

/// Returns the server of a URL. `name` is that of its setting.
pub(super) fn parse_server(url: &str, name: &str) -> Result<ConnectionInfo, StoreError> {
    let server = url.into_connection_info().map_err(|error| unusable(name, &error))?;
    // Nagle's algorithm would delay a call until Redis has replied to the one before it.
    Ok(server.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// Returns the client of a server; it connects later. `files` are those of a server with TLS.
pub(super) fn open_client(server: ConnectionInfo, files: Option<&TlsFiles>) -> RedisResult<redis::Client> {
    let Some(files) = files else {
        return redis::Client::open(server);
    };
    let client_tls = files.client.clone().map(|(client_cert, client_key)| ClientTlsConfig {
        client_cert,
        client_key,
    });
    let certificates = TlsCertificates {
        client_tls,
        root_cert: files.authorities.clone(),
    };
    redis::Client::build_with_tls(server, certificates)
}

/// Returns the error of a setting whose address cannot be used.
pub(super) fn unusable(name: &str, error: &RedisError) -> StoreError {
    StoreError::Settings(format!("{name} is not usable: {error}"))
}

/// Returns an address with the transport of another one: TLS where that has it.
pub(super) fn address_like(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls {
            insecure, tls_params, ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    }
}
