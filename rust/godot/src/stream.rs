//! `KrakpotStream`: the stream of `krakpot view live`, made inside the engine out of sessions.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use godot::builtin::{GString, PackedByteArray, VarArray};
use godot::classes::{IRefCounted, RefCounted};
use godot::obj::{Base, Gd};
use godot::register::{GodotClass, godot_api};
use krakpot_core::instrument::Pair;
use krakpot_core::session::Channel;
use serde_json::{Value, json};

use crate::market::Market;
use crate::request::Asked;
use crate::session::KrakpotSession;
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

    /// Sees whether there are pairs that were not there before. They come behind the others, whose numbers stay. Returns
    /// whether something changed.
    fn look(&mut self, public: &KrakpotSession, level3: Option<&KrakpotSession>) -> bool {
        let mut wanted: BTreeMap<&str, (&Pair, Vec<Channel>)> = BTreeMap::new();
        for session in [Some(public), level3].into_iter().flatten() {
            let channels = session.channels();
            for (pair, selected) in session.core().pairs() {
                if selected {
                    let (_, found) = wanted.entry(&pair.symbol).or_insert_with(|| (pair, Vec::new()));
                    found.extend(SHOWN.iter().filter(|channel| channels.contains(channel)));
                }
            }
        }
        let mut changed = false;
        for (symbol, (pair, channels)) in wanted {
            if channels.is_empty() {
                continue;
            }
            if let Some(&at) = self.numbers.get(symbol) {
                changed |= self.pairs[at].channels != channels;
                self.pairs[at].channels = channels;
            } else {
                let symbol: Arc<str> = Arc::from(symbol);
                self.numbers.insert(Arc::clone(&symbol), self.pairs.len());
                let Pair { price_precision, qty_precision, .. } = *pair;
                self.pairs.push(PairFacts { symbol, price_precision, qty_precision, channels });
                changed = true;
            }
        }
        changed
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
        for session in [Some(&mut public), level3.as_mut()].into_iter().flatten() {
            for event in session.bind_mut().core_mut().take_events() {
                self.market.take(&event);
            }
        }
        let public = public.bind();
        let level3 = level3.as_ref().map(Gd::bind);
        if now >= self.look_due {
            self.look_due = now + if self.greeted { LOOK } else { 0.0 };
            let changed = self.look(&public, level3.as_deref());
            self.depths = (public.depth(), level3.as_deref().map_or(0, KrakpotSession::level3_depth));
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
