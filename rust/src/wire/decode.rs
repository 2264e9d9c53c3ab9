//! From bytes to messages.
//!
//! simd-json hands numbers over as binary floating point and keeps no text. So the frame is copied once into a scratch
//! buffer (the parser wants to write anyway) and bare numbers are put in quotes on the way: every number then arrives
//! as its text. The copy checks each number against JSON's grammar, the parser all the rest.
//!
//! Fields in any order, unknown fields and unknown channels are taken; a known field twice is refused.

use simd_json::{Buffers, Node, StaticNode, Tape};

use crate::decimal::Decimal;
use crate::error::Error;
use crate::instrument::{Asset, Pair};
use crate::limits;
use crate::table::schema::{OHLC_NUMBERS, TICKER_NUMBERS};
use crate::wire::fast::{self, Minute};
use crate::wire::message::{
    BookData, Data, Entries, Entry, Kind, Message, Ohlc, OrderEntry, OrderEvent, OrderId, Reply, ShortEntry, Side,
    Status, Ticker, Trade,
};

/// Decodes frames, reusing its memory.
pub struct Decoder {
    scratch: Vec<u8>,
    /// Offsets in `scratch` of the first character of each bare number, ascending.
    numbers: Vec<u32>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
    minute: Minute,
    /// Entries of the last book message.
    entries: Vec<Entry>,
    /// The same of one that was laid out as Kraken does.
    short: Vec<ShortEntry>,
    /// Memory for the entries of a level-3 message; empty between two frames.
    orders: Vec<OrderEntry<'static>>,
    /// Fields that no column and no `extra` keeps, counted over all frames.
    pub unknown_fields: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            scratch: Vec::new(),
            numbers: Vec::new(),
            buffers: Buffers::with_max_depth(4096, limits::NESTING_MAX),
            tape: Some(Tape(Vec::new())),
            minute: Minute::default(),
            entries: Vec::new(),
            short: Vec::new(),
            orders: Vec::new(),
            unknown_fields: 0,
        }
    }
}

impl Decoder {
    /// Decodes one frame and hands the message, with its entries if it is of books, to `then`.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Shape`], [`Error::Limit`] or [`Error::Decimal`]; `then` is not called in that case.
    pub fn decode<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Message<'_>, Entries<'_, '_>) -> R,
    ) -> Result<R, Error> {
        if let Some((kind, data, _)) = self.book(frame) {
            let entries = Entries { levels: self.levels(), orders: &[] };
            return Ok(then(Message::Book(kind, Data::One([data])), entries));
        }
        self.decode_other(frame, then)
    }

    /// Reads a message of the book channel, the hottest of all, if it is laid out as Kraken does; with its entries.
    #[inline]
    pub fn book<'f>(&mut self, frame: &'f [u8]) -> Option<(Kind, BookData<'f>, &[ShortEntry])> {
        self.short.clear();
        if frame.len() > limits::FRAME_MAX {
            return None;
        }
        let (kind, data) = fast::book(frame, &mut self.minute, &mut self.short)?;
        Some((kind, data, &self.short))
    }

    /// The entries of the message that [`Self::book`] read, in full width.
    pub fn levels(&mut self) -> &[Entry] {
        self.entries.clear();
        self.entries.extend(self.short.iter().map(Entry::from));
        &self.entries
    }

    /// The same as [`Self::decode`] of a frame that [`Self::book`] did not read.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_other<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Message<'_>, Entries<'_, '_>) -> R,
    ) -> Result<R, Error> {
        if frame.len() > limits::FRAME_MAX {
            return Err(Error::Limit { what: "FRAME_MAX", limit: limits::FRAME_MAX, found: frame.len() });
        }
        let mut orders = emptied(std::mem::take(&mut self.orders));
        let hot = fast::level3(frame, &mut self.minute, &mut orders);
        if let Some((kind, data)) = hot {
            let result = then(Message::Level3(kind, Data::One([data])), Entries { levels: &[], orders: &orders });
            self.orders = emptied(orders);
            return Ok(result);
        }
        self.orders = emptied(orders);
        self.decode_any(frame, then)
    }

    /// The same without the reader for the hot messages as Kraken lays them out, which must not make a difference.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_any<R>(
        &mut self,
        frame: &[u8],
        then: impl FnOnce(Message<'_>, Entries<'_, '_>) -> R,
    ) -> Result<R, Error> {
        self.entries.clear();
        self.scratch.clear();
        self.numbers.clear();
        quote_numbers(frame, &mut self.scratch, &mut self.numbers)?;
        let length = self.scratch.len();
        self.scratch.resize(length + simd_json::INPUT_PADDING, 0);
        let base = self.scratch.as_ptr() as usize;
        let mut tape = self.tape.take().unwrap_or(Tape(Vec::new())).reset();
        let outcome = simd_json::fill_tape_padded(&mut self.scratch, length, &mut self.buffers, &mut tape);
        let result = match outcome {
            Ok(()) => {
                let mut walk = Walk {
                    nodes: &tape.0,
                    at: 0,
                    base,
                    numbers: &self.numbers,
                    channel: "message",
                    entries: &mut self.entries,
                    orders: emptied(std::mem::take(&mut self.orders)),
                    unknown: 0,
                };
                let message = walk.message();
                let (orders, unknown) = (walk.orders, walk.unknown);
                self.unknown_fields += unknown;
                let result = message.map(|message| then(message, Entries { levels: &self.entries, orders: &orders }));
                self.orders = emptied(orders);
                result
            }
            Err(error) => {
                // Quotes were added before this place: two for each number begun before it.
                let at = error.index().min(length);
                let added = 2 * self.numbers.partition_point(|&n| (n as usize) < at);
                Err(Error::Json { offset: at.saturating_sub(added), reason: format!("{:?}", error.error()) })
            }
        };
        self.tape = Some(tape.reset());
        result
    }
}

/// The memory of a list for entries that live elsewhere: collecting nothing out of a vector keeps its allocation.
#[allow(clippy::unnecessary_filter_map, reason = "the closure makes the other lifetime")]
fn emptied<'b>(mut orders: Vec<OrderEntry<'_>>) -> Vec<OrderEntry<'b>> {
    orders.clear();
    orders.into_iter().filter_map(|_| None).collect()
}

/// Copies `frame` to `out` with bare numbers in quotes.
fn quote_numbers(frame: &[u8], out: &mut Vec<u8>, numbers: &mut Vec<u32>) -> Result<(), Error> {
    out.reserve(frame.len() + frame.len() / 4 + simd_json::INPUT_PADDING);
    let mut copied = 0;
    let mut at = 0;
    while at < frame.len() {
        match frame[at] {
            b'"' => {
                at += 1;
                loop {
                    match frame.get(at) {
                        Some(b'"') => break,
                        Some(b'\\') => at += 2,
                        Some(_) => at += 1,
                        None => return Err(Error::Json { offset: frame.len(), reason: "string without end".into() }),
                    }
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let end =
                    number_end(frame, at).ok_or_else(|| Error::Json { offset: at, reason: "not a number".into() })?;
                out.extend_from_slice(&frame[copied..at]);
                out.push(b'"');
                // Frames are at most FRAME_MAX (16 MiB) long, three times that with quotes: fits 32 bits.
                #[allow(clippy::cast_possible_truncation, reason = "see above")]
                numbers.push(out.len() as u32);
                out.extend_from_slice(&frame[at..end]);
                out.push(b'"');
                copied = end;
                at = end;
            }
            _ => at += 1,
        }
    }
    out.extend_from_slice(&frame[copied..]);
    Ok(())
}

/// Where the JSON number that begins at `at` ends; `None` if it is not one.
fn number_end(frame: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let from = at;
        while frame.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > from).then_some(at)
    };
    if frame[at] == b'-' {
        at += 1;
    }
    let whole = at;
    at = digits(at)?;
    if frame[whole] == b'0' && at > whole + 1 {
        return None;
    }
    if frame.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(frame.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(frame.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(at)?;
    }
    // What follows must end the number; the parser would take `"1""2"` for two values and say something confusing.
    matches!(frame.get(at), None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')).then_some(at)
}

/// A walk over the parser's tape.
struct Walk<'t, 'a> {
    nodes: &'t [Node<'a>],
    at: usize,
    /// Address of the scratch buffer, to tell a quoted number from a string.
    base: usize,
    numbers: &'t [u32],
    channel: &'a str,
    entries: &'t mut Vec<Entry>,
    orders: Vec<OrderEntry<'a>>,
    unknown: u64,
}

/// Nodes that a value at the head of `nodes` takes.
fn span(nodes: &[Node<'_>]) -> usize {
    match nodes.first() {
        Some(Node::Object { count, .. } | Node::Array { count, .. }) => count + 1,
        _ => 1,
    }
}

/// Sets a field; twice is refused.
fn once<T>(field: &mut Option<T>, value: T, error: impl FnOnce() -> Error) -> Result<(), Error> {
    if field.replace(value).is_some() { Err(error()) } else { Ok(()) }
}

impl<'a> Walk<'_, 'a> {
    fn shape(&self, field: &'static str) -> Error {
        // The channel may be any text of the sender's.
        Error::Shape { channel: self.channel.chars().take(limits::SYMBOL_LENGTH_MAX).collect(), field }
    }

    fn node(&self) -> Option<Node<'a>> {
        self.nodes.get(self.at).copied()
    }

    fn skip(&mut self) {
        self.at += span(self.nodes.get(self.at..).unwrap_or(&[]));
    }

    /// Whether a string of the tape was a bare number on the wire.
    fn bare(&self, text: &str) -> bool {
        let offset = (text.as_ptr() as usize).wrapping_sub(self.base);
        u32::try_from(offset).is_ok_and(|offset| self.numbers.binary_search(&offset).is_ok())
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, Error> {
        match self.node() {
            Some(Node::String(text)) if !self.bare(text) => {
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.shape(field)),
        }
    }

    /// A number, bare or (level 3 in some documents) as a string.
    fn decimal(&mut self, field: &'static str) -> Result<Decimal, Error> {
        match self.node() {
            Some(Node::String(text)) => {
                self.at += 1;
                Decimal::parse(text.as_bytes()).ok_or_else(|| {
                    if !text.is_empty() && number_end(text.as_bytes(), 0) == Some(text.len()) {
                        Error::Decimal {
                            symbol: String::new(),
                            text: text.chars().take(100).collect(),
                            scale: limits::SCALE,
                        }
                    } else {
                        self.shape(field)
                    }
                })
            }
            _ => Err(self.shape(field)),
        }
    }

    /// A whole number in the range of `T`.
    fn whole<T: TryFrom<i128>>(&mut self, field: &'static str) -> Result<T, Error> {
        let value = self.decimal(field)?;
        value.rescale(0).and_then(|v| T::try_from(v).ok()).ok_or_else(|| self.shape(field))
    }

    fn boolean(&mut self, field: &'static str) -> Result<bool, Error> {
        match self.node() {
            Some(Node::Static(StaticNode::Bool(value))) => {
                self.at += 1;
                Ok(value)
            }
            _ => Err(self.shape(field)),
        }
    }

    fn time(&mut self, field: &'static str) -> Result<i64, Error> {
        let text = self.text(field)?;
        parse_time(text.as_bytes()).ok_or_else(|| self.shape(field))
    }

    fn kind(&mut self) -> Result<Kind, Error> {
        match self.text("type")? {
            "snapshot" => Ok(Kind::Snapshot),
            "update" => Ok(Kind::Update),
            _ => Err(self.shape("type")),
        }
    }

    fn array(&mut self, field: &'static str) -> Result<usize, Error> {
        match self.node() {
            Some(Node::Array { len, .. }) => {
                self.at += 1;
                Ok(len)
            }
            _ => Err(self.shape(field)),
        }
    }

    fn object(&mut self, field: &'static str) -> Result<usize, Error> {
        match self.node() {
            Some(Node::Object { len, .. }) => {
                self.at += 1;
                Ok(len)
            }
            _ => Err(self.shape(field)),
        }
    }

    /// Key of an object; the parser only lets strings through, and the copy quotes a bare number there as well.
    fn key(&mut self) -> Result<&'a str, Error> {
        match self.node() {
            Some(Node::String(text)) if !self.bare(text) => {
                self.at += 1;
                Ok(text)
            }
            _ => Err(Error::Json { offset: 0, reason: "a key that is not a string".into() }),
        }
    }

    fn null(&mut self) -> bool {
        let null = matches!(self.node(), Some(Node::Static(StaticNode::Null)));
        self.at += usize::from(null);
        null
    }

    /// Adds `key: value` at this place to a JSON object being written.
    fn extra(&mut self, key: &str, out: &mut String) {
        out.push(if out.is_empty() { '{' } else { ',' });
        write_text(key, out);
        out.push(':');
        self.write_json(out);
    }

    /// Writes the value here as JSON, numbers with their own digits. The parser bounds the nesting.
    fn write_json(&mut self, out: &mut String) {
        match self.node() {
            Some(Node::String(text)) => {
                if self.bare(text) {
                    out.push_str(text);
                } else {
                    write_text(text, out);
                }
                self.at += 1;
            }
            Some(Node::Static(node)) => {
                out.push_str(match node {
                    StaticNode::Bool(true) => "true",
                    StaticNode::Bool(false) => "false",
                    _ => "null",
                });
                self.at += 1;
            }
            Some(Node::Array { len, .. }) => {
                self.at += 1;
                out.push('[');
                for i in 0..len {
                    if i > 0 {
                        out.push(',');
                    }
                    self.write_json(out);
                }
                out.push(']');
            }
            Some(Node::Object { len, .. }) => {
                self.at += 1;
                out.push('{');
                for i in 0..len {
                    if i > 0 {
                        out.push(',');
                    }
                    if let Some(Node::String(key)) = self.node() {
                        write_text(key, out);
                    }
                    self.at += 1;
                    out.push(':');
                    self.write_json(out);
                }
                out.push('}');
            }
            None => {}
        }
    }

    /// The whole frame. The envelope is read first, since its keys come in any order; then the data.
    fn message(&mut self) -> Result<Message<'a>, Error> {
        let fields = self.object("message")?;
        let start = self.at;
        let (mut channel, mut kind, mut data, mut time, mut method) = (None, None, None, None, None);
        for _ in 0..fields {
            match self.key()? {
                "channel" => {
                    let name = self.text("channel")?;
                    once(&mut channel, name, || self.shape("channel"))?;
                    self.channel = name;
                }
                "type" => {
                    let at = self.at;
                    once(&mut kind, at, || self.shape("type"))?;
                    self.skip();
                }
                "data" => {
                    let at = self.at;
                    once(&mut data, at, || self.shape("data"))?;
                    self.skip();
                }
                "timestamp" => {
                    let at = self.at;
                    once(&mut time, at, || self.shape("timestamp"))?;
                    self.skip();
                }
                "method" => {
                    let name = self.text("method")?;
                    once(&mut method, name, || self.shape("method"))?;
                }
                _ => self.skip(),
            }
        }
        if let Some(method) = method {
            self.channel = method;
            self.at = start;
            return self.reply(fields);
        }
        let channel = channel.ok_or_else(|| self.shape("channel"))?;
        if channel == "heartbeat" {
            return Ok(Message::Heartbeat);
        }
        if !matches!(channel, "book" | "level3" | "trade" | "ticker" | "ohlc" | "instrument" | "status") {
            return Ok(Message::Other(channel));
        }
        self.at = kind.ok_or_else(|| self.shape("type"))?;
        let kind = self.kind()?;
        let time = time.map(|at| {
            self.at = at;
            self.time("timestamp")
        });
        self.at = data.ok_or_else(|| self.shape("data"))?;
        match channel {
            "book" => self.list(Self::book).map(|data| Message::Book(kind, data.into())),
            "level3" => self.list(|walk| walk.level3(kind)).map(|data| Message::Level3(kind, data.into())),
            "trade" => self.list(Self::trade).map(|data| Message::Trade(kind, data)),
            "ticker" => self.list(Self::ticker).map(|data| Message::Ticker(kind, data)),
            "ohlc" => {
                let time = time.transpose()?;
                self.list(Self::ohlc).map(|data| Message::Ohlc(kind, time, data))
            }
            "status" => self.list(Self::status).map(Message::Status),
            _ => self.instrument(kind),
        }
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let count = self.array("data")?;
        let mut list = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            list.push(read(self)?);
        }
        Ok(list)
    }

    fn book(&mut self) -> Result<BookData<'a>, Error> {
        let from = self.entries.len();
        let data = self.book_data(Self::levels)?;
        Ok(BookData { entries: from..self.entries.len(), ..data })
    }

    fn level3(&mut self, kind: Kind) -> Result<BookData<'a>, Error> {
        let from = self.orders.len();
        let data = self.book_data(|walk, side| walk.orders(side, kind))?;
        Ok(BookData { entries: from..self.orders.len(), ..data })
    }

    fn book_data(&mut self, entries: impl Fn(&mut Self, Side) -> Result<(), Error>) -> Result<BookData<'a>, Error> {
        let fields = self.object("data")?;
        let (mut symbol, mut bids, mut asks, mut checksum, mut timestamp) = (None, None, None, None, None);
        for _ in 0..fields {
            match self.key()? {
                "symbol" => {
                    let value = self.text("symbol")?;
                    once(&mut symbol, value, || self.shape("symbol"))?;
                }
                "bids" => {
                    once(&mut bids, (), || self.shape("bids"))?;
                    entries(self, Side::Bid)?;
                }
                "asks" => {
                    once(&mut asks, (), || self.shape("asks"))?;
                    entries(self, Side::Ask)?;
                }
                "checksum" => {
                    let value = self.whole("checksum")?;
                    once(&mut checksum, value, || self.shape("checksum"))?;
                }
                "timestamp" => {
                    let value = self.time("timestamp")?;
                    once(&mut timestamp, value, || self.shape("timestamp"))?;
                }
                _ => self.unknown_field(),
            }
        }
        Ok(BookData {
            symbol: symbol.ok_or_else(|| self.shape("symbol"))?.as_bytes(),
            entries: 0..0,
            checksum,
            timestamp,
        })
    }

    fn orders(&mut self, side: Side, kind: Kind) -> Result<(), Error> {
        let field = match side {
            Side::Bid => "bids",
            Side::Ask => "asks",
        };
        for _ in 0..self.array(field)? {
            let (mut event, mut id, mut price, mut qty, mut timestamp) = (None, None, None, None, None);
            for _ in 0..self.object(field)? {
                match self.key()? {
                    "event" => {
                        let word = self.text("event")?;
                        let value = OrderEvent::named(word).ok_or_else(|| self.shape("event"))?;
                        once(&mut event, value, || self.shape("event"))?;
                    }
                    "order_id" => {
                        let value = OrderId::new(self.text("order_id")?)?;
                        once(&mut id, value, || self.shape("order_id"))?;
                    }
                    "limit_price" => {
                        let value = self.decimal("limit_price")?;
                        once(&mut price, value, || self.shape("limit_price"))?;
                    }
                    "order_qty" => {
                        let value = self.decimal("order_qty")?;
                        once(&mut qty, value, || self.shape("order_qty"))?;
                    }
                    "timestamp" => {
                        let value = self.time("timestamp")?;
                        once(&mut timestamp, value, || self.shape("timestamp"))?;
                    }
                    _ => self.unknown_field(),
                }
            }
            // The orders of a snapshot come without an event: all of them are there now.
            let event = match (event, kind) {
                (None | Some(OrderEvent::Add), Kind::Snapshot) => OrderEvent::Add,
                (Some(event), Kind::Update) => event,
                _ => return Err(self.shape("event")),
            };
            self.orders.push(OrderEntry {
                side,
                event,
                id: id.ok_or_else(|| self.shape("order_id"))?,
                price: price.ok_or_else(|| self.shape("limit_price"))?,
                qty: qty.ok_or_else(|| self.shape("order_qty"))?,
                timestamp: timestamp.ok_or_else(|| self.shape("timestamp"))?,
            });
        }
        Ok(())
    }

    fn unknown_field(&mut self) {
        self.unknown += 1;
        self.skip();
    }

    fn levels(&mut self, side: Side) -> Result<(), Error> {
        let field = match side {
            Side::Bid => "bids",
            Side::Ask => "asks",
        };
        for _ in 0..self.array(field)? {
            let (mut price, mut qty) = (None, None);
            for _ in 0..self.object(field)? {
                match self.key()? {
                    "price" => {
                        let value = self.decimal("price")?;
                        once(&mut price, value, || self.shape("price"))?;
                    }
                    "qty" => {
                        let value = self.decimal("qty")?;
                        once(&mut qty, value, || self.shape("qty"))?;
                    }
                    _ => self.unknown_field(),
                }
            }
            let (Some(price), Some(qty)) = (price, qty) else { return Err(self.shape(field)) };
            self.entries.push(Entry { side, price, qty });
        }
        Ok(())
    }

    fn trade(&mut self) -> Result<Trade<'a>, Error> {
        let fields = self.object("data")?;
        let (mut symbol, mut side, mut price, mut qty) = (None, None, None, None);
        let (mut ord_type, mut trade_id, mut timestamp) = (None, None, None);
        for _ in 0..fields {
            match self.key()? {
                "symbol" => {
                    let value = self.text("symbol")?;
                    once(&mut symbol, value, || self.shape("symbol"))?;
                }
                "side" => {
                    let value = self.text("side")?;
                    once(&mut side, value, || self.shape("side"))?;
                }
                "price" => {
                    let value = self.decimal("price")?;
                    once(&mut price, value, || self.shape("price"))?;
                }
                "qty" => {
                    let value = self.decimal("qty")?;
                    once(&mut qty, value, || self.shape("qty"))?;
                }
                "ord_type" => {
                    let value = self.text("ord_type")?;
                    once(&mut ord_type, value, || self.shape("ord_type"))?;
                }
                "trade_id" => {
                    let value = self.whole("trade_id")?;
                    once(&mut trade_id, value, || self.shape("trade_id"))?;
                }
                "timestamp" => {
                    let value = self.time("timestamp")?;
                    once(&mut timestamp, value, || self.shape("timestamp"))?;
                }
                _ => self.unknown_field(),
            }
        }
        Ok(Trade {
            symbol: symbol.ok_or_else(|| self.shape("symbol"))?,
            side: side.ok_or_else(|| self.shape("side"))?,
            price: price.ok_or_else(|| self.shape("price"))?,
            qty: qty.ok_or_else(|| self.shape("qty"))?,
            ord_type: ord_type.ok_or_else(|| self.shape("ord_type"))?,
            trade_id: trade_id.ok_or_else(|| self.shape("trade_id"))?,
            timestamp: timestamp.ok_or_else(|| self.shape("timestamp"))?,
        })
    }

    /// A number for one of several columns; one that no column can hold stays in `extra`, with its digits.
    fn number(&mut self, key: &'static str, slot: &mut Option<Decimal>, extra: &mut String) -> Result<(), Error> {
        let at = self.at;
        if slot.is_some() {
            return Err(self.shape(key));
        }
        if self.null() {
            return Ok(());
        }
        match self.decimal(key) {
            Ok(value) if value.rescale(limits::SCALE).is_some() => {
                *slot = Some(value);
                Ok(())
            }
            Ok(_) | Err(Error::Decimal { .. }) => {
                self.at = at;
                self.extra(key, extra);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn ticker(&mut self) -> Result<Ticker<'a>, Error> {
        let fields = self.object("data")?;
        let mut ticker = Ticker::default();
        let (mut symbol, mut timestamp) = (None, None);
        for _ in 0..fields {
            match self.key()? {
                "symbol" => {
                    let value = self.text("symbol")?;
                    once(&mut symbol, value, || self.shape("symbol"))?;
                }
                "timestamp" => {
                    let value = self.time("timestamp")?;
                    once(&mut timestamp, value, || self.shape("timestamp"))?;
                }
                key => match TICKER_NUMBERS.iter().position(|name| *name == key) {
                    Some(i) => self.number(TICKER_NUMBERS[i], &mut ticker.numbers[i], &mut ticker.extra)?,
                    None => self.extra(key, &mut ticker.extra),
                },
            }
        }
        close(&mut ticker.extra);
        Ok(Ticker { symbol: symbol.ok_or_else(|| self.shape("symbol"))?, timestamp, ..ticker })
    }

    fn ohlc(&mut self) -> Result<Ohlc<'a>, Error> {
        let fields = self.object("data")?;
        let mut ohlc = Ohlc::default();
        let (mut symbol, mut interval, mut begin) = (None, None, None);
        for _ in 0..fields {
            match self.key()? {
                "symbol" => {
                    let value = self.text("symbol")?;
                    once(&mut symbol, value, || self.shape("symbol"))?;
                }
                "interval" => {
                    let value = self.whole("interval")?;
                    once(&mut interval, value, || self.shape("interval"))?;
                }
                "interval_begin" => {
                    let value = self.time("interval_begin")?;
                    once(&mut begin, value, || self.shape("interval_begin"))?;
                }
                "trades" => {
                    let value = self.whole("trades")?;
                    once(&mut ohlc.trades, value, || self.shape("trades"))?;
                }
                key => match OHLC_NUMBERS.iter().position(|name| *name == key) {
                    Some(i) => self.number(OHLC_NUMBERS[i], &mut ohlc.numbers[i], &mut ohlc.extra)?,
                    None => self.extra(key, &mut ohlc.extra),
                },
            }
        }
        close(&mut ohlc.extra);
        Ok(Ohlc {
            symbol: symbol.ok_or_else(|| self.shape("symbol"))?,
            interval: interval.ok_or_else(|| self.shape("interval"))?,
            interval_begin: begin.ok_or_else(|| self.shape("interval_begin"))?,
            ..ohlc
        })
    }

    fn status(&mut self) -> Result<Status<'a>, Error> {
        let fields = self.object("data")?;
        let mut status = Status::default();
        let mut system = None;
        for _ in 0..fields {
            match self.key()? {
                "system" => {
                    let value = self.text("system")?;
                    once(&mut system, value, || self.shape("system"))?;
                }
                "version" => {
                    let value = self.text("version")?;
                    once(&mut status.version, value, || self.shape("version"))?;
                }
                "api_version" => {
                    let value = self.text("api_version")?;
                    once(&mut status.api_version, value, || self.shape("api_version"))?;
                }
                "connection_id" => {
                    let value = self.whole("connection_id")?;
                    once(&mut status.connection_id, value, || self.shape("connection_id"))?;
                }
                key => self.extra(key, &mut status.extra),
            }
        }
        close(&mut status.extra);
        Ok(Status { system: system.ok_or_else(|| self.shape("system"))?, ..status })
    }

    fn instrument(&mut self, kind: Kind) -> Result<Message<'a>, Error> {
        let (mut assets, mut pairs) = (None, None);
        for _ in 0..self.object("data")? {
            match self.key()? {
                "assets" => {
                    let list = self.list(Self::asset)?;
                    once(&mut assets, list, || self.shape("assets"))?;
                }
                "pairs" => {
                    let list = self.list(Self::pair)?;
                    once(&mut pairs, list, || self.shape("pairs"))?;
                }
                _ => self.unknown_field(),
            }
        }
        Ok(Message::Instrument(kind, assets.unwrap_or_default(), pairs.unwrap_or_default()))
    }

    fn asset(&mut self) -> Result<Asset, Error> {
        let fields = self.object("assets")?;
        let mut asset = Asset::default();
        let (mut id, mut status) = (None, None);
        for _ in 0..fields {
            let key = self.key()?;
            if self.null() {
                continue;
            }
            match key {
                "id" => {
                    let value = self.text("id")?;
                    once(&mut id, value, || self.shape("id"))?;
                }
                "status" => {
                    let value = self.text("status")?;
                    once(&mut status, value, || self.shape("status"))?;
                }
                "precision" => asset.precision = Some(self.whole("precision")?),
                "precision_display" => asset.precision_display = Some(self.whole("precision_display")?),
                "borrowable" => asset.borrowable = Some(self.boolean("borrowable")?),
                "collateral_value" => {
                    self.number("collateral_value", &mut asset.collateral_value, &mut asset.extra)?;
                }
                "margin_rate" => self.number("margin_rate", &mut asset.margin_rate, &mut asset.extra)?,
                "class" => asset.class = Some(self.text("class")?.to_owned()),
                key => self.extra(key, &mut asset.extra),
            }
        }
        close(&mut asset.extra);
        Ok(Asset {
            id: id.ok_or_else(|| self.shape("id"))?.to_owned(),
            status: status.ok_or_else(|| self.shape("status"))?.to_owned(),
            ..asset
        })
    }

    fn pair(&mut self) -> Result<Pair, Error> {
        let fields = self.object("pairs")?;
        let mut pair = Pair::default();
        let (mut symbol, mut price_precision, mut qty_precision) = (None, None, None);
        for _ in 0..fields {
            let key = self.key()?;
            if self.null() {
                continue;
            }
            match key {
                "symbol" => {
                    let value = self.text("symbol")?;
                    once(&mut symbol, value, || self.shape("symbol"))?;
                }
                "base" => self.text("base")?.clone_into(&mut pair.base),
                "quote" => self.text("quote")?.clone_into(&mut pair.quote),
                "status" => self.text("status")?.clone_into(&mut pair.status),
                "price_precision" => {
                    let value = self.whole("price_precision")?;
                    once(&mut price_precision, value, || self.shape("price_precision"))?;
                }
                "qty_precision" => {
                    let value = self.whole("qty_precision")?;
                    once(&mut qty_precision, value, || self.shape("qty_precision"))?;
                }
                "price_increment" => {
                    self.number("price_increment", &mut pair.price_increment, &mut pair.extra)?;
                }
                "qty_increment" => self.number("qty_increment", &mut pair.qty_increment, &mut pair.extra)?,
                "qty_min" => self.number("qty_min", &mut pair.qty_min, &mut pair.extra)?,
                // A string by the documentation, a number on the wire.
                "cost_min" => self.number("cost_min", &mut pair.cost_min, &mut pair.extra)?,
                "cost_precision" => pair.cost_precision = Some(self.whole("cost_precision")?),
                "marginable" => pair.marginable = Some(self.boolean("marginable")?),
                "margin_initial" => self.number("margin_initial", &mut pair.margin_initial, &mut pair.extra)?,
                "position_limit_long" => pair.position_limit_long = Some(self.whole("position_limit_long")?),
                "position_limit_short" => pair.position_limit_short = Some(self.whole("position_limit_short")?),
                "has_index" => pair.has_index = Some(self.boolean("has_index")?),
                key => self.extra(key, &mut pair.extra),
            }
        }
        close(&mut pair.extra);
        let symbol = symbol.ok_or_else(|| self.shape("symbol"))?;
        if symbol.len() > limits::SYMBOL_LENGTH_MAX {
            return Err(Error::Limit {
                what: "SYMBOL_LENGTH_MAX",
                limit: limits::SYMBOL_LENGTH_MAX,
                found: symbol.len(),
            });
        }
        Ok(Pair {
            symbol: symbol.to_owned(),
            price_precision: price_precision.ok_or_else(|| self.shape("price_precision"))?,
            qty_precision: qty_precision.ok_or_else(|| self.shape("qty_precision"))?,
            ..pair
        })
    }

    fn reply(&mut self, fields: usize) -> Result<Message<'a>, Error> {
        let mut reply = Reply::default();
        let mut outer_symbol = None;
        for _ in 0..fields {
            match self.key()? {
                "method" => reply.method = self.text("method")?,
                "success" => reply.success = Some(self.boolean("success")?),
                "error" => reply.error = Some(self.text("error")?),
                "req_id" => reply.req_id = Some(self.whole("req_id")?),
                "symbol" => outer_symbol = Some(self.text("symbol")?),
                "time_out" => reply.timestamp = Some(self.time("time_out")?),
                "result" => {
                    for _ in 0..self.object("result")? {
                        match self.key()? {
                            "symbol" => reply.symbol = Some(self.text("symbol")?),
                            "channel" => reply.channel = Some(self.text("channel")?),
                            "depth" => reply.depth = Some(self.whole("depth")?),
                            "warnings" => self.write_json(&mut reply.warnings),
                            _ => self.skip(),
                        }
                    }
                }
                _ => self.skip(),
            }
        }
        reply.symbol = reply.symbol.or(outer_symbol);
        Ok(Message::Reply(reply))
    }
}

/// Ends a JSON object begun by [`Walk::extra`].
fn close(extra: &mut String) {
    if !extra.is_empty() {
        extra.push('}');
    }
}

/// Writes `text` as a JSON string.
pub(crate) fn write_text(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// RFC 3339, UTC (`Z`), up to nine decimals of a second: nanoseconds since the epoch. `None` for anything else.
#[must_use]
pub fn parse_time(text: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?.iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let is = |at: usize, byte: u8| (text.get(at) == Some(&byte)).then_some(());
    is(4, b'-').and(is(7, b'-')).and(is(10, b'T')).and(is(13, b':')).and(is(16, b':'))?;
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // 1970 to 2261 fits nanoseconds in 64 bits; nothing of the feed is older.
    if !(1970..=2261).contains(&year) || !(1..=12).contains(&month) || !(1..=length).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut nanoseconds = 0;
    if text.get(at) == Some(&b'.') {
        let end = text.len().checked_sub(1)?;
        let decimals = end.checked_sub(at + 1)?;
        if !(1..=9).contains(&decimals) {
            return None;
        }
        nanoseconds = number(at + 1, end)?;
        for _ in decimals..9 {
            nanoseconds *= 10;
        }
        at = end;
    }
    if text.get(at..) != Some(b"Z") {
        return None;
    }
    // Days since the epoch, by counting years from March (the leap day is then the last of its year).
    let from_march = year - i64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let era = from_march / 400;
    let year_of_era = from_march % 400;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000_000 + second * 1_000_000_000 + nanoseconds)
}
