//! The schedule of faults: which one comes when, and how severe it is. It follows from the seed alone.

use std::collections::VecDeque;
use std::time::Duration;

use crate::chaos::random::SeededDraws;

/// The stream of the seed's numbers that the schedule draws from.
const STREAM: u64 = 1;
/// The time between two faults, in milliseconds.
const PAUSE_MS: (u64, u64) = (100, 900);
/// The same where orders are live: after a fault, they wait until the venue has been asked for what happened meanwhile.
const LIVE_PAUSE_MS: (u64, u64) = (500, 6_000);
/// In this share of the faults, in percent, the next one comes before a restarted process is ready.
const OVERLAP_PERCENT: u64 = 30;

macro_rules! fault_kinds {
    ($($(#[$doc:meta])* $kind:ident = $text:literal, $weight:literal, $least:literal..$most:literal;)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        #[value(rename_all = "snake_case")]
        pub enum FaultKind { $($(#[$doc])* $kind),+ }

        impl FaultKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Returns the kind's word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $text),+ }
            }

            /// How often it comes, relative to the others.
            fn weight(self) -> u64 {
                match self { $(Self::$kind => $weight),+ }
            }

            /// How long it lasts, in milliseconds.
            fn duration_ms(self) -> (u64, u64) {
                match self { $(Self::$kind => ($least, $most)),+ }
            }
        }
    };
}

fault_kinds! {
    /// SIGKILL of a worker, and its restart.
    WorkerKilled = "worker_killed", 6, 0..1500;
    /// SIGKILL of the local exchange, and its restart on the same data.
    VenueKilled = "venue_killed", 3, 0..2500;
    /// SIGSTOP of a worker past its lease, then SIGCONT.
    WorkerPaused = "worker_paused", 4, 1200..4000;
    /// SIGTERM of a worker, and its restart after the drain.
    WorkerDrained = "worker_drained", 2, 0..500;
    /// SIGKILL of the sidecar, and its restart.
    SidecarKilled = "sidecar_killed", 2, 0..1000;
    /// SIGKILL of NATS, and its restart on the same store.
    NatsKilled = "nats_killed", 3, 0..1500;
    /// SIGKILL of Redis, and its restart from its append-only file.
    RedisKilled = "redis_killed", 3, 0..1500;
    /// SIGKILL of Redis, and its restart from an append-only file that has lost its end at any byte.
    RedisTailLost = "redis_tail_lost", 3, 0..500;
    /// `FLUSHALL`.
    RedisFlushed = "redis_flushed", 2, 0..200;
    /// SIGSTOP of Redis, then SIGCONT.
    RedisPaused = "redis_paused", 1, 300..2500;
    /// Every connection between a worker and a server is closed, and new ones are refused.
    LinkCut = "link_cut", 3, 100..3000;
    /// Everything between a worker and a server arrives late.
    LinkDelayed = "link_delayed", 2, 500..3000;
    /// One direction between a worker and a server is closed.
    LinkHalfClosed = "link_half_closed", 3, 300..3000;
    /// Nothing between a worker and a server arrives until the end of the fault.
    LinkStalled = "link_stalled", 3, 300..3000;
    /// SIGKILL of the sidecar, and its restart without its order log.
    OrderLogDeleted = "order_log_deleted", 1, 0..500;
    /// With a cluster: a failover of Redis to its replica, which is often behind.
    RedisFailover = "redis_failover", 3, 0..1500;
    /// With a cluster: SIGKILL of a node of NATS, mostly of the one that leads the journal, and its restart.
    NatsNodeKilled = "nats_node_killed", 3, 0..6000;
    /// A server, or the sidecar, cannot write another byte to its files.
    DiskFull = "disk_full", 2, 500..3000;
    /// Other limits and lots come into force, and a worker restarts with them.
    SettingsChanged = "settings_changed", 2, 0..300;
    /// SIGKILL of Redis, and its restart from the append-only file of a second before.
    RedisPutBack = "redis_put_back", 2, 0..500;
}

/// The server at the other end of a worker's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum LinkEnd {
    /// NATS.
    Nats,
    /// Redis.
    Redis,
    /// The local exchange.
    Venue,
}

/// What there is for faults to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::chaos) struct FaultPlaces {
    /// The local exchange.
    pub(in crate::chaos) has_venue: bool,
    /// A cluster of NATS, and Sentinels.
    pub(in crate::chaos) is_cluster: bool,
    /// The program that limits the files of a process.
    pub(in crate::chaos) has_prlimit: bool,
}

impl FaultKind {
    /// Reports whether a run has what this kind meets.
    pub(in crate::chaos) fn has_place(self, places: FaultPlaces) -> bool {
        match self {
            Self::VenueKilled => places.has_venue,
            Self::RedisFailover | Self::NatsNodeKilled => places.is_cluster,
            // One node of a cluster is killed at a time.
            Self::NatsKilled => !places.is_cluster,
            Self::DiskFull => places.has_prlimit && !places.is_cluster,
            _ => true,
        }
    }
}

/// One fault of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) struct ScheduledFault {
    /// The time between the end of the fault before and this one.
    pub(in crate::chaos) pause: Duration,
    /// Its kind.
    pub(in crate::chaos) kind: FaultKind,
    /// How long it lasts.
    pub(in crate::chaos) duration: Duration,
    /// A number that chooses the worker it meets.
    pub(in crate::chaos) worker: u64,
    /// The server whose connection it meets, for a fault of a connection.
    pub(in crate::chaos) link: LinkEnd,
    /// A number that chooses the details: a direction, a delay, the byte at which a file is cut.
    pub(in crate::chaos) detail: u64,
    /// Whether the next fault waits until the processes that this one restarts are ready.
    pub(in crate::chaos) awaits_recovery: bool,
}

/// The faults of a seed, without end.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct FaultSchedule {
    draws: SeededDraws,
    kinds: Vec<FaultKind>,
    ends: Vec<LinkEnd>,
    pause_ms: (u64, u64),
    /// What has to come, in this order, as every other fault.
    due: VecDeque<FaultKind>,
    is_due_next: bool,
}

impl FaultSchedule {
    /// Returns the schedule of a seed with faults of these kinds; of all kinds where none is named. A fault comes only where
    /// there is something for it to meet.
    pub(in crate::chaos) fn new(seed: u64, kinds: &[FaultKind], places: FaultPlaces) -> Self {
        let kinds = if kinds.is_empty() { FaultKind::ALL } else { kinds };
        let is_met = |kind: &&FaultKind| kind.has_place(places);
        let mut ends = vec![LinkEnd::Nats];
        ends.extend((!places.is_cluster).then_some(LinkEnd::Redis));
        ends.extend(places.has_venue.then_some(LinkEnd::Venue));
        Self {
            draws: SeededDraws::new(seed, STREAM),
            kinds: kinds.iter().filter(is_met).copied().collect(),
            ends,
            pause_ms: if places.has_venue { LIVE_PAUSE_MS } else { PAUSE_MS },
            due: VecDeque::new(),
            is_due_next: true,
        }
    }

    /// Returns the schedule with at least so many faults of these kinds: until they have come, every other fault is one of
    /// them, in turn.
    pub(in crate::chaos) fn with_at_least(mut self, counts: &[(FaultKind, u64)]) -> Self {
        let rounds = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        for round in 0..rounds {
            let still = counts.iter().filter(|(_, count)| round < *count);
            self.due.extend(still.map(|(kind, _)| *kind));
        }
        self
    }

    /// Returns the next kind: a due one in every other place. The others stay those of the seed.
    fn next_kind(&mut self) -> FaultKind {
        let drawn = self.draw_kind();
        let due = if self.is_due_next { self.due.pop_front() } else { None };
        self.is_due_next = !self.is_due_next;
        due.unwrap_or(drawn)
    }

    fn draw_kind(&mut self) -> FaultKind {
        let total: u64 = self.kinds.iter().map(|kind| kind.weight()).sum();
        let mut at = self.draws.below(total);
        for kind in &self.kinds {
            match at.checked_sub(kind.weight()) {
                Some(left) => at = left,
                None => return *kind,
            }
        }
        FaultKind::WorkerKilled
    }

    /// Returns the next fault.
    pub(in crate::chaos) fn next_fault(&mut self) -> ScheduledFault {
        let kind = self.next_kind();
        let draws = &mut self.draws;
        let (least, most) = kind.duration_ms();
        ScheduledFault {
            pause: Duration::from_millis(draws.between(self.pause_ms.0, self.pause_ms.1)),
            kind,
            duration: Duration::from_millis(draws.between(least, most)),
            worker: draws.draw(),
            link: draws.pick(&self.ends).copied().unwrap_or(LinkEnd::Nats),
            detail: draws.draw(),
            awaits_recovery: !draws.in_percent(OVERLAP_PERCENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: FaultPlaces = FaultPlaces {
        has_venue: true,
        is_cluster: false,
        has_prlimit: true,
    };
    const CLUSTER: FaultPlaces = FaultPlaces {
        has_venue: false,
        is_cluster: true,
        has_prlimit: true,
    };

    fn faults(seed: u64, kinds: &[FaultKind], places: FaultPlaces) -> Vec<ScheduledFault> {
        let mut schedule = FaultSchedule::new(seed, kinds, places);
        (0..500).map(|_| schedule.next_fault()).collect()
    }

    #[test]
    fn seed_replays_its_schedule_with_every_kind() {
        for places in [ALONE, CLUSTER] {
            assert_eq!(faults(7, &[], places), faults(7, &[], places));
            assert_ne!(faults(7, &[], places), faults(8, &[], places));
            for kind in FaultKind::ALL {
                let is_drawn = faults(7, &[], places).iter().any(|fault| fault.kind == *kind);
                assert_eq!(is_drawn, kind.has_place(places), "{kind:?}");
            }
        }
    }

    #[test]
    fn kinds_that_have_to_come_are_every_other_fault_until_they_have() {
        let counts = [(FaultKind::WorkerKilled, 3), (FaultKind::RedisPutBack, 1)];
        let mut schedule = FaultSchedule::new(7, &[FaultKind::LinkCut], ALONE).with_at_least(&counts);
        let kinds: Vec<FaultKind> = (0..10).map(|_| schedule.next_fault().kind).collect();
        let (killed, put_back, cut) = (FaultKind::WorkerKilled, FaultKind::RedisPutBack, FaultKind::LinkCut);
        assert_eq!(kinds, [killed, cut, put_back, cut, killed, cut, killed, cut, cut, cut]);
    }

    #[test]
    fn named_kinds_are_the_only_ones() {
        let kinds = [FaultKind::LinkCut, FaultKind::RedisFlushed];
        assert!(faults(7, &kinds, ALONE).iter().all(|fault| kinds.contains(&fault.kind)));
        let bare = faults(7, &[], FaultPlaces::default());
        assert!(!bare.iter().any(|fault| fault.link == LinkEnd::Venue));
        let in_cluster = faults(7, &[], CLUSTER);
        assert!(!in_cluster.iter().any(|fault| fault.link == LinkEnd::Redis));
    }
}
