//! The general reader: from simd-json's tape to messages, whatever the order of keys.

use simd_json::{Node, StaticNode};

use crate::decimal::Decimal;
use crate::error::Error;
use crate::instrument::{Asset, Pair};
use crate::limits;
use crate::wire::json::{close, number_end, write_text};
use crate::wire::message::{
    BookData, Entry, Kind, Message, OHLC_NUMBERS, Ohlc, OrderEntry, OrderEvent, OrderId, Reply, Side, Status,
    TICKER_NUMBERS, Ticker, Trade,
};
use crate::wire::time::parse_time;

/// Reads one frame from the parser's tape, node by node.
pub(super) struct TapeReader<'t, 'a> {
    nodes: &'t [Node<'a>],
    at: usize,
    /// Address of the scratch buffer, to tell a quoted number from a string.
    base: usize,
    numbers: &'t [u32],
    channel: &'a str,
    entries: &'t mut Vec<Entry>,
    /// Orders of the message, in wire order.
    pub orders: Vec<OrderEntry<'a>>,
    /// Fields that no column and no `extra` keeps.
    pub unknown: u64,
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
        Self { nodes, at: 0, base, numbers, channel: "message", entries, orders, unknown: 0 }
    }

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
    pub fn message(&mut self) -> Result<Message<'a>, Error> {
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
            "level3" => self.list(|reader| reader.level3(kind)).map(|data| Message::Level3(kind, data.into())),
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
        let data = self.book_data(|reader, side| reader.orders(side, kind))?;
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
