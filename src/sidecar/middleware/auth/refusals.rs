//! Callers without a valid key: unknown keys are counted per peer, so that guessing them is slow, and no refusal fills the
//! log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{Fault, FaultCode};
use crate::http::{Peer, peer_network};
use crate::repeated_log::IntervalLog;
use crate::sidecar::middleware::auth::key_ring::UNKNOWN_KEY;

/// The period in which the unknown keys of a peer are counted.
const PERIOD: Duration = Duration::from_secs(1);
/// The unknown keys of one peer in a period that are answered with the reason; further ones get `rate_limited`.
const MAX_UNKNOWN_KEYS_IN_PERIOD: u32 = 100;
/// The maximum number of peers that are counted; further ones share one count.
const MAX_PEERS: usize = 4_096;

/// The callers that were refused lately.
#[derive(Debug, Default)]
pub(in crate::sidecar) struct RefusedCallers {
    peers: Mutex<HashMap<Option<IpAddr>, PeerRefusals>>,
}

#[derive(Debug)]
struct PeerRefusals {
    period_start: Instant,
    count: u32,
    log: IntervalLog,
}

impl RefusedCallers {
    /// Counts a request without a valid key, logs it if a line is due, and returns its fault: `unauthenticated`, or
    /// `rate_limited` for a peer that sends too many.
    pub(super) fn refuse(&self, peer: Option<Peer>, reason: &'static str) -> Fault {
        self.refuse_at(Instant::now(), peer, reason)
    }

    fn refuse_at(&self, now: Instant, peer: Option<Peer>, reason: &'static str) -> Fault {
        let network = peer.map(|peer| peer_network(peer.0.ip()));
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&network) {
            peers.retain(|_, refusals| now.duration_since(refusals.period_start) < PERIOD);
        }
        let network = network.filter(|_| peers.len() < MAX_PEERS || peers.contains_key(&network));
        let refusals = peers.entry(network).or_insert_with(|| PeerRefusals {
            period_start: now,
            count: 0,
            log: IntervalLog::default(),
        });
        if now.duration_since(refusals.period_start) >= PERIOD {
            (refusals.period_start, refusals.count) = (now, 0);
        }
        if reason == UNKNOWN_KEY {
            refusals.count = refusals.count.saturating_add(1);
        }
        if let Some(refused) = refusals.log.count() {
            tracing::warn!(?network, refused, reason, "requests are refused: no valid API key");
        }
        if reason != UNKNOWN_KEY || refusals.count <= MAX_UNKNOWN_KEYS_IN_PERIOD {
            return Fault::new(FaultCode::Unauthenticated, reason);
        }
        let detail = format!(
            "more than {MAX_UNKNOWN_KEYS_IN_PERIOD} requests with an unknown API key came from this address within a second"
        );
        Fault::new(FaultCode::RateLimited, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> Option<Peer> {
        let [_, second, third, fourth] = number.to_be_bytes();
        Some(Peer(([10, second, third, fourth], 1).into()))
    }

    #[test]
    fn peer_with_many_unknown_keys_is_limited_and_others_are_not() {
        let (callers, start) = (RefusedCallers::default(), Instant::now());
        let code = |now, number| callers.refuse_at(now, peer(number), UNKNOWN_KEY).code;
        for _ in 0..MAX_UNKNOWN_KEYS_IN_PERIOD {
            assert_eq!(code(start, 1), FaultCode::Unauthenticated);
        }
        assert_eq!(code(start, 1), FaultCode::RateLimited);
        assert_eq!(code(start, 2), FaultCode::Unauthenticated);
        let missing = callers.refuse_at(start, peer(1), "missing API key").code;
        assert_eq!(missing, FaultCode::Unauthenticated);
        assert_eq!(code(start + PERIOD, 1), FaultCode::Unauthenticated);
    }

    #[test]
    fn number_of_counted_peers_is_bounded() {
        let (callers, start) = (RefusedCallers::default(), Instant::now());
        for number in 0..2 * u32::try_from(MAX_PEERS).unwrap() {
            callers.refuse_at(start, peer(number), UNKNOWN_KEY);
        }
        assert!(callers.peers.lock().unwrap().len() <= MAX_PEERS + 1);
        let fault = callers.refuse_at(start, peer(u32::MAX), UNKNOWN_KEY);
        assert_eq!(
            fault.code,
            FaultCode::RateLimited,
            "peers beyond the bound share a count"
        );
        callers.refuse_at(start + PERIOD, peer(u32::MAX), UNKNOWN_KEY);
        assert_eq!(callers.peers.lock().unwrap().len(), 1);
    }
}
