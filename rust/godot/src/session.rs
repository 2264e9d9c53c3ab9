//! `KrakpotSession`: the protocol state of one connection.

use godot::builtin::{GString, PackedByteArray, PackedStringArray, VarArray, VarDictionary, vdict};
use godot::classes::{IRefCounted, RefCounted};
use godot::obj::{Base, Gd, WithBaseField};
use godot::register::{GodotClass, godot_api};
use krakpot_core::session::{self, Budget, Channel, DEPTH_DEFAULT, EventKind, EventSet};
use krakpot_core::table::schema::Table;

use crate::options::{self, patterns};
use crate::values::{Result, count, packed, sentence};

/// Protocol state of one connection: frames and times in; events, books and requests out. Times are nanoseconds since 1970.
#[derive(GodotClass)]
#[class(base = RefCounted)]
pub struct KrakpotSession {
    core: session::Session,
    options: session::Options,
    budget: Budget,
    base: Base<RefCounted>,
}

#[godot_api]
impl IRefCounted for KrakpotSession {
    fn init(base: Base<RefCounted>) -> Self {
        let options = session::Options { rows: false, ledger: false, ..session::Options::default() };
        Self { core: session::Session::new("", options.clone()), options, budget: Budget::default(), base }
    }
}

impl KrakpotSession {
    /// The session of the core.
    pub fn core(&self) -> &session::Session {
        &self.core
    }

    /// The session of the core, to be changed.
    pub fn core_mut(&mut self) -> &mut session::Session {
        &mut self.core
    }

    /// The channels that it subscribes.
    pub fn channels(&self) -> &[Channel] {
        &self.options.channels
    }

    /// Levels a side of its books.
    pub fn depth(&self) -> u16 {
        self.options.depth.unwrap_or(DEPTH_DEFAULT)
    }

    /// Levels a side of its level 3.
    pub fn level3_depth(&self) -> u16 {
        self.options.level3_depth.unwrap_or(DEPTH_DEFAULT)
    }

    /// Whether another session is this one: one cannot read itself while it is written.
    fn is_me(&self, other: &Gd<Self>) -> bool {
        self.base().instance_id() == other.instance_id()
    }

    fn choose_events(&mut self, channels: &[String]) -> Result<()> {
        let named = |name: &String| {
            EventKind::named(name).ok_or_else(|| {
                let names = EventKind::ALL.map(EventKind::name).join(", ");
                format!("there are no events of {name:?}; there are {names}")
            })
        };
        let kinds = channels.iter().map(named).collect::<Result<Vec<_>>>()?;
        self.core.want_events(kinds.into_iter().fold(EventSet::NONE, EventSet::with));
        Ok(())
    }
}

#[godot_api]
impl KrakpotSession {
    /// Begins with options: channels, symbols, exclude, depth, `level3_depth`, interval, precision, passive, instrument, id.
    /// Returns what is wrong with them; nothing changes then.
    #[func]
    fn open(&mut self, options: VarDictionary) -> GString {
        sentence(options::read(&options).map(|(options, id)| {
            self.core = session::Session::new(&id.unwrap_or_default(), options.clone());
            self.options = options;
            self.budget = Budget::default();
        }))
    }

    /// The same for a new connection: pairs and trades go on from the session before, which is used up.
    #[func]
    fn open_after(&mut self, options: VarDictionary, before: Gd<KrakpotSession>) -> GString {
        sentence(options::read(&options).and_then(|(options, id)| {
            if self.is_me(&before) {
                return Err("a session cannot go on from itself; make a new one".into());
            }
            let mut before = before;
            let mut before = before.bind_mut();
            self.core = session::Session::after(&id.unwrap_or_default(), options.clone(), &before.core);
            self.options = options;
            // What an account may request does not begin anew with a connection.
            self.budget = std::mem::take(&mut before.budget);
            Ok(())
        }))
    }

    /// Takes one frame with its receive time. Whatever it holds: what cannot be read is counted, and the session goes on.
    #[func]
    fn receive(&mut self, frame: PackedByteArray, ts_recv: i64) {
        self.core.receive(frame.as_slice(), ts_recv);
    }

    /// Takes one recorded frame whose receive time is not known.
    #[func]
    fn receive_untimed(&mut self, frame: PackedByteArray) {
        self.core.receive_untimed(frame.as_slice());
    }

    /// Chooses the events that are made from now on, by the names of their channels. Returns what is wrong.
    #[func]
    fn want_events(&mut self, channels: PackedStringArray) -> GString {
        let channels: Vec<String> = channels.as_slice().iter().map(ToString::to_string).collect();
        sentence(self.choose_events(&channels))
    }

    /// All subscriptions become events once more.
    #[func]
    fn tell_all_subscriptions(&mut self) {
        self.core.tell_all_subscriptions();
    }

    /// Lets time pass.
    #[func]
    fn tick(&mut self, now: i64) {
        self.core.tick(now);
    }

    /// Requests to send now, in order; each is handed out once.
    #[func]
    fn requests(&mut self, now: i64) -> PackedStringArray {
        packed(self.core.requests_within(now, &mut self.budget))
    }

    /// A ping request.
    #[func]
    fn ping(&mut self) -> GString {
        GString::from(self.core.ping().as_str())
    }

    /// Replaces the patterns of symbols. Returns what is wrong with them.
    #[func]
    fn select(&mut self, symbols: PackedStringArray, exclude: PackedStringArray, now: i64) -> GString {
        let texts = |packed: PackedStringArray| packed.as_slice().iter().map(ToString::to_string).collect();
        sentence(patterns(texts(symbols)).and_then(|symbols| {
            let exclude = patterns(texts(exclude))?;
            self.core.select(now, symbols, exclude, session::ChannelSymbols::new());
            Ok(())
        }))
    }

    /// Takes from another session what it knows of the pairs that it follows.
    #[func]
    fn import_pairs(&mut self, other: Gd<KrakpotSession>, now: i64) {
        if self.is_me(&other) {
            return;
        }
        let other = other.bind();
        // Those that are followed here too: the other one may know that they are gone.
        let both = other.core.pairs().chain(self.core.pairs());
        let symbols: Vec<String> =
            both.filter(|(_, selected)| *selected).map(|(pair, _)| pair.symbol.clone()).collect();
        self.core.import_pairs(&other.core, &symbols, now);
    }

    /// Compares the best prices of level 3 with those that another session has from its books or tickers. Level 3 that was
    /// silent while they disagreed is subscribed again.
    #[func]
    fn cross_check(&mut self, other: Gd<KrakpotSession>, now: i64) {
        if !self.is_me(&other) {
            self.core.cross_check(&other.bind().core, now);
        }
    }

    /// Whether a token for level 3 is needed.
    #[func]
    fn token_needed(&self) -> bool {
        self.core.token_needed()
    }

    /// Gives it a token for level 3.
    #[func]
    fn set_token(&mut self, token: GString) {
        self.core.set_token(&token.to_string());
    }

    /// The connection is gone: all books end.
    #[func]
    fn end(&mut self, now: i64, reason: GString) {
        self.core.end(now, &reason.to_string());
    }

    /// Its id.
    #[func]
    fn id(&self) -> GString {
        GString::from(self.core.id())
    }

    /// State of the exchange as it last said; empty before.
    #[func]
    fn system(&self) -> GString {
        GString::from(self.core.system().unwrap_or_default())
    }

    /// Counters: frames, messages by channel, checksums, errors, subscriptions.
    #[func]
    fn counts(&self) -> VarDictionary {
        let (counts, subscriptions) = (self.core.counts(), self.core.subscription_counts());
        let mut messages = VarDictionary::new();
        for (name, number) in &counts.messages {
            messages.set(name.as_str(), count(*number));
        }
        let mut rows = VarDictionary::new();
        for (table, number) in Table::ALL.iter().zip(counts.rows).filter(|(_, number)| *number > 0) {
            rows.set(table.name(), count(number));
        }
        let mut checksums = VarDictionary::new();
        for (channel, checked) in [(Channel::Book, counts.book), (Channel::Level3, counts.level3)] {
            let both = vdict! { "ok" => count(checked.ok), "bad" => count(checked.bad) };
            checksums.set(channel.name(), &both);
        }
        let mut found = vdict! {
            "frames" => count(counts.frames), "messages" => &messages, "rows" => &rows, "checksums" => &checksums,
        };
        for (name, number) in [
            ("unchecked", counts.unchecked),
            ("errors", counts.errors),
            ("gaps", counts.gaps),
            ("unknown_entries", counts.unknown_entries),
            ("replaced", counts.replaced),
            ("unknown_fields", counts.unknown_fields),
        ] {
            found.set(name, count(number));
        }
        for (name, number) in [
            ("pairs", subscriptions.pairs),
            ("selected", subscriptions.selected),
            ("subscribed", subscriptions.subscribed),
            ("rejected", subscriptions.rejected),
            ("waiting", subscriptions.waiting),
            ("in_sync", subscriptions.in_sync),
        ] {
            found.set(name, i64::try_from(number).unwrap_or(i64::MAX));
        }
        found
    }

    /// Channel, symbol, state and its reason of every subscription.
    #[func]
    fn subscriptions(&self) -> VarArray {
        let mut found = VarArray::new();
        for (channel, symbol, state, reason) in self.core.subscriptions() {
            found.push(&vdict! { "of" => channel.name(), "symbol" => symbol, "state" => state, "reason" => reason });
        }
        found
    }

    /// The pairs that the instrument channel described.
    #[func]
    fn pairs(&self) -> VarArray {
        let mut found = VarArray::new();
        for (pair, selected) in self.core.pairs() {
            found.push(&vdict! {
                "symbol" => pair.symbol.as_str(), "status" => pair.status.as_str(),
                "base" => pair.base.as_str(), "quote" => pair.quote.as_str(),
                "price_precision" => i64::from(pair.price_precision), "qty_precision" => i64::from(pair.qty_precision),
                "selected" => selected,
            });
        }
        found
    }

    /// Whether the book of a symbol may be trusted; `level3`: its orders.
    #[func]
    fn in_sync(&self, symbol: GString, level3: bool) -> bool {
        let symbol = symbol.to_string();
        if level3 { self.core.orders(&symbol).is_some() } else { self.core.book(&symbol).is_some() }
    }

    /// The last checksum of a symbol that was wrong: `expected` of the exchange, `computed` here; empty if none was.
    #[func]
    fn last_mismatch(&self, symbol: GString, level3: bool) -> VarDictionary {
        match self.core.last_mismatch(&symbol.to_string(), level3) {
            Some((expected, computed)) => {
                vdict! { "expected" => i64::from(expected), "computed" => i64::from(computed) }
            }
            None => VarDictionary::new(),
        }
    }
}
