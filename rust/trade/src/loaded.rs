//! A recording in memory: many runs take it, and none reads and checks it again.
//!
//! Events stay as they came. Of the books there is what a run asks after them, which is the same whatever its strategies do:
//! a run without accounts asks it once, while the recording is read.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use krakpot_core::session::{Event, LevelEntry, OrderChange};

use crate::amount::Price;
use crate::books::{Books, Touch};
use crate::engine::{Engine, Strategy, received};
use crate::pair::Pair;
use crate::paper::{Options, Paper, Place};
use crate::run::{Run, RunOptions, Venue, Wake};
use crate::terms::Side;

/// Bytes that the system needs for a piece of memory, about.
const HEAD: usize = 16;

/// What a run is given.
enum What {
    /// An event.
    Event(Arc<Event>),
    /// Books, of level 3 or of level 2, may have gone out of sync without one.
    Look(bool),
}

struct Item {
    what: What,
    /// When it was received, ns.
    time: i64,
    /// What was known of the books then: its place in [`Loaded::known`].
    known: usize,
}

/// What came with one read of a socket.
struct Read {
    time: i64,
    /// The first item that is not of it.
    end: usize,
}

/// What a run asked of the books.
#[derive(PartialEq)]
struct Known {
    session: Arc<str>,
    /// The best levels of the pair that the event is of.
    touch: Option<Touch>,
    more: Option<Box<More>>,
}

/// What a run asks seldom.
#[derive(PartialEq, Default)]
struct More {
    /// The best levels of pairs.
    touches: Vec<(String, Option<Touch>)>,
    /// Sessions that the books are those of, or go on after.
    follows: Vec<String>,
    orders: Option<Vec<OrderChange>>,
    levels: Option<Vec<LevelEntry>>,
}

impl Books for Known {
    fn session(&self) -> &str {
        &self.session
    }

    fn follows(&self, session: &str) -> bool {
        self.more.as_ref().is_some_and(|more| more.follows.iter().any(|known| known == session))
    }

    fn touch(&self, symbol: &str, _: bool) -> Option<Touch> {
        let other = self.more.as_ref().and_then(|more| more.touches.iter().find(|(name, _)| name == symbol));
        other.map_or(self.touch, |(_, touch)| *touch)
    }

    fn orders(&self, _: &str) -> Option<Vec<OrderChange>> {
        self.more.as_ref()?.orders.clone()
    }

    fn levels(&self, _: &str) -> Option<Vec<LevelEntry>> {
        self.more.as_ref()?.levels.clone()
    }

    /// Only orders with money are in the real queue, and those are not of the past.
    fn place(&self, _: &str, _: Side, _: Price, _: &str) -> Option<Place> {
        None
    }
}

/// Books of which is noted what is asked.
struct Asked<'a, B> {
    books: &'a B,
    /// The pair that the event is of; empty without one.
    symbol: &'a str,
    touch: RefCell<Option<Touch>>,
    more: RefCell<More>,
}

impl<B: Books> Books for Asked<'_, B> {
    fn session(&self) -> &str {
        self.books.session()
    }

    fn follows(&self, session: &str) -> bool {
        let found = self.books.follows(session);
        if found {
            self.more.borrow_mut().follows.push(session.into());
        }
        found
    }

    fn touch(&self, symbol: &str, level3: bool) -> Option<Touch> {
        let found = self.books.touch(symbol, level3);
        if symbol == self.symbol {
            *self.touch.borrow_mut() = found;
        } else {
            self.more.borrow_mut().touches.push((symbol.into(), found));
        }
        found
    }

    fn orders(&self, symbol: &str) -> Option<Vec<OrderChange>> {
        self.more.borrow_mut().orders = self.books.orders(symbol);
        self.more.borrow().orders.clone()
    }

    fn levels(&self, symbol: &str) -> Option<Vec<LevelEntry>> {
        self.more.borrow_mut().levels = self.books.levels(symbol);
        self.more.borrow().levels.clone()
    }

    fn place(&self, symbol: &str, side: Side, price: Price, id: &str) -> Option<Place> {
        self.books.place(symbol, side, price, id)
    }
}

/// A recording in memory.
#[derive(Default)]
pub struct Loaded {
    reads: Vec<Read>,
    items: Vec<Item>,
    known: Vec<Known>,
    skipped: usize,
    messages: u64,
    bytes: usize,
}

impl Loaded {
    /// Messages of books, trades, and gaps, as a run counts them.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes of memory that it needs, about.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads of sockets before the first that is there.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// When a read of a socket came, ns; `None`: there are no more.
    #[must_use]
    pub fn time(&self, read: usize) -> Option<i64> {
        self.reads.get(read).map(|read| read.time)
    }

    /// Items of a read.
    #[must_use]
    pub fn items(&self, read: usize) -> Range<usize> {
        let begin = read.checked_sub(1).and_then(|before| self.reads.get(before)).map_or(0, |before| before.end);
        begin..self.reads.get(read).map_or(begin, |read| read.end)
    }

    /// When an item was received, ns.
    #[must_use]
    pub fn received(&self, item: usize) -> Option<i64> {
        self.items.get(item).map(|item| item.time)
    }

    /// Gives an item to a run. All that was due before it is said already.
    pub fn give(&self, item: usize, run: &mut Run) {
        let Some(Item { what, time, known }) = self.items.get(item) else { return };
        let Some(known) = self.known.get(*known) else { return };
        match what {
            What::Event(event) => run.take(event.clone(), known),
            What::Look(level3) => run.look_at(*time, *level3, known),
        }
    }

    /// Lets strategies hear all of it, without an end.
    pub fn play<S: Strategy>(&self, engine: &mut Engine<S>) {
        if let Some(begin) = self.time(0) {
            engine.start(begin);
        }
        for (item, Item { time, .. }) in self.items.iter().enumerate() {
            engine.take(*time, |run| self.give(item, run));
        }
        let now = engine.run().now();
        engine.advance(now);
    }
}

/// Reads a recording into memory.
pub struct Loader {
    loaded: Loaded,
    /// What they ask is noted: pairs are led by level 3 in one, by level 2 in the other.
    runs: [Run; 2],
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader {
    /// Without pairs.
    #[must_use]
    pub fn new() -> Self {
        let options = RunOptions { wake: Wake::Never, warmup: 0, quote: "".into(), venue: Venue::Paper };
        let run = || Run::new(options.clone(), Paper::new(Options::default()));
        Self { loaded: Loaded::default(), runs: [run(), run()] }
    }

    /// Adds a pair, which has level 3, level 2 or both. `None`: too many.
    pub fn add_pair(&mut self, pair: &Pair, level3: bool, level2: bool) -> Option<()> {
        for (run, by_orders) in self.runs.iter_mut().zip([true, false]) {
            if if by_orders { level3 } else { level2 } {
                run.add_pair(pair.clone(), by_orders)?;
            }
        }
        Some(())
    }

    /// A read of a socket of which nothing is given: it came before the begin.
    pub const fn skip(&mut self) {
        self.loaded.skipped += 1;
    }

    /// What came with a read of a socket at this time, ns; `books` are those after it. `lost`: the connection of level 3, or
    /// of level 2, was.
    pub fn read(&mut self, time: i64, events: impl IntoIterator<Item = Event>, lost: Option<bool>, books: &impl Books) {
        self.due(time);
        for mut event in events {
            let Some(recv) = received(&event) else { continue };
            self.loaded.messages += u64::from(!matches!(event, Event::Status(_)));
            self.loaded.bytes += shrink(&mut event);
            self.due(recv);
            self.add(What::Event(Arc::new(event)), recv, books);
        }
        if let Some(level3) = lost {
            self.add(What::Look(level3), time, books);
        }
        self.loaded.bytes += size_of::<Read>();
        self.loaded.reads.push(Read { time, end: self.loaded.items.len() });
    }

    /// The recording is read.
    #[must_use]
    pub fn finish(self) -> Loaded {
        let mut loaded = self.loaded;
        loaded.reads.shrink_to_fit();
        loaded.items.shrink_to_fit();
        loaded.known.shrink_to_fit();
        loaded
    }

    /// How far it is.
    #[must_use]
    pub const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    fn due(&mut self, time: i64) {
        for run in &mut self.runs {
            // Nobody hears it.
            while run.poll(time).is_some() {}
        }
    }

    fn add(&mut self, what: What, time: i64, books: &impl Books) {
        let symbol = match &what {
            What::Event(event) => symbol_of(event),
            What::Look(..) => "",
        };
        let asked = Asked { books, symbol, touch: RefCell::default(), more: RefCell::default() };
        for run in &mut self.runs {
            match &what {
                What::Event(event) => run.take(event.clone(), &asked),
                What::Look(level3) => run.look_at(time, *level3, &asked),
            }
        }
        let (touch, more) = (asked.touch.into_inner(), asked.more.into_inner());
        let last = self.loaded.known.last();
        let session = last.map(|last| &last.session).filter(|session| ***session == *books.session()).cloned();
        let session = session.unwrap_or_else(|| books.session().into());
        let more = (more != More::default()).then(|| Box::new(more));
        let known = Known { session, touch, more };
        if last != Some(&known) {
            self.loaded.bytes += size_of::<Known>() + known.more.as_ref().map_or(0, |more| more.bytes());
            self.loaded.known.push(known);
        }
        self.loaded.bytes += size_of::<Item>();
        self.loaded.items.push(Item { what, time, known: self.loaded.known.len() - 1 });
    }
}

impl More {
    fn bytes(&self) -> usize {
        let (orders, levels) = (self.orders.as_ref().map_or(0, Vec::len), self.levels.as_ref().map_or(0, Vec::len));
        size_of::<Self>() + orders * size_of::<OrderChange>() + levels * size_of::<LevelEntry>()
    }
}

fn symbol_of(event: &Event) -> &str {
    match event {
        Event::Book(message, _) | Event::Level3(message, _) => &message.received.symbol,
        Event::Trade(trade) => &trade.received.symbol,
        Event::Gap(gap) => &gap.received.symbol,
        _ => "",
    }
}

/// Gives back the memory that an event does not need; the bytes that are left.
fn shrink(event: &mut Event) -> usize {
    let rows = match event {
        Event::Book(_, rows) => {
            rows.shrink_to_fit();
            rows.capacity() * size_of::<LevelEntry>()
        }
        Event::Level3(_, rows) => {
            rows.shrink_to_fit();
            rows.capacity() * size_of::<OrderChange>()
        }
        Event::Trade(trade) => size_of_val(&**trade),
        _ => 0,
    };
    // An `Arc` counts its owners; the system keeps the size of each piece.
    size_of::<Event>() + 2 * size_of::<usize>() + rows + 2 * HEAD
}
