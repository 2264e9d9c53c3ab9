//! A program that trades an account at the built-in exchange, in virtual time. It can be killed anywhere, and begun anew
//! from what its journal had on disk.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod journal;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use journal::{State, amount, fact, order, text, whole};
use krakpot_core::decimal::Decimal;
use krakpot_core::session::{BookMessage, BookOutcome, Event, LevelEntry, OrderChange, Received};
use krakpot_core::wire::message::Kind;
use krakpot_exchange::settings::Settings;
use krakpot_exchange::{Endpoint, Exchange};
use krakpot_trade::amount::{FeeRate, Price, Qty};
use krakpot_trade::books::{Books, Touch};
use krakpot_trade::live::{Earlier, Live, Options, Phase};
use krakpot_trade::names::order_number;
use krakpot_trade::note::{Fact, Note};
use krakpot_trade::order::{Found, State as OrderState};
use krakpot_trade::pair::Pair;
use krakpot_trade::paper::{Options as PaperOptions, Paper, Place};
use krakpot_trade::rate::Tier;
use krakpot_trade::reconcile::{Ask, Seen};
use krakpot_trade::report::{Evidence, Fill};
use krakpot_trade::run::{Call, Gap, Run, RunOptions, Venue, Wake};
use krakpot_trade::terms::{Side, Terms, TimeInForce};
use krakpot_trade::trader::{Options as TraderOptions, OrderEvent, Trader};
use serde_json::Value;

use crate::common::{Random, SECOND};
use crate::frames::{MS, START, texts};

pub const PREFIX: &str = "kptests0";
const TOKEN: &str = "a-token-of-the-test";
/// The exchange does not match an order later than this after it was sent.
pub const PATIENCE: i64 = 5 * SECOND;

/// What REST was asked, and what it said.
struct Question {
    number: u64,
    ask: Ask,
    /// When it is sent, and after that: was.
    asked: i64,
    answer: Option<(i64, Result<Shown, ()>)>,
}

enum Shown {
    Orders(Vec<Seen>),
    Fills(Vec<(Arc<str>, Fill)>),
}

/// What is on its way to the exchange.
enum Out {
    Frame(Vec<u8>),
    Close,
}

/// The exchange, and the ways to it.
pub struct World {
    pub exchange: Exchange,
    pub pair: Pair,
    pub random: Random,
    /// By the program's clock.
    pub now: i64,
    /// The exchange's clock less the program's.
    pub offset: i64,
    out: VecDeque<(i64, u64, Out)>,
    back: VecDeque<(i64, u64, Vec<u8>)>,
    connections: BTreeSet<u64>,
    questions: Vec<Question>,
    /// For so long nobody asks after a lockout, and until then.
    pub lock: i64,
    locked: i64,
    /// All texts that the exchange sent, if they are kept.
    pub texts: Option<Vec<Vec<u8>>>,
}

fn steps(text: &str, decimals: u8) -> i64 {
    let number = Decimal::parse(text.as_bytes()).and_then(|number| number.rescale(decimals));
    number.and_then(|number| i64::try_from(number).ok()).expect(text)
}

/// What has arrived until then.
fn pop<T>(way: &mut VecDeque<(i64, u64, T)>, until: i64) -> Option<(i64, u64, T)> {
    if way.front()?.0 <= until { way.pop_front() } else { None }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut exchange = Exchange::new(1, 60.0, seed, START, false);
        let mut settings = Settings::default();
        settings.set("tier=pro").expect("a setting");
        exchange.set_account(settings);
        exchange.allow(TOKEN, i64::MAX);
        let listed = exchange.pairs().next().expect("a pair");
        let pair = Pair {
            symbol: listed.symbol.as_str().into(),
            base: listed.base.as_str().into(),
            quote: listed.quote.as_str().into(),
            price_precision: listed.price_precision,
            qty_precision: listed.qty_precision,
            cost_precision: 4,
            price_increment: Price(1),
            qty_min: Qty(1000),
            cost_min: amount("0.5"),
            maker: FeeRate(2500),
            taker: FeeRate(4000),
            status: "online".into(),
        };
        Self {
            exchange,
            pair,
            random: Random(seed),
            now: START,
            offset: 0,
            out: VecDeque::new(),
            back: VecDeque::new(),
            connections: BTreeSet::new(),
            questions: Vec::new(),
            lock: 900 * SECOND,
            locked: i64::MIN,
            texts: None,
        }
    }

    fn way(&mut self) -> i64 {
        self.random.between(2 * MS, 40 * MS)
    }

    fn put(&mut self, connection: u64, what: Out) {
        let last = self.out.iter().filter(|frame| frame.1 == connection).map(|frame| frame.0).max();
        let at = (self.now + self.way()).max(last.unwrap_or(i64::MIN));
        self.out.push_back((at, connection, what));
        self.out.make_contiguous().sort_by_key(|frame| frame.0);
    }

    /// What is on its way over a connection comes so much later.
    pub fn delay(&mut self, connection: u64, by: i64) {
        self.out.iter_mut().filter(|frame| frame.1 == connection).for_each(|frame| frame.0 += by);
    }

    /// The same, and then the connection ends.
    pub fn hold_up(&mut self, connection: u64, by: i64) {
        self.delay(connection, by);
        self.put(connection, Out::Close);
        self.back.retain(|frame| frame.1 != connection);
    }

    pub fn send(&mut self, connection: u64, frame: &str) {
        self.put(connection, Out::Frame(frame.as_bytes().to_vec()));
    }

    /// What the exchange sent until now goes on its way.
    fn take(&mut self, at: i64) {
        for connection in self.connections.clone() {
            for text in texts(&self.exchange.take(connection)) {
                let at = (at + self.way()).max(self.back.back().map_or(i64::MIN, |last| last.0));
                if let Some(all) = &mut self.texts {
                    all.push(text.clone());
                }
                self.back.push_back((at, connection, text));
            }
        }
    }

    pub fn advance(&mut self, to: i64) {
        while let Some((at, connection, what)) = pop(&mut self.out, to) {
            self.exchange.advance(at + self.offset, usize::MAX, 0);
            match what {
                Out::Frame(text) => self.exchange.receive(connection, &text),
                Out::Close => {
                    self.exchange.disconnect(connection);
                    self.connections.remove(&connection);
                }
            }
            self.take(at);
        }
        self.exchange.advance(to + self.offset, usize::MAX, 0);
        self.take(to);
        self.now = to;
    }

    fn connect(&mut self) -> u64 {
        let connection = self.exchange.connect(Endpoint::Private);
        self.connections.insert(connection);
        connection
    }

    /// A connection ends: what was sent over it arrives, or not.
    fn close(&mut self, connection: u64) {
        if self.random.one_in(2) {
            self.out.retain(|frame| frame.1 != connection);
        }
        self.put(connection, Out::Close);
        self.back.retain(|frame| frame.1 != connection);
    }

    /// Best bid and ask.
    pub fn touch(&self) -> Touch {
        let [bid, ask] = self.exchange.book(&self.pair.symbol, 1).expect("a book").map(|side| {
            let level = side.first()?;
            let price = Price(steps(&level.0, self.pair.price_precision));
            Some((price, Qty(steps(&level.1, self.pair.qty_precision))))
        });
        Touch { bid, ask }
    }

    // REST.

    /// Numbers of the questions that have no answer yet.
    pub fn questions(&self) -> impl Iterator<Item = u64> + '_ {
        self.questions.iter().map(|question| question.number)
    }

    /// Whether a signed request is refused.
    fn refused(&mut self, method: &str) -> bool {
        let Some(text) = self.exchange.refuse_signed(method) else { return false };
        if text.contains("lockout") {
            self.locked = self.now + self.lock + SECOND;
        }
        true
    }

    fn show(&mut self, ask: &Ask) -> Result<Shown, ()> {
        let method = match ask {
            Ask::Orders(_) => "QueryOrders",
            Ask::Closed { .. } => "ClosedOrders",
            Ask::Trades(_) => "TradesHistory",
        };
        if self.refused(method) {
            return Err(());
        }
        let at = self.exchange.shown_at(method);
        Ok(match ask {
            Ask::Orders(ids) => {
                let is = |row: &Value| ids.iter().any(|id| row["id"] == **id);
                Shown::Orders(self.orders("orders", at, is))
            }
            Ask::Closed { names, from, to } => {
                let made = |row: &Value| row["created"].as_i64().is_some_and(|at| *from < at && at <= *to);
                let is = |row: &Value| names.iter().any(|name| row["cl_ord_id"] == **name);
                // One is asked for by its name; of several all of their time are read.
                Shown::Orders(self.orders("closed", at, |row| is(row) && (names.len() == 1 || made(row))))
            }
            Ask::Trades(since) => Shown::Fills(self.fills(at, *since)),
        })
    }

    fn orders(&self, what: &str, at: i64, is: impl Fn(&Value) -> bool) -> Vec<Seen> {
        let all = self.exchange.account(what, at);
        all.as_array().expect("orders").iter().filter(|row| is(row)).map(|row| self.seen(row)).collect()
    }

    fn seen(&self, row: &Value) -> Seen {
        let (p, q) = (self.pair.price_precision, self.pair.qty_precision);
        let state = match row["status"].as_str().expect("a word") {
            "pending" => OrderState::Pending,
            "open" => OrderState::Open,
            "closed" => OrderState::Filled,
            "canceled" => OrderState::Canceled,
            _ => OrderState::Expired,
        };
        let found = Found {
            ts: row["closed"].as_i64().or(row["created"].as_i64()).expect("a time"),
            order_id: row["id"].as_str().expect("an id").into(),
            state,
            qty: Qty(steps(row["qty"].as_str().expect("a number"), q)),
            price: row["limit"].as_str().map(|price| Price(steps(price, p))),
            filled: Qty(steps(row["filled"].as_str().expect("a number"), q)),
            fills: Vec::new(),
            reason: row["reason"].as_str().unwrap_or_default().into(),
        };
        Seen { name: row["cl_ord_id"].as_str().map(Arc::from), found }
    }

    fn fills(&self, at: i64, since: i64) -> Vec<(Arc<str>, Fill)> {
        let all = self.exchange.account("trades", at);
        let rows = all.as_array().expect("trades").iter().filter(|row| row["ts"].as_i64().expect("a time") > since);
        let word = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
        let of = |row: &Value| {
            let fill = Fill {
                exec_id: word(row, "id").into(),
                trade_id: row["trade_id"].as_i64(),
                counterparty: None,
                qty: Qty(steps(&word(row, "qty"), self.pair.qty_precision)),
                price: Price(steps(&word(row, "price"), self.pair.price_precision)),
                cost: Some(amount(&word(row, "cost"))),
                maker: row["maker"].as_bool().expect("a flag"),
                fee: amount(&word(row, "fee")),
                evidence: Evidence::Exchange,
                doubt: false,
            };
            (word(row, "order").into(), fill)
        };
        rows.map(of).collect()
    }
}

/// The book of the pair, as far as a program looks at it.
struct Book(Touch);

impl Books for Book {
    fn session(&self) -> &'static str {
        ""
    }

    fn touch(&self, _: &str, _: bool) -> Option<Touch> {
        Some(self.0)
    }

    fn orders(&self, _: &str) -> Option<Vec<OrderChange>> {
        None
    }

    fn levels(&self, _: &str) -> Option<Vec<LevelEntry>> {
        None
    }

    fn place(&self, _: &str, _: Side, _: Price, _: &str) -> Option<Place> {
        None
    }
}

/// Where a program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The order is in the journal, and was not sent.
    Journal,
    /// It was sent.
    Send,
    /// The answer was heard.
    Answer,
    /// The first report was.
    First,
    /// Its end was.
    Last,
}

impl Point {
    pub const ALL: [Self; 5] = [Self::Journal, Self::Send, Self::Answer, Self::First, Self::Last];

    /// Whether a row says that it is reached by what was heard.
    fn is_heard(self, row: &Note, number: u64) -> bool {
        if order(row) != Some(number) {
            return false;
        }
        match self {
            Self::Journal | Self::Send => false,
            Self::Answer => row.kind == "answer" && text(row, "asked") == "add",
            Self::First => matches!(row.kind, "report" | "fill"),
            Self::Last => !text(row, "ended").is_empty(),
        }
    }
}

/// One life of the program.
pub struct Client {
    pub run: Run,
    pub live: Live,
    /// Rows that are not on disk yet.
    pending: Vec<Note>,
    pub connection: Option<u64>,
    pub connect_at: i64,
    /// From when on a sign of life may be asked for again.
    ping_at: i64,
    /// When the reconciliation of the connection began.
    begun: Option<i64>,
    pub gaps: Vec<Gap>,
    pub heard: Vec<OrderEvent>,
    pub renewals: Vec<String>,
}

impl Client {
    /// Begins with what a journal says.
    pub fn new(state: &State, options: &Options, world: &World) -> Self {
        let pair = world.pair.clone();
        let venue = Venue::Live { shadow: false };
        let settings = RunOptions { wake: Wake::Never, warmup: 0, quote: pair.quote.clone(), venue };
        let mut run = Run::new(settings, Paper::new(PaperOptions::default()));
        assert_eq!(run.add_pair(pair.clone(), true), Some(0));
        let first_order = state.last_order + 1;
        let mut trader = Trader::new(TraderOptions { tier: Tier::PRO, first_order, ..TraderOptions::default() });
        trader.set_pair(pair.clone());
        assert_eq!(run.add_account(trader, (false, false)), Some(0));
        let mut live = Live::new(options.clone());
        if let Some(known) = &state.known {
            for (asset, total) in known {
                run.deposit(0, asset, *total);
            }
            live.has_balances();
        }
        let side_of = |row: &Note| if text(row, "side") == "buy" { Side::Buy } else { Side::Sell };
        for (&number, intent) in &state.orders {
            let known: Vec<Fill> = intent.fills.iter().map(|row| fill_of(row, &pair)).collect();
            for (row, fill) in intent.fills.iter().zip(&known) {
                run.restore(0, 0, side_of(row), fill);
            }
            if intent.ended.is_empty() {
                let row = &intent.row;
                let deadline = whole(row, "deadline").expect("a time");
                let price =
                    (!text(row, "price").is_empty()).then(|| Price(steps(text(row, "price"), pair.price_precision)));
                let qty = Qty(steps(text(row, "qty"), pair.qty_precision));
                let post_only = *fact(row, "post_only") == Fact::Flag(true);
                live.restore(Earlier {
                    number,
                    terms: Terms { price, post_only, ..Terms::limit(0, side_of(row), qty, Price(0)) },
                    tag: text(row, "tag").into(),
                    order_id: (!intent.order_id.is_empty()).then(|| intent.order_id.as_str().into()),
                    sent: deadline - PATIENCE,
                    deadline,
                    known,
                    last_fill: intent.fills.iter().filter_map(|row| whole(row, "at")).max(),
                });
            }
        }
        run.start(world.now);
        Self {
            run,
            live,
            pending: Vec::new(),
            connection: None,
            connect_at: world.now,
            ping_at: i64::MIN,
            begun: None,
            gaps: Vec::new(),
            heard: Vec::new(),
            renewals: Vec::new(),
        }
    }
}

/// A fill as its row has it.
fn fill_of(row: &Note, pair: &Pair) -> Fill {
    let Fact::Amounts(fees) = fact(row, "fees") else { panic!("{row:?}") };
    Fill {
        exec_id: text(row, "exec_id").into(),
        trade_id: whole(row, "trade_id"),
        counterparty: None,
        qty: Qty(steps(text(row, "qty"), pair.qty_precision)),
        price: Price(steps(text(row, "price"), pair.price_precision)),
        cost: Some(amount(text(row, "cost"))),
        maker: *fact(row, "maker") == Fact::Flag(true),
        fee: fees.iter().map(|(_, fee)| amount(fee)).sum(),
        evidence: Evidence::Exchange,
        doubt: false,
    }
}

/// All of it.
pub struct Program {
    pub world: World,
    pub options: Options,
    pub client: Client,
    /// The journal on disk.
    pub rows: Vec<Note>,
    /// Where it is to be killed: at which order.
    pub kill: Option<(Point, u64)>,
    pub killed: bool,
    /// Whether the strategy asks for something.
    pub trades: bool,
    pub lives: usize,
    /// Connections that had to be made anew.
    pub renewals: usize,
    /// How long reconciliations took, ns.
    pub reconciled: Vec<i64>,
}

impl Program {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Options::new(PREFIX))
    }

    pub fn with(seed: u64, options: Options) -> Self {
        let world = World::new(seed);
        let client = Client::new(&State::default(), &options, &world);
        let (kill, killed, trades) = (None, false, false);
        Self {
            world,
            options,
            client,
            rows: Vec::new(),
            kill,
            killed,
            trades,
            lives: 1,
            renewals: 0,
            reconciled: Vec::new(),
        }
    }

    /// A new life, from the journal.
    pub fn begin(&mut self, pause: i64) {
        if let Some(connection) = self.client.connection.take() {
            self.world.close(connection);
        }
        self.world.questions.clear();
        self.client = Client::new(&State::of(&self.rows), &self.options, &self.world);
        self.client.connect_at = self.world.now + pause;
        (self.kill, self.killed) = (None, false);
        self.lives += 1;
    }

    pub fn phase(&self) -> Phase {
        self.client.live.phase()
    }

    pub fn hang_up(&mut self, pause: i64) {
        if let Some(connection) = self.client.connection.take() {
            self.world.close(connection);
        }
        self.world.questions.clear();
        self.client.begun = None;
        self.client.live.disconnected();
        self.client.connect_at = self.world.now + pause;
        self.client.live.advance(self.world.now, &mut self.client.run);
    }

    fn connect(&mut self) {
        let now = self.world.now;
        if now < self.world.locked || self.world.refused("GetWebSocketsToken") {
            self.client.connect_at = self.world.locked.max(now + SECOND / 2);
            return;
        }
        let connection = self.world.connect();
        self.client.connection = Some(connection);
        self.client.begun = Some(now);
        let frames = self.client.live.connected(now, TOKEN, self.client.run.trader(0)).expect("a token");
        for frame in frames {
            self.world.send(connection, frame.text());
        }
        self.client.live.advance(now, &mut self.client.run);
    }

    /// What the strategy hears and asks for, until nothing is left. False: it was killed.
    pub fn pump(&mut self, now: i64) -> bool {
        loop {
            while let Some((_, call)) = self.client.run.poll(now) {
                match call {
                    Call::Gap(gap) => self.client.gaps.push(gap),
                    Call::Order(event) => self.client.heard.push(*event),
                    _ => {}
                }
            }
            let frames = self.client.live.requests(now, &mut self.client.run);
            let notes = self.client.live.take_notes();
            let reached = self.kill.is_some_and(|(point, number)| notes.iter().any(|row| point.is_heard(row, number)));
            let asked =
                |row: &Note, number| row.kind == "intent" && text(row, "method") == "add" && order(row) == Some(number);
            let sent = self.kill.filter(|(_, number)| notes.iter().any(|row| asked(row, *number))).map(|kill| kill.0);
            self.client.pending.extend(notes);
            if frames.iter().any(|frame| !frame.1) || self.world.random.one_in(3) {
                self.rows.append(&mut self.client.pending);
            }
            self.killed |= reached || sent == Some(Point::Journal);
            if self.killed {
                return false;
            }
            if let Some(connection) = self.client.connection {
                for (frame, _) in &frames {
                    self.world.send(connection, frame.text());
                }
            } else {
                assert!(frames.is_empty(), "nothing can be sent");
            }
            self.killed |= sent == Some(Point::Send);
            if self.killed || frames.is_empty() {
                return !self.killed;
            }
        }
    }

    /// A message of the book, so that the run knows the market.
    pub fn look(&mut self, now: i64) {
        let (symbol, pair) = (self.world.pair.symbol.clone(), &self.world.pair);
        let message = BookMessage {
            received: Received { symbol, message: 0, ts_recv: now, ts_event: None },
            kind: Kind::Update,
            checksum: None,
            outcome: BookOutcome::Ok,
            price_precision: pair.price_precision,
            qty_precision: pair.qty_precision,
        };
        self.client.run.take(Event::Level3(message, Vec::new()), &Book(self.world.touch()));
    }

    /// A little time passes. False: the program was killed.
    pub fn step(&mut self) -> bool {
        let most = if self.trades || self.phase() == Phase::Ready { 40 } else { 200 };
        let now = self.world.now + self.world.random.between(MS, most * MS);
        self.world.advance(now);
        if self.client.connection.is_none() && now >= self.client.connect_at {
            self.connect();
        }
        while let Some((at, connection, frame)) = pop(&mut self.world.back, now) {
            if self.client.connection != Some(connection) {
                continue;
            }
            let renew = self.client.live.frame(at, &frame, &mut self.client.run);
            if !self.pump(at) {
                return false;
            }
            self.note_phase(at);
            if let Some(why) = renew {
                self.client.renewals.push(why);
                self.renewals += 1;
                let pause = self.world.random.between(50 * MS, SECOND);
                self.hang_up(pause);
            }
        }
        self.look(now);
        self.ping(now);
        self.ask_rest(now);
        if let Some(why) = self.client.live.advance(now, &mut self.client.run) {
            self.client.renewals.push(why);
            self.hang_up(SECOND);
        }
        self.note_phase(now);
        if self.trades && self.world.random.one_in(8) {
            self.act(now);
        }
        if let Some((Point::Last, number)) = self.kill
            && self.client.run.trader(0).order(number).is_some()
            && self.world.random.one_in(40)
        {
            self.client.run.cancel(0, number);
        }
        self.pump(now)
    }

    /// Asks for a sign of life, if one is needed.
    fn ping(&mut self, now: i64) {
        if let Some(connection) = self.client.connection
            && now >= self.client.ping_at
            && self.client.live.needs_ping(now, &self.client.run)
        {
            let frame = self.client.live.ping(now);
            self.world.send(connection, &frame);
            self.client.ping_at = now + SECOND;
        }
    }

    fn note_phase(&mut self, now: i64) {
        if self.phase() == Phase::Ready
            && let Some(begun) = self.client.begun.take()
        {
            self.reconciled.push(now - begun);
        }
    }

    fn ask_rest(&mut self, now: i64) {
        for (number, ask) in self.client.live.take_asks(now) {
            let asked = (now + self.world.way()).max(self.world.locked);
            self.world.questions.push(Question { number, ask, asked, answer: None });
        }
        let mut questions = std::mem::take(&mut self.world.questions);
        for question in &mut questions {
            if question.answer.is_none() && question.asked <= now {
                question.asked = now.max(self.world.locked);
                if question.asked > now {
                    continue;
                }
                let shown = self.world.show(&question.ask);
                question.answer = Some((now + self.world.way(), shown));
            }
        }
        let is_over = |question: &mut Question| question.answer.as_ref().is_some_and(|answer| answer.0 <= now);
        let over: Vec<Question> = questions.extract_if(.., is_over).collect();
        self.world.questions = questions;
        for Question { number, asked, answer, .. } in over {
            let (live, run) = (&mut self.client.live, &mut self.client.run);
            let renew = match answer.expect("it is there").1 {
                Err(()) => {
                    live.unanswered(now, number);
                    None
                }
                // What is nobody's order here has no pair, so it cannot be read.
                Ok(Shown::Orders(mut rows)) => {
                    rows.retain(|row| live.pair_of(&row.found.order_id, row.name.as_deref(), run.trader(0)).is_some());
                    live.rest_orders(now, number, asked, &rows, run)
                }
                Ok(Shown::Fills(mut fills)) => {
                    fills.retain(|fill| live.pair_of(&fill.0, None, run.trader(0)).is_some());
                    live.rest_fills(now, number, &fills, run)
                }
            };
            assert_eq!(renew, None);
        }
    }

    /// Places an order at the best price of its side, or so many steps behind it; its number.
    pub fn place(&mut self, side: Side, qty: i64, behind: i64) -> u64 {
        self.look(self.world.now);
        let touch = self.client.run.touch(0).0;
        let price = match side {
            Side::Buy => Price(touch.bid.expect("a bid").0.0 - behind),
            Side::Sell => Price(touch.ask.expect("an ask").0.0 + behind),
        };
        let number = self.client.run.order(0, Terms::limit(0, side, Qty(qty), price), PATIENCE, "".into());
        assert!(self.pump(self.world.now));
        number
    }

    pub fn order(&self, number: u64) -> &krakpot_trade::order::Order {
        self.client.run.trader(0).order(number).expect("it is known")
    }

    /// Status of an order at the exchange, if it is there.
    pub fn truth(&self, number: u64) -> Option<String> {
        let all = self.world.exchange.account("orders", i64::MAX);
        let name = krakpot_trade::names::cl_ord_id(PREFIX, number).expect("a name");
        let row = all.as_array().expect("orders").iter().find(|row| row["cl_ord_id"] == *name)?;
        Some(row["status"].as_str().expect("a word").to_owned())
    }

    /// The strategy does something.
    fn act(&mut self, now: i64) {
        let (random, run) = (&mut self.world.random, &mut self.client.run);
        let live = run.live(0, None, None);
        let (Some(bid), Some(ask)) = (run.touch(0).0.bid, run.touch(0).0.ask) else { return };
        match (random.below(8), random.pick(&live)) {
            (0 | 1, Some(&order)) => run.cancel(0, order),
            (2 | 3, Some(&order)) => {
                let terms = run.trader(0).order(order).expect("live").terms;
                let near = if terms.side == Side::Buy { bid.0 } else { ask.0 };
                let price =
                    (terms.price.is_some() && random.one_in(2)).then(|| Price(near.0 + random.between(-30, 30)));
                let qty = (price.is_none() || random.one_in(2)).then(|| Qty(random.between(50_000, 1_500_000)));
                run.amend(0, order, qty, price);
            }
            _ if live.len() < 6 => {
                let side = if random.one_in(2) { Side::Buy } else { Side::Sell };
                let near = if side == Side::Buy { bid.0 } else { ask.0 };
                let price = Price(near.0 + random.between(-40, 40));
                let qty = Qty(random.between(100_000, 1_000_000));
                let mut terms = Terms { post_only: random.one_in(4), ..Terms::limit(0, side, qty, price) };
                match random.below(8) {
                    0 => (terms.price, terms.post_only) = (None, false),
                    1 => (terms.time_in_force, terms.post_only) = (TimeInForce::Ioc, false),
                    2 => terms.time_in_force = TimeInForce::Gtd(now + random.between(2, 8) * SECOND),
                    3 => terms.display = Some(Qty(qty.0 / 10 + 1)),
                    _ => {}
                }
                run.order(0, terms, PATIENCE, "random".into());
            }
            _ => {}
        }
    }

    /// Goes on for so long. False: it was killed.
    pub fn go(&mut self, time: i64) -> bool {
        let end = self.world.now + time;
        while self.world.now < end {
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// Goes on until something is so; `what` says what it is if it never comes.
    pub fn until(&mut self, what: &str, most: i64, is: impl Fn(&Self) -> bool) {
        let end = self.world.now + most;
        while !is(self) {
            assert!(self.step(), "it was killed");
            let facts =
                (self.phase(), self.client.live.troubles(), &self.client.renewals, self.client.run.live(0, None, None));
            assert!(self.world.now < end, "{what}: never: {facts:?}");
        }
    }

    pub fn ready(&mut self) {
        self.until("ready", 300 * SECOND, |one| one.phase() == Phase::Ready);
    }

    /// Cancels all, waits until all is known, and ends the journal.
    pub fn finish(&mut self) {
        self.trades = false;
        self.world.exchange.clear_faults();
        self.ready();
        let end = self.world.now + 300 * SECOND;
        loop {
            self.client.run.cancel_all(0, None);
            assert!(self.step());
            let live = self.client.run.live(0, None, None);
            if live.is_empty() && self.phase() == Phase::Ready && self.client.live.note_balances(&self.client.run) {
                break;
            }
            let of = |number: &u64| format!("{:?}", self.client.run.trader(0).order(*number));
            let live: Vec<String> = live.iter().map(of).collect();
            let facts = (self.phase(), self.client.live.troubles(), &self.client.renewals);
            assert!(self.world.now < end, "all is known: never: {live:?} {facts:?}");
        }
        let notes = self.client.live.take_notes();
        self.rows.append(&mut self.client.pending);
        self.rows.extend(notes);
    }

    /// Compares the journal and the account with the truth, once all is over. Returns own orders of the exchange, and fills.
    pub fn verify(&self) -> (usize, usize) {
        let state = State::of(&self.rows);
        assert_eq!(state.problems, Vec::<String>::new(), "all is explained");
        let all = self.world.exchange.account("orders", i64::MAX);
        let mut found: BTreeMap<u64, &Value> = BTreeMap::new();
        for row in all.as_array().expect("orders") {
            let name = row["cl_ord_id"].as_str().expect("a name");
            let number = order_number(PREFIX, name).expect("an own order");
            assert!(found.insert(number, row).is_none(), "doubled: {row}");
            let known = state.orders.get(&number).unwrap_or_else(|| panic!("lost: {row}"));
            let status = if row["status"] == "closed" { "filled" } else { row["status"].as_str().expect("a word") };
            assert_eq!(known.ended, status, "{row} {known:?}");
            assert_eq!(known.order_id, row["id"].as_str().expect("an id"));
            assert_eq!(known.filled, amount(row["filled"].as_str().expect("a number")), "{row}");
        }
        for (number, known) in state.orders.iter().filter(|one| !found.contains_key(one.0)) {
            assert!(matches!(known.ended.as_str(), "rejected" | "dead") && known.filled == 0, "{number}: {known:?}");
        }
        let trades = self.world.exchange.account("trades", i64::MAX);
        let ids = trades.as_array().expect("trades").iter().map(|row| row["id"].as_str().expect("an id").to_owned());
        assert_eq!(state.seen, ids.collect(), "the same fills");
        let balances = self.world.exchange.account("balances", i64::MAX);
        let known = state.known.expect("balances");
        for (asset, value) in balances.as_object().expect("balances") {
            let total = amount(value[0].as_str().expect("a text"));
            assert_eq!(self.client.run.trader(0).balance(asset).total, total, "{asset}");
            assert_eq!(known.get(asset).copied().unwrap_or(0), total, "{asset}");
        }
        (found.len(), state.seen.len())
    }
}
