//! What venue reports make of an order: a table that the tests fill by the router's own `Order::apply_report`. The model
//! steps through the table, so that statuses, fills and moves of the shared sums are those of the code.

/// The number of a document in the table.
pub type Doc = u8;
/// The document of a claimed order: it has no report yet.
pub const CLAIMED: Doc = 0;
/// The document of a denied order.
pub const DENIED: Doc = 1;

/// What a report says about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// The sender does not know the outcome.
    Unknown,
    /// The venue does not have the order and can no longer receive it.
    NotPlaced,
    /// The venue rejected the order.
    Rejected,
    /// The venue has the order; trade n is a set bit n.
    Working(u8),
}

impl Word {
    /// Every report about an order of so many lots.
    pub fn all(lots: u8) -> Vec<Self> {
        let working = (0..1_u8 << lots).map(Self::Working);
        [Self::Unknown, Self::NotPlaced, Self::Rejected]
            .into_iter()
            .chain(working)
            .collect()
    }
}

/// A document of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document {
    /// The order's position in lots.
    pub position: i8,
    /// Position and open quantity in lots.
    pub long: i8,
    /// Whether its outcome is unknown.
    pub is_unknown: bool,
    /// Whether it was ended because its venue does not have it.
    pub is_not_placed: bool,
    /// Whether it has ended.
    pub is_ended: bool,
}

/// What one report moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// The document after it.
    pub doc: Doc,
    /// Lots that it moves the exposure by.
    pub long: i8,
    /// Lots that it moves the position by.
    pub position: i8,
}

/// The table.
#[derive(Debug, Clone)]
pub struct Effects {
    /// Every document that reports can lead to.
    pub documents: Vec<Document>,
    /// The ordered quantity in lots, each of which is one trade.
    pub lots: u8,
    /// What each report makes of each document; one that says nothing new is absent.
    pub moves: Vec<Vec<(Word, Effect)>>,
}

impl Effects {
    /// Returns what a report makes of a document; `None` where it says nothing new.
    pub fn apply(&self, doc: Doc, word: Word) -> Option<Effect> {
        let moves = &self.moves[usize::from(doc)];
        moves.iter().find(|(said, _)| *said == word).map(|(_, effect)| *effect)
    }

    /// Returns a document.
    pub fn document(&self, doc: Doc) -> &Document {
        &self.documents[usize::from(doc)]
    }

    /// Reports whether the document's outcome is unknown.
    pub fn is_unknown(&self, doc: Doc) -> bool {
        self.document(doc).is_unknown
    }

    /// Reports whether the order was ended because its venue does not have it.
    pub fn is_not_placed(&self, doc: Doc) -> bool {
        self.document(doc).is_not_placed
    }

    /// Reports whether the order has ended.
    pub fn is_ended(&self, doc: Doc) -> bool {
        self.document(doc).is_ended
    }
}
