//! A TCP proxy that injects faults on request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Pieces in flight in one direction of a connection; beyond them the sender waits, as with any full pipe.
const PIECES_IN_FLIGHT: usize = 1_024;
const PIECE_BYTES: usize = 16 * 1_024;

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What clients send: requests.
    ToServer,
    /// What the server sends: replies.
    ToClient,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Flow {
    #[default]
    Passes,
    /// Held back until the proxy is restored, then delivered.
    Stalls,
    /// The receiver has read an end of file; later bytes are dropped.
    Closed,
}

/// The faults in force. Connections watch them.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    refuses: bool,
    /// Grows with each cut; a connection ends when the value differs from the one it started with.
    cuts: u64,
    delay: Duration,
    to_server: Flow,
    to_client: Flow,
}

impl Faults {
    fn flow(&self, direction: Direction) -> Flow {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }

    fn set_flow(&mut self, direction: Direction, flow: Flow) {
        match direction {
            Direction::ToServer => self.to_server = flow,
            Direction::ToClient => self.to_client = flow,
        }
    }
}

/// A proxy in front of one address, at a port of its own. It forwards faithfully until a fault is set; faults
/// apply to existing and to new connections. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port for the proxy");
        Self::start_on(listener, target)
    }

    /// Starts a proxy in front of `target` that accepts from a listener.
    pub fn start_on(listener: TcpListener, target: SocketAddr) -> Self {
        let address = listener.local_addr().expect("the proxy's address");
        let (faults, _) = watch::channel(Faults::default());
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, target, faults.clone(), Arc::clone(&accepted)));
        Self {
            address,
            faults,
            accepted,
            task,
        }
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as `<scheme>://<address>`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// How many connections have been accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Closes every connection, and each new one at once, until restored.
    pub fn cut(&self) {
        self.faults.send_modify(|faults| {
            faults.cuts += 1;
            faults.refuses = true;
        });
    }

    /// Closes every connection; new ones are accepted.
    pub fn cut_once(&self) {
        self.faults.send_modify(|faults| faults.cuts += 1);
    }

    /// Holds back both directions until restored: a silent network.
    pub fn stall(&self) {
        self.stall_direction(Direction::ToServer);
        self.stall_direction(Direction::ToClient);
    }

    /// Holds back one direction until restored: with [`Direction::ToClient`], requests arrive and are executed, and no
    /// client receives a reply.
    pub fn stall_direction(&self, direction: Direction) {
        self.faults
            .send_modify(|faults| faults.set_flow(direction, Flow::Stalls));
    }

    /// Delivers everything this much later, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// Ends one direction of every connection: the receiver reads an end of file, while the other direction still
    /// passes. The direction stays closed for its connection, even after a restore.
    pub fn half_close(&self, direction: Direction) {
        self.faults
            .send_modify(|faults| faults.set_flow(direction, Flow::Closed));
    }

    /// Forwards faithfully again: delivers what was held back and lets new connections through.
    pub fn restore(&self) {
        self.faults.send_modify(|faults| {
            *faults = Faults {
                cuts: faults.cuts,
                ..Faults::default()
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort(); // the connections' tasks are owned by this one
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, faults: watch::Sender<Faults>, accepted: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let watched = faults.subscribe();
        if !watched.borrow().refuses {
            accepted.fetch_add(1, Ordering::SeqCst);
            connections.spawn(connection(client, target, watched));
        }
    }
}

/// Carries one connection until both ends are done with it or it is cut.
async fn connection(client: TcpStream, target: SocketAddr, mut faults: watch::Receiver<Faults>) {
    let begun = faults.borrow_and_update().cuts;
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let carried = async {
        tokio::join!(
            forward(client_reads, server_writes, Direction::ToServer, faults.clone()),
            forward(server_reads, client_writes, Direction::ToClient, faults.clone()),
        )
    };
    let mut cut = faults.clone();
    tokio::select! {
        _ = carried => {}
        _ = cut.wait_for(|faults| faults.cuts != begun) => {}
    }
}

/// Carries one direction: one half stamps each piece with the time it is due, the other delivers it then, so that a delay
/// is latency and not a limit on throughput.
async fn forward(from: OwnedReadHalf, to: OwnedWriteHalf, direction: Direction, faults: watch::Receiver<Faults>) {
    let (due, pieces) = mpsc::channel(PIECES_IN_FLIGHT);
    tokio::join!(
        read_pieces(from, due, faults.clone()),
        deliver(to, pieces, direction, faults)
    );
}

async fn read_pieces(mut from: OwnedReadHalf, due: mpsc::Sender<(Instant, Vec<u8>)>, faults: watch::Receiver<Faults>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let at = Instant::now() + faults.borrow().delay;
        if due.send((at, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn deliver(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    direction: Direction,
    mut faults: watch::Receiver<Faults>,
) {
    let mut closing = faults.clone();
    let mut open = true;
    loop {
        // Biased: a fault applies to every piece after it.
        tokio::select! {
            biased;
            _ = wait_for_flow(&mut closing, direction, |flow| flow == Flow::Closed), if open => {
                open = false;
                let _ = to.shutdown().await;
            }
            piece = pieces.recv() => {
                let Some((at, bytes)) = piece else { break };
                sleep_until(at).await;
                // Closed while it was held back: the piece is lost.
                let flow = wait_for_flow(&mut faults, direction, |flow| flow != Flow::Stalls).await;
                if open && flow == Flow::Passes && to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        }
    }
    if open {
        let _ = to.shutdown().await;
    }
}

/// Waits until the flow of a direction is as `wanted`, and returns it; a proxy that is gone lets nothing pass.
async fn wait_for_flow(
    faults: &mut watch::Receiver<Faults>,
    direction: Direction,
    wanted: impl Fn(Flow) -> bool,
) -> Flow {
    let found = faults.wait_for(|faults| wanted(faults.flow(direction))).await;
    found.map_or(Flow::Closed, |faults| faults.flow(direction))
}
