//! Compares the engine of paper trading with cases that were worked out elsewhere: `fills FILE…`.
//!
//! A file is lines of JSON. Prices are ticks, quantities lots, times milliseconds; all of them whole numbers. A line
//! without `t` and without `expect` begins a case: `{"case": "name", "entry": 1}`, where `entry` is how long requests are
//! on their way. A case that has no name goes by that of its file. Then come, in any order:
//!
//! - the record: `{"t": 20, "trade": [["sell", 100, 4]], "level3": [["delete", "buy", 2, 100, 3]]}`. A trade is the side of
//!   its taker, price and quantity; a row of level 3 is `add`, `modify` or `delete`, the side, the order's number, price,
//!   quantity (of a `modify` what is left), and its own time if that is not `t`. A line is one instant: the trades come
//!   first, then what orders lost, then new orders.
//! - `{"t": 30, "gap": true}`: the book is not known until `{"t": 40, "snapshot": true, "level3": […]}`.
//! - own requests: `{"t": 5, "own": "a", "do": "send", "side": "buy", "qty": 2, "price": 100}`, with `tif` (`ioc`, `fok`),
//!   `post_only`, `deadline_ms` and an `entry` of its own if need be; `"do": "amend"` with `qty` or `price`, `"cancel"`.
//! - `{"expect": {…}}`: the next event that must come out. Lines with `others` are ignored.
//!
//! The book is empty and known at the beginning. Each own order is judged as if it were alone ([`Together::Alone`]). For
//! every case the events are printed as JSON, then `ok` or `BAD` with its name, and what was wanted instead.
#![allow(clippy::disallowed_methods, reason = "a program around the engine: it reads its arguments and files")]
#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::sync::Arc;

use krakpot_core::decimal::pow10;
use krakpot_core::limits::SCALE;
use krakpot_core::session::OrderChange;
use krakpot_core::wire::message::{self, Kind, OrderEvent, OwnedOrderId};
use krakpot_trade::amount::{FeeRate, Price, Qty};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{Latency, Options, Paper, Together};
use krakpot_trade::report::{Asked, Change, Reply};
use krakpot_trade::terms::{Request, Sent, Side, Terms, TimeInForce};
use serde_json::{Value, json};

const MS: i64 = 1_000_000;
/// Lines of one millisecond are instants of their own.
const INSTANT: i64 = 1_000;

fn number(value: &Value, what: &str) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("{value} is no {what}; give a whole number"))
}

fn time(value: &Value, what: &str) -> Result<i64, String> {
    number(value, what)?.checked_mul(MS).ok_or_else(|| format!("{value} ms is too long ago or too far off"))
}

fn side(value: &Value) -> Result<Side, String> {
    match value.as_str() {
        Some("buy") => Ok(Side::Buy),
        Some("sell") => Ok(Side::Sell),
        _ => Err(format!("{value} is no side; give \"buy\" or \"sell\"")),
    }
}

/// The rows of a line, what orders lose before what is new.
fn rows(line: &Value, now: i64) -> Result<Vec<OrderChange>, String> {
    let mut rows = Vec::new();
    for row in line["level3"].as_array().into_iter().flatten() {
        let event = row[0].as_str().and_then(OrderEvent::named);
        let event =
            event.ok_or_else(|| format!("{row} begins with no event; give \"add\", \"modify\" or \"delete\""))?;
        let scaled = |at: usize, what| Ok::<i128, String>(i128::from(number(&row[at], what)?) * pow10(SCALE));
        let timestamp = if row[5].is_null() { now } else { time(&row[5], "time of an order")? };
        rows.push(OrderChange {
            side: if side(&row[1])? == Side::Buy { message::Side::Bid } else { message::Side::Ask },
            event: Some(event),
            id: OwnedOrderId::new(&row[2].to_string()),
            price: scaled(3, "price")?,
            qty: scaled(4, "quantity")?,
            timestamp,
        });
    }
    rows.sort_by_key(|row| match row.event {
        Some(OrderEvent::Delete) => 0,
        Some(OrderEvent::Modify) => 1,
        _ => 2,
    });
    Ok(rows)
}

fn request(line: &Value, numbers: &mut HashMap<String, u64>, names: &mut Vec<String>) -> Result<Request, String> {
    let name = line["own"].as_str().ok_or("\"own\" is the name of an order, as text")?.to_owned();
    let optional = |field: &str| match &line[field] {
        Value::Null => Ok(None),
        value => number(value, field).map(Some),
    };
    let (qty, price) = (optional("qty")?.map(Qty), optional("price")?.map(Price));
    let mut new = || {
        names.push(name.clone());
        names.len() as u64 - 1
    };
    let known = numbers.get(&name).copied();
    let deadline = match &line["deadline_ms"] {
        Value::Null => i64::MAX,
        value => time(&line["t"], "time")?.saturating_add(time(value, "deadline")?),
    };
    match line["do"].as_str() {
        Some("send") => {
            let order = new();
            numbers.insert(name, order);
            let time_in_force = match line["tif"].as_str() {
                None | Some("gtc") => TimeInForce::Gtc,
                Some("ioc") => TimeInForce::Ioc,
                Some("fok") => TimeInForce::Fok,
                Some(other) => return Err(format!("tif {other:?} is not known; give gtc, ioc or fok")),
            };
            let terms = Terms {
                pair: 0,
                side: side(&line["side"])?,
                qty: qty.ok_or("an order has a qty")?,
                price,
                time_in_force,
                post_only: line["post_only"] == true,
                display: None,
                trigger: None,
            };
            Ok(Request::Add { order, terms, deadline })
        }
        Some("amend") => Ok(Request::Amend { order: known.unwrap_or_else(new), qty, price, deadline }),
        Some("cancel") => Ok(Request::Cancel { order: known.unwrap_or_else(new) }),
        _ => Err(format!("{} is no request; \"do\" is send, amend or cancel", line["do"])),
    }
}

/// An event as the cases name it.
fn event(reply: &Reply, names: &[String]) -> Option<Value> {
    let head = |ts: i64, order: u64, event: &str, more: Value| {
        // Instants of a millisecond end with it.
        let ms = ts.div_euclid(MS) + i64::from(ts.rem_euclid(MS) != 0);
        let own = usize::try_from(order).ok().and_then(|at| names.get(at)).map_or("", |name| name);
        let mut value = json!({"t": ms, "own": own, "event": event});
        if let (Some(into), Value::Object(more)) = (value.as_object_mut(), more) {
            into.extend(more);
        }
        value
    };
    match reply {
        Reply::Answer(answer) => {
            let event = match answer.asked {
                Asked::Add => "rejected",
                Asked::Amend => "amend_rejected",
                Asked::Cancel => "cancel_rejected",
            };
            let error = answer.result.as_ref().err()?;
            Some(head(answer.ts, answer.order, event, json!({"error": **error})))
        }
        Reply::Report(report) => {
            let (event, more) = match &report.change {
                Change::New => ("new", json!({})),
                Change::Filled => ("filled", json!({})),
                Change::Fill(fill) => {
                    let liquidity = if fill.maker { "m" } else { "t" };
                    let (qty, price, evidence) = (fill.qty.0, fill.price.0, fill.evidence.word());
                    ("fill", json!({"qty": qty, "price": price, "liquidity": liquidity, "evidence": evidence}))
                }
                Change::Amended { qty, price, .. } => {
                    ("amended", json!({"qty": qty.0, "price": price.map(|price| price.0)}))
                }
                Change::Canceled => {
                    // The cases have shorter words.
                    let reason = match &*report.reason {
                        "Immediate or cancel" => "ioc",
                        "Fill or kill" => "fok",
                        "Self trade prevention" => "stp cancel_newest",
                        other => other,
                    };
                    ("canceled", json!({"reason": reason}))
                }
                Change::Expired => ("expired", json!({})),
                _ => return None,
            };
            Some(head(report.ts, report.order, event, more))
        }
    }
}

fn paper() -> Result<Paper, String> {
    let latency = Latency::Fixed { entry: 0, response: 0 };
    let mut paper =
        Paper::new(Options { latency, join: 0, together: Together::Alone, depth: u16::MAX, ..Options::default() });
    let text = |text: &str| Arc::<str>::from(text);
    let pair = Pair {
        symbol: text("A/B"),
        base: text("A"),
        quote: text("B"),
        price_precision: 0,
        qty_precision: 0,
        cost_precision: 0,
        price_increment: Price(1),
        qty_min: Qty(1),
        cost_min: 0,
        maker: FeeRate(0),
        taker: FeeRate(0),
        status: text("online"),
    };
    paper.set_pair(pair).ok_or("the pair is refused")?;
    paper.add_account().ok_or("the account is refused")?;
    paper.level3(0, i64::MIN, None, Kind::Snapshot, &[]);
    Ok(paper)
}

/// The events of a case.
fn run(case: &[Value]) -> Result<Vec<Value>, String> {
    let mut paper = paper()?;
    let (mut numbers, mut names) = (HashMap::new(), Vec::new());
    let mut record: BTreeMap<i64, Vec<&Value>> = BTreeMap::new();
    let entry = time(case[0].get("entry").unwrap_or(&json!(0)), "entry")?;
    for line in &case[1..] {
        let now = time(&line["t"], "time")?;
        if line.get("own").is_none() {
            record.entry(now).or_default().push(line);
            continue;
        }
        let entry = if line["entry"].is_null() { entry } else { time(&line["entry"], "entry")? };
        let request = request(line, &mut numbers, &mut names)?;
        paper.send_at(0, Sent { ts: now, request }, now.saturating_add(entry));
    }
    let mut trade_id = 0;
    for (now, lines) in record {
        for (behind, line) in (0..lines.len()).rev().zip(&lines) {
            // The last line of a millisecond is at its end.
            let at = now - i64::try_from(behind).unwrap_or(0) * INSTANT;
            if line["gap"] == true {
                paper.gap(0, at);
                continue;
            }
            for trade in line["trade"].as_array().into_iter().flatten() {
                let (price, qty) = (number(&trade[1], "price")?, number(&trade[2], "quantity")?);
                trade_id += 1;
                paper.trade(0, at, at, side(&trade[0])?, Price(price), Qty(qty), trade_id);
            }
            let kind = if line["snapshot"] == true { Kind::Snapshot } else { Kind::Update };
            paper.level3(0, at, Some(at), kind, &rows(line, now)?);
        }
    }
    paper.advance(i64::MAX);
    if paper.skipped(0) > 0 {
        println!("note: {} rows name orders that are not there, or come in a gap", paper.skipped(0));
    }
    Ok(paper.take_replies().iter().filter_map(|(_, _, reply)| event(reply, &names)).collect())
}

/// Runs a case, and says whether it is as expected.
fn judge(name: &str, case: &[Value], expected: &[Value]) -> bool {
    let (got, error) = match run(case) {
        Ok(got) => (got, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    for event in &got {
        println!("{event}");
    }
    if error.is_none() && got == expected {
        println!("ok  {name}");
        return true;
    }
    println!("BAD {name}{}", error.map_or(String::new(), |error| format!(": {error}")));
    for event in expected {
        println!("    want {event}");
    }
    false
}

fn main() -> ExitCode {
    let mut all_are_right = true;
    for file in std::env::args().skip(1) {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                println!("BAD {file}: {error}");
                all_are_right = false;
                continue;
            }
        };
        let mut cases: Vec<(Vec<Value>, Vec<Value>)> = Vec::new();
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let value: Value = match serde_json::from_str(line) {
                Ok(value) => value,
                Err(error) => {
                    println!("BAD {file}: line {}: {error}", n + 1);
                    all_are_right = false;
                    continue;
                }
            };
            let is_head = ["t", "expect", "others"].iter().all(|field| value.get(field).is_none());
            match (cases.last_mut(), value.get("expect")) {
                _ if is_head => cases.push((vec![value], Vec::new())),
                (Some(case), Some(expected)) => case.1.push(expected.clone()),
                (Some(case), None) if value.get("others").is_none() => case.0.push(value),
                (Some(_), None) => {}
                (None, _) => {
                    println!("BAD {file}: line {}: a case begins with a line without \"t\"", n + 1);
                    all_are_right = false;
                }
            }
        }
        for (case, expected) in &cases {
            let name = case[0]["case"].as_str().unwrap_or(&file);
            all_are_right &= judge(name, case, expected);
        }
    }
    if all_are_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
