//! A TCP proxy between a worker and a server, which cuts, delays, stalls and half-closes connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// The most pieces in flight in one direction of a connection; beyond them the sender waits.
const MAX_PIECES_IN_FLIGHT: usize = 256;
/// The most bytes of a piece.
const MAX_PIECE_BYTES: usize = 16_384;
/// The pause after a connection that could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(20);

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::chaos) enum LinkFlow {
    /// They pass.
    #[default]
    Passes,
    /// They wait until the flow passes again.
    Stalls,
    /// The receiver reads an end of file; they are lost.
    Closed,
}

/// The fault in force on a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::chaos) struct LinkFault {
    /// Whether open connections are cut and new ones refused.
    pub(in crate::chaos) is_cut: bool,
    /// How much later everything arrives.
    pub(in crate::chaos) delay: Duration,
    /// What happens to what the worker sends.
    pub(in crate::chaos) to_server: LinkFlow,
    /// What happens to what the server sends.
    pub(in crate::chaos) to_worker: LinkFlow,
}

/// A proxy in front of one address. Dropping it closes every connection.
#[derive(Debug)]
pub(in crate::chaos) struct LinkProxy {
    address: SocketAddr,
    fault: watch::Sender<LinkFault>,
    task: JoinHandle<()>,
}

/// The direction that a task carries.
#[derive(Clone, Copy)]
enum LinkDirection {
    ToServer,
    ToWorker,
}

impl LinkFault {
    fn flow(&self, direction: LinkDirection) -> LinkFlow {
        match direction {
            LinkDirection::ToServer => self.to_server,
            LinkDirection::ToWorker => self.to_worker,
        }
    }
}

impl LinkProxy {
    /// Starts a proxy in front of a server.
    ///
    /// # Errors
    /// When no port is free.
    pub(in crate::chaos) async fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (fault, watched) = watch::channel(LinkFault::default());
        let task = tokio::spawn(accept_connections(listener, server, watched));
        Ok(Self { address, fault, task })
    }

    /// Returns the address that the worker connects to.
    pub(in crate::chaos) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a fault in force, for open and for new connections. The default lets everything pass again; a direction that was
    /// closed stays so for its connection.
    pub(in crate::chaos) fn set(&self, fault: LinkFault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for LinkProxy {
    fn drop(&mut self) {
        // The tasks of the connections belong to this one.
        self.task.abort();
    }
}

async fn accept_connections(listener: TcpListener, server: SocketAddr, fault: watch::Receiver<LinkFault>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if !fault.borrow().is_cut {
            connections.spawn(carry(client, server, fault.clone()));
        }
    }
}

/// Carries one connection until both ends are done with it or it is cut.
async fn carry(client: TcpStream, server: SocketAddr, fault: watch::Receiver<LinkFault>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    // Without it a proxy only adds delay.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both = async {
        tokio::join!(
            carry_direction(from_client, to_server, LinkDirection::ToServer, fault.clone()),
            carry_direction(from_server, to_client, LinkDirection::ToWorker, fault.clone()),
        )
    };
    let mut cut = fault.clone();
    tokio::select! {
        _ = both => {}
        _ = cut.wait_for(|fault| fault.is_cut) => {}
    }
}

/// Carries one direction. Each piece has the moment at which it is due, so that a delay does not limit the throughput.
async fn carry_direction(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    direction: LinkDirection,
    fault: watch::Receiver<LinkFault>,
) {
    let (sender, pieces) = mpsc::channel(MAX_PIECES_IN_FLIGHT);
    tokio::join!(
        read_pieces(from, sender, fault.clone()),
        deliver_pieces(to, pieces, direction, fault)
    );
}

async fn read_pieces(
    mut from: OwnedReadHalf,
    pieces: mpsc::Sender<(Instant, Vec<u8>)>,
    fault: watch::Receiver<LinkFault>,
) {
    let mut buffer = vec![0; MAX_PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let due_at = Instant::now() + fault.borrow().delay;
        let piece = buffer.get(..length).unwrap_or_default().to_vec();
        if pieces.send((due_at, piece)).await.is_err() {
            return;
        }
    }
}

async fn deliver_pieces(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    direction: LinkDirection,
    mut fault: watch::Receiver<LinkFault>,
) {
    let mut closing = fault.clone();
    loop {
        let piece = tokio::select! {
            biased;
            _ = closing.wait_for(|fault| fault.flow(direction) == LinkFlow::Closed) => break,
            piece = pieces.recv() => piece,
        };
        let Some((due_at, bytes)) = piece else { break };
        sleep_until(due_at).await;
        let flow = fault.wait_for(|fault| fault.flow(direction) != LinkFlow::Stalls).await;
        let passes = flow.is_ok_and(|fault| fault.flow(direction) == LinkFlow::Passes);
        if !passes || to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    // The receiver reads an end of file. What the sender still sends is read and lost.
    let _ = to.shutdown().await;
    while pieces.recv().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A server that returns every byte.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    let _ = tokio::io::copy(&mut reads, &mut writes).await;
                });
            }
        });
        address
    }

    async fn exchange(stream: &mut TcpStream) -> std::io::Result<usize> {
        stream.write_all(b"x").await?;
        let mut byte = [0];
        stream.read(&mut byte).await
    }

    #[tokio::test]
    async fn faults_meet_open_and_new_connections() {
        let proxy = LinkProxy::start(echo().await).await.unwrap();
        let connect = || TcpStream::connect(proxy.address());
        let mut stream = connect().await.unwrap();
        assert_eq!(exchange(&mut stream).await.unwrap(), 1);

        proxy.set(LinkFault {
            to_worker: LinkFlow::Stalls,
            ..LinkFault::default()
        });
        stream.write_all(b"x").await.unwrap();
        let mut byte = [0];
        assert!(
            timeout(Duration::from_millis(50), stream.read(&mut byte))
                .await
                .is_err()
        );
        proxy.set(LinkFault::default());
        assert_eq!(timeout(LIMIT, stream.read(&mut byte)).await.unwrap().unwrap(), 1);

        proxy.set(LinkFault {
            to_worker: LinkFlow::Closed,
            ..LinkFault::default()
        });
        assert_eq!(timeout(LIMIT, stream.read(&mut byte)).await.unwrap().unwrap(), 0);
        proxy.set(LinkFault::default());

        let mut stream = connect().await.unwrap();
        assert_eq!(exchange(&mut stream).await.unwrap(), 1);
        proxy.set(LinkFault {
            is_cut: true,
            ..LinkFault::default()
        });
        assert!(!matches!(timeout(LIMIT, exchange(&mut stream)).await.unwrap(), Ok(1)));
        let refused = timeout(LIMIT, async { exchange(&mut connect().await?).await });
        assert!(!matches!(refused.await.unwrap(), Ok(1)));

        proxy.set(LinkFault {
            delay: Duration::from_millis(60),
            ..LinkFault::default()
        });
        let mut stream = connect().await.unwrap();
        let begin = Instant::now();
        assert_eq!(exchange(&mut stream).await.unwrap(), 1);
        assert!(begin.elapsed() >= Duration::from_millis(60));
    }
}
