//! Bytes as the life of a connection.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use krakpot_core::book::level2::Book;
use krakpot_core::limits;
use krakpot_core::session::{Channel, Options, Session};
use krakpot_core::table::ledger::LedgerKind;
use krakpot_core::table::schema::Table;
use krakpot_frames::{Market, Random, START};
use krakpot_lake::batch::batch;
use krakpot_lake::rebuild::{Rebuild, Verifier};
use serde_json::Value;

use crate::corpus;
use crate::ends::ends;
use crate::model::Model;
use crate::mutate::mutate;

const SECOND: i64 = 1_000_000_000;
const DEPTH: u16 = 10;
const SYMBOLS: [&str; 3] = ["A/USD", "LONGER NAME/USD", "C/EUR"];
/// Steps of one script: more bytes add nothing that more scripts do not.
const STEPS_MAX: usize = 2000;

/// Plays `data`: the first bytes choose seed and mode, each further byte one step. Panics where the session breaks its word.
pub fn session(data: &[u8]) {
    let Some((head, steps)) = data.split_at_checked(5) else { return };
    let seed = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
    let mut play = Play::new(seed, head[4] & 1 == 0);
    for &step in steps.iter().take(STEPS_MAX) {
        play.step(step);
    }
    play.finish();
}

struct Play {
    random: Random,
    observe: bool,
    /// A recording without receive times: the exchange's stand in, and no clock ticks.
    untimed: bool,
    session: Session,
    model: Model,
    markets: Vec<Market>,
    /// Answers of the exchange that are on their way.
    answers: VecDeque<String>,
    now: i64,
    ended: bool,
    /// Rows taken so far, by table, and the batches that prove them.
    taken: [u64; Table::ALL.len()],
    batches: Vec<(Table, RecordBatch)>,
}

impl Play {
    fn new(seed: u64, observe: bool) -> Self {
        let mut random = Random::new(seed);
        let mut markets: Vec<_> =
            SYMBOLS.iter().map(|symbol| Market::new(symbol, usize::from(DEPTH), random.next())).collect();
        // 0 to 5 decimals of price; an observer does not know the precision of the third symbol.
        for (market, (price, qty)) in markets.iter_mut().zip([(1, 8), (5, 0), (0, 10)]) {
            (market.price_precision, market.qty_precision) = (price, qty);
        }
        let told: Vec<_> = if observe { vec![(SYMBOLS[0], (1, 8)), (SYMBOLS[1], (5, 0))] } else { Vec::new() };
        let options = Options {
            passive: observe,
            depth: Some(DEPTH),
            precision: told.iter().map(|(symbol, p)| ((*symbol).to_owned(), *p)).collect(),
            frames: random.below(4) == 0,
            channels: vec![Channel::Book, Channel::Trade, Channel::Ticker],
            ..Options::default()
        };
        let untimed = observe && random.below(4) == 0;
        Self {
            random,
            observe,
            untimed,
            session: Session::new("fuzz", options),
            model: Model::new(observe, DEPTH, &told),
            markets,
            answers: VecDeque::new(),
            now: START,
            ended: false,
            taken: [0; Table::ALL.len()],
            batches: Vec::new(),
        }
    }

    fn step(&mut self, step: u8) {
        let i = usize::from(step >> 6) % self.markets.len();
        self.now += i64::from(step & 3) * 40_000_000;
        match step & 0x3F {
            0..24 => {
                let frame = self.markets[i].update();
                self.feed(frame.as_bytes());
            }
            24..28 => self.feed(self.markets[i].snapshot().clone().as_bytes()),
            // A lost message: the market moves, and no frame says so.
            28 => drop(self.markets[i].update()),
            29..34 => self.damaged(i),
            34..38 => {
                let frame = corpus::other(SYMBOLS[i], &mut self.random);
                self.feed(frame.as_bytes());
            }
            38..41 if !self.untimed => {
                self.now += i64::try_from(self.random.near(100)).expect("small") * SECOND / 2;
                self.session.take_ledger();
                self.session.tick(self.now);
                // The ticker of a script knows nothing of the book: after a while it contradicts a silent one.
                self.over(LedgerKind::Stale);
            }
            // Long enough for checkpoints; never without a frame, as a connection without heartbeats is given up.
            41 => {
                self.now += 1800 * SECOND;
                self.feed(br#"{"channel":"heartbeat"}"#);
            }
            42..47 => self.requests(),
            47..57 => {
                if let Some(answer) = self.answers.pop_front() {
                    self.feed(answer.as_bytes());
                }
            }
            57..59 => self.take(),
            59 => {
                let method = if self.random.below(2) == 0 { "unsubscribe" } else { "subscribe" };
                let depth = limits::DEPTHS[usize::try_from(self.random.near(5)).expect("small")];
                let frame = corpus::reply(method, "book", SYMBOLS[i], depth, self.random.below(20));
                self.feed(frame.as_bytes());
            }
            60 => self.feed(self.instrument("update").as_bytes()),
            61 => {
                // The precision of a pair changes; later frames come with the new digits.
                self.markets[i].price_precision = u8::try_from(self.random.below(7)).expect("small");
                self.feed(self.instrument("update").as_bytes());
            }
            62 if self.random.below(20) == 0 => {
                self.session.end(self.now, "cut");
                self.model.end();
                self.ended = true;
            }
            _ => assert!(self.session.take_ledger().len() <= limits::EVENTS_MAX),
        }
        self.bounds();
    }

    /// Books that the session has just ended of itself, as it says by events of this kind.
    fn over(&mut self, kind: LedgerKind) {
        for event in self.session.take_ledger() {
            if (event.kind, event.channel.as_deref()) == (kind, Some("book")) {
                self.model.drop(event.symbol.as_deref().expect("a symbol"));
            }
        }
        self.model.check(&self.session);
    }

    fn instrument(&self, kind: &str) -> String {
        let pairs: Vec<_> =
            self.markets.iter().map(|m| (m.symbol.as_str(), m.price_precision, m.qty_precision, "online")).collect();
        corpus::instrument(kind, &pairs)
    }

    fn damaged(&mut self, i: usize) {
        let frame = match self.random.below(6) {
            0..3 => self.markets[i].clone().update(),
            3 => self.markets[i].snapshot(),
            4 => corpus::other(SYMBOLS[i], &mut self.random),
            _ => self.instrument("snapshot"),
        };
        let other = self.markets[(i + 1) % 3].snapshot();
        let frame = mutate(frame.as_bytes(), other.as_bytes(), &mut self.random);
        self.feed(&frame);
    }

    fn feed(&mut self, frame: &[u8]) {
        let before = self.session.counts().clone();
        self.now += 1;
        if self.untimed {
            self.session.receive_untimed(frame);
            self.now = self.session.now();
        } else {
            self.session.receive(frame, self.now);
        }
        if self.ended {
            assert_eq!(self.session.counts().frames, before.frames, "nothing is taken after the end");
            return;
        }
        self.model.frame(&self.session, &before, frame);
    }

    /// The exchange answers what it is asked: an ack, and a snapshot of a book.
    fn requests(&mut self) {
        self.session.take_ledger();
        let requests = self.session.requests(self.now);
        // One in doubt ends when it is left.
        self.over(LedgerKind::Gap);
        for text in requests {
            assert!(!self.observe && !self.ended, "nothing is asked for: {text}");
            let request: Value = serde_json::from_str(&text).expect("a request is JSON");
            let (method, params) = (request["method"].as_str().expect("text"), &request["params"]);
            let channel = params["channel"].as_str().expect("text");
            let id = request["req_id"].as_u64().expect("a number");
            if channel == "instrument" {
                self.answers.push_back(corpus::reply(method, channel, "", DEPTH, id));
                self.answers.push_back(self.instrument("snapshot"));
                continue;
            }
            let symbols = params["symbol"].as_array().expect("a list");
            assert!(!symbols.is_empty() && symbols.len() <= limits::BATCH_MAX, "{text}");
            for symbol in symbols.iter().filter_map(Value::as_str) {
                self.answers.push_back(corpus::reply(method, channel, symbol, DEPTH, id));
                if let Some(market) = self.markets.iter().find(|m| m.symbol == symbol)
                    && (channel, method) == ("book", "subscribe")
                {
                    self.answers.push_back(market.snapshot());
                }
            }
        }
    }

    fn take(&mut self) {
        assert!(self.session.pending_rows() < 1_000_000, "a script is short");
        for rows in self.session.drain() {
            let table = rows.table;
            self.taken[table as usize] += rows.len as u64;
            let batch = batch("fuzz", rows)
                .unwrap_or_else(|error| panic!("rows of {} fit their schema: {error}", table.name()));
            self.batches.push((table, batch));
        }
        assert_eq!(self.session.pending_rows(), 0);
        assert_eq!(self.taken, self.session.counts().rows, "the rows are as many as were counted");
    }

    /// What a session holds stays within the named limits.
    fn bounds(&self) {
        let counts = self.session.counts();
        assert!(counts.messages.len() <= limits::CHANNELS_MAX + 1);
        let waiting =
            self.session.subscriptions().filter(|s| matches!(s.2, "requested" | "acked" | "unsubscribing")).count();
        assert!(waiting <= limits::WAITING_MAX);
        assert!(self.session.pairs().count() <= limits::SYMBOLS_MAX);
    }

    /// Proves the rows again, by the core's other door and with the ledger's account of what ended.
    fn finish(mut self) {
        self.session.end(self.now, "end of the script");
        self.model.end();
        self.model.check(&self.session);
        self.take();
        let of = |table: Table| self.batches.iter().filter(move |(t, _)| *t == table).map(|(_, batch)| batch);
        let mut verifier = Verifier::<Book>::new("fuzz", 0, 1);
        for ledger in of(Table::Ledger) {
            verifier.ends(&ends(ledger, "book")).expect("columns");
        }
        for checkpoints in of(Table::Checkpoints) {
            verifier.checkpoints(checkpoints).expect("columns");
        }
        for book in of(Table::Book) {
            verifier.messages(book).expect("columns");
        }
        let found = verifier.finish();
        let sum = |count: fn(&krakpot_lake::rebuild::Found) -> u64| found.iter().map(count).sum::<u64>();
        let counts = self.session.counts();
        let problems: Vec<_> = found.iter().flat_map(|found| &found.problems).collect();
        assert_eq!(
            (sum(|f| f.ok), sum(|f| f.bad), sum(|f| f.unchecked)),
            (counts.book.ok, counts.book.bad, counts.unchecked),
            "proved again: {problems:?}"
        );
        let unexplained = (sum(|f| f.bad_unexplained), sum(|f| f.unchecked_unexplained), sum(|f| f.checkpoints_bad));
        assert_eq!(unexplained, (0, 0, 0), "the ledger accounts for all: {problems:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: scripts reach what they are to test: living books, proofs, failures and refusals, in both modes.
    #[test]
    fn scripts_reach_every_outcome() {
        for observe in [true, false] {
            let mut random = Random::new(3);
            let mut play = Play::new(7, observe);
            let mut live = 0;
            for _ in 0..4000 {
                play.step(u8::try_from(random.below(256)).expect("a byte"));
                live = live.max(play.session.books_in_sync());
                if play.ended {
                    break;
                }
            }
            let counts = play.session.counts().clone();
            assert!(live == 3 && counts.book.ok > 100, "observe {observe}: {counts:?}");
            assert!(counts.book.bad > 0 && counts.unchecked > 0 && counts.errors > 0, "observe {observe}: {counts:?}");
            play.finish();
        }
    }
}
