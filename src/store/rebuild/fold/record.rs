//! What the fold knows of an order and of an adjustment: what the store's records hold of them.

use bytes::Bytes;

use crate::domain::content_hash::{ContentDigest, ContentHash};
use crate::domain::id::{AccountId, BrokerId, LeaseToken, OrderId};
use crate::domain::settlement::{SumDeltas, SumScope};
use crate::domain::settlement_end::SettlementEnd;
use crate::domain::time::Timestamp;

/// An order that is open, being sent or released, as its journaled events leave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedOrder {
    /// The router's id.
    pub order_id: OrderId,
    /// What the order's content is recognised by.
    pub content: ContentDigest,
    /// The version of its latest report; 0 before the first.
    pub version: u32,
    /// The settlement that made that version.
    pub settlement: SettlementEnd,
    /// The journal sequence of its latest event.
    pub sequence: u64,
    /// The journal sequence of its first report; 0 before it.
    pub first_sequence: u64,
    /// When it last changed, or its last event was stored, whichever is later: its retention begins there.
    pub since: Timestamp,
    /// Its stage.
    pub stage: FoldedStage,
}

/// The stage of a folded order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldedStage {
    /// At its venue.
    Open(Box<OpenPart>),
    /// Submitted to an external venue, without a report.
    Sending(Box<SendingPart>),
    /// Released without having been sent, under this claim.
    Released(LeaseToken),
}

/// What only an open order has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPart {
    /// Its latest document.
    pub document: Bytes,
    /// Its broker.
    pub broker: BrokerId,
    /// Its account.
    pub account_id: AccountId,
    /// When the worker acts on it by itself.
    pub due_at: Option<Timestamp>,
}

/// What only an order has that is being sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendingPart {
    /// Document, broker and account.
    pub open: OpenPart,
    /// The token of the claim that it was submitted under.
    pub claim_token: LeaseToken,
    /// The sums that it reserves in.
    pub scope: SumScope,
    /// What it reserves.
    pub reserved: SumDeltas,
}

impl FoldedOrder {
    /// Reports whether the order has not been released.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, FoldedStage::Open(_) | FoldedStage::Sending(_))
    }

    /// Returns the token of the claim that it was submitted or released under, before its first report.
    pub(in crate::store) fn claim_token(&self) -> Option<&LeaseToken> {
        match &self.stage {
            FoldedStage::Sending(sending) => Some(&sending.claim_token),
            FoldedStage::Released(token) => Some(token),
            FoldedStage::Open(_) => None,
        }
    }

    /// Returns the part that an order has while it is open or being sent.
    pub(in crate::store) fn open_part(&self) -> Option<&OpenPart> {
        match &self.stage {
            FoldedStage::Open(open) => Some(open),
            FoldedStage::Sending(sending) => Some(&sending.open),
            FoldedStage::Released(_) => None,
        }
    }

    /// Returns its latest document while it is open or being sent.
    pub(super) fn document(&self) -> Option<Bytes> {
        self.open_part().map(|open| open.document.clone())
    }
}

/// A journaled adjustment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedAdjustment {
    /// The hash by which a repeated id is compared.
    pub content_hash: ContentHash,
    /// Its journal document.
    pub document: Bytes,
    /// Its journal sequence.
    pub sequence: u64,
    /// When it was made, or its event was stored, whichever is later.
    pub since: Timestamp,
}
