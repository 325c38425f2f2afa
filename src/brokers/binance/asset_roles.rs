//! Which of the traded symbols move an asset of the account. Pure.

use std::collections::BTreeMap;
use std::fmt;

use crate::domain::symbol::Symbol;

/// The traded asset and the currency of the prices of each symbol, as the venue names them.
pub type AssetsBySymbol = BTreeMap<Symbol, (String, String)>;

/// The symbols that move an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetRole {
    /// One symbol trades it, and no other moves it: its balance is the position in that symbol.
    TradedBy(Symbol),
    /// Several symbols move it: no position of one symbol is its balance.
    Shared(Vec<Symbol>),
    /// It pays for these symbols.
    Pays(Vec<Symbol>),
    /// No symbol moves it, but for fees.
    Unused,
}

impl AssetRole {
    /// Returns the role of an asset among these symbols.
    pub fn of(asset: &str, symbols: &AssetsBySymbol) -> Self {
        let with = |is_asset: fn(&(String, String), &str) -> bool| -> Vec<Symbol> {
            let symbols = symbols.iter().filter(|(_, assets)| is_asset(assets, asset));
            symbols.map(|(symbol, _)| symbol.clone()).collect()
        };
        let traded = with(|(base, _), asset| base == asset);
        let paying = with(|(_, quote), asset| quote == asset);
        match (&traded[..], &paying[..]) {
            ([], []) => Self::Unused,
            ([], _) => Self::Pays(paying),
            ([one], []) => Self::TradedBy(one.clone()),
            _ => Self::Shared([traded, paying].concat()),
        }
    }

    /// Returns the symbols that move the asset.
    pub fn symbols(&self) -> &[Symbol] {
        match self {
            Self::TradedBy(symbol) => std::slice::from_ref(symbol),
            Self::Shared(symbols) | Self::Pays(symbols) => symbols,
            Self::Unused => &[],
        }
    }
}

impl fmt::Display for AssetRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.symbols().iter().map(Symbol::as_str).collect();
        let names = names.join(", ");
        match self {
            Self::TradedBy(_) => write!(formatter, "traded as {names}"),
            Self::Shared(_) => write!(formatter, "moved by {names}"),
            Self::Pays(_) => write!(formatter, "pays for {names}"),
            Self::Unused => formatter.write_str("no instrument"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asset_is_traded_by_one_symbol_or_shared_or_pays() {
        let symbols: AssetsBySymbol = [
            ("BTCUSDT", "BTC", "USDT"),
            ("ETHBTC", "ETH", "BTC"),
            ("SOLUSDT", "SOL", "USDT"),
        ]
        .into_iter()
        .map(|(symbol, base, quote)| (Symbol::parse(symbol).unwrap(), (base.to_owned(), quote.to_owned())))
        .collect();
        for (asset, shown) in [
            ("SOL", "traded as SOLUSDT"),
            ("BTC", "moved by BTCUSDT, ETHBTC"),
            ("USDT", "pays for BTCUSDT, SOLUSDT"),
            ("BNB", "no instrument"),
        ] {
            assert_eq!(AssetRole::of(asset, &symbols).to_string(), shown);
        }
    }
}
