//! A TCP proxy that behaves as badly as it is told to.

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

/// Pieces under way in one direction of a connection; then the sender has to wait, as with any full pipe.
const PIECES_UNDER_WAY: usize = 1_024;
const PIECE_BYTES: usize = 16 * 1_024;

/// A way through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What clients send: requests.
    ToServer,
    /// What the server sends: answers.
    ToClient,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Flow {
    #[default]
    Passes,
    /// Kept back until the proxy is healed, then delivered.
    Stalls,
    /// The receiver has been told that no more will come; what still does is thrown away.
    Closed,
}

/// What the proxy has been told. Connections watch it.
#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    refuses: bool,
    /// Grows with each cut; a connection ends when it is no longer the figure it began with.
    cuts: u64,
    delay: Duration,
    to_server: Flow,
    to_client: Flow,
}

impl Orders {
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

/// A proxy in front of one address, at a port of its own. It forwards faithfully until told otherwise; orders count for
/// the connections there are and for those to come. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port for the proxy");
        let address = listener.local_addr().expect("the proxy's address");
        let (orders, _) = watch::channel(Orders::default());
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, target, orders.clone(), Arc::clone(&accepted)));
        Self {
            address,
            orders,
            accepted,
            task,
        }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as `<scheme>://<address>`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// How many connections have been let through so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Closes every connection, and each new one at once, until healed.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| {
            orders.cuts += 1;
            orders.refuses = true;
        });
    }

    /// Closes every connection; new ones are welcome.
    pub fn cut_once(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Holds back what goes in both directions until healed: a network that has gone silent.
    pub fn stall(&self) {
        self.stall_direction(Direction::ToServer);
        self.stall_direction(Direction::ToClient);
    }

    /// Holds back what goes in one direction until healed: with [`Direction::ToClient`], requests arrive and have their
    /// effect, and nobody hears of it.
    pub fn stall_direction(&self, direction: Direction) {
        self.orders
            .send_modify(|orders| orders.set_flow(direction, Flow::Stalls));
    }

    /// Delivers everything this much later, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.orders.send_modify(|orders| orders.delay = delay);
    }

    /// Ends one direction of every connection: the receiver reads an end of file, while the other direction still
    /// passes. A direction so ended stays so for its connection, also after healing.
    pub fn half_close(&self, direction: Direction) {
        self.orders
            .send_modify(|orders| orders.set_flow(direction, Flow::Closed));
    }

    /// Forwards faithfully again: delivers what was held back and lets new connections through.
    pub fn heal(&self) {
        self.orders.send_modify(|orders| {
            *orders = Orders {
                cuts: orders.cuts,
                ..Orders::default()
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort(); // the connections' tasks are owned by this one
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, orders: watch::Sender<Orders>, accepted: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let watched = orders.subscribe();
        if !watched.borrow().refuses {
            accepted.fetch_add(1, Ordering::SeqCst);
            connections.spawn(connection(client, target, watched));
        }
    }
}

/// Carries one connection until both ends are done with it or it is cut.
async fn connection(client: TcpStream, target: SocketAddr, mut orders: watch::Receiver<Orders>) {
    let begun = orders.borrow_and_update().cuts;
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let carried = async {
        tokio::join!(
            carry(client_reads, server_writes, Direction::ToServer, orders.clone()),
            carry(server_reads, client_writes, Direction::ToClient, orders.clone()),
        )
    };
    let mut cut = orders.clone();
    tokio::select! {
        _ = carried => {}
        _ = cut.wait_for(|orders| orders.cuts != begun) => {}
    }
}

/// Carries one direction: one half stamps each piece with the time it is due, the other delivers it then, so that a delay
/// is latency and not a limit on throughput.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, direction: Direction, orders: watch::Receiver<Orders>) {
    let (due, pieces) = mpsc::channel(PIECES_UNDER_WAY);
    tokio::join!(take(from, due, orders.clone()), deliver(to, pieces, direction, orders));
}

async fn take(mut from: OwnedReadHalf, due: mpsc::Sender<(Instant, Vec<u8>)>, orders: watch::Receiver<Orders>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let at = Instant::now() + orders.borrow().delay;
        if due.send((at, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn deliver(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    direction: Direction,
    mut orders: watch::Receiver<Orders>,
) {
    let mut closing = orders.clone();
    let mut open = true;
    loop {
        // Biased: an order that has been given counts for every piece after it.
        tokio::select! {
            biased;
            _ = flow_at_last(&mut closing, direction, |flow| flow == Flow::Closed), if open => {
                open = false;
                let _ = to.shutdown().await;
            }
            piece = pieces.recv() => {
                let Some((at, bytes)) = piece else { break };
                sleep_until(at).await;
                // Closed while it was held back: the piece is lost.
                let flow = flow_at_last(&mut orders, direction, |flow| flow != Flow::Stalls).await;
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
async fn flow_at_last(
    orders: &mut watch::Receiver<Orders>,
    direction: Direction,
    wanted: impl Fn(Flow) -> bool,
) -> Flow {
    let found = orders.wait_for(|orders| wanted(orders.flow(direction))).await;
    found.map_or(Flow::Closed, |orders| orders.flow(direction))
}
