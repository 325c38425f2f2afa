//! The places of a server's connections: a share for callers that the server does not know yet, with a cap for each peer,
//! and a reserved share in which a silent connection makes room for the next one.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The part of an IPv6 address that names a network: one host may use every address in it.
const IPV6_NETWORK_MASK: u128 = u128::MAX << 64;

/// How many connections a server has places for.
#[derive(Debug, Clone, Copy)]
pub struct PlaceLimits {
    /// The maximum number of open connections.
    pub max_connections: usize,
    /// The maximum number of places that unidentified callers may hold; the other places are the reserved share.
    pub max_unidentified: usize,
    /// The maximum number of those places that one peer may hold.
    pub max_unidentified_per_peer: usize,
}

/// The places of one server; clones share them.
#[derive(Debug, Clone)]
pub(super) struct ConnectionPlaces {
    limits: PlaceLimits,
    places: Arc<Mutex<PlacesTaken>>,
}

/// The places that are taken. Each map has at most one entry for each connection.
#[derive(Debug, Default)]
struct PlacesTaken {
    total: usize,
    unidentified: usize,
    unidentified_by_peer: HashMap<IpAddr, usize>,
    /// The connections of the reserved share without a complete request, the oldest first.
    silent: BTreeMap<u64, SilentConnection>,
    next_id: u64,
}

#[derive(Debug)]
struct SilentConnection {
    peer: IpAddr,
    evicted: CancellationToken,
}

/// The kind of a connection's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceKind {
    /// A place of the share for unidentified callers.
    Unidentified,
    /// A place of the reserved share whose caller is not identified; the id is that of its silence.
    Reserved(u64),
    /// A place of an identified caller.
    Identified,
}

/// The place of one connection, released when it is dropped. Every request of the connection has it as an extension.
#[derive(Debug, Clone)]
pub struct ConnectionPlace(Arc<HeldPlace>);

#[derive(Debug)]
struct HeldPlace {
    places: ConnectionPlaces,
    peer: IpAddr,
    kind: Mutex<PlaceKind>,
    evicted: CancellationToken,
}

impl ConnectionPlaces {
    pub(super) fn new(limits: PlaceLimits) -> Self {
        Self {
            limits,
            places: Arc::default(),
        }
    }

    /// Takes a place for a new connection. With every place taken, the oldest silent connection of the reserved share
    /// makes room: that of the peer with the most of them, so that no peer displaces another one. Returns `None` if no
    /// connection can make room.
    pub(super) fn take(&self, peer: SocketAddr) -> Option<ConnectionPlace> {
        let peer = peer_network(peer.ip());
        let mut taken = lock(&self.places);
        let of_peer = taken.unidentified_by_peer.get(&peer).copied().unwrap_or_default();
        let is_ordinary =
            taken.unidentified < self.limits.max_unidentified && of_peer < self.limits.max_unidentified_per_peer;
        if taken.total >= self.limits.max_connections {
            taken.evict_one()?;
        }
        taken.total += 1;
        let evicted = CancellationToken::new();
        let kind = if is_ordinary {
            taken.unidentified += 1;
            *taken.unidentified_by_peer.entry(peer).or_default() += 1;
            PlaceKind::Unidentified
        } else {
            let id = taken.next_id;
            taken.next_id += 1;
            let evicted = evicted.clone();
            taken.silent.insert(id, SilentConnection { peer, evicted });
            PlaceKind::Reserved(id)
        };
        drop(taken);
        Some(ConnectionPlace(Arc::new(HeldPlace {
            places: self.clone(),
            peer,
            kind: Mutex::new(kind),
            evicted,
        })))
    }
}

impl PlacesTaken {
    /// Asks the oldest silent connection of the peer with the most of them to close. Its place counts as free at once.
    fn evict_one(&mut self) -> Option<()> {
        let mut by_peer: HashMap<IpAddr, usize> = HashMap::new();
        for silent in self.silent.values() {
            *by_peer.entry(silent.peer).or_default() += 1;
        }
        let most = by_peer.values().copied().max()?;
        let oldest = self.silent.iter().find(|(_, silent)| by_peer[&silent.peer] == most);
        let id = oldest.map(|(&id, _)| id)?;
        self.silent.remove(&id)?.evicted.cancel();
        self.total -= 1;
        Some(())
    }

    fn release_unidentified(&mut self, peer: IpAddr) {
        self.unidentified -= 1;
        if let Some(count) = self.unidentified_by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.unidentified_by_peer.remove(&peer);
            }
        }
    }
}

impl ConnectionPlace {
    /// Records that the caller is known: its connection no longer counts among the unidentified ones, and keeps its place
    /// between requests.
    pub fn identify(&self) {
        let mut kind = lock(&self.0.kind);
        match *kind {
            PlaceKind::Unidentified => lock(&self.0.places.places).release_unidentified(self.0.peer),
            PlaceKind::Reserved(_) | PlaceKind::Identified => {}
        }
        *kind = PlaceKind::Identified;
    }

    /// Reports whether the place is of the reserved share and its caller is not identified.
    pub fn is_reserved(&self) -> bool {
        matches!(*lock(&self.0.kind), PlaceKind::Reserved(_))
    }

    /// Records that a request is complete: from now on the connection makes no room for another one. Reports whether it
    /// still has its place.
    pub(super) fn begin_request(&self) -> bool {
        if let PlaceKind::Reserved(id) = *lock(&self.0.kind) {
            lock(&self.0.places.places).silent.remove(&id);
        }
        !self.0.evicted.is_cancelled()
    }

    /// Returns once the connection has to make room.
    pub(super) async fn wait_until_evicted(&self) {
        self.0.evicted.cancelled().await;
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        let kind = *self.kind.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut taken = lock(&self.places.places);
        match kind {
            PlaceKind::Unidentified => taken.release_unidentified(self.peer),
            PlaceKind::Reserved(id) => {
                taken.silent.remove(&id);
            }
            PlaceKind::Identified => {}
        }
        // The place of an evicted connection has been released already.
        if !self.evicted.is_cancelled() {
            taken.total -= 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the address by which the connections of one host are counted: an IPv4 address, or the first half of an IPv6
/// address.
pub fn peer_network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & IPV6_NETWORK_MASK).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max_connections: usize, max_unidentified: usize, max_unidentified_per_peer: usize) -> ConnectionPlaces {
        ConnectionPlaces::new(PlaceLimits {
            max_connections,
            max_unidentified,
            max_unidentified_per_peer,
        })
    }

    fn peer(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 1).into()
    }

    fn is_evicted(place: &ConnectionPlace) -> bool {
        place.0.evicted.is_cancelled()
    }

    #[test]
    fn peer_beyond_its_cap_gets_reserved_places_and_makes_room_for_others() {
        let places = places(6, 4, 2);
        let flood: Vec<ConnectionPlace> = (0..5).map(|_| places.take(peer(1)).unwrap()).collect();
        let reserved: Vec<bool> = flood.iter().map(ConnectionPlace::is_reserved).collect();
        assert_eq!(reserved, [false, false, true, true, true]);
        let other = places.take(peer(2)).unwrap();
        assert!(!other.is_reserved());
        // Every place is taken: the flooding peer's oldest silent connections go, also for its own new ones.
        let (third, fourth) = (places.take(peer(3)).unwrap(), places.take(peer(1)).unwrap());
        let gone: Vec<bool> = flood.iter().map(is_evicted).collect();
        assert_eq!(gone, [false, false, true, true, false]);
        assert!(!third.is_reserved() && fourth.is_reserved());
        assert!(!is_evicted(&other) && !is_evicted(&third));
    }

    #[test]
    fn connection_with_a_request_keeps_its_place_and_a_full_server_refuses() {
        let places = places(2, 0, 0);
        let (first, second) = (places.take(peer(1)).unwrap(), places.take(peer(1)).unwrap());
        assert!(first.begin_request() && second.begin_request());
        assert!(places.take(peer(2)).is_none());
        first.identify();
        assert!(!first.is_reserved() && second.is_reserved());
        drop(second);
        let third = places.take(peer(2)).unwrap();
        let fourth = places.take(peer(2)).unwrap();
        assert!(is_evicted(&third) && !third.begin_request());
        drop((first, third, fourth));
        assert_eq!(lock(&places.places).total, 0);
    }

    #[test]
    fn identified_callers_leave_the_share_of_the_unidentified() {
        let places = places(10, 1, 1);
        let known = places.take(peer(1)).unwrap();
        known.identify();
        let next = places.take(peer(1)).unwrap();
        assert!(!next.is_reserved());
        assert!(places.take(peer(2)).unwrap().is_reserved());
        drop((known, next));
        let taken = lock(&places.places);
        assert_eq!((taken.total, taken.unidentified), (0, 0));
        assert!(taken.unidentified_by_peer.is_empty() && taken.silent.is_empty());
    }

    #[test]
    fn hosts_are_counted_by_network() {
        let network = |text: &str| peer_network(text.parse().unwrap()).to_string();
        assert_eq!(network("10.1.2.3"), "10.1.2.3");
        assert_eq!(network("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
