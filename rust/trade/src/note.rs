//! Rows for the journal of an account: what was asked for, and what was heard. Numbers are texts with all digits.

use std::collections::BTreeMap;
use std::sync::Arc;

use krakpot_core::decimal::Decimal;

use crate::amount::{AMOUNT_SCALE, Amount, Price, Qty};
use crate::names::cl_ord_id;
use crate::order::Order;
use crate::pair::Pair;
use crate::reconcile::{Outcome, Unexplained};
use crate::report::{Asked, Change, Fill, Reply};
use crate::terms::{Request, Terms, TimeInForce};
use crate::wire::message::Entry;

/// A fact of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A text, or a number with decimals.
    Text(String),
    /// A whole number, or a time, ns.
    Int(i64),
    /// A number of an order.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Amounts by asset.
    Amounts(Vec<(String, String)>),
    /// Sentences.
    List(Vec<String>),
    /// Nothing.
    None,
}

/// A row: its kind, and its facts by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// `intent`, `answer`, `report`, `fill`, `balances`, `entry`, `reconciled`, `note`.
    pub kind: &'static str,
    /// Facts.
    pub facts: Vec<(&'static str, Fact)>,
}

impl Note {
    /// Whether it is of a request for an order or an amendment.
    #[must_use]
    pub fn is_order(&self) -> bool {
        self.kind == "intent" && !self.facts.iter().any(|(name, fact)| *name == "method" && *fact == text("cancel"))
    }
}

fn text(text: impl Into<String>) -> Fact {
    Fact::Text(text.into())
}

fn money(amount: Amount) -> String {
    let number = Decimal { mantissa: amount, scale: AMOUNT_SCALE }.to_string();
    // Amounts have more decimals than any asset.
    let short = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    short.to_owned()
}

fn qty(qty: Qty, pair: &Pair) -> Fact {
    text(Decimal { mantissa: qty.0.into(), scale: pair.qty_precision }.to_string())
}

fn price(price: Option<Price>, pair: &Pair) -> Fact {
    price
        .map_or(Fact::None, |price| text(Decimal { mantissa: price.0.into(), scale: pair.price_precision }.to_string()))
}

fn terms_of(terms: &Terms, pair: &Pair) -> Vec<(&'static str, Fact)> {
    let (tif, expire) = match terms.time_in_force {
        TimeInForce::Gtc => ("gtc", Fact::None),
        TimeInForce::Gtd(at) => ("gtd", Fact::Int(at)),
        TimeInForce::Ioc => ("ioc", Fact::None),
        TimeInForce::Fok => ("fok", Fact::None),
    };
    vec![
        ("symbol", text(&*pair.symbol)),
        ("side", text(terms.side.word())),
        ("qty", qty(terms.qty, pair)),
        ("price", price(terms.price, pair)),
        ("tif", text(tif)),
        ("expire", expire),
        ("post_only", Fact::Flag(terms.post_only)),
        ("display", terms.display.map_or(Fact::None, |display| qty(display, pair))),
        ("trigger", price(terms.trigger.map(|trigger| trigger.price), pair)),
        ("stop", terms.trigger.map_or(Fact::None, |trigger| Fact::Flag(trigger.stop))),
    ]
}

/// A request, before it is sent.
#[must_use]
pub fn intent(request: &Request, order: &Order, pair: &Pair, prefix: &str) -> Note {
    let name = cl_ord_id(prefix, order.number).unwrap_or_default();
    let mut facts = vec![("order", Fact::Number(order.number)), ("name", text(name))];
    let method = match *request {
        Request::Add { ref terms, deadline, .. } => {
            facts.extend(terms_of(terms, pair));
            facts.push(("deadline", Fact::Int(deadline)));
            facts.push(("tag", text(&*order.tag)));
            "add"
        }
        Request::Amend { qty: new, price: at, deadline, .. } => {
            facts.push(("qty", new.map_or(Fact::None, |new| qty(new, pair))));
            facts.push(("price", price(at, pair)));
            facts.push(("deadline", Fact::Int(deadline)));
            "amend"
        }
        Request::Cancel { .. } => "cancel",
    };
    facts.push(("method", text(method)));
    Note { kind: "intent", facts }
}

/// An order that no journal had was taken over.
#[must_use]
pub fn adopted(order: &Order, pair: &Pair, prefix: &str) -> Note {
    let terms = Terms { qty: order.qty, ..order.terms };
    let request = Request::Add { order: order.number, terms, deadline: order.deadline };
    let mut note = intent(&request, order, pair, prefix);
    note.facts.push(("adopted", Fact::Flag(true)));
    note
}

/// How an order ended, if it did and nothing is missing of it.
fn ended(order: &Order) -> Fact {
    if order.is_live() || order.at_stake().is_positive() { Fact::None } else { text(order.state().word()) }
}

fn id(order: &Order) -> Fact {
    order.order_id.as_ref().map_or(Fact::None, |id| text(&**id))
}

/// What the exchange said; `order` is what it is after it.
#[must_use]
pub fn reply(reply: &Reply, order: &Order, pair: &Pair) -> Note {
    let mut facts = vec![("order", Fact::Number(order.number))];
    let kind = match reply {
        Reply::Answer(answer) => {
            let asked = match answer.asked {
                Asked::Add => "add",
                Asked::Amend => "amend",
                Asked::Cancel => "cancel",
            };
            let error = answer.result.as_ref().err().map_or(Fact::None, |error| text(&**error));
            facts.extend([("asked", text(asked)), ("error", error), ("at", Fact::Int(answer.ts))]);
            "answer"
        }
        Reply::Report(report) => {
            if let Change::Fill(one) = &report.change {
                return fill(one, order, pair, report.ts);
            }
            let (change, changed) = match &report.change {
                Change::Pending => ("pending", Fact::None),
                Change::New => ("new", Fact::None),
                Change::Fill(_) => ("trade", Fact::None),
                Change::Filled => ("filled", Fact::None),
                Change::Amended { restated: false, .. } => ("amended", qty(order.qty, pair)),
                Change::Amended { restated: true, .. } => ("restated", qty(order.qty, pair)),
                Change::Refilled => ("refilled", Fact::None),
                Change::Triggered => ("triggered", Fact::None),
                Change::Canceled => ("canceled", Fact::None),
                Change::Expired => ("expired", Fact::None),
            };
            let reason = text(&*report.reason);
            facts.extend([
                ("change", text(change)),
                ("qty", changed),
                ("reason", reason),
                ("at", Fact::Int(report.ts)),
            ]);
            "report"
        }
    };
    facts.extend([("order_id", id(order)), ("filled", qty(order.filled, pair)), ("ended", ended(order))]);
    Note { kind, facts }
}

/// A fill.
#[must_use]
pub fn fill(fill: &Fill, order: &Order, pair: &Pair, at: i64) -> Note {
    let cost = fill.cost.unwrap_or_else(|| pair.cost(fill.price, fill.qty));
    let facts = vec![
        ("order", Fact::Number(order.number)),
        ("order_id", id(order)),
        ("exec_id", text(&*fill.exec_id)),
        ("trade_id", fill.trade_id.map_or(Fact::None, Fact::Int)),
        ("symbol", text(&*pair.symbol)),
        ("side", text(order.terms.side.word())),
        ("qty", qty(fill.qty, pair)),
        ("price", price(Some(fill.price), pair)),
        ("cost", text(money(cost))),
        ("fees", Fact::Amounts(vec![(pair.quote.to_string(), money(fill.fee))])),
        ("maker", Fact::Flag(fill.maker)),
        ("at", Fact::Int(at)),
        ("ended", ended(order)),
    ];
    Note { kind: "fill", facts }
}

/// Somebody looked for an order: this is what it is. `all`: the rows of its fills were written before.
#[must_use]
pub fn looked(order: &Order, pair: &Pair, at: i64, all: bool) -> Note {
    let state = text(order.state().word());
    let facts = vec![
        ("order", Fact::Number(order.number)),
        ("change", text("looked")),
        ("state", state),
        ("qty", qty(order.qty, pair)),
        ("reason", text(&*order.reason)),
        ("order_id", id(order)),
        ("filled", qty(order.filled, pair)),
        ("ended", if all { ended(order) } else { Fact::None }),
        ("at", Fact::Int(at)),
    ];
    Note { kind: "report", facts }
}

/// An order of an earlier run never came to the exchange.
#[must_use]
pub fn dead(number: u64, at: i64) -> Note {
    let facts =
        vec![("order", Fact::Number(number)), ("change", text("dead")), ("ended", text("dead")), ("at", Fact::Int(at))];
    Note { kind: "report", facts }
}

/// A change of a balance that no fill made.
#[must_use]
pub fn entry(entry: &Entry) -> Note {
    let facts = vec![
        ("asset", text(&*entry.asset)),
        ("amount", text(money(entry.amount))),
        ("fee", text(money(entry.fee))),
        ("what", text(&*entry.kind)),
        ("ledger_id", text(&*entry.ledger_id)),
        ("at", Fact::Int(entry.ts)),
    ];
    Note { kind: "entry", facts }
}

/// A change of a balance that own fills and entries do not explain, in an account in which other programs trade.
#[must_use]
pub fn others(one: &Unexplained, at: i64) -> Note {
    let facts = vec![
        ("asset", text(&*one.asset)),
        ("amount", text(money(one.found - one.expected))),
        ("fee", text("0")),
        ("what", text("others")),
        ("text", text("no own fill or entry explains it; it is taken for what other programs of the account did")),
        ("at", Fact::Int(at)),
    ];
    Note { kind: "entry", facts }
}

/// All balances, as the exchange says.
#[must_use]
pub fn balances(all: &BTreeMap<Arc<str>, Amount>) -> Note {
    let totals = all.iter().map(|(asset, total)| (asset.to_string(), money(*total))).collect();
    Note { kind: "balances", facts: vec![("totals", Fact::Amounts(totals))] }
}

/// Own orders agree with the exchange's.
#[must_use]
pub fn reconciled(outcome: &Outcome, unexplained: &[Unexplained]) -> Note {
    let of = |one: &Unexplained| {
        format!("{}: {} by the account, {} by the exchange", one.asset, money(one.expected), money(one.found))
    };
    let count = |count: usize| Fact::Int(i64::try_from(count).unwrap_or(i64::MAX));
    let facts = vec![
        ("found", count(outcome.found)),
        ("dead", count(outcome.dead)),
        ("adopted", count(outcome.adopted.len())),
        ("foreign", count(outcome.foreign.len())),
        ("unexplained", Fact::List(unexplained.iter().map(of).collect())),
    ];
    Note { kind: "reconciled", facts }
}

/// Own orders do not agree with the exchange's.
#[must_use]
pub fn failed(troubles: &[String]) -> Note {
    let facts =
        vec![("text", text("own orders do not agree with the exchange")), ("troubles", Fact::List(troubles.to_vec()))];
    Note { kind: "note", facts }
}
