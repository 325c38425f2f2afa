//! One reading: the venue's balances, between two readings of the journal.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;

use crate::brokers::binance::messages::account::Balance;
use crate::brokers::binance::messages::trade::Trade;
use crate::brokers::binance::rest_reader::{ReadError, TradesFrom};
use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{Mode, OrderStatus};
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::wire::balance::BalanceEvent;
use crate::wire::report::ReportedFill;
use crate::worker::orders::open_orders::stream_open_orders;
use crate::worker::venue::balances::fold::{FoldError, JournalFold};
use crate::worker::venue::balances::judgement::{Comparison, Found};
use crate::worker::venue::balances::{BalanceError, BalanceLedger, without_zeros};
use crate::worker::venue::orphans;
use crate::worker::venue::session::BinanceSession;

/// How many pages of trades are read for the fills that one report leaves out.
const MAX_FILL_PAGES: usize = 100;

/// The balances of one moment.
pub(super) struct Reading {
    /// What the journal makes them.
    pub(super) expected: BTreeMap<String, Decimal>,
    /// What the venue has.
    venue: BTreeMap<String, Decimal>,
    /// The assets that fills moved between the two readings of the journal.
    pub(super) moving: BTreeSet<String>,
    /// The sequence up to which the journal was read.
    pub(super) sequence: u64,
}

/// Returns the fills of these ids, in their order, from the venue's list of the symbol's trades.
async fn earlier_fills(
    session: &BinanceSession,
    symbol: &Symbol,
    exec_ids: &[String],
) -> Result<Vec<ReportedFill>, BalanceError> {
    let unlisted = |id: &str| FoldError::Inexact(format!("the venue does not list the fill {id} in {symbol}"));
    let mut trades: BTreeMap<i64, ReportedFill> = BTreeMap::new();
    let wanted = exec_ids.iter().map(|id| id.parse().map_err(|_| unlisted(id)));
    let wanted: BTreeSet<i64> = wanted.collect::<Result<_, _>>()?;
    // Each page begins at the first fill that is still missing: other trades of the symbol may lie in between.
    for _ in 0..MAX_FILL_PAGES {
        let Some(next) = wanted.iter().copied().find(|id| !trades.contains_key(id)) else {
            break;
        };
        let page = session.client.symbol_trades(symbol, TradesFrom::Id(next)).await?;
        let of_order = page.iter().filter(|trade| wanted.contains(&trade.id));
        let before = trades.len();
        trades.extend(of_order.map(|trade| (trade.id, reported_fill(trade))));
        if trades.len() == before {
            return Err(unlisted(&next.to_string()).into());
        }
    }
    let missing = || ReadError::Unanswered(format!("the fills in {symbol} lie on more pages than are read"));
    let mut by_id: BTreeMap<String, ReportedFill> =
        trades.into_values().map(|fill| (fill.exec_id.clone(), fill)).collect();
    let found = exec_ids.iter().map(|id| by_id.remove(id).ok_or_else(missing));
    Ok(found.collect::<Result<_, _>>()?)
}

fn reported_fill(trade: &Trade) -> ReportedFill {
    ReportedFill {
        exec_id: trade.id.to_string(),
        quantity: trade.qty,
        price: trade.price,
        timestamp: Timestamp::from_milliseconds(trade.time),
        fee: trade.commission,
        fee_currency: trade.commission_asset.clone(),
    }
}

impl Reading {
    /// Returns which balances are as expected and which are not.
    pub(super) fn comparison(&self) -> Comparison {
        let mut comparison = Comparison::default();
        let assets: BTreeSet<&String> = self.expected.keys().chain(self.venue.keys()).collect();
        for asset in assets.into_iter().filter(|asset| !self.moving.contains(*asset)) {
            let of = |balances: &BTreeMap<String, Decimal>| balances.get(asset).copied().unwrap_or_default();
            let (expected, venue) = (of(&self.expected), of(&self.venue));
            if expected == venue {
                comparison.equal.insert(asset.clone());
            } else {
                comparison.differing.insert(asset.clone(), Found { expected, venue });
            }
        }
        comparison
    }
}

impl BalanceLedger {
    /// Reads the balances once.
    pub(super) async fn read(&mut self, event: &BalanceEvent) -> Result<Reading, BalanceError> {
        let (_, before) = self.expected(event).await?;
        let venue = self.venue_balances().await?;
        let (sequence, expected) = self.expected(event).await?;
        let moves = |asset: &&String| before.get(*asset) != expected.get(*asset);
        Ok(Reading {
            moving: expected.keys().filter(moves).cloned().collect(),
            expected,
            venue,
            sequence,
        })
    }

    /// Returns the balances that the journal makes, and the sequence up to which it was read. An asset that was ever moved
    /// is among them, also with nothing.
    async fn expected(&mut self, event: &BalanceEvent) -> Result<(u64, BTreeMap<String, Decimal>), BalanceError> {
        let (sequence, mut expected) = self.moves_after(event.sequence).await?;
        for (asset, balance) in &event.assets {
            let moved = expected.entry(asset.clone()).or_default();
            let sum = moved.checked_add(balance.amount);
            *moved =
                sum.ok_or_else(|| FoldError::Inexact(format!("the balance of {asset} cannot be counted exactly")))?;
        }
        Ok((sequence, expected))
    }

    /// Returns what the journal's fills after a sequence have moved, and the sequence up to which it was read.
    pub(super) async fn moves_after(&mut self, base: u64) -> Result<(u64, BTreeMap<String, Decimal>), BalanceError> {
        let mut fold = match self.fold.take() {
            Some(fold) if fold.base == base => fold,
            _ => JournalFold::after(base, &self.accounts),
        };
        let limits = self.router.limits();
        let is_netted = |symbol: &Symbol, currency: &str| {
            let instrument = limits.instruments.get(&self.accounts.venue, symbol);
            instrument.is_some_and(|instrument| orphans::is_base_asset(instrument, currency))
        };
        let mut advanced = fold.advance(&self.router.journal_reader, is_netted).await;
        while let Err(FoldError::Unlisted { symbol, exec_ids }) = &advanced {
            match earlier_fills(&self.session, symbol, exec_ids).await {
                Ok(fills) => fold.list_fills(fills),
                // What is folded so far is kept for the next attempt.
                Err(error) => {
                    self.fold = Some(fold);
                    return Err(error);
                }
            }
            advanced = fold.advance(&self.router.journal_reader, is_netted).await;
        }
        let moves = match &advanced {
            Ok(_) => self.resolve(&fold).await,
            Err(error) => Err(error.clone().into()),
        };
        if !matches!(moves, Err(BalanceError::Fold(FoldError::Inexact(_)))) {
            self.fold = Some(fold);
        }
        Ok((advanced?, moves?))
    }

    /// Returns what a fold moved. The venue is asked for the assets of symbols that are no longer traded.
    async fn resolve(&mut self, fold: &JournalFold) -> Result<BTreeMap<String, Decimal>, BalanceError> {
        let unloaded = || ReadError::Unanswered("the venue's rules of its symbols are not known".to_owned());
        let mut assets = self.known_assets().ok_or_else(unloaded)?;
        loop {
            match fold.moves(&assets) {
                Err(FoldError::UnknownSymbol(symbol)) => {
                    let info = self.session.client.exchange_info(std::slice::from_ref(&symbol)).await?;
                    let known = info.symbols.into_iter().find(|known| known.symbol == symbol.as_str());
                    let known = known.ok_or_else(|| FoldError::UnknownSymbol(symbol.clone()))?;
                    let pair = (known.base_asset, known.quote_asset);
                    self.other_assets.insert(symbol.clone(), pair.clone());
                    assets.insert(symbol, pair);
                }
                moves => return Ok(moves?),
            }
        }
    }

    /// Returns what the venue has of each asset, free and locked.
    pub(super) async fn venue_balances(&self) -> Result<BTreeMap<String, Decimal>, BalanceError> {
        let account = self.session.client.account().await?;
        if let Some(uid) = account.uid
            && let Some(other) = self.uids.other_key(uid, self.key_number)
        {
            let text = format!(
                "the keys {other} and {} are of one account at the venue: give its accounts one key",
                self.key_number
            );
            return Err(ReadError::Unanswered(text).into());
        }
        let inexact = |asset: &str| FoldError::Inexact(format!("the balance of {asset} cannot be counted exactly"));
        let mut balances = BTreeMap::new();
        for Balance { asset, free, locked } in account.balances {
            let held = free.checked_add(locked).ok_or_else(|| inexact(&asset))?;
            balances.insert(asset, held);
        }
        Ok(without_zeros(balances))
    }

    /// Reports whether the outcome of an order of the accounts is unknown: it may explain a difference.
    pub(super) async fn has_unknown_orders(&self) -> Result<bool, BalanceError> {
        for account_id in &self.accounts.accounts {
            let mut open = stream_open_orders(&self.router, &self.accounts.broker, account_id);
            while let Some(next) = open.next().await {
                let order = next?.order;
                if order.mode == Mode::Live && order.status.is_none_or(|status| status == OrderStatus::Unknown) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
