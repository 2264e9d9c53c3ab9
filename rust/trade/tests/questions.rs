//! Questions: each has the verdict of an order that is alone on paper, whatever else is asked; by hand, and at random.

mod told;

use std::cell::Cell;

use krakpot_core::session::{LevelEntry, OrderChange};
use krakpot_core::wire::message::{self, Kind, OrderEvent, OwnedOrderId};
use krakpot_trade::amount::{Price, Qty};
use krakpot_trade::paper::{Cancels, Latency, Model, Options, Paper};
use krakpot_trade::questions::{Ending, Part, Question, Verdict};
use krakpot_trade::report::{Change, Evidence, Reply};
use krakpot_trade::terms::{Request, Sent, Side, Terms, TimeInForce};
use told::{BOOK, Bench, MS, pair, quick};

/// The verdicts by number, and the parts.
type Found = (Vec<Verdict>, Vec<(u32, Part)>);

fn found(paper: &mut Paper) -> Found {
    paper.finish();
    assert!(!paper.is_asked());
    let (verdicts, parts) = paper.take_verdicts(0).expect("the pair is there");
    let (mut verdicts, mut parts): Found = (verdicts.collect(), parts.collect());
    verdicts.sort_by_key(|verdict| verdict.number);
    parts.sort_by_key(|part| part.0);
    (verdicts, parts)
}

fn question(number: u32, side: Side, price: i64, qty: i64, (at, until): (i64, i64)) -> Question {
    let until = if until == i64::MAX { until } else { until * MS };
    Question { number, side, price: Price(price), qty: Qty(qty), at: at * MS, until }
}

/// Goal: one place serves questions of several quantities; each is told its time, its evidence and what stood before it.
#[test]
fn questions_of_one_place_share_what_reaches_it() {
    let mut bench = Bench::empty(quick());
    let asked = [(0, 1, 900), (1, 3, 900), (2, 9, 900), (3, 9, 25)];
    let asked = asked.map(|(number, qty, until)| question(number, Side::Buy, 100, qty, (5, until)));
    let later = question(4, Side::Buy, 101, 5, (10, i64::MAX));
    bench.paper.ask(0, asked.into_iter().chain([later]).collect(), true);
    bench.snapshot(1, BOOK);
    bench.rows(8, "add buy 6 100 4");
    bench.trade(20, Side::Sell, 100, 10);
    bench.rows(20, "delete buy 1 100 5, delete buy 2 100 3, modify buy 6 100 2");
    bench.trade(30, Side::Sell, 99, 2);
    bench.rows(30, "modify buy 5 99 7");
    bench.rows(40, "add sell 7 100 4");
    bench.rows(1000, "add buy 8 98 1");
    let (verdicts, parts) = found(&mut bench.paper);
    let told = |verdict: &Verdict| {
        let evidence: Vec<_> = verdict.sum.evidence.iter().map(Evidence::word).collect();
        let times = verdict.sum.times().map(|(first, last)| (first / MS, last / MS));
        (verdict.ending, verdict.sum.filled, times, evidence.join(" "), verdict.sum.trade_id(), verdict.ahead)
    };
    let eight = Some(Qty(8));
    let told: Vec<_> = verdicts.iter().map(told).collect();
    assert_eq!(told[0], (Ending::Filled, 1, Some((20, 20)), "queue".into(), Some(1), eight));
    assert_eq!(told[1], (Ending::Filled, 3, Some((20, 30)), "queue through".into(), Some(1), eight));
    assert_eq!(told[2], (Ending::Expired, 8, Some((20, 40)), "queue through crossed".into(), Some(1), eight));
    assert_eq!(told[3], (Ending::Expired, 2, Some((20, 20)), "queue".into(), Some(1), eight));
    // It takes 4 at once, and what is traded through its price fills the rest.
    assert_eq!(told[4], (Ending::Filled, 5, Some((10, 20)), "taken through".into(), Some(1), Some(Qty::ZERO)));
    let parts: Vec<_> = parts.iter().filter(|part| part.0 == 2).map(|part| (part.1.ts / MS, part.1.qty.0)).collect();
    assert_eq!(parts, [(20, 2), (30, 2), (40, 4)]);
}

/// Goal: where the book is not known nothing is said; a gap while an order rests is counted; the end of the record, too.
#[test]
fn gaps_are_told() {
    let mut bench = Bench::empty(quick());
    let asked =
        [(0, 0, 500), (1, 5, 500), (2, 5, 15), (3, 5, 25), (4, 32, 60), (5, 45, 60), (6, 45, 900), (7, 950, 960)];
    let asked = asked.map(|(number, at, until)| question(number, Side::Buy, 100, 1, (at, until)));
    bench.paper.ask(0, asked.into(), false);
    bench.snapshot(1, BOOK);
    bench.rows(20, "add buy 6 98 4");
    bench.paper.gap(0, 30 * MS);
    bench.snapshot(40, BOOK);
    bench.rows(50, "add buy 6 98 4");
    bench.rows(70, "add buy 7 98 4");
    let (verdicts, _) = found(&mut bench.paper);
    let told: Vec<_> = verdicts.iter().map(|verdict| (verdict.ending, verdict.gaps, verdict.until / MS)).collect();
    assert_eq!(told[0], (Ending::NotRecorded, 0, 0), "before the first snapshot");
    assert_eq!(told[1], (Ending::Unfinished, 1, 70));
    assert_eq!(told[2], (Ending::Expired, 0, 15));
    assert_eq!(told[3], (Ending::Expired, 1, 25), "after the last message before the gap");
    assert_eq!(told[4], (Ending::NotRecorded, 0, 32));
    assert_eq!(told[5], (Ending::Expired, 0, 60));
    assert_eq!(told[6], (Ending::Unfinished, 0, 70));
    assert_eq!(told[7], (Ending::NotRecorded, 0, 950));
}

/// xorshift64*: the same everywhere.
struct Random(Cell<u64>);

impl Random {
    fn below(&self, n: i64) -> i64 {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        let bits = i64::try_from(state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).expect("31 bits");
        bits % n
    }

    fn side(&self) -> Side {
        if self.below(2) == 0 { Side::Buy } else { Side::Sell }
    }
}

/// A message of the record, with its receive time and the exchange's.
enum Input {
    Orders(i64, i64, Kind, Vec<OrderChange>),
    Levels(i64, i64, Kind, Vec<LevelEntry>),
    Trade(i64, i64, Side, i64, i64),
    Gap(i64),
}

/// A random record, whatever a matching engine would say to it; its last gap comes after everything.
fn script(random: &Random, by_orders: bool) -> Vec<Input> {
    let mut now = 10_000;
    let mut inputs = Vec::new();
    for step in 0..150 {
        now += random.below(4) * 500;
        let ts = now - random.below(4) * 500;
        match random.below(10) {
            0..=5 => {
                let kind = if step == 0 || random.below(30) == 0 { Kind::Snapshot } else { Kind::Update };
                let (mut orders, mut levels) = (Vec::new(), Vec::new());
                for _ in 0..=random.below(4) {
                    let is_bid = random.below(2) == 0;
                    let price = if is_bid { 101 - random.below(7) } else { 100 + random.below(7) };
                    let side = if is_bid { message::Side::Bid } else { message::Side::Ask };
                    let (price, qty) =
                        (i128::from(price) * 10_i128.pow(10), i128::from(random.below(7)) * 10_i128.pow(10));
                    let events = [OrderEvent::Add, OrderEvent::Add, OrderEvent::Modify, OrderEvent::Delete];
                    let event = Some(events[usize::try_from(random.below(4)).expect("small")]);
                    let id = OwnedOrderId::new(&random.below(20).to_string());
                    let timestamp = ts - random.below(3) * 2000;
                    orders.push(OrderChange { side, event, id, price, qty, timestamp });
                    levels.push(LevelEntry { side, price, qty });
                }
                inputs.push(if by_orders {
                    Input::Orders(now, ts, kind, orders)
                } else {
                    Input::Levels(now, ts, kind, levels)
                });
            }
            6..=8 => inputs.push(Input::Trade(now, ts, random.side(), 98 + random.below(6), 1 + random.below(6))),
            _ if random.below(5) == 0 => inputs.push(Input::Gap(now)),
            _ => {}
        }
    }
    inputs.push(Input::Gap(now + 1_000_000));
    inputs
}

fn play(paper: &mut Paper, inputs: &[Input]) {
    for (number, input) in (1..).zip(inputs) {
        match input {
            Input::Orders(recv, ts, kind, rows) => paper.level3(0, *recv, Some(*ts), *kind, rows),
            Input::Levels(recv, ts, kind, rows) => paper.level2(0, *recv, Some(*ts), *kind, rows),
            Input::Trade(recv, ts, taker, price, qty) => {
                paper.trade(0, *recv, *ts, *taker, Price(*price), Qty(*qty), number);
            }
            Input::Gap(recv) => paper.gap(0, *recv),
        }
    }
}

/// What becomes of one order that is alone on paper. Its answers are so late that the record is known before.
fn alone(options: Options, inputs: &[Input], question: &Question) -> (Ending, Vec<Part>) {
    let mut paper = Paper::new(options);
    assert_eq!((paper.set_pair(pair()), paper.add_account()), (Some(0), Some(0)));
    let mut terms = Terms::limit(0, question.side, question.qty, question.price);
    terms.time_in_force = TimeInForce::Gtd(question.until);
    let request = Request::Add { order: 1, terms, deadline: i64::MAX };
    paper.send_at(0, Sent { ts: question.at, request }, question.at);
    play(&mut paper, inputs);
    paper.advance(i64::MAX);
    let (mut ending, mut parts) = (Ending::Unfinished, Vec::new());
    for (_, _, reply) in paper.take_replies() {
        match reply {
            Reply::Answer(answer) if answer.result.is_err() => ending = Ending::NotRecorded,
            Reply::Answer(_) => {}
            Reply::Report(report) => match report.change {
                Change::Fill(fill) => parts.push(Part {
                    ts: report.ts,
                    evidence: fill.evidence,
                    price: fill.price,
                    qty: fill.qty,
                    trade_id: fill.trade_id,
                    doubt: fill.doubt,
                }),
                Change::Filled => ending = Ending::Filled,
                Change::Expired => ending = Ending::Expired,
                _ => {}
            },
        }
    }
    (ending, parts)
}

/// Goal: on random records with gaps, lost rows, orders that move and windows that shift, a thousand questions at once have
/// the verdicts of as many runs with one order each.
#[test]
fn a_verdict_is_that_of_an_order_that_is_alone() {
    let (mut parts_of, mut endings) = ([0_usize; 5], [0_usize; 4]);
    for seed in 1..=400_u64 {
        let random = Random(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1));
        let model = match seed % 4 {
            0 => Model::Bounds(Cancels::Ahead),
            1 => Model::Bounds(Cancels::Behind),
            _ => Model::Orders,
        };
        let latency = Latency::Fixed { entry: 0, response: i64::MAX / 4 };
        let depth = [2, 4, 1000][usize::try_from(seed % 3).expect("small")];
        let options = Options { model, latency, join: random.below(3) * 2000, depth, ..Options::default() };
        let inputs = script(&random, model == Model::Orders);
        let questions: Vec<Question> = (0..30)
            .map(|number| {
                // Many at one price and time.
                let at = 9_000 + random.below(60) * 2000 + random.below(2);
                // Some are asked for longer than the record is.
                let until = at + random.below(60) * 1500 + if random.below(8) == 0 { 10_000_000 } else { 0 };
                let (side, price, qty) = (random.side(), Price(97 + random.below(8)), Qty(1 + random.below(9)));
                Question { number, side, price, qty, at, until }
            })
            .collect();
        let mut paper = Paper::new(options);
        assert_eq!(paper.set_pair(pair()), Some(0));
        paper.ask(0, questions.clone(), true);
        play(&mut paper, &inputs);
        let (verdicts, parts) = found(&mut paper);
        assert_eq!(verdicts.len(), questions.len());
        for (question, verdict) in questions.iter().zip(&verdicts) {
            let (mut ending, expected) = alone(options, &inputs, question);
            if ending == Ending::Expired && question.until > 5_000_000 {
                // The clock goes on after the record; what it says then is not recorded.
                ending = Ending::Unfinished;
            }
            let mine: Vec<Part> = parts.iter().filter(|part| part.0 == question.number).map(|part| part.1).collect();
            assert_eq!(mine, expected, "seed {seed}, {model:?}, {question:?}");
            assert_eq!(verdict.ending, ending, "seed {seed}, {question:?}");
            let sum = |only: bool| mine.iter().filter(|part| !only || !part.doubt).map(|part| part.qty.0).sum::<i64>();
            assert_eq!((verdict.sum.filled, verdict.sum.certain), (sum(false), sum(true)), "seed {seed}, {question:?}");
            let times = mine.first().zip(mine.last()).map(|(first, last)| (first.ts, last.ts));
            assert_eq!(verdict.sum.times(), times);
            assert_eq!(verdict.sum.trade_id(), mine.iter().find_map(|part| part.trade_id));
            let mut kinds: Vec<Evidence> = Vec::new();
            for part in &mine {
                if !kinds.contains(&part.evidence) {
                    kinds.push(part.evidence);
                }
            }
            assert_eq!(verdict.sum.evidence.iter().collect::<Vec<_>>(), kinds);
            let all = [Evidence::Queue, Evidence::Beyond, Evidence::Through, Evidence::Crossed, Evidence::Taken];
            for part in &mine {
                parts_of[all.iter().position(|kind| *kind == part.evidence).expect("known")] += 1;
            }
            endings[ending as usize] += 1;
        }
    }
    assert!(parts_of.iter().all(|count| *count > 100), "{parts_of:?}");
    assert!(endings.iter().all(|count| *count > 100), "{endings:?}");
}
