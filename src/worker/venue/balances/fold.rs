//! What the journaled fills of the accounts of a key have moved: by symbol, and fees by currency. Only the venue knows which
//! assets a symbol moves.
//!
//! Each report counts by itself. Its new fills are the last ones of its list whose quantities, less fees in the traded asset,
//! make up what it moved of the position: nothing has to be known of the order's earlier reports. A report lists the last 100
//! fills of its order: the venue says what was filled before them, where it booked more at once.

use std::collections::{BTreeMap, VecDeque};

use crate::brokers::binance::asset_roles::AssetsBySymbol;
use crate::bus::journal::JournalReader;
use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::order_terms::{Mode, Side};
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::report::{ExecutionReport, ReportedFill};
use crate::wire::settlement::ReportSettlement;
use crate::worker::control::locks::ROUTER_ACTOR;
use crate::worker::venue::accounts::VenueAccounts;
use crate::worker::venue::orphans;

/// How many entries of a subject are read at a time.
const PAGE: usize = 256;
/// The most orders and adjustments that are remembered; a repeated entry of an older one would count twice.
const MAX_REMEMBERED: usize = 100_000;
/// The most adjustments of operators that are remembered: more explain no difference.
const MAX_ADJUSTED: usize = 1_000;

/// Why the moves are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FoldError {
    /// The journal does not reply, or has an entry that cannot be decoded.
    #[error("{0}")]
    Journal(String),
    /// The venue's assets of a symbol are not known.
    #[error("the assets of {0} are not known")]
    UnknownSymbol(Symbol),
    /// An entry does not say exactly what it moved.
    #[error("{0}")]
    Inexact(String),
    /// A report booked more fills than it lists. With those of [`JournalFold::list_fills`], a later call continues.
    #[error("a report in {symbol} does not list all {} fills of its order", .exec_ids.len())]
    Unlisted {
        /// The symbol.
        symbol: Symbol,
        /// The venue's ids of the fills that the report leaves out, the oldest first.
        exec_ids: Vec<String>,
    },
}

/// What fills moved in one symbol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SymbolMoves {
    /// Of the traded asset.
    quantity: Decimal,
    /// What it cost, in the currency of the prices.
    cost: Decimal,
}

/// The moves after a sequence of the journal, up to another one.
#[derive(Debug)]
pub(super) struct JournalFold {
    /// The sequence that the moves begin after.
    pub(super) base: u64,
    /// How many entries with moves were folded.
    pub(super) moving_entries: usize,
    /// Up to where each subject is folded.
    cursors: BTreeMap<String, u64>,
    broker: BrokerId,
    venue: VenueId,
    symbols: BTreeMap<Symbol, SymbolMoves>,
    fees: BTreeMap<String, Decimal>,
    seen: SeenVersions,
    /// The prices of orphans by their ids: their fees follow as entries of their own.
    orphan_prices: BTreeMap<String, (Symbol, Decimal)>,
    /// The fills that the next report leaves out, from the venue, the oldest first.
    earlier_fills: Vec<ReportedFill>,
    /// The newest adjustments of operators: they explain differences.
    adjusted: VecDeque<OperatorAdjustment>,
}

/// What an operator's adjustment says about an asset.
#[derive(Debug)]
struct OperatorAdjustment {
    made_at: Timestamp,
    asset: AdjustedAsset,
    amount: Decimal,
}

/// The asset of an adjustment.
#[derive(Debug)]
enum AdjustedAsset {
    /// The traded asset of a symbol.
    TradedBy(Symbol),
    /// A currency by its name.
    Currency(String),
}

/// The highest version of each order that was folded, and the adjustments.
#[derive(Debug, Default)]
struct SeenVersions {
    versions: BTreeMap<String, u32>,
    by_age: VecDeque<String>,
}

impl SeenVersions {
    /// Reports whether this version, or a later one, is recorded.
    fn has(&self, id: &str, version: u32) -> bool {
        self.versions.get(id).is_some_and(|known| *known >= version)
    }

    /// Records a version. Reports whether it is new: of two entries with one version the first counts.
    fn insert(&mut self, id: &str, version: u32) -> bool {
        if let Some(known) = self.versions.get_mut(id) {
            let is_new = *known < version;
            *known = version.max(*known);
            return is_new;
        }
        self.versions.insert(id.to_owned(), version);
        self.by_age.push_back(id.to_owned());
        if self.by_age.len() > MAX_REMEMBERED
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.versions.remove(&oldest);
        }
        true
    }
}

impl JournalFold {
    /// Returns the moves after a sequence, of these accounts; none are read yet.
    pub(super) fn after(base: u64, accounts: &VenueAccounts) -> Self {
        let subjects = accounts.accounts.iter().flat_map(|account| {
            [
                subjects::report(&accounts.broker, account),
                subjects::adjustment(account),
            ]
        });
        Self {
            base,
            moving_entries: 0,
            cursors: subjects.map(|subject| (subject, base)).collect(),
            broker: accounts.broker.clone(),
            venue: accounts.venue.clone(),
            symbols: BTreeMap::new(),
            fees: BTreeMap::new(),
            seen: SeenVersions::default(),
            orphan_prices: BTreeMap::new(),
            earlier_fills: Vec::new(),
            adjusted: VecDeque::new(),
        }
    }

    /// Folds what the journal has after the last call. `is_netted` says whether a fee of an orphan in this currency is
    /// part of the quantity that was booked. Returns the sequence up to which everything is folded.
    ///
    /// # Errors
    /// When the journal does not reply, or an entry does not say what it moved. A later call continues.
    pub(super) async fn advance(
        &mut self,
        reader: &JournalReader,
        is_netted: impl Fn(&Symbol, &str) -> bool,
    ) -> Result<u64, FoldError> {
        let journal = |error: &dyn std::fmt::Display| FoldError::Journal(error.to_string());
        let end = reader
            .read_extent()
            .await
            .map_err(|error| journal(&error))?
            .last_sequence;
        let subjects: Vec<String> = self.cursors.keys().cloned().collect();
        for subject in subjects {
            let mut cursor = self.cursors.get(&subject).copied().unwrap_or(self.base);
            while cursor < end {
                let page = reader.read_next_for_subject(&subject, cursor + 1, PAGE).await;
                let page = page.map_err(|error| journal(&error))?;
                let is_last = page.len() < PAGE;
                for entry in page.iter().filter(|entry| entry.sequence <= end) {
                    self.add(entry, &is_netted)?;
                    cursor = entry.sequence;
                    self.cursors.insert(subject.clone(), cursor);
                }
                if is_last || page.last().is_some_and(|last| last.sequence > end) {
                    cursor = end;
                }
            }
            self.cursors.insert(subject, cursor.max(end));
        }
        Ok(end)
    }

    /// Returns what each asset was moved by.
    ///
    /// # Errors
    /// When the assets of a symbol are not in the table, or a sum is not exact.
    pub(super) fn moves(&self, assets: &AssetsBySymbol) -> Result<BTreeMap<String, Decimal>, FoldError> {
        let mut moves: BTreeMap<String, Decimal> = BTreeMap::new();
        let mut add = |asset: &str, amount: Decimal| -> Result<(), FoldError> {
            let sum = moves.entry(asset.to_owned()).or_default();
            *sum = exact(sum.checked_add(amount), "a sum of fills")?;
            Ok(())
        };
        for (symbol, moved) in &self.symbols {
            let (base, quote) = assets
                .get(symbol)
                .ok_or_else(|| FoldError::UnknownSymbol(symbol.clone()))?;
            add(base, moved.quantity)?;
            add(quote, moved.cost.negated())?;
        }
        for (currency, fee) in &self.fees {
            add(currency, fee.negated())?;
        }
        Ok(moves)
    }

    fn add(&mut self, entry: &StoredEntry, is_netted: &impl Fn(&Symbol, &str) -> bool) -> Result<(), FoldError> {
        let unreadable =
            |error: &dyn std::fmt::Display| FoldError::Journal(format!("the entry {}: {error}", entry.sequence));
        if subjects::is_adjustment(&entry.subject) {
            let event: AdjustmentEvent = serde_json::from_slice(&entry.body).map_err(|error| unreadable(&error))?;
            return self.add_adjustment(&event, is_netted);
        }
        let report = ExecutionReport::decode(&entry.body).map_err(|error| unreadable(&error))?;
        let is_of_venue = report.broker == self.broker.as_str() && report.venue == self.venue.as_str();
        match &report.settlement {
            // A denial settles nothing.
            Some(settlement) if settlement.id.is_some() && report.mode == Mode::Live && is_of_venue => {
                self.add_report(&report, settlement)
            }
            _ => Ok(()),
        }
    }

    fn add_report(&mut self, report: &ExecutionReport, settlement: &ReportSettlement) -> Result<(), FoldError> {
        let symbol = Symbol::parse(&report.symbol).map_err(|error| FoldError::Journal(error.to_string()))?;
        let mut earlier = std::mem::take(&mut self.earlier_fills);
        if !earlier
            .iter()
            .map(|fill| &fill.exec_id)
            .eq(&settlement.earlier_exec_ids)
        {
            // Asked for by the report of another account, which is read again.
            earlier.clear();
        }
        let is_new = !self.seen.has(&report.order_id, report.version);
        let fills = if is_new {
            new_fills(report, settlement, &symbol, &earlier)?
        } else {
            Vec::new()
        };
        // Only what could be counted is seen: an entry that could not is read again.
        self.seen.insert(&report.order_id, report.version);
        self.moving_entries += usize::from(!fills.is_empty());
        for fill in fills {
            let quantity = signed(report.side, fill.quantity);
            self.add_traded(&symbol, quantity, fill.price)?;
            self.add_fee(&fill.fee_currency, fill.fee)?;
        }
        Ok(())
    }

    /// Adds the adjustment that an orphan was booked as. Others are the operators' words about positions, which move nothing
    /// at the venue, and may explain a difference.
    fn add_adjustment(
        &mut self,
        event: &AdjustmentEvent,
        is_netted: &impl Fn(&Symbol, &str) -> bool,
    ) -> Result<(), FoldError> {
        if event.mode != Mode::Live || !self.seen.insert(&event.adjustment_id, 1) {
            return Ok(());
        }
        let is_orphan = event.actor == orphans::ACTOR && event.adjustment_id.starts_with(orphans::ID_PREFIX);
        if !is_orphan {
            return self.add_operator_adjustment(event);
        }
        let parse = |symbol: &str| Symbol::parse(symbol).map_err(|error| FoldError::Journal(error.to_string()));
        if let Some(position) = event.position.as_ref().filter(|one| one.venue == self.venue.as_str()) {
            let symbol = parse(&position.symbol)?;
            self.add_traded(&symbol, position.quantity, position.price)?;
            if self.orphan_prices.len() >= MAX_REMEMBERED {
                self.orphan_prices.pop_first();
            }
            let price = (symbol, position.price);
            self.orphan_prices.insert(event.adjustment_id.clone(), price);
            self.moving_entries += 1;
        }
        let of_fill = event.adjustment_id.strip_suffix(orphans::FEE_SUFFIX);
        // A fee whose fill is part of the balances that the fold begins with is part of them, too.
        if let Some(fee) = &event.fee
            && let Some((symbol, price)) = of_fill.and_then(|id| self.orphan_prices.remove(id))
        {
            if is_netted(&symbol, &fee.currency) {
                // The booked quantity is less by the fee, and the fill cost the whole.
                let moves = self.symbols.entry(symbol).or_default();
                let cost = fee.amount.checked_mul(price);
                moves.cost = exact(cost.and_then(|cost| moves.cost.checked_add(cost)), "an orphan's cost")?;
            } else {
                self.add_fee(&fee.currency, fee.amount)?;
            }
        }
        Ok(())
    }

    /// Remembers what an operator has adjusted. The router's own adjustments are opening positions.
    fn add_operator_adjustment(&mut self, event: &AdjustmentEvent) -> Result<(), FoldError> {
        if event.actor == ROUTER_ACTOR {
            return Ok(());
        }
        let is_here = |venue: &str| venue == self.venue.as_str();
        let (asset, amount) = match (&event.position, &event.fee) {
            (Some(position), _) if is_here(&position.venue) => {
                let symbol = Symbol::parse(&position.symbol).map_err(|error| FoldError::Journal(error.to_string()))?;
                (AdjustedAsset::TradedBy(symbol), position.quantity)
            }
            (None, Some(fee)) if is_here(&fee.venue) => {
                (AdjustedAsset::Currency(fee.currency.clone()), fee.amount.negated())
            }
            _ => return Ok(()),
        };
        if self.adjusted.len() >= MAX_ADJUSTED {
            self.adjusted.pop_front();
        }
        self.adjusted.push_back(OperatorAdjustment {
            made_at: event.timestamp,
            asset,
            amount,
        });
        Ok(())
    }

    /// Returns what operators have adjusted of an asset since a moment; `None` where they have not.
    pub(super) fn explained(&self, asset: &str, since: Timestamp, assets: &AssetsBySymbol) -> Option<Decimal> {
        let is_of = |one: &&OperatorAdjustment| match &one.asset {
            AdjustedAsset::TradedBy(symbol) => assets.get(symbol).is_some_and(|(base, _)| base == asset),
            AdjustedAsset::Currency(currency) => currency == asset,
        };
        let since = self.adjusted.iter().filter(|one| one.made_at >= since);
        let amounts: Vec<Decimal> = since.filter(is_of).map(|one| one.amount).collect();
        let sum = amounts.iter().try_fold(Decimal::ZERO, |sum, one| sum.checked_add(*one));
        sum.filter(|_| !amounts.is_empty())
    }

    /// Takes the fills that [`FoldError::Unlisted`] asks for, in its order.
    pub(super) fn list_fills(&mut self, fills: Vec<ReportedFill>) {
        self.earlier_fills = fills;
    }

    fn add_traded(&mut self, symbol: &Symbol, quantity: Decimal, price: Decimal) -> Result<(), FoldError> {
        let moves = self.symbols.entry(symbol.clone()).or_default();
        let cost = quantity
            .checked_mul(price)
            .and_then(|cost| moves.cost.checked_add(cost));
        moves.quantity = exact(moves.quantity.checked_add(quantity), "a quantity")?;
        moves.cost = exact(cost, "the cost of a fill")?;
        Ok(())
    }

    fn add_fee(&mut self, currency: &str, fee: Decimal) -> Result<(), FoldError> {
        if !fee.is_zero() {
            let sum = self.fees.entry(currency.to_owned()).or_default();
            *sum = exact(sum.checked_add(fee), "a fee")?;
        }
        Ok(())
    }
}

/// Returns the fills that a report books: the last ones of its order that make up what it moved of the position. `earlier` are
/// those that the report does not list, where they are known.
fn new_fills<'a>(
    report: &'a ExecutionReport,
    settlement: &ReportSettlement,
    symbol: &Symbol,
    earlier: &'a [ReportedFill],
) -> Result<Vec<&'a ReportedFill>, FoldError> {
    let moved = settlement.deltas.position;
    let mut sum = Decimal::ZERO;
    let mut new = Vec::new();
    for fill in earlier.iter().chain(&report.fills).rev() {
        if sum == moved {
            return Ok(new);
        }
        let traded = signed(report.side, fill.quantity);
        let is_in_asset = settlement.base_asset.as_deref() == Some(fill.fee_currency.as_str());
        let fee = if is_in_asset { fill.fee } else { Decimal::ZERO };
        let next = traded.checked_sub(fee).and_then(|net| sum.checked_add(net));
        sum = exact(next, "the quantity of a fill")?;
        new.push(fill);
    }
    if sum == moved {
        return Ok(new);
    }
    if earlier.is_empty() && !settlement.earlier_exec_ids.is_empty() {
        return Err(FoldError::Unlisted {
            symbol: symbol.clone(),
            exec_ids: settlement.earlier_exec_ids.clone(),
        });
    }
    Err(FoldError::Inexact(format!(
        "the report {} of order {} does not list all fills that it booked",
        report.version, report.order_id
    )))
}

fn signed(side: Side, quantity: Decimal) -> Decimal {
    match side {
        Side::Buy => quantity,
        Side::Sell => quantity.negated(),
    }
}

fn exact(sum: Option<Decimal>, what: &str) -> Result<Decimal, FoldError> {
    sum.ok_or_else(|| FoldError::Inexact(format!("{what} cannot be counted exactly")))
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
