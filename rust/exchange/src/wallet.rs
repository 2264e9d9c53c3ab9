//! What the account has of each asset, and each entry that changed it.

use std::collections::{BTreeMap, VecDeque};

use crate::wire;

/// Entries that are kept; the oldest are forgotten first.
const ENTRIES_MAX: usize = 200_000;
/// Ids of entries are of a kind of their own.
const ENTRY_IDS: u64 = 1 << 60;

/// What there is of an asset, in units of its last decimal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// All of it.
    pub total: i128,
    /// What open orders hold of it.
    pub held: i128,
}

/// A change of what there is of an asset.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// What it belongs to: the id of a fill.
    pub reference: String,
    /// When, ns, by the clock that stamps messages.
    pub ts: i64,
    /// When, ns.
    pub at: i64,
    /// Asset.
    pub asset: String,
    /// What came (positive) or went, without the fee.
    pub amount: i128,
    /// Fee.
    pub fee: i128,
    /// What there is afterwards.
    pub balance: i128,
}

/// All assets of the account.
#[derive(Debug, Default)]
pub struct Wallet {
    holdings: BTreeMap<String, Holding>,
    begin: BTreeMap<String, i128>,
    entries: VecDeque<Entry>,
    made: u64,
}

impl Wallet {
    /// What the account has at the beginning.
    #[must_use]
    pub fn new(balances: &BTreeMap<String, i128>) -> Self {
        let holdings = balances.iter().map(|(asset, &total)| (asset.clone(), Holding { total, held: 0 })).collect();
        Self { holdings, begin: balances.clone(), ..Self::default() }
    }

    /// What there is of an asset.
    #[must_use]
    pub fn of(&self, asset: &str) -> Holding {
        self.holdings.get(asset).copied().unwrap_or_default()
    }

    /// What there is of all assets.
    pub fn all(&self) -> impl Iterator<Item = (&str, Holding)> {
        self.holdings.iter().map(|(asset, &holding)| (asset.as_str(), holding))
    }

    /// What may be used of an asset.
    #[must_use]
    pub fn free(&self, asset: &str) -> i128 {
        let Holding { total, held } = self.of(asset);
        total - held
    }

    /// Holds so much more of an asset, or less.
    pub fn hold(&mut self, asset: &str, more: i128) {
        self.holdings.entry(asset.to_owned()).or_default().held += more;
    }

    /// Books a change; returns its entry. `at`: when; `ts`: the same by the clock that stamps messages.
    pub fn book(&mut self, asset: &str, (amount, fee): (i128, i128), reference: &str, (at, ts): (i64, i64)) -> &Entry {
        let holding = self.holdings.entry(asset.to_owned()).or_default();
        holding.total += amount - fee;
        self.made += 1;
        if self.entries.len() == ENTRIES_MAX
            && let Some(oldest) = self.entries.pop_front()
        {
            self.begin.insert(oldest.asset, oldest.balance);
        }
        let (asset, reference, balance) = (asset.to_owned(), reference.to_owned(), holding.total);
        let id = text_id(b'L', ENTRY_IDS + self.made);
        self.entries.push_back(Entry { id, reference, ts, at, asset, amount, fee, balance });
        &self.entries[self.entries.len() - 1]
    }

    /// What there was of all assets at a time.
    #[must_use]
    pub fn totals_at(&self, at: i64) -> BTreeMap<String, i128> {
        let mut totals = self.begin.clone();
        for entry in self.entries.iter().take_while(|entry| entry.at <= at) {
            totals.insert(entry.asset.clone(), entry.balance);
        }
        totals
    }

    /// The entries that are kept, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}

/// An id of Kraken's form, without quotes.
#[must_use]
pub fn text_id(kind: u8, number: u64) -> String {
    let mut text = Vec::new();
    wire::id(kind, number, &mut text);
    text.into_iter().map(char::from).filter(|&letter| letter != '"').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each entry says what is there afterwards, and the past can be had again.
    #[test]
    fn entries_explain_the_balance() {
        let mut wallet = Wallet::new(&BTreeMap::from([("USD".to_owned(), 1000)]));
        wallet.hold("USD", 300);
        assert_eq!((wallet.of("USD"), wallet.free("USD")), (Holding { total: 1000, held: 300 }, 700));
        wallet.book("BTC", (5, 0), "T1", (10, 1000));
        assert_eq!(wallet.book("USD", (-200, 1), "T1", (10, 1000)).balance, 799);
        wallet.book("USD", (50, 2), "T2", (20, 1010));
        assert_eq!((wallet.of("USD").total, wallet.of("BTC").total, wallet.free("EUR")), (847, 5, 0));
        assert_eq!(wallet.totals_at(9), BTreeMap::from([("USD".to_owned(), 1000)]));
        assert_eq!(wallet.totals_at(10), BTreeMap::from([("USD".to_owned(), 799), ("BTC".to_owned(), 5)]));
        let ids: std::collections::BTreeSet<_> = wallet.entries().map(|entry| &entry.id).collect();
        assert!(ids.len() == 3 && ids.iter().all(|id| id.starts_with('L')));
    }
}
