//! `Session`: the protocol state of one connection.

use krakpot_core::session::{self, Budget, Channel, EventKind, EventSet};
use krakpot_core::table::schema::Table;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Result, wrong};
use crate::input::Input;
use crate::json::Json;
use crate::options::{Options, patterns};

/// Protocol state of one connection: frames and times in; events, books and requests out.
#[wasm_bindgen]
pub struct Session {
    core: session::Session,
    input: Input,
    budget: Budget,
}

impl Session {
    /// The session of the core.
    pub fn core(&self) -> &session::Session {
        &self.core
    }

    /// The session of the core, to be changed.
    pub fn core_mut(&mut self) -> &mut session::Session {
        &mut self.core
    }
}

#[wasm_bindgen]
impl Session {
    /// A new connection's state; `after`: the session of the connection before, whose pairs and trades it goes on from.
    #[wasm_bindgen(constructor)]
    pub fn new(id: &str, options: &Options, after: Option<Session>) -> Self {
        let (core, budget) = match after {
            // What an account may request does not begin anew with a connection.
            Some(before) => (session::Session::after(id, options.get(), &before.core), before.budget),
            None => (session::Session::new(id, options.get()), Budget::default()),
        };
        Self { core, input: Input::default(), budget }
    }

    /// Makes room for a frame of `length` bytes, and says where it is to be written in the module's memory.
    pub fn room(&mut self, length: usize) -> usize {
        self.input.room(length)
    }

    /// Bytes that have room without another call of `room`.
    pub fn capacity(&self) -> usize {
        self.input.capacity()
    }

    /// Takes the frame that was written there, with its receive time, ns.
    pub fn receive(&mut self, length: usize, ts_recv: i64) {
        self.core.receive(self.input.text(length), ts_recv);
    }

    /// Takes a recorded frame whose receive time is not known.
    #[wasm_bindgen(js_name = receiveUntimed)]
    pub fn receive_untimed(&mut self, length: usize) {
        self.core.receive_untimed(self.input.text(length));
    }

    /// Chooses the events that are made from now on, by the names of their channels.
    #[wasm_bindgen(js_name = wantEvents)]
    pub fn want_events(&mut self, channels: Vec<String>) -> Result<()> {
        let named = |name: &String| {
            EventKind::named(name).ok_or_else(|| {
                let names = EventKind::ALL.map(EventKind::name).join(", ");
                wrong(format!("no events of {name:?}; there are {names}"))
            })
        };
        let kinds = channels.iter().map(named).collect::<Result<Vec<_>>>()?;
        self.core.want_events(kinds.into_iter().fold(EventSet::NONE, EventSet::with));
        Ok(())
    }

    /// All subscriptions become events once more.
    #[wasm_bindgen(js_name = tellAllSubscriptions)]
    pub fn tell_all_subscriptions(&mut self) {
        self.core.tell_all_subscriptions();
    }

    /// Lets time pass, ns.
    pub fn tick(&mut self, now: i64) {
        self.core.tick(now);
    }

    /// Requests to send now, in order; each is handed out once.
    pub fn requests(&mut self, now: i64) -> Vec<String> {
        self.core.requests_within(now, &mut self.budget)
    }

    /// A ping request.
    pub fn ping(&mut self) -> String {
        self.core.ping()
    }

    /// Replaces the patterns of symbols.
    pub fn select(&mut self, symbols: Vec<String>, exclude: Vec<String>, now: i64) -> Result<()> {
        self.core.select(now, patterns(symbols)?, patterns(exclude)?, session::ChannelSymbols::new());
        Ok(())
    }

    /// Takes from another session what it knows of the pairs that it follows.
    #[wasm_bindgen(js_name = importPairs)]
    pub fn import_pairs(&mut self, other: &Session, now: i64) {
        // Those that are followed here too: the other one may know that they are gone.
        let both = other.core.pairs().chain(self.core.pairs());
        let symbols: Vec<String> =
            both.filter(|(_, selected)| *selected).map(|(pair, _)| pair.symbol.clone()).collect();
        self.core.import_pairs(&other.core, &symbols, now);
    }

    /// Compares the best prices of level 3 with those that another session has from its books or tickers. Level 3 that was
    /// silent while they disagreed is subscribed again.
    #[wasm_bindgen(js_name = crossCheck)]
    pub fn cross_check(&mut self, other: &Session, now: i64) {
        self.core.cross_check(&other.core, now);
    }

    /// Whether a token for level 3 is needed.
    #[wasm_bindgen(getter, js_name = tokenNeeded)]
    pub fn token_needed(&self) -> bool {
        self.core.token_needed()
    }

    /// Gives it a token for level 3.
    #[wasm_bindgen(js_name = setToken)]
    pub fn set_token(&mut self, token: &str) {
        self.core.set_token(token);
    }

    /// The connection is gone: all books end.
    pub fn end(&mut self, now: i64, reason: &str) {
        self.core.end(now, reason);
    }

    /// Its id.
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.core.id().into()
    }

    /// State of the exchange as it last said.
    #[wasm_bindgen(getter)]
    pub fn system(&self) -> Option<String> {
        self.core.system().map(str::to_owned)
    }

    /// Counters, as JSON.
    pub fn counts(&self) -> String {
        let (counts, subscriptions) = (self.core.counts(), self.core.subscription_counts());
        let mut json = Json::new();
        json.object(|json| {
            json.name("frames").number(counts.frames);
            json.name("messages").object(|json| {
                for (name, count) in &counts.messages {
                    json.name(name).number(count);
                }
            });
            json.name("rows").object(|json| {
                for (table, count) in Table::ALL.iter().zip(counts.rows).filter(|(_, count)| *count > 0) {
                    json.name(table.name()).number(count);
                }
            });
            json.name("checksums").object(|json| {
                for (channel, checked) in [(Channel::Book, counts.book), (Channel::Level3, counts.level3)] {
                    json.name(channel.name()).object(|json| {
                        json.name("ok").number(checked.ok).name("bad").number(checked.bad);
                    });
                }
            });
            for (name, count) in [
                ("unchecked", counts.unchecked),
                ("errors", counts.errors),
                ("gaps", counts.gaps),
                ("unknown_entries", counts.unknown_entries),
                ("replaced", counts.replaced),
                ("unknown_fields", counts.unknown_fields),
            ] {
                json.name(name).number(count);
            }
            for (name, count) in [
                ("pairs", subscriptions.pairs),
                ("selected", subscriptions.selected),
                ("subscribed", subscriptions.subscribed),
                ("rejected", subscriptions.rejected),
                ("waiting", subscriptions.waiting),
                ("in_sync", subscriptions.in_sync),
            ] {
                json.name(name).number(count);
            }
        });
        json.done()
    }

    /// Channel, symbol, state and its reason of every subscription, as JSON.
    pub fn subscriptions(&self) -> String {
        let mut json = Json::new();
        json.list(|json| {
            for (channel, symbol, state, reason) in self.core.subscriptions() {
                json.list(|json| {
                    json.text(channel.name()).text(symbol).text(state).text(reason);
                });
            }
        });
        json.done()
    }

    /// The pairs that the instrument channel described, as JSON.
    pub fn pairs(&self) -> String {
        let mut json = Json::new();
        json.list(|json| {
            for (pair, selected) in self.core.pairs() {
                json.object(|json| {
                    json.name("symbol").text(&pair.symbol).name("status").text(&pair.status);
                    json.name("base").text(&pair.base).name("quote").text(&pair.quote);
                    json.name("price_precision").number(pair.price_precision);
                    json.name("qty_precision").number(pair.qty_precision);
                    json.name("selected").number(selected);
                });
            }
        });
        json.done()
    }

    /// Whether the book of a symbol may be trusted; `level3`: its orders.
    #[wasm_bindgen(js_name = inSync)]
    pub fn in_sync(&self, symbol: &str, level3: bool) -> bool {
        if level3 { self.core.orders(symbol).is_some() } else { self.core.book(symbol).is_some() }
    }

    /// The last checksum of a symbol that was wrong, as JSON: what the exchange sent, and what was computed.
    #[wasm_bindgen(js_name = lastMismatch)]
    pub fn last_mismatch(&self, symbol: &str, level3: bool) -> Option<String> {
        let (expected, computed) = self.core.last_mismatch(symbol, level3)?;
        Some(format!("{{\"expected\":{expected},\"computed\":{computed}}}"))
    }
}
