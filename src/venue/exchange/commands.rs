//! Applies a command: all of it, or nothing with the reason.

use crate::venue::amount::Amount;
use crate::venue::command::Command;
use crate::venue::error::VenueError;
use crate::venue::exchange::effects::{Effects, Outcome, Replacement, TransferReport};
use crate::venue::exchange::state::Exchange;
use crate::venue::words::ReplaceMode;

impl Exchange {
    /// Applies a command at a time, in milliseconds since 1970. Time never runs backwards here.
    ///
    /// # Errors
    /// Why the command is refused. It has changed nothing then.
    pub fn apply(&mut self, time: u64, command: &Command) -> Result<(Outcome, Effects), VenueError> {
        let before = self.time;
        self.time = before.max(time);
        let mut effects = Effects::default();
        let outcome = self.dispatch(command, &mut effects);
        match outcome {
            Ok(outcome) => {
                self.trigger_stops(&mut effects);
                Ok((outcome, effects))
            }
            Err(error) => {
                self.time = before;
                Err(error)
            }
        }
    }

    fn dispatch(&mut self, command: &Command, effects: &mut Effects) -> Result<Outcome, VenueError> {
        match command {
            Command::Configure { symbols, commissions } => {
                self.configure(symbols, *commissions);
                Ok(Outcome::Done)
            }
            Command::OpenAccount { account, balances } => {
                if !self.accounts.contains_key(account) {
                    self.accounts.entry(account.clone()).or_default();
                    for (asset, amount) in balances {
                        self.deposit(account, asset, *amount, effects);
                    }
                }
                Ok(Outcome::Done)
            }
            Command::Transfer { account, asset, amount } => self.transfer(account, asset, *amount, effects),
            Command::Place(order) => {
                self.check_new(order)?;
                Ok(Outcome::Placed(Box::new(self.place(order, effects))))
            }
            Command::Cancel(request) => Ok(Outcome::Canceled(vec![self.cancel(request, effects)?])),
            Command::CancelAll {
                account,
                symbol,
                request_id,
            } => self.cancel_all(account, symbol, request_id, effects),
            Command::Replace {
                cancel,
                order,
                mode,
                refusal,
            } => {
                let canceled = self.cancel(cancel, effects);
                if canceled.is_err() && *mode == ReplaceMode::StopOnFailure {
                    let replacement = Replacement {
                        cancel: canceled,
                        order: None,
                    };
                    return Ok(Outcome::Replaced(Box::new(replacement)));
                }
                let refused = refusal
                    .as_ref()
                    .map_or(Ok(()), |(code, text)| Err(VenueError::new(*code, text.clone())));
                let placed = refused
                    .and_then(|()| self.check_new(order))
                    .map(|()| self.place(order, effects));
                Ok(Outcome::Replaced(Box::new(Replacement {
                    cancel: canceled,
                    order: Some(placed),
                })))
            }
            Command::Amend {
                order,
                quantity,
                client_order_id,
            } => self.amend(order, *quantity, client_order_id, effects),
            Command::Fill { order_id, quantity } => self.fill_from_outside(*order_id, *quantity, effects),
            Command::Quote { symbol, bids, asks } => self.quote(symbol, bids, asks, effects),
            Command::SetStatus { symbol, status } => {
                let market = self.markets.get_mut(symbol).ok_or_else(VenueError::invalid_symbol)?;
                market.status = *status;
                effects.symbols.insert(symbol.clone());
                Ok(Outcome::Done)
            }
        }
    }

    fn transfer(
        &mut self,
        account: &str,
        asset: &str,
        amount: Amount,
        effects: &mut Effects,
    ) -> Result<Outcome, VenueError> {
        let free = self
            .accounts
            .get(account)
            .map_or(Amount::ZERO, |account| account.balance(asset).free);
        if free + amount < Amount::ZERO {
            return Err(VenueError::order_rejected(super::placement::INSUFFICIENT_BALANCE));
        }
        self.deposit(account, asset, amount, effects);
        effects.transfers.push(TransferReport {
            account: account.to_owned(),
            asset: asset.to_owned(),
            amount,
        });
        Ok(Outcome::Done)
    }
}
