//! `KrakpotStream`: the stream of `krakpot view live`, made inside the engine out of sessions.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use godot::builtin::{GString, PackedByteArray, PackedStringArray, VarArray};
use godot::classes::{IRefCounted, RefCounted};
use godot::obj::{Base, Gd};
use godot::register::{GodotClass, godot_api};
use krakpot_core::instrument::Pair;
use krakpot_core::session::Channel;
use serde_json::{Value, json};

use crate::market::Market;
use crate::request::Asked;
use crate::session::KrakpotSession;
use crate::values::packed;
use crate::viewer::{PairFacts, Sessions, Viewer};

/// Version of the stream.
const STREAM: u64 = 1;
/// Seconds without a clock after which a client marks what it shows as stale.
const STALE_AFTER: f64 = 3.0;
/// States of a pair a second, unless another rate is requested.
const RATE: u64 = 30;
/// Seconds between two looks for new pairs.
const LOOK: f64 = 1.0;
/// Channels that the stream is made of, in the order of `hello`.
const SHOWN: [Channel; 4] = [Channel::Book, Channel::Trade, Channel::Ticker, Channel::Level3];

/// The messages of the stream of `krakpot view live`, made inside the engine out of the sessions of this process. What a
/// client sends goes into `request`, what it would receive comes out of `take`.
#[derive(GodotClass)]
#[class(base = RefCounted)]
pub struct KrakpotStream {
    market: Market,
    viewer: Viewer,
    pairs: Vec<PairFacts>,
    numbers: HashMap<Arc<str>, usize>,
    /// When to look for new pairs, seconds.
    look_due: f64,
    name: String,
    /// Levels a side of books, and of level 3.
    depths: (u16, u16),
    /// Texts to hand out.
    texts: VecDeque<String>,
    greeted: bool,
    status: Option<Value>,
    #[allow(dead_code, reason = "the engine's part of the object")]
    base: Base<RefCounted>,
}

#[godot_api]
impl IRefCounted for KrakpotStream {
    fn init(base: Base<RefCounted>) -> Self {
        let market = Market::default();
        Self {
            viewer: Viewer::new(&market),
            market,
            pairs: Vec::new(),
            numbers: HashMap::new(),
            look_due: 0.0,
            name: String::new(),
            depths: (0, 0),
            texts: VecDeque::new(),
            greeted: false,
            status: None,
            base,
        }
    }
}

impl KrakpotStream {
    fn symbols(&self) -> Vec<Value> {
        let pairs = self.pairs.iter().map(|pair| {
            let depth = if pair.channels.contains(&Channel::Book) { self.depths.0 } else { self.depths.1 };
            json!({
                "symbol": &*pair.symbol, "price_precision": pair.price_precision, "qty_precision": pair.qty_precision,
                "depth": depth, "channels": pair.channels.iter().map(|channel| channel.name()).collect::<Vec<_>>(),
            })
        });
        pairs.collect()
    }

    /// Sees whether there are pairs that were not there before. They come behind the others, whose numbers stay. All pairs
    /// of the exchange are listed: what a client subscribes is subscribed at the exchange then. Returns whether something
    /// changed.
    fn look(&mut self, public: &KrakpotSession, level3: Option<&KrakpotSession>) -> bool {
        let has = |channel: &Channel| {
            let wanting = |session: &KrakpotSession| session.channels().contains(channel);
            wanting(public) || level3.is_some_and(wanting)
        };
        let channels: Vec<Channel> = SHOWN.into_iter().filter(has).collect();
        let mut pairs: Vec<&Pair> = public.core().pairs().map(|(pair, _)| pair).collect();
        pairs.sort_by(|one, other| one.symbol.cmp(&other.symbol));
        let mut changed = false;
        for pair in pairs {
            let Pair { price_precision, qty_precision, .. } = *pair;
            if let Some(&at) = self.numbers.get(pair.symbol.as_str()) {
                let known = &mut self.pairs[at];
                let same = (known.price_precision, known.qty_precision) == (price_precision, qty_precision);
                changed |= !same || known.channels != channels;
                (known.price_precision, known.qty_precision) = (price_precision, qty_precision);
                known.channels.clone_from(&channels);
            } else if pair.status != "delisted" {
                let symbol: Arc<str> = Arc::from(pair.symbol.as_str());
                self.numbers.insert(Arc::clone(&symbol), self.pairs.len());
                self.pairs.push(PairFacts { symbol, price_precision, qty_precision, channels: channels.clone() });
                changed = true;
            }
        }
        let depths = (public.depth(), level3.map_or(0, KrakpotSession::level3_depth));
        changed |= self.depths != depths;
        self.depths = depths;
        changed
    }

    fn events_of(&mut self, session: &mut Gd<KrakpotSession>) {
        for event in session.bind_mut().core_mut().take_events() {
            self.market.take(&event);
        }
    }

    fn hello(&self) -> Value {
        let ts = (self.market.ts > 0).then_some(self.market.ts / 1000);
        json!({
            "type": "hello", "stream": STREAM, "krakpot": env!("CARGO_PKG_VERSION"), "source": "live", "name": self.name,
            "stale_after_s": STALE_AFTER, "begin_us": ts, "end_us": ts, "rate": RATE, "symbols": self.symbols(),
        })
    }

    fn status(&self) -> Value {
        let reason = self.market.down.values().cloned().collect::<Vec<_>>().join("; ");
        let connection = if self.market.connected() { "up" } else { "down" };
        json!({"type": "status", "connection": connection, "reason": reason, "system": self.market.system})
    }
}

#[godot_api]
impl KrakpotStream {
    /// How the market is called in `hello`.
    #[func]
    fn set_name(&mut self, name: GString) {
        self.name = name.to_string();
    }

    /// A client is there, or another one: it gets `hello` next, and wants nothing yet.
    #[func]
    fn restart(&mut self) {
        self.viewer = Viewer::new(&self.market);
        self.texts.clear();
        self.greeted = false;
        self.status = None;
    }

    /// A connection to the exchange, `public` or `level3`, came up, or is down and why; before the first attempt it is
    /// down without a reason.
    #[func]
    fn connection(&mut self, endpoint: GString, up: bool, reason: GString, now: i64) {
        let endpoint = endpoint.to_string();
        if up {
            self.market.connection_up(&endpoint);
        } else {
            self.market.connection_down(&endpoint, &reason.to_string(), now);
        }
    }

    /// Takes a request of the client; the answer comes out of `take`.
    #[func]
    fn request(&mut self, text: GString) {
        let mut asked = Asked::read(&text.to_string());
        let done = asked.take().and_then(|request| self.viewer.act(request, &self.pairs));
        self.texts.push_back(asked.answer(done));
    }

    /// Takes the events of a session that is given up.
    #[func]
    fn drain(&mut self, session: Gd<KrakpotSession>) {
        let mut session = session;
        self.events_of(&mut session);
    }

    /// The pairs that the client has subscribed; `orders`: only those whose orders it wants.
    #[func]
    fn wanted(&self, orders: bool) -> PackedStringArray {
        packed(self.viewer.wanted(orders).map(|number| &*self.pairs[number].symbol))
    }

    /// The most levels a side that the client has subscribed of a pair; `orders`: of those whose orders it wants.
    #[func]
    fn deepest(&self, orders: bool) -> i64 {
        i64::try_from(self.viewer.deepest(orders)).unwrap_or(i64::MAX)
    }

    /// Takes the events of the sessions, and returns what the client is to receive now: texts as `String`, market data as
    /// `PackedByteArray`. `now`: seconds of a clock that only goes forward; `wall`: nanoseconds since 1970.
    #[func]
    fn take(
        &mut self,
        now: f64,
        wall: i64,
        public: Gd<KrakpotSession>,
        level3: Option<Gd<KrakpotSession>>,
    ) -> VarArray {
        let (mut public, mut level3) = (public, level3);
        let mut found = VarArray::new();
        if level3.as_ref().is_some_and(|level3| level3.instance_id() == public.instance_id()) {
            return found;
        }
        self.events_of(&mut public);
        if let Some(level3) = level3.as_mut() {
            self.events_of(level3);
        }
        let public = public.bind();
        let level3 = level3.as_ref().map(Gd::bind);
        if now >= self.look_due {
            self.look_due = now + if self.greeted { LOOK } else { 0.0 };
            let changed = self.look(&public, level3.as_deref());
            if changed && self.greeted {
                self.texts.push_back(json!({"type": "symbols", "symbols": self.symbols()}).to_string());
            }
        }
        if !self.greeted && self.pairs.is_empty() && !self.market.failed() {
            // There will be pairs soon, or a reason why not.
            return found;
        }
        if !self.greeted {
            self.greeted = true;
            found.push(&text(&self.hello()));
        }
        let status = self.status();
        if self.status.as_ref() != Some(&status) {
            found.push(&text(&status));
            self.status = Some(status);
        }
        for answer in self.texts.drain(..) {
            found.push(&GString::from(answer.as_str()));
        }
        let of = Sessions { public: public.core(), level3: level3.as_deref().map(KrakpotSession::core) };
        for message in self.viewer.due(now, wall, of, &mut self.market, &self.pairs) {
            found.push(&PackedByteArray::from(message));
        }
        found
    }
}

fn text(value: &Value) -> GString {
    GString::from(value.to_string().as_str())
}
