//! The general reader: from simd-json's tape to messages, with the keys in any order.
//!
//! A known field twice is refused, and null is as if the field were not there. Each item of a message's array is read for
//! itself: one that cannot be read is refused, the others are taken.

use simd_json::{Node, StaticNode};

use crate::decimal::Decimal;
use crate::error::Error;
use crate::instrument::{Asset, Pair};
use crate::limits;
use crate::wire::json::{close, number_end, write_text};
use crate::wire::message::{
    BookData, Entry, Items, Kind, Message, OHLC_NUMBERS, Ohlc, OrderEntry, OrderEvent, OrderId, Refused, Reply, Side,
    Status, TICKER_NUMBERS, Ticker, Trade,
};
use crate::wire::time::parse_time;

/// Reads one frame from the parser's tape, node by node.
pub(super) struct TapeReader<'t, 'a> {
    nodes: &'t [Node<'a>],
    at: usize,
    /// Address of the scratch buffer, to tell a quoted number from a string.
    base: usize,
    /// Places in the scratch buffer of numbers that were bare on the wire.
    numbers: &'t [u32],
    /// Channel or method; empty before it is known.
    channel: &'a str,
    /// The field that was read last.
    field: &'static str,
    entries: &'t mut Vec<Entry>,
    /// Orders of the message, in wire order.
    pub orders: Vec<OrderEntry<'a>>,
    /// Fields that no column and no `extra` keeps.
    pub unknown: u64,
}

/// Nodes that the value at the head of `nodes` has.
fn span(nodes: &[Node<'_>]) -> usize {
    match nodes.first() {
        Some(Node::Object { count, .. } | Node::Array { count, .. }) => count + 1,
        _ => 1,
    }
}

impl<'t, 'a> TapeReader<'t, 'a> {
    /// Reads the frame whose `nodes` the parser made of the buffer at the address `base`, in which `numbers` are the
    /// places of bare numbers. Levels go to `entries`, orders to `orders`.
    pub fn new(
        nodes: &'t [Node<'a>],
        base: usize,
        numbers: &'t [u32],
        entries: &'t mut Vec<Entry>,
        orders: Vec<OrderEntry<'a>>,
    ) -> Self {
        Self { nodes, at: 0, base, numbers, channel: "", field: "", entries, orders, unknown: 0 }
    }

    /// A field is missing, repeated or of another type.
    #[cold]
    fn shape(&self, field: &'static str) -> Error {
        // The channel may be any text of the sender's.
        let channel = self.channel.chars().take(limits::SYMBOL_LENGTH_MAX).collect();
        Error::Shape { channel, field, offset: self.offset() }
    }

    /// Where the reader is, in bytes of the frame: only texts and numbers have a place, so the last of them counts.
    fn offset(&self) -> usize {
        let text = |node: &Node<'_>| match node {
            Node::String(text) => (text.as_ptr() as usize).checked_sub(self.base),
            _ => None,
        };
        let end = self.nodes.len().min(self.at + 1);
        let place = self.nodes[..end].iter().rev().find_map(text).unwrap_or(0);
        // Two quotes were added for each number before this place, and one for a number at it.
        let numbers = |upto: usize| self.numbers.partition_point(|&number| (number as usize) < upto);
        place.saturating_sub(numbers(place) + numbers(place + 1))
    }

    fn node(&self) -> Option<Node<'a>> {
        self.nodes.get(self.at).copied()
    }

    fn skip(&mut self) {
        self.at += span(self.nodes.get(self.at..).unwrap_or(&[]));
    }

    /// Whether a string of the tape was a bare number on the wire.
    #[inline]
    fn bare(&self, text: &str) -> bool {
        if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return false;
        }
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
        self.field = field;
        match self.node() {
            Some(Node::String(text)) => {
                if let Some(number) = Decimal::parse(text.as_bytes()) {
                    self.at += 1;
                    return Ok(number);
                }
                if text.is_empty() || number_end(text.as_bytes(), 0) != Some(text.len()) {
                    return Err(self.shape(field));
                }
                let text = text.chars().take(100).collect();
                Err(Error::Decimal { symbol: String::new(), text, scale: limits::SCALE })
            }
            _ => Err(self.shape(field)),
        }
    }

    /// A whole number in the range of `T`.
    fn whole<T: TryFrom<i128>>(&mut self, field: &'static str) -> Result<T, Error> {
        let at = self.at;
        let value = self.decimal(field)?;
        value.rescale(0).and_then(|v| T::try_from(v).ok()).ok_or_else(|| {
            self.at = at;
            self.shape(field)
        })
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
        let at = self.at;
        let text = self.text(field)?;
        parse_time(text.as_bytes()).ok_or_else(|| {
            self.at = at;
            self.shape(field)
        })
    }

    fn kind(&mut self) -> Result<Kind, Error> {
        match self.text("type")? {
            "snapshot" => Ok(Kind::Snapshot),
            "update" => Ok(Kind::Update),
            _ => Err(self.shape("type")),
        }
    }

    fn order_event(&mut self, field: &'static str) -> Result<OrderEvent, Error> {
        let word = self.text(field)?;
        OrderEvent::named(word).ok_or_else(|| self.shape(field))
    }

    fn order_id(&mut self, field: &'static str) -> Result<OrderId<'a>, Error> {
        self.field = field;
        OrderId::new(self.text(field)?)
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

    /// The key of a field. The parser lets only strings through, and the copy puts a bare number there in quotes as well.
    #[allow(clippy::inline_always, reason = "called for every field, in few places; left to itself it is a call")]
    #[inline(always)]
    fn key(&mut self) -> Result<&'a str, Error> {
        match self.node() {
            Some(Node::String(text)) if !self.bare(text) => {
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.no_key()),
        }
    }

    #[cold]
    fn no_key(&self) -> Error {
        Error::Json { offset: self.offset(), reason: "a key that is not a string".into() }
    }

    /// Reads the value of a known field into its `slot`. Null is as if the field were not there.
    #[inline]
    fn field<T>(
        &mut self,
        slot: &mut Option<T>,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<T, Error>,
    ) -> Result<(), Error> {
        if self.null() {
            return Ok(());
        }
        if slot.is_some() {
            return Err(self.shape(field));
        }
        *slot = Some(read(self, field)?);
        Ok(())
    }

    /// The value of a field that must be there.
    fn required<T>(&self, slot: Option<T>, field: &'static str) -> Result<T, Error> {
        slot.ok_or_else(|| self.shape(field))
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
    pub fn message(&mut self) -> Result<Message<'a>, Error> {
        let Some(Node::Object { len: fields, .. }) = self.node() else { return Err(Error::NoMessage) };
        self.at += 1;
        let start = self.at;
        let (mut channel, mut kind, mut data, mut time, mut method) = (None, None, None, None, None);
        for _ in 0..fields {
            match self.key()? {
                "channel" => {
                    self.field(&mut channel, "channel", Self::text)?;
                    self.channel = channel.unwrap_or_default();
                }
                "type" => self.field(&mut kind, "type", Self::place)?,
                "data" => self.field(&mut data, "data", Self::place)?,
                "timestamp" => self.field(&mut time, "timestamp", Self::place)?,
                "method" => self.field(&mut method, "method", Self::text)?,
                _ => self.skip(),
            }
        }
        if let Some(method) = method {
            self.channel = method;
            self.at = start;
            return self.reply(fields);
        }
        let channel = channel.ok_or(Error::NoMessage)?;
        if channel == "heartbeat" {
            return Ok(Message::Heartbeat);
        }
        if !matches!(channel, "book" | "level3" | "trade" | "ticker" | "ohlc" | "instrument" | "status") {
            return Ok(Message::Other(channel));
        }
        self.at = self.required(kind, "type")?;
        let kind = self.kind()?;
        let data = self.required(data, "data")?;
        match channel {
            "book" => self.list(data, Self::book).map(|data| Message::Book(kind, data.into())),
            "level3" => self.list(data, |reader| reader.level3(kind)).map(|data| Message::Level3(kind, data.into())),
            "trade" => self.list(data, Self::trade).map(|data| Message::Trade(kind, data)),
            "ticker" => self.list(data, Self::ticker).map(|data| Message::Ticker(kind, data)),
            "ohlc" => {
                let time = time.map(|at| {
                    self.at = at;
                    self.time("timestamp")
                });
                let time = time.transpose()?;
                self.list(data, Self::ohlc).map(|data| Message::Ohlc(kind, time, data))
            }
            "status" => self.list(data, Self::status).map(Message::Status),
            _ => {
                self.at = data;
                self.instrument(kind)
            }
        }
    }

    /// The place of a value, which is read later.
    #[allow(clippy::unnecessary_wraps, reason = "it is called as the readers of values are")]
    fn place(&mut self, _: &'static str) -> Result<usize, Error> {
        let at = self.at;
        self.skip();
        Ok(at)
    }

    /// The items of the array at the place `data`.
    fn list<T>(&mut self, data: usize, read: impl Fn(&mut Self) -> Result<T, Error>) -> Result<Items<T>, Error> {
        self.at = data;
        self.items("data", read)
    }

    /// The items of an array, each read for itself. Only what is wrong with the frame as a whole is an error.
    fn items<T>(
        &mut self,
        field: &'static str,
        read: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Items<T>, Error> {
        let count = self.array(field)?;
        let mut items = Items { taken: Vec::with_capacity(count.min(64)), ..Items::default() };
        for index in 0..count {
            let begin = self.at;
            match read(self) {
                Ok(item) => items.taken.push((index, item)),
                Err(error @ Error::Json { .. }) => return Err(error),
                Err(error) if items.refused.len() < limits::REFUSED_ITEMS_MAX => {
                    items.refused.push(self.refused((field, index), begin, error));
                }
                Err(_) => {
                    items.more += 1;
                    self.at = begin;
                    self.skip();
                }
            }
        }
        Ok(items)
    }

    /// What is said of the item that begins at the node `begin` and cannot be read. The reader goes on behind it.
    #[cold]
    fn refused(&mut self, (array, index): (&'static str, usize), begin: usize, error: Error) -> Refused {
        let field = match &error {
            Error::Shape { field, .. } => field,
            _ => self.field,
        };
        self.at = begin;
        let symbol = self.symbol_of_item().filter(|symbol| symbol.len() <= limits::SYMBOL_LENGTH_MAX);
        self.at = begin;
        let mut excerpt = String::new();
        self.write_json(&mut excerpt);
        excerpt.truncate((0..=limits::EXCERPT_MAX).rev().find(|&end| excerpt.is_char_boundary(end)).unwrap_or(0));
        Refused { array, index, symbol: symbol.map(Into::into), field, error, excerpt }
    }

    /// The symbol of the item here, as far as it can be read.
    fn symbol_of_item(&mut self) -> Option<&'a str> {
        let Some(Node::Object { len, .. }) = self.node() else { return None };
        self.at += 1;
        for _ in 0..len {
            if self.key().ok()? == "symbol" {
                return self.text("symbol").ok();
            }
            self.skip();
        }
        None
    }

    fn book(&mut self) -> Result<BookData<'a>, Error> {
        let from = self.entries.len();
        match self.book_data(Self::levels) {
            Ok(data) => Ok(BookData { entries: from..self.entries.len(), ..data }),
            Err(error) => {
                self.entries.truncate(from);
                Err(error)
            }
        }
    }

    fn level3(&mut self, kind: Kind) -> Result<BookData<'a>, Error> {
        let from = self.orders.len();
        match self.book_data(|reader, side| reader.orders(side, kind)) {
            Ok(data) => Ok(BookData { entries: from..self.orders.len(), ..data }),
            Err(error) => {
                self.orders.truncate(from);
                Err(error)
            }
        }
    }

    fn book_data(&mut self, entries: impl Fn(&mut Self, Side) -> Result<(), Error>) -> Result<BookData<'a>, Error> {
        let (mut symbol, mut bids, mut asks, mut checksum, mut timestamp) = (None, None, None, None, None);
        for _ in 0..self.object("data")? {
            match self.key()? {
                "symbol" => self.field(&mut symbol, "symbol", Self::text)?,
                "bids" => self.field(&mut bids, "bids", |reader, _| entries(reader, Side::Bid))?,
                "asks" => self.field(&mut asks, "asks", |reader, _| entries(reader, Side::Ask))?,
                "checksum" => self.field(&mut checksum, "checksum", Self::whole)?,
                "timestamp" => self.field(&mut timestamp, "timestamp", Self::time)?,
                _ => self.unknown_field(),
            }
        }
        Ok(BookData { symbol: self.required(symbol, "symbol")?.as_bytes(), entries: 0..0, checksum, timestamp })
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
                    "event" => self.field(&mut event, "event", Self::order_event)?,
                    "order_id" => self.field(&mut id, "order_id", Self::order_id)?,
                    "limit_price" => self.field(&mut price, "limit_price", Self::decimal)?,
                    "order_qty" => self.field(&mut qty, "order_qty", Self::decimal)?,
                    "timestamp" => self.field(&mut timestamp, "timestamp", Self::time)?,
                    _ => self.unknown_field(),
                }
            }
            // The orders of a snapshot have no event: all of them are added.
            let event = match (event, kind) {
                (None | Some(OrderEvent::Add), Kind::Snapshot) => OrderEvent::Add,
                (Some(event), Kind::Update) => event,
                _ => return Err(self.shape("event")),
            };
            self.orders.push(OrderEntry {
                side,
                event,
                id: self.required(id, "order_id")?,
                price: self.required(price, "limit_price")?,
                qty: self.required(qty, "order_qty")?,
                timestamp: self.required(timestamp, "timestamp")?,
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
                    "price" => self.field(&mut price, "price", Self::decimal)?,
                    "qty" => self.field(&mut qty, "qty", Self::decimal)?,
                    _ => self.unknown_field(),
                }
            }
            let (price, qty) = (self.required(price, "price")?, self.required(qty, "qty")?);
            self.entries.push(Entry { side, price, qty });
        }
        Ok(())
    }

    fn trade(&mut self) -> Result<Trade<'a>, Error> {
        let (mut symbol, mut side, mut price, mut qty) = (None, None, None, None);
        let (mut ord_type, mut trade_id, mut timestamp) = (None, None, None);
        for _ in 0..self.object("data")? {
            match self.key()? {
                "symbol" => self.field(&mut symbol, "symbol", Self::text)?,
                "side" => self.field(&mut side, "side", Self::text)?,
                "price" => self.field(&mut price, "price", Self::decimal)?,
                "qty" => self.field(&mut qty, "qty", Self::decimal)?,
                "ord_type" => self.field(&mut ord_type, "ord_type", Self::text)?,
                "trade_id" => self.field(&mut trade_id, "trade_id", Self::whole)?,
                "timestamp" => self.field(&mut timestamp, "timestamp", Self::time)?,
                _ => self.unknown_field(),
            }
        }
        Ok(Trade {
            symbol: self.required(symbol, "symbol")?,
            side: self.required(side, "side")?,
            price: self.required(price, "price")?,
            qty: self.required(qty, "qty")?,
            ord_type: self.required(ord_type, "ord_type")?,
            trade_id: self.required(trade_id, "trade_id")?,
            timestamp: self.required(timestamp, "timestamp")?,
        })
    }

    /// A number of an optional field. What no column can hold goes to `extra`, with its digits.
    fn number(&mut self, key: &'static str, slot: &mut Option<Decimal>, extra: &mut String) -> Result<(), Error> {
        self.number_or_extra(key, slot, extra, |value| value.rescale(limits::SCALE).map(|_| value))
    }

    /// The same of a whole number in the range of `T`.
    fn integer<T: TryFrom<i128>>(
        &mut self,
        key: &'static str,
        slot: &mut Option<T>,
        extra: &mut String,
    ) -> Result<(), Error> {
        self.number_or_extra(key, slot, extra, |value| value.rescale(0)?.try_into().ok())
    }

    fn number_or_extra<T>(
        &mut self,
        key: &'static str,
        slot: &mut Option<T>,
        extra: &mut String,
        held: impl FnOnce(Decimal) -> Option<T>,
    ) -> Result<(), Error> {
        if self.null() {
            return Ok(());
        }
        if slot.is_some() {
            return Err(self.shape(key));
        }
        let at = self.at;
        match self.decimal(key).map(held) {
            Ok(Some(value)) => *slot = Some(value),
            Ok(None) | Err(Error::Decimal { .. }) => {
                self.at = at;
                self.extra(key, extra);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn ticker(&mut self) -> Result<Ticker<'a>, Error> {
        let mut ticker = Ticker::default();
        let (mut symbol, mut timestamp) = (None, None);
        for _ in 0..self.object("data")? {
            match self.key()? {
                "symbol" => self.field(&mut symbol, "symbol", Self::text)?,
                "timestamp" => self.field(&mut timestamp, "timestamp", Self::time)?,
                key => match TICKER_NUMBERS.iter().position(|name| *name == key) {
                    Some(i) => self.number(TICKER_NUMBERS[i], &mut ticker.numbers[i], &mut ticker.extra)?,
                    None => self.extra(key, &mut ticker.extra),
                },
            }
        }
        close(&mut ticker.extra);
        Ok(Ticker { symbol: self.required(symbol, "symbol")?, timestamp, ..ticker })
    }

    fn ohlc(&mut self) -> Result<Ohlc<'a>, Error> {
        let mut ohlc = Ohlc::default();
        let (mut symbol, mut interval, mut begin) = (None, None, None);
        for _ in 0..self.object("data")? {
            match self.key()? {
                "symbol" => self.field(&mut symbol, "symbol", Self::text)?,
                "interval" => self.field(&mut interval, "interval", Self::whole)?,
                "interval_begin" => self.field(&mut begin, "interval_begin", Self::time)?,
                "trades" => self.integer("trades", &mut ohlc.trades, &mut ohlc.extra)?,
                key => match OHLC_NUMBERS.iter().position(|name| *name == key) {
                    Some(i) => self.number(OHLC_NUMBERS[i], &mut ohlc.numbers[i], &mut ohlc.extra)?,
                    None => self.extra(key, &mut ohlc.extra),
                },
            }
        }
        close(&mut ohlc.extra);
        Ok(Ohlc {
            symbol: self.required(symbol, "symbol")?,
            interval: self.required(interval, "interval")?,
            interval_begin: self.required(begin, "interval_begin")?,
            ..ohlc
        })
    }

    fn status(&mut self) -> Result<Status<'a>, Error> {
        let mut status = Status::default();
        let mut system = None;
        for _ in 0..self.object("data")? {
            match self.key()? {
                "system" => self.field(&mut system, "system", Self::text)?,
                "version" => self.field(&mut status.version, "version", Self::text)?,
                "api_version" => self.field(&mut status.api_version, "api_version", Self::text)?,
                "connection_id" => self.integer("connection_id", &mut status.connection_id, &mut status.extra)?,
                key => self.extra(key, &mut status.extra),
            }
        }
        close(&mut status.extra);
        Ok(Status { system: self.required(system, "system")?, ..status })
    }

    fn instrument(&mut self, kind: Kind) -> Result<Message<'a>, Error> {
        let (mut assets, mut pairs) = (None, None);
        for _ in 0..self.object("data")? {
            match self.key()? {
                "assets" => self.field(&mut assets, "assets", |reader, field| reader.items(field, Self::asset))?,
                "pairs" => self.field(&mut pairs, "pairs", |reader, field| reader.items(field, Self::pair))?,
                _ => self.unknown_field(),
            }
        }
        Ok(Message::Instrument(kind, assets.unwrap_or_default(), pairs.unwrap_or_default()))
    }

    fn asset(&mut self) -> Result<Asset, Error> {
        let mut asset = Asset::default();
        let (mut id, mut status, mut class) = (None, None, None);
        for _ in 0..self.object("assets")? {
            let key = self.key()?;
            if self.null() {
                continue;
            }
            let extra = &mut asset.extra;
            match key {
                "id" => self.field(&mut id, "id", Self::text)?,
                "status" => self.field(&mut status, "status", Self::text)?,
                "precision" => self.integer("precision", &mut asset.precision, extra)?,
                "precision_display" => self.integer("precision_display", &mut asset.precision_display, extra)?,
                "borrowable" => self.field(&mut asset.borrowable, "borrowable", Self::boolean)?,
                "collateral_value" => self.number("collateral_value", &mut asset.collateral_value, extra)?,
                "margin_rate" => self.number("margin_rate", &mut asset.margin_rate, extra)?,
                "class" => self.field(&mut class, "class", Self::text)?,
                key => self.extra(key, extra),
            }
        }
        close(&mut asset.extra);
        Ok(Asset {
            id: self.required(id, "id")?.to_owned(),
            status: self.required(status, "status")?.to_owned(),
            class: class.map(str::to_owned),
            ..asset
        })
    }

    fn pair(&mut self) -> Result<Pair, Error> {
        let mut pair = Pair::default();
        let (mut symbol, mut base, mut quote, mut status) = (None, None, None, None);
        let (mut price_precision, mut qty_precision) = (None, None);
        for _ in 0..self.object("pairs")? {
            let key = self.key()?;
            if self.null() {
                continue;
            }
            let extra = &mut pair.extra;
            match key {
                "symbol" => self.field(&mut symbol, "symbol", Self::text)?,
                "base" => self.field(&mut base, "base", Self::text)?,
                "quote" => self.field(&mut quote, "quote", Self::text)?,
                "status" => self.field(&mut status, "status", Self::text)?,
                "price_precision" => self.field(&mut price_precision, "price_precision", Self::whole)?,
                "qty_precision" => self.field(&mut qty_precision, "qty_precision", Self::whole)?,
                "price_increment" => self.number("price_increment", &mut pair.price_increment, extra)?,
                "qty_increment" => self.number("qty_increment", &mut pair.qty_increment, extra)?,
                "qty_min" => self.number("qty_min", &mut pair.qty_min, extra)?,
                // A string by the documentation, a number on the wire.
                "cost_min" => self.number("cost_min", &mut pair.cost_min, extra)?,
                "cost_precision" => self.integer("cost_precision", &mut pair.cost_precision, extra)?,
                "marginable" => self.field(&mut pair.marginable, "marginable", Self::boolean)?,
                "margin_initial" => self.number("margin_initial", &mut pair.margin_initial, extra)?,
                "position_limit_long" => self.integer("position_limit_long", &mut pair.position_limit_long, extra)?,
                "position_limit_short" => {
                    self.integer("position_limit_short", &mut pair.position_limit_short, extra)?;
                }
                "has_index" => self.field(&mut pair.has_index, "has_index", Self::boolean)?,
                key => self.extra(key, extra),
            }
        }
        close(&mut pair.extra);
        let symbol = self.required(symbol, "symbol")?;
        if symbol.len() > limits::SYMBOL_LENGTH_MAX {
            self.field = "symbol";
            let (limit, found) = (limits::SYMBOL_LENGTH_MAX, symbol.len());
            return Err(Error::Limit { what: "SYMBOL_LENGTH_MAX", limit, found });
        }
        let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok(Pair {
            symbol: symbol.to_owned(),
            base: owned(base),
            quote: owned(quote),
            status: owned(status),
            price_precision: self.required(price_precision, "price_precision")?,
            qty_precision: self.required(qty_precision, "qty_precision")?,
            ..pair
        })
    }

    fn reply(&mut self, fields: usize) -> Result<Message<'a>, Error> {
        let mut reply = Reply::default();
        let (mut method, mut outer_symbol, mut result) = (None, None, None);
        for _ in 0..fields {
            match self.key()? {
                "method" => self.field(&mut method, "method", Self::text)?,
                "success" => self.field(&mut reply.success, "success", Self::boolean)?,
                "error" => self.field(&mut reply.error, "error", Self::text)?,
                "req_id" => self.field(&mut reply.req_id, "req_id", Self::whole)?,
                "symbol" => self.field(&mut outer_symbol, "symbol", Self::text)?,
                "time_out" => self.field(&mut reply.timestamp, "time_out", Self::time)?,
                "result" => self.field(&mut result, "result", |reader, _| reader.result(&mut reply))?,
                _ => self.skip(),
            }
        }
        reply.method = self.required(method, "method")?;
        reply.symbol = reply.symbol.or(outer_symbol);
        Ok(Message::Reply(reply))
    }

    fn result(&mut self, reply: &mut Reply<'a>) -> Result<(), Error> {
        for _ in 0..self.object("result")? {
            match self.key()? {
                "symbol" => self.field(&mut reply.symbol, "symbol", Self::text)?,
                "channel" => self.field(&mut reply.channel, "channel", Self::text)?,
                "depth" => self.field(&mut reply.depth, "depth", Self::whole)?,
                "warnings" if self.null() => {}
                "warnings" if reply.warnings.is_empty() => self.write_json(&mut reply.warnings),
                "warnings" => return Err(self.shape("warnings")),
                _ => self.skip(),
            }
        }
        Ok(())
    }
}
