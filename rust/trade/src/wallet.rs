//! What an account has: balances, what open orders hold of them, and what its fills made of each pair.
//!
//! All of it is exact: the entries of fills and deposits add up to the balances, to the last digit.

use std::sync::Arc;

use crate::amount::{Amount, Price, Qty};
use crate::order::{AMOUNT_MAX, cost};
use crate::pair::Pair;
use crate::report::Fill;
use crate::terms::Side;
use foldhash::{HashMap, HashMapExt as _};

/// What there is of an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// All of it.
    pub total: Amount,
    /// What open orders hold of it.
    pub held: Amount,
}

impl Balance {
    /// What a new order may use.
    #[must_use]
    pub const fn free(self) -> Amount {
        self.total - self.held
    }
}

/// One change of a balance, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Time of the exchange, ns; of a deposit 0.
    pub ts: i64,
    /// Asset.
    pub asset: Arc<str>,
    /// The order whose fill it is; 0 for a deposit.
    pub order: u64,
    /// Id of that fill; empty for a deposit.
    pub exec_id: Arc<str>,
    /// What came (positive) or went, without the fee.
    pub amount: Amount,
    /// Fee.
    pub fee: Amount,
    /// What there is afterwards.
    pub balance: Amount,
}

/// What the fills of a pair made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Bought less sold; negative if more was sold.
    pub qty: Qty,
    /// What that cost, in the quote asset; negative if it was sold.
    pub basis: Amount,
    /// What closed parts brought in, fees not counted.
    pub realised: Amount,
    /// All fees.
    pub fees: Amount,
}

/// `all` × `part` / `whole`, for 0 ≤ part ≤ whole; no product exceeds what 128 bits hold. Rounded towards 0.
const fn share(all: Amount, part: i64, whole: i64) -> Amount {
    let (part, whole) = (part as i128, whole as i128);
    all / whole * part + all % whole * part / whole
}

impl Inventory {
    /// Its average price as an amount for one of the base asset; `None` without a quantity.
    #[must_use]
    pub fn average(&self, pair: &Pair) -> Option<Amount> {
        let qty = i128::from(self.qty.0);
        let one = krakpot_core::decimal::pow10(pair.qty_precision);
        (qty != 0).then(|| self.basis / qty * one + self.basis % qty * one / qty)
    }

    /// What it would bring beyond its cost at this price, fees not counted.
    #[must_use]
    pub fn unrealised(&self, pair: &Pair, price: Price) -> Amount {
        let worth = cost(pair, price, self.qty).unwrap_or(AMOUNT_MAX * i128::from(self.qty.0.signum()));
        worth.saturating_sub(self.basis)
    }

    /// Adds a fill. What the rounding of a part's cost takes from one part stays in the rest: nothing is lost.
    pub fn fill(&mut self, pair: &Pair, side: Side, fill: &Fill) {
        let sign = if side == Side::Buy { 1 } else { -1 };
        let closes = if self.qty.0.signum() == -sign { fill.qty.0.min(self.qty.0.abs()) } else { 0 };
        if closes > 0 {
            let part = share(self.basis, closes, self.qty.0.abs());
            self.realised += -i128::from(sign) * pair.cost(fill.price, Qty(closes)) - part;
            self.basis -= part;
        }
        self.basis += i128::from(sign) * pair.cost(fill.price, fill.qty - Qty(closes));
        self.qty.0 = self.qty.0.saturating_add(sign * fill.qty.0);
        self.fees += fill.fee;
    }
}

/// All assets of an account.
#[derive(Debug, Clone)]
pub struct Wallet {
    assets: Vec<(Arc<str>, Balance)>,
    /// What orders hold: number of the asset, amount.
    holds: HashMap<u64, (usize, Amount)>,
}

impl Default for Wallet {
    fn default() -> Self {
        Self { assets: Vec::new(), holds: HashMap::new() }
    }
}

impl Wallet {
    /// The number of an asset; a new one has nothing.
    pub fn asset(&mut self, name: &str) -> usize {
        self.assets.iter().position(|(known, _)| **known == *name).unwrap_or_else(|| {
            self.assets.push((Arc::from(name), Balance::default()));
            self.assets.len() - 1
        })
    }

    /// What there is of an asset, by name.
    #[must_use]
    pub fn of(&self, name: &str) -> Balance {
        self.assets.iter().find(|(known, _)| **known == *name).map(|(_, balance)| *balance).unwrap_or_default()
    }

    /// The same by number.
    #[must_use]
    pub fn balance(&self, asset: usize) -> Balance {
        self.assets.get(asset).map(|(_, balance)| *balance).unwrap_or_default()
    }

    /// All assets.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, Balance)> {
        self.assets.iter().map(|(name, balance)| (name, *balance))
    }

    fn change(&mut self, asset: usize, amount: Amount, fee: Amount, why: (i64, u64, &Arc<str>)) -> Entry {
        let (name, balance) = &mut self.assets[asset];
        balance.total = balance.total.saturating_add(amount - fee);
        let (ts, order, exec_id) = why;
        Entry { ts, asset: name.clone(), order, exec_id: exec_id.clone(), amount, fee, balance: balance.total }
    }

    /// Something comes from outside, or goes.
    pub fn deposit(&mut self, name: &str, amount: Amount) -> Entry {
        let asset = self.asset(name);
        self.change(asset, amount, 0, (0, 0, &Arc::from("")))
    }

    /// Books a fill of an order: its two entries, base asset first, the fee with the quote asset.
    pub fn fill(
        &mut self,
        pair: &Pair,
        inventory: &mut Inventory,
        (order, side, ts): (u64, Side, i64),
        fill: &Fill,
    ) -> [Entry; 2] {
        inventory.fill(pair, side, fill);
        let (base, quote) = (self.asset(&pair.base), self.asset(&pair.quote));
        let sign = if side == Side::Buy { 1 } else { -1 };
        let why = (ts, order, &fill.exec_id);
        let came = self.change(base, sign * pair.amount(fill.qty), 0, why);
        let cost = fill.cost.unwrap_or_else(|| pair.cost(fill.price, fill.qty));
        [came, self.change(quote, -sign * cost, fill.fee, why)]
    }

    /// An order holds so much of an asset from now on, in place of what it held; 0: nothing.
    pub fn hold(&mut self, order: u64, asset: usize, amount: Amount) {
        let before = if amount == 0 { self.holds.remove(&order) } else { self.holds.insert(order, (asset, amount)) };
        if let Some((asset, amount)) = before {
            self.assets[asset].1.held -= amount;
        }
        if let Some((_, balance)) = self.assets.get_mut(asset) {
            balance.held += amount;
        }
    }

    /// What an order holds.
    #[must_use]
    pub fn held(&self, order: u64) -> Amount {
        self.holds.get(&order).map_or(0, |(_, amount)| *amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Evidence;
    use krakpot_core::decimal::pow10;

    fn pair() -> Pair {
        Pair::example()
    }

    fn fill(pair: &Pair, price: i64, qty: i64) -> Fill {
        let cost = pair.cost(Price(price), Qty(qty));
        Fill {
            exec_id: "T".into(),
            trade_id: None,
            counterparty: None,
            cost: None,
            qty: Qty(qty),
            price: Price(price),
            maker: false,
            fee: pair.fee(cost, false),
            evidence: Evidence::Exchange,
            doubt: false,
        }
    }

    /// Goal: a position is opened, added to, closed in parts and turned round; what it brought is worked out by hand.
    #[test]
    fn an_inventory_by_hand() {
        let (pair, mut wallet, mut inventory) = (pair(), Wallet::default(), Inventory::default());
        let one = pow10(20);
        wallet.deposit("USD", 1_000_000 * one);
        let coin = 100_000_000;
        let mut trade = |side, price: i64, qty: i64| {
            wallet.fill(&pair, &mut inventory, (1, side, 5), &fill(&pair, price * 10, qty));
            inventory
        };
        trade(Side::Buy, 100, coin);
        let held = trade(Side::Buy, 200, coin);
        assert_eq!((held.qty, held.average(&pair)), (Qty(2 * coin), Some(150 * one)));
        assert_eq!(held.unrealised(&pair, Price(1600)), 20 * one);
        let held = trade(Side::Sell, 180, coin / 2);
        assert_eq!((held.realised, held.average(&pair)), (15 * one, Some(150 * one)));
        let held = trade(Side::Sell, 140, 2 * coin);
        assert_eq!(held.realised, 0, "15 and 1.5 × -10");
        assert_eq!((held.qty, held.average(&pair)), (Qty(-coin / 2), Some(140 * one)));
        let held = trade(Side::Buy, 130, coin / 2);
        assert_eq!((held.qty, held.basis, held.realised), (Qty(0), 0, 5 * one));
        let usd = wallet.of("USD").total;
        assert_eq!(usd, 1_000_005 * one - held.fees);
        assert!(held.fees > 0 && wallet.of("BTC").total == 0);
    }

    /// Goal: prices and quantities that divide badly: realised and unrealised add up to what was paid and is there.
    #[test]
    fn nothing_is_lost_by_rounding() {
        let (pair, mut wallet, mut inventory) = (pair(), Wallet::default(), Inventory::default());
        let mut seed = 1u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((seed >> 33) % n).expect("small")
        };
        let mut turns = 0;
        for _ in 0..10_000 {
            let side = if next(2) == 0 { Side::Buy } else { Side::Sell };
            let before = inventory.qty;
            let one = fill(&pair, 1 + next(1_000_000), 1 + next(1_000_000_007));
            let entries = wallet.fill(&pair, &mut inventory, (1, side, 5), &one);
            turns += usize::from(before.0.signum() * inventory.qty.0.signum() < 0);
            assert_eq!(entries[1].balance, wallet.of("USD").total);
            let price = Price(1 + next(1_000_000));
            let cash = wallet.of("USD").total + inventory.fees;
            assert_eq!(cash + pair.cost(price, inventory.qty), inventory.realised + inventory.unrealised(&pair, price));
            assert_eq!(wallet.of("BTC").total, pair.amount(inventory.qty));
        }
        assert!(turns > 50, "positions turned round {turns} times");
    }

    /// Goal: what orders hold is replaced, and given back whole.
    #[test]
    fn holds() {
        let mut wallet = Wallet::default();
        wallet.deposit("USD", 100);
        let usd = wallet.asset("USD");
        wallet.hold(1, usd, 40);
        wallet.hold(2, usd, 10);
        wallet.hold(1, usd, 30);
        assert_eq!((wallet.of("USD").held, wallet.of("USD").free(), wallet.held(1)), (40, 60, 30));
        wallet.hold(1, usd, 0);
        wallet.hold(1, usd, 0);
        assert_eq!((wallet.of("USD").held, wallet.of("EUR")), (10, Balance::default()));
    }
}
