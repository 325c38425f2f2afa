//! A small HTTP server for tests: real sockets, scripted raw bytes, and a record of every request on the wire.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::time::Timestamp;

/// How long a test waits for an event.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// The method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, as sent.
    pub query: String,
    /// The head of the request, as sent.
    pub head: String,
    /// The number of the connection, from 0.
    pub connection: usize,
}

impl ReceivedRequest {
    /// Returns the value of a parameter, as sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum ServerAction {
    /// Writes these bytes.
    Write(String),
    /// Writes these bytes and closes the connection.
    WriteAndClose(String),
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Keeps the connection open and silent.
    StaySilent,
}

/// Returns a reply with a JSON body.
pub fn json(status: u16, body: &str) -> ServerAction {
    json_with(status, "", body)
}

/// Returns a reply with a JSON body and more header lines, each ended by CR LF.
pub fn json_with(status: u16, headers: &str, body: &str) -> ServerAction {
    ServerAction::Write(format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

type Handler = dyn Fn(&ReceivedRequest) -> ServerAction + Send + Sync;

/// The server. It stops when it is dropped.
pub struct ScriptedServer {
    /// The port on 127.0.0.1.
    pub port: u16,
    state: Arc<ServerState>,
    stop: CancellationToken,
}

struct ServerState {
    handler: Box<Handler>,
    requests: Mutex<Vec<ReceivedRequest>>,
    /// The number of closings so far: a change closes all idle connections.
    closings: watch::Sender<usize>,
    open_connections: watch::Sender<usize>,
}

impl ScriptedServer {
    /// Starts a server. The handler is asked about every request except those about the time, which is this machine's.
    pub async fn start(handler: impl Fn(&ReceivedRequest) -> ServerAction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(ServerState {
            handler: Box::new(handler),
            requests: Mutex::default(),
            closings: watch::Sender::new(0),
            open_connections: watch::Sender::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&state), stop.clone()));
        Self { port, state, stop }
    }

    /// Returns the requests on this path so far, of any method.
    pub fn requests(&self, path: &str) -> Vec<ReceivedRequest> {
        let requests = self.state.requests.lock().unwrap();
        requests
            .iter()
            .filter(|request| request.path == path)
            .cloned()
            .collect()
    }

    /// Returns the requests of this method on this path so far.
    pub fn requests_of(&self, method: &str, path: &str) -> Vec<ReceivedRequest> {
        let mut requests = self.requests(path);
        requests.retain(|request| request.method == method);
        requests
    }

    /// Stops for good, and waits until a connection is refused.
    pub async fn stop_listening(&self) {
        self.stop.cancel();
        let refused = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(TEST_TIMEOUT, refused).await.unwrap();
    }

    /// Closes every idle connection and waits until the server has done so.
    pub async fn close_idle_connections(&self) {
        self.state.closings.send_modify(|closings| *closings += 1);
        let mut open = self.state.open_connections.subscribe();
        let closed = open.wait_for(|open| *open == 0);
        tokio::time::timeout(TEST_TIMEOUT, closed).await.unwrap().unwrap();
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, state: Arc<ServerState>, stop: CancellationToken) {
    let mut connection = 0;
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (state, stop) = (Arc::clone(&state), stop.clone());
        state.open_connections.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve(stream, &state, connection) => {}
            }
            state.open_connections.send_modify(|open| *open -= 1);
        });
        connection += 1;
    }
}

async fn serve(mut stream: TcpStream, state: &ServerState, connection: usize) {
    let mut closings = state.closings.subscribe();
    loop {
        let head = tokio::select! {
            _ = closings.changed() => return,
            head = read_head(&mut stream) => head,
        };
        let Some(request) = head.and_then(|head| parse_head(head, connection)) else {
            return;
        };
        state.requests.lock().unwrap().push(request.clone());
        let action = match request.path.as_str() {
            "/api/v3/time" => json(
                200,
                &format!(r#"{{"serverTime":{}}}"#, Timestamp::now().as_milliseconds()),
            ),
            _ => (state.handler)(&request),
        };
        match action {
            ServerAction::Write(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            ServerAction::WriteAndClose(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            ServerAction::Close => return,
            ServerAction::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            ServerAction::StaySilent => std::future::pending().await,
        }
    }
}

/// Reads up to the end of a request's head. The adapter's requests have no body.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.ok()?;
        head.push(byte);
    }
    String::from_utf8(head).ok()
}

fn parse_head(head: String, connection: usize) -> Option<ReceivedRequest> {
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(ReceivedRequest {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        head,
        connection,
    })
}
