//! The journal of an account as Python keeps and audits it: rows are durable after a commit, and say what a new process
//! goes on from.

use std::collections::{BTreeMap, BTreeSet};

use krakpot_core::decimal::Decimal;
use krakpot_trade::amount::{AMOUNT_SCALE, Amount};
use krakpot_trade::note::{Fact, Note};

/// A number of a row, to the last digit.
pub fn amount(text: &str) -> Amount {
    Decimal::parse(text.as_bytes()).and_then(|number| number.rescale(AMOUNT_SCALE)).expect(text)
}

pub fn fact<'a>(row: &'a Note, name: &str) -> &'a Fact {
    row.facts.iter().find(|fact| fact.0 == name).map_or(&Fact::None, |fact| &fact.1)
}

pub fn text<'a>(row: &'a Note, name: &str) -> &'a str {
    if let Fact::Text(text) = fact(row, name) { text } else { "" }
}

pub fn whole(row: &Note, name: &str) -> Option<i64> {
    if let Fact::Int(number) = fact(row, name) { Some(*number) } else { None }
}

pub fn order(row: &Note) -> Option<u64> {
    if let Fact::Number(number) = fact(row, "order") { Some(*number) } else { None }
}

/// An order as the journal knows it.
#[derive(Debug, Clone)]
pub struct Intent {
    pub row: Note,
    pub total: Amount,
    pub order_id: String,
    pub filled: Amount,
    pub fills: Vec<Note>,
    pub ended: String,
}

/// What a journal says at its end, and what its rows prove.
#[derive(Debug, Default, Clone)]
pub struct State {
    pub orders: BTreeMap<u64, Intent>,
    pub last_order: u64,
    /// Balances by the last row of them and all that came after; `None` before the first.
    pub known: Option<BTreeMap<String, Amount>>,
    pub seen: BTreeSet<String>,
    pub problems: Vec<String>,
}

impl State {
    pub fn of(rows: &[Note]) -> Self {
        let mut state = Self::default();
        for row in rows {
            state.apply(row);
        }
        state
    }

    pub fn open(&self) -> impl Iterator<Item = (u64, &Intent)> {
        self.orders.iter().filter(|one| one.1.ended.is_empty()).map(|(number, intent)| (*number, intent))
    }

    fn change(&mut self, asset: &str, change: Amount) {
        if let Some(known) = &mut self.known {
            *known.entry(asset.to_owned()).or_default() += change;
        }
    }

    pub fn apply(&mut self, row: &Note) {
        if row.kind == "intent" && text(row, "method") == "add" {
            let number = order(row).expect("a number");
            let (row, total) = (row.clone(), amount(text(row, "qty")));
            let empty = (String::new(), String::new());
            let intent = Intent { row, total, order_id: empty.0, filled: 0, fills: Vec::new(), ended: empty.1 };
            assert!(self.orders.insert(number, intent).is_none(), "order {number} is asked for twice");
            self.last_order = self.last_order.max(number);
        } else if let Some(intent) = order(row).and_then(|number| self.orders.get_mut(&number)) {
            if !text(row, "order_id").is_empty() {
                text(row, "order_id").clone_into(&mut intent.order_id);
            }
            if row.kind == "fill" && intent.fills.iter().all(|fill| text(fill, "exec_id") != text(row, "exec_id")) {
                intent.filled += amount(text(row, "qty"));
                intent.fills.push(row.clone());
            }
            if row.kind == "report" && !text(row, "qty").is_empty() {
                intent.total = amount(text(row, "qty"));
            }
            if matches!(row.kind, "report" | "answer" | "fill") {
                text(row, "ended").clone_into(&mut intent.ended);
            }
        }
        match row.kind {
            "fill" if self.seen.insert(text(row, "exec_id").to_owned()) => self.fill(row),
            "entry" => self.change(text(row, "asset"), amount(text(row, "amount")) - amount(text(row, "fee"))),
            "balances" => self.compare(row),
            _ => {}
        }
    }

    fn fill(&mut self, row: &Note) {
        match order(row).and_then(|number| self.orders.get(&number)) {
            None => self.problems.push(format!("a fill of an order that no row asked for: {row:?}")),
            Some(intent) if intent.filled > intent.total => self.problems.push(format!("too much is filled: {row:?}")),
            Some(_) => {}
        }
        let (base, quote) = text(row, "symbol").split_once('/').expect("a pair");
        let sign = if text(row, "side") == "buy" { 1 } else { -1 };
        self.change(base, sign * amount(text(row, "qty")));
        self.change(quote, -sign * amount(text(row, "cost")));
        if let Fact::Amounts(fees) = fact(row, "fees") {
            for (asset, fee) in fees {
                self.change(asset, -amount(fee));
            }
        }
    }

    fn compare(&mut self, row: &Note) {
        let Fact::Amounts(totals) = fact(row, "totals") else { panic!("{row:?}") };
        let told: BTreeMap<String, Amount> =
            totals.iter().map(|(asset, total)| (asset.clone(), amount(total))).collect();
        if let Some(known) = &self.known {
            for asset in told.keys().chain(known.keys()).collect::<BTreeSet<_>>() {
                let of = |all: &BTreeMap<String, Amount>| all.get(asset).copied().unwrap_or(0);
                if of(&told) != of(known) {
                    let words = format!("{asset}: the exchange says {}, rows say {}", of(&told), of(known));
                    self.problems.push(words);
                }
            }
        }
        self.known = Some(told);
    }
}
