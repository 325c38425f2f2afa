//! What a run is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use crate::chaos::child::BoundCommand;
use crate::chaos::schedule::{FaultKind, FaultPlaces};
use crate::domain::order_terms::Mode;

/// Where the orders of a run take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChaosBroker {
    /// At the paper venues of both brokers.
    Paper,
    /// At a local exchange, by the live adapter of Binance Spot.
    LiveVenue,
}

/// What a run is asked to do.
#[derive(Clone)]
pub struct ChaosOptions {
    /// The seed of the faults and of the intents.
    pub seed: u64,
    /// Where the orders take effect.
    pub broker: ChaosBroker,
    /// How long intents are sent and faults are injected.
    pub duration: Duration,
    /// The most intents; the run ends early once it has sent them.
    pub max_intents: u64,
    /// How many intents are in flight at a time.
    pub lanes: u16,
    /// How many worker processes run.
    pub workers: u16,
    /// Whether NATS is a cluster of three, and Redis a primary with a replica and three Sentinels.
    pub is_cluster: bool,
    /// The kinds of faults; all where none is named.
    pub kinds: Vec<FaultKind>,
    /// The share of the local exchange's requests and events that its faults meet at least, over every kind, in percent;
    /// `None` for the faults of every run. Without a local exchange it has no effect.
    pub venue_fault_percent: Option<u8>,
    /// What the run has at least: it has a violation otherwise.
    pub at_least: LeastCounts,
    /// The directory of everything that the run writes. It must be empty.
    pub directory: PathBuf,
    /// The programs that the run starts.
    pub programs: ChaosPrograms,
}

/// What a run has at least.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeastCounts {
    /// Orders on the journal.
    pub orders: u64,
    /// Faults of these kinds: the schedule makes room for them.
    pub faults: Vec<(FaultKind, u64)>,
}

/// The programs that a run starts, and how.
#[derive(Clone)]
pub struct ChaosPrograms {
    /// `order-router`.
    pub router: PathBuf,
    /// `nats-server`.
    pub nats: PathBuf,
    /// `redis-server`.
    pub redis: PathBuf,
    /// `prlimit` of util-linux, for the fault of a full disk; `None` where it is not installed.
    pub prlimit: Option<PathBuf>,
    /// Returns the command of a program that exits with this process. It is called on the thread that polls the run.
    pub command: BoundCommand,
}

impl ChaosOptions {
    /// Returns what there is for faults to meet.
    pub(in crate::chaos) fn fault_places(&self) -> FaultPlaces {
        FaultPlaces {
            has_venue: self.broker == ChaosBroker::LiveVenue,
            is_cluster: self.is_cluster,
            has_prlimit: self.programs.prlimit.is_some(),
        }
    }

    /// Returns a kind of fault that is asked for and cannot be injected into this run.
    pub fn unavailable_kind(&self) -> Option<FaultKind> {
        let places = self.fault_places();
        let kinds = self
            .kinds
            .iter()
            .chain(self.at_least.faults.iter().map(|(kind, _)| kind));
        kinds.copied().find(|kind| !kind.has_place(places))
    }
}

impl ChaosBroker {
    /// Returns the mode of the orders.
    pub(in crate::chaos) fn mode(self) -> Mode {
        match self {
            Self::Paper => Mode::Paper,
            Self::LiveVenue => Mode::Live,
        }
    }
}
