//! What the callers of a run saw: every call of every intent and its answer.

use sha2::{Digest, Sha256};

use crate::domain::order_terms::OrderStatus;
use crate::domain::time::Timestamp;
use crate::fault::FaultCode;
use crate::wire::report::ExecutionReport;
use crate::wire::reported_replace::ReportedReplace;

/// The first bytes of the hash of a report's JSON.
pub(in crate::chaos) type ReportHash = [u8; 16];

/// The door that a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum ChaosDoor {
    /// The request door.
    Request,
    /// The durable door.
    Durable,
    /// REST.
    Rest,
}

/// What a call asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum CallKind {
    /// The intent.
    Submit,
    /// Other content under the intent's id.
    Conflict,
    /// The order's cancel.
    Cancel,
    /// The replace at this place among those that the caller plans.
    Replace(usize),
}

/// A report as a caller got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) struct AnsweredReport {
    /// The order's id; empty in a receipt of an order without one.
    pub(in crate::chaos) order_id: String,
    /// The version; 0 for a receipt.
    pub(in crate::chaos) version: u32,
    /// The status.
    pub(in crate::chaos) status: OrderStatus,
    /// The hash of its JSON.
    pub(in crate::chaos) hash: ReportHash,
    /// The hash of its JSON without the replace: a reply to a repeated replace is about that one.
    pub(in crate::chaos) hash_without_replace: ReportHash,
    /// What it says of a replace.
    pub(in crate::chaos) replace: Option<Box<ReportedReplace>>,
    /// The sequence of its journal entry, where the answer names it.
    pub(in crate::chaos) journal_sequence: Option<u64>,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) enum CallAnswer {
    /// A report or a receipt.
    Report(AnsweredReport),
    /// A problem.
    Problem {
        /// Its status.
        status: u16,
        /// Its code; `None` for one that this version does not know.
        code: Option<FaultCode>,
    },
    /// None in time: the outcome of the call is unknown.
    Nothing,
}

/// A call and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) struct CallRecord {
    /// What it asked for.
    pub(in crate::chaos) kind: CallKind,
    /// The door.
    pub(in crate::chaos) door: ChaosDoor,
    /// When it was made.
    pub(in crate::chaos) made_at: Timestamp,
    /// The deadline that it carried.
    pub(in crate::chaos) deadline: Timestamp,
    /// The answer.
    pub(in crate::chaos) answer: CallAnswer,
    /// When the answer arrived, or was no longer awaited.
    pub(in crate::chaos) answered_at: Timestamp,
}

/// The calls of one intent, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) struct IntentHistory {
    /// The intent's number.
    pub(in crate::chaos) number: u64,
    /// The calls.
    pub(in crate::chaos) calls: Vec<CallRecord>,
}

/// How an intent ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::chaos) enum IntentOutcome {
    /// With a report.
    Reported,
    /// Denied by a risk rule; the id is used up.
    Denied,
    /// Refused; the id is free.
    Refused,
    /// Every call that was answered got a 5xx, or 429, and none was left without an answer.
    NothingSent,
    /// Without an answer that says what became of it.
    Unknown,
}

impl IntentOutcome {
    /// Returns the outcome's word.
    pub(in crate::chaos) fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::NothingSent => "nothing_sent",
            Self::Unknown => "unknown",
        }
    }
}

impl CallAnswer {
    /// Returns the answer that a report's JSON is; `None` where it is no report.
    pub(in crate::chaos) fn of_report(body: &[u8], journal_sequence: Option<u64>) -> Option<Self> {
        let report = ExecutionReport::decode(body).ok()?;
        Some(Self::Report(AnsweredReport {
            hash: report_hash(&report),
            hash_without_replace: hash_without_replace(&report),
            replace: report.replace,
            order_id: report.order_id,
            version: report.version,
            status: report.status,
            journal_sequence,
        }))
    }

    /// Reports whether the caller of an intent has its outcome: a journaled report, or a problem that no retry changes.
    pub(in crate::chaos) fn is_final(&self) -> bool {
        match self {
            Self::Report(report) => report.version > 0,
            // Each call has a deadline of its own, and a queue that recovers has no responders.
            Self::Problem {
                code: Some(FaultCode::IntentExpired | FaultCode::UnknownBroker),
                ..
            } => false,
            Self::Problem { status, .. } => *status < 500 && *status != 429,
            Self::Nothing => false,
        }
    }

    /// Reports whether the caller of a replace has its outcome: a journaled one that is closed, or a problem that no retry
    /// changes.
    pub(in crate::chaos) fn is_final_of_replace(&self) -> bool {
        match self {
            Self::Report(report) => {
                let replace = report.replace.as_ref();
                report.version > 0 && replace.is_some_and(|replace| !replace.state.is_open())
            }
            // The order's own report is out, and a worker that has not read it yet says so.
            Self::Problem {
                code: Some(FaultCode::ReplaceInFlight),
                ..
            } => false,
            Self::Problem { .. } | Self::Nothing => self.is_final(),
        }
    }

    /// Reports whether this is a risk rule's denial, which uses up the id.
    pub(in crate::chaos) fn is_denial(&self) -> bool {
        let Self::Problem { code: Some(code), .. } = self else {
            return false;
        };
        matches!(
            code,
            FaultCode::OrderSizeExceeded
                | FaultCode::RiskLocked
                | FaultCode::DailyNotionalExceeded
                | FaultCode::DailyLossExceeded
                | FaultCode::ReduceOnly
                | FaultCode::TradingHalted
        )
    }

    /// Reports whether the call certainly sent nothing: a refusal, a 429 or a 5xx.
    pub(in crate::chaos) fn sent_nothing(&self) -> bool {
        matches!(self, Self::Problem { .. })
    }
}

impl IntentHistory {
    /// Returns the answers to the calls that sent the intent itself.
    pub(in crate::chaos) fn submissions(&self) -> impl Iterator<Item = &CallRecord> {
        self.calls.iter().filter(|call| call.kind == CallKind::Submit)
    }

    /// Reports whether an order may be accepted at a moment: within the time of one of its calls.
    pub(in crate::chaos) fn covers(&self, moment: Timestamp) -> bool {
        self.submissions()
            .any(|call| call.made_at <= moment && moment <= call.deadline)
    }

    /// Returns every report of its answers with the kind of its call, receipts left out.
    pub(in crate::chaos) fn reports(&self) -> impl Iterator<Item = (CallKind, &AnsweredReport)> {
        self.calls.iter().filter_map(|call| match &call.answer {
            CallAnswer::Report(report) if report.version > 0 => Some((call.kind, report)),
            _ => None,
        })
    }

    /// Returns the answers to a replace, by its place among those that the caller plans.
    pub(in crate::chaos) fn answers_to_replace(&self, place: usize) -> impl Iterator<Item = &CallAnswer> {
        let calls = self.calls.iter();
        calls
            .filter(move |call| call.kind == CallKind::Replace(place))
            .map(|call| &call.answer)
    }

    /// Returns how the intent ended for its caller.
    pub(in crate::chaos) fn outcome(&self) -> IntentOutcome {
        let answers = || self.submissions().map(|call| &call.answer);
        let is_report = |answer: &CallAnswer| matches!(answer, CallAnswer::Report(report) if report.version > 0);
        if answers().any(is_report) {
            IntentOutcome::Reported
        } else if answers().any(CallAnswer::is_denial) {
            IntentOutcome::Denied
        } else if !answers().all(CallAnswer::sent_nothing) {
            IntentOutcome::Unknown
        } else if answers().any(CallAnswer::is_final) {
            IntentOutcome::Refused
        } else {
            IntentOutcome::NothingSent
        }
    }
}

/// Returns the hash of a report's JSON without its settlement and without what it says of a replace.
pub(in crate::chaos) fn hash_without_replace(report: &ExecutionReport) -> ReportHash {
    report_hash(&ExecutionReport {
        settlement: None,
        replace: None,
        ..report.clone()
    })
}

/// Returns the hash of a report's JSON without its settlement, which only the journal has.
pub(in crate::chaos) fn report_hash(report: &ExecutionReport) -> ReportHash {
    let answered = ExecutionReport {
        settlement: None,
        ..report.clone()
    };
    let digest = Sha256::digest(answered.encode());
    let mut hash = ReportHash::default();
    for (place, byte) in hash.iter_mut().zip(digest) {
        *place = byte;
    }
    hash
}
