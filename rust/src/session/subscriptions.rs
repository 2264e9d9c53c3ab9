//! The state machine of subscriptions: what is requested, what the answers mean, what is requested again and when.
//!
//! Due times wait in a queue, so that nothing is looked at before something is due.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use super::budget::{Budget, level3_cost};
use super::events::{Event, EventKind, SubscriptionEvent};
use super::options::{Channel, DEPTH_DEFAULT, Options};
use super::output::{LedgerRow, Output, detail, shortened};
use super::symbols::{Effect, SubscriptionState, Symbol, Symbols};
use crate::limits;
use crate::table::ledger::LedgerKind;
use crate::wire::json::write_text;
use crate::wire::message::Reply;
use crate::wire::refusal::Refusal;
use crate::wire::request::{self, Parameter, Subject};
use crate::wire::time::SECOND;

/// After this long the instrument channel is requested again, if its snapshot did not come.
const INSTRUMENT_TIMEOUT: i64 = 60 * SECOND;
/// After this long without the instrument snapshot, symbols with a given precision are subscribed without it.
const INSTRUMENT_PATIENCE: i64 = 10 * SECOND;
/// A refusal that names no symbol is about all symbols of its request that have no other answer after this long.
const REFUSAL_WAIT: i64 = 2 * SECOND;

/// Why a subscription that nobody selects any more is unsubscribed.
pub(super) const NO_LONGER_SELECTED: &str = "no longer selected";

/// How many pairs, subscriptions and books there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscriptionCounts {
    /// Pairs that the instrument channel described.
    pub pairs: usize,
    /// Symbols that are selected.
    pub selected: usize,
    /// Subscriptions that deliver.
    pub subscribed: usize,
    /// Subscriptions that the exchange rejected.
    pub rejected: usize,
    /// Subscriptions that are to be requested, or wait for an answer.
    pub waiting: usize,
    /// Books in sync, of both kinds.
    pub in_sync: usize,
}

/// A request that awaits its answers.
#[derive(Debug)]
struct AwaitedRequest {
    channel: Option<Channel>,
    symbols: Vec<usize>,
    /// Number of the token that it was sent with.
    token: u32,
    subscribe: bool,
    /// Refusals that named no symbol, and when the last one came.
    refusals: Vec<String>,
    refused_at: i64,
}

/// All subscriptions of a session: the queue of due times, the requests that await answers, the token.
pub(super) struct Subscriptions {
    /// Requests without all their answers, by `req_id`.
    awaited: HashMap<u64, AwaitedRequest>,
    /// Of these, requests that a refusal without a symbol has answered in part.
    partly_refused: Vec<u64>,
    next_request: u64,
    /// The subscription of the instrument channel.
    pub(super) instrument: SubscriptionState,
    /// When it was first requested; `None` before that, and when its snapshot came.
    instrument_since: Option<i64>,
    /// How many subscriptions of each channel are in each state.
    counts: [[usize; SubscriptionState::WORDS.len()]; Channel::ALL.len()],
    /// Due times, symbols and channels, the earliest first. An entry counts only if its subscription has the same time.
    due: BinaryHeap<Reverse<(i64, usize, Channel)>>,
    /// Symbols to unsubscribe and symbols to subscribe, by channel.
    ready: [[BTreeSet<usize>; Channel::ALL.len()]; 2],
    /// Subscriptions whose state may differ from the one in their last event.
    changed: Vec<(usize, Channel)>,
    /// For level 3. It leaves in requests only.
    token: Option<String>,
    /// Tokens given so far.
    tokens: u32,
}

impl Subscriptions {
    pub(super) fn new(instrument: bool) -> Self {
        Self {
            awaited: HashMap::new(),
            partly_refused: Vec::new(),
            next_request: 1,
            instrument: if instrument { SubscriptionState::Pending(0) } else { SubscriptionState::Off },
            instrument_since: None,
            counts: [[0; SubscriptionState::WORDS.len()]; Channel::ALL.len()],
            due: BinaryHeap::new(),
            ready: Default::default(),
            changed: Vec::new(),
            token: None,
            tokens: 0,
        }
    }

    /// Gives a subscription another state and the reason, which is empty if all is well. Nothing else sets a state.
    pub(super) fn set(
        &mut self,
        symbols: &mut Symbols,
        i: usize,
        channel: Channel,
        state: SubscriptionState,
        reason: &'static str,
    ) {
        symbols.touch(i);
        let subscription = symbols.all[i].subscription_mut(channel);
        let counts = &mut self.counts[channel as usize];
        if subscription.state != SubscriptionState::Off {
            counts[subscription.state.index()] -= 1;
        }
        if state != SubscriptionState::Off {
            counts[state.index()] += 1;
        }
        for ready in &mut self.ready {
            ready[channel as usize].remove(&i);
        }
        (subscription.state, subscription.reason) = (state, reason);
        subscription.leaving &= matches!(state, SubscriptionState::Resyncing(_) | SubscriptionState::Unsubscribing(_));
        subscription.was_active |= state == SubscriptionState::Active;
        subscription.due = 0;
        if let Some(at) = subscription.due_time() {
            subscription.due = at;
            self.due.push(Reverse((at, i, channel)));
        }
        if !std::mem::replace(&mut subscription.changed, true) {
            self.changed.push((i, channel));
        }
    }

    /// Data came, or the snapshot that a book waited for: the subscription delivers.
    pub(super) fn activate(&mut self, symbols: &mut Symbols, i: usize, channel: Channel, now: i64) {
        symbols.all[i].subscription_mut(channel).last_received = now;
        self.set(symbols, i, channel, SubscriptionState::Active, "");
    }

    /// Data of a symbol came.
    #[inline]
    pub(super) fn received(&mut self, symbols: &mut Symbols, i: usize, channel: Channel, now: i64) {
        let subscription = symbols.all[i].subscription_mut(channel);
        subscription.last_received = now;
        if subscription.state == SubscriptionState::Idle {
            self.set(symbols, i, channel, SubscriptionState::Active, "");
        }
        symbols.touch(i);
    }

    /// Acts on what happened to the data of a subscription.
    pub(super) fn follow(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        out: &mut Output,
        (i, channel, effect): (usize, Channel, Effect),
    ) {
        let now = out.now;
        let state = symbols.all[i].subscription(channel).state;
        match effect {
            Effect::Resync(reason) if !options.passive => self.resubscribe(symbols, out, i, channel, reason),
            Effect::Doubt(reason) if !options.passive && state.delivers() => {
                self.resubscribe(symbols, out, i, channel, reason);
            }
            Effect::None | Effect::Resync(_) | Effect::Doubt(_) => {}
            Effect::Refuse(reason) => {
                if state != SubscriptionState::Off {
                    let at = symbols.all[i].subscription_mut(channel).pause(now);
                    self.set(symbols, i, channel, SubscriptionState::Resyncing(at), reason);
                }
            }
            Effect::GiveUp(reason) => self.set(symbols, i, channel, SubscriptionState::Removed, reason),
        }
    }

    /// A symbol is to be unsubscribed and subscribed again. Kraken sends no new snapshot to a second subscribe, so the way
    /// is unsubscribe, its ack, subscribe.
    fn resubscribe(
        &mut self,
        symbols: &mut Symbols,
        out: &mut Output,
        i: usize,
        channel: Channel,
        reason: &'static str,
    ) {
        let at = symbols.all[i].subscription_mut(channel).pause(out.now);
        self.set(symbols, i, channel, SubscriptionState::Resyncing(at), reason);
        let row = out.ledger_row(LedgerKind::Resync, Some(channel), &symbols.all[i].name);
        out.add_ledger_row(row.span(Some(at), None).reason(reason));
    }

    pub(super) fn counts(&self, symbols: &Symbols) -> SubscriptionCounts {
        let of = |words: &[&str]| {
            let states =
                (0..SubscriptionState::WORDS.len()).filter(|&at| words.contains(&SubscriptionState::WORDS[at]));
            states.map(|at| self.counts.iter().map(|counts| counts[at]).sum::<usize>()).sum()
        };
        SubscriptionCounts {
            pairs: symbols.pairs,
            selected: symbols.selected,
            subscribed: of(&["active", "idle"]),
            rejected: of(&["rejected"]),
            waiting: of(&["pending", "requested", "acked", "resyncing", "unsubscribing"]),
            in_sync: symbols.in_sync,
        }
    }

    /// Makes events of the subscriptions whose state differs from the one in their last event.
    pub(super) fn tell_changes(&mut self, symbols: &mut Symbols, out: &mut Output) {
        let wanted = out.wants(EventKind::Subscription);
        for (i, channel) in self.changed.drain(..) {
            let symbol = &mut symbols.all[i];
            let subscription = &mut symbol.subscriptions[channel as usize];
            subscription.changed = false;
            let (state, reason) = (subscription.word(), subscription.reason);
            if wanted && std::mem::replace(&mut subscription.told, state) != state {
                let (symbol, ts_recv) = (symbol.name.clone(), out.now);
                out.events.push(Event::Subscription(SubscriptionEvent { symbol, channel, state, reason, ts_recv }));
            }
        }
    }

    /// All subscriptions get an event, as if none had one before.
    pub(super) fn tell_all(&mut self, symbols: &mut Symbols) {
        for (i, symbol) in symbols.all.iter_mut().enumerate() {
            for channel in Channel::ALL {
                let subscription = symbol.subscription_mut(channel);
                subscription.told = SubscriptionState::Off.word();
                if !std::mem::replace(&mut subscription.changed, true) {
                    self.changed.push((i, channel));
                }
            }
        }
    }

    /// Whether there is level 3 to subscribe or to unsubscribe, and no token for it, or one that was refused.
    pub(super) fn token_needed(&self) -> bool {
        let counts = &self.counts[Channel::Level3 as usize];
        let (pending, resyncing) = (SubscriptionState::Pending(0), SubscriptionState::Resyncing(0));
        self.token.is_none() && counts[pending.index()] + counts[resyncing.index()] > 0
    }

    pub(super) fn set_token(&mut self, token: &str) {
        self.token = Some(token.into());
        self.tokens += 1;
    }

    pub(super) fn request_id(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }

    /// Keeps what a request was about until its answers have come. Requests that are never answered are forgotten after
    /// a thousand others.
    fn remember(&mut self, id: u64, channel: Option<Channel>, symbols: &[usize], subscribe: bool) {
        let (refusals, refused_at) = (Vec::new(), 0);
        let (symbols, token) = (symbols.to_vec(), self.tokens);
        self.awaited.insert(id, AwaitedRequest { channel, symbols, token, subscribe, refusals, refused_at });
        self.awaited.retain(|&old, _| old + 1000 > id);
    }

    /// An answer of the exchange.
    pub(super) fn reply(&mut self, options: &Options, symbols: &mut Symbols, out: &mut Output, reply: &Reply<'_>) {
        if !matches!(reply.method, "subscribe" | "unsubscribe") {
            if let Some(error) = reply.error {
                out.add_ledger_row(out.ledger_row(LedgerKind::Refused, None, "").detail(detail("error", error)));
                out.counts.refused += 1;
            }
            return;
        }
        let subscribe = reply.method == "subscribe";
        let id = reply.req_id.and_then(|id| u64::try_from(id).ok());
        let mut channel = reply.channel.and_then(Channel::named);
        let mut concerned = reply.symbol.and_then(|name| symbols.get(name));
        if let Some((id, request)) = id.and_then(|id| self.awaited.get_mut(&id).map(|request| (id, request))) {
            if reply.error.map(Refusal::of) == Some(Refusal::Token) && request.token == self.tokens {
                self.token = None;
            }
            channel = channel.or(request.channel);
            if let (None, Some(error), Some(channel)) = (concerned, reply.error, channel) {
                // It names no symbol: it is about those that no other answer names.
                request.refusals.push(shortened(error).into_owned());
                request.refused_at = out.now;
                if !self.partly_refused.contains(&id) {
                    self.partly_refused.push(id);
                }
                return self.settle_refusals(options, symbols, out, id, channel, false);
            }
            request.symbols.retain(|symbol| Some(*symbol) != concerned);
            if request.symbols.is_empty() {
                self.awaited.remove(&id);
            } else if let (Some(channel), false) = (channel, request.refusals.is_empty()) {
                self.settle_refusals(options, symbols, out, id, channel, false);
            }
        }
        let Some(channel) = channel else {
            return self.reply_without_symbols(out, reply, subscribe);
        };
        if concerned.is_none() && options.passive {
            concerned = reply.symbol.and_then(|name| symbols.get_or_add(name, out));
        }
        if let Some(i) = concerned {
            match (reply.error, subscribe) {
                (None, true) => self.acked(options, symbols, out, i, channel, reply),
                (None, false) => self.unsubscribed(options, symbols, out, i, channel),
                (Some(error), _) => self.refused(options, symbols, out, i, channel, subscribe, error),
            }
        }
    }

    /// Symbols of a request that only refusals without a symbol can be about are refused: at once if there are as many
    /// refusals as symbols, or else when nothing else came for a while.
    fn settle_refusals(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        out: &mut Output,
        id: u64,
        channel: Channel,
        waited: bool,
    ) {
        let Some(request) = self.awaited.get(&id) else { return };
        if !waited && request.refusals.len() < request.symbols.len() {
            return;
        }
        let Some(AwaitedRequest { symbols: open, refusals, subscribe, .. }) = self.awaited.remove(&id) else { return };
        self.partly_refused.retain(|other| *other != id);
        for (at, i) in open.into_iter().enumerate() {
            // Where there are fewer refusals than symbols, the last one is about all the others.
            let Some(error) = refusals.get(at).or(refusals.last()) else { return };
            self.refused(options, symbols, out, i, channel, subscribe, error);
        }
    }

    /// An answer about the instrument channel, or a refusal that names nothing known.
    fn reply_without_symbols(&mut self, out: &mut Output, reply: &Reply<'_>, subscribe: bool) {
        let now = out.now;
        let kind = match (reply.error, subscribe) {
            (Some(_), _) => LedgerKind::Refused,
            (None, true) => LedgerKind::Subscribed,
            (None, false) => LedgerKind::Unsubscribed,
        };
        let instrument = matches!(self.instrument, SubscriptionState::Requested(_)) && reply.symbol.is_none();
        if let Some(error) = reply.error {
            out.counts.refused += 1;
            if instrument {
                // Without pairs there is nothing to record: try again later.
                let pause = if Refusal::of(error) == Refusal::MessageRate { SECOND } else { 10 * SECOND };
                self.instrument = SubscriptionState::Pending(now + pause);
            }
        } else if instrument {
            self.instrument = SubscriptionState::Acked(now);
        } else {
            // It acknowledges no known subscription; a row without a symbol would speak for all of them.
            return;
        }
        let channel = if instrument { Some("instrument") } else { reply.channel };
        let symbol: String = reply.symbol.unwrap_or("").chars().take(limits::SYMBOL_LENGTH_MAX).collect();
        let row = LedgerRow {
            channel: channel.map(|name| name.chars().take(limits::SYMBOL_LENGTH_MAX).collect()),
            detail: reply.error.map(|error| detail("error", error)),
            ..out.ledger_row(kind, None, &symbol)
        };
        out.add_ledger_row(row);
    }

    fn acked(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        out: &mut Output,
        i: usize,
        channel: Channel,
        reply: &Reply<'_>,
    ) {
        let now = out.now;
        let symbol = &mut symbols.all[i];
        let mut facts = String::new();
        if let Some(depth) = reply.depth.and_then(|d| u16::try_from(d).ok()).filter(|d| limits::DEPTHS.contains(d))
            && let Some(known) = match channel {
                Channel::Book => Some(&mut symbol.book.depth),
                Channel::Level3 => Some(&mut symbol.orders.depth),
                Channel::Trade | Channel::Ticker | Channel::Ohlc => None,
            }
        {
            *known = Some((depth, "ack"));
            facts = format!("{{\"depth\":{depth}");
        }
        if !reply.warnings.is_empty() {
            facts.push_str(if facts.is_empty() { "{\"warnings\":" } else { ",\"warnings\":" });
            match shortened(&reply.warnings) {
                Cow::Borrowed(all) => facts.push_str(all),
                Cow::Owned(cut) => write_text(&cut, &mut facts),
            }
        }
        if !facts.is_empty() {
            facts.push('}');
        }
        if !matches!(channel, Channel::Book | Channel::Level3) {
            out.close_gap(Some(channel));
        }
        let row = out.ledger_row(LedgerKind::Subscribed, Some(channel), &symbol.name);
        out.add_ledger_row(LedgerRow { detail: (!facts.is_empty()).then_some(facts), ..row });
        // An ack settles its symbol, even if a refusal that named no symbol came before.
        let state = symbol.subscription(channel).state;
        if options.passive || !matches!(state, SubscriptionState::Requested(_) | SubscriptionState::Rejected) {
            return;
        }
        if matches!(channel, Channel::Book | Channel::Level3) {
            self.set(symbols, i, channel, SubscriptionState::Acked(now), "");
        } else {
            self.activate(symbols, i, channel, now);
        }
    }

    fn unsubscribed(&mut self, options: &Options, symbols: &mut Symbols, out: &mut Output, i: usize, channel: Channel) {
        // Updates until here still belonged to the old book.
        symbols.end(i, channel, out.now, "unsubscribed");
        out.add_ledger_row(out.ledger_row(LedgerKind::Unsubscribed, Some(channel), &symbols.all[i].name));
        let symbol = &symbols.all[i];
        if !options.passive && matches!(symbol.subscription(channel).state, SubscriptionState::Unsubscribing(_)) {
            let reason = symbol.subscription(channel).reason;
            self.after_unsubscribing(options, symbols, i, channel, out.now, reason);
        }
    }

    /// A subscription that does not exist at the exchange any more: it is subscribed again at `at`, unless nobody selects
    /// it.
    fn after_unsubscribing(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        i: usize,
        channel: Channel,
        at: i64,
        reason: &'static str,
    ) {
        if options.selects_for(channel, &symbols.all[i].name) {
            return self.set(symbols, i, channel, SubscriptionState::Pending(at), reason);
        }
        symbols.all[i].subscription_mut(channel).forget();
        if channel == Channel::Trade {
            symbols.all[i].trades = None;
        }
        self.set(symbols, i, channel, SubscriptionState::Off, "");
    }

    #[allow(clippy::too_many_arguments, reason = "what a refusal is about")]
    fn refused(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        out: &mut Output,
        i: usize,
        channel: Channel,
        subscribe: bool,
        error: &str,
    ) {
        let now = out.now;
        out.counts.refused += 1;
        let row = out.ledger_row(LedgerKind::Refused, Some(channel), &symbols.all[i].name);
        out.add_ledger_row(row.detail(detail("error", error)));
        let subscription = symbols.all[i].subscription_mut(channel);
        if options.passive || matches!(subscription.state, SubscriptionState::Off | SubscriptionState::Removed) {
            return;
        }
        let (next, reason) = match (Refusal::of(error), subscribe) {
            // Not a refusal of this symbol: request it again, ever more slowly.
            (refusal, true) if refusal.may_pass() => {
                subscription.attempts = subscription.attempts.max(1);
                (SubscriptionState::Pending(subscription.pause(now)), "refused for now")
            }
            (refusal, false) if refusal.may_pass() => {
                subscription.attempts = subscription.attempts.max(1);
                (SubscriptionState::Resyncing(subscription.pause(now)), "unsubscribing was refused for now")
            }
            // The exchange still serves it and will send no snapshot: unsubscribe, then subscribe again.
            (Refusal::AlreadySubscribed, true) => {
                (SubscriptionState::Resyncing(subscription.pause(now)), "already subscribed, without a snapshot")
            }
            (_, true) => (SubscriptionState::Rejected, "refused by the exchange"),
            // Not subscribed there any more, whatever the reason.
            (_, false) => {
                let at = subscription.pause(now);
                return self.after_unsubscribing(options, symbols, i, channel, at, "unsubscribing was refused");
            }
        };
        self.set(symbols, i, channel, next, reason);
    }

    /// Looks at the subscriptions whose time has come: those that are to be requested become ready, answers that are
    /// overdue lead to another attempt, active ones without data become idle. Refusals that name no symbol are settled when
    /// nothing followed them.
    pub(super) fn advance(&mut self, options: &Options, symbols: &mut Symbols, out: &mut Output, now: i64) {
        let settled = |id: &u64| self.awaited.get(id).is_none_or(|request| now - request.refused_at >= REFUSAL_WAIT);
        let settled: Vec<u64> = self.partly_refused.iter().copied().filter(settled).collect();
        for id in settled {
            match self.awaited.get(&id).and_then(|request| request.channel) {
                Some(channel) => self.settle_refusals(options, symbols, out, id, channel, true),
                None => self.partly_refused.retain(|other| *other != id),
            }
        }
        while let Some(Reverse((at, i, channel))) = self.due.peek().copied() {
            if at > now {
                break;
            }
            self.due.pop();
            let subscription = symbols.all[i].subscription_mut(channel);
            if subscription.due != at {
                continue;
            }
            let (next, reason) = match subscription.state {
                SubscriptionState::Pending(_) => {
                    self.ready[1][channel as usize].insert(i);
                    continue;
                }
                SubscriptionState::Resyncing(_) => {
                    self.ready[0][channel as usize].insert(i);
                    continue;
                }
                SubscriptionState::Requested(_) => {
                    (SubscriptionState::Pending(subscription.pause(now)), "no answer to subscribe")
                }
                SubscriptionState::Acked(_) => (SubscriptionState::Resyncing(subscription.pause(now)), "no snapshot"),
                // Nobody waits for it: one more request takes it from the exchange.
                SubscriptionState::Unsubscribing(_) if subscription.leaving => {
                    (SubscriptionState::Resyncing(subscription.pause(now)), "no answer to unsubscribe")
                }
                SubscriptionState::Unsubscribing(_) => {
                    (SubscriptionState::Pending(subscription.pause(now)), "no answer to unsubscribe")
                }
                SubscriptionState::Active => {
                    // Data came since then: it is due later.
                    match subscription.due_time() {
                        Some(later) if later > now => {
                            subscription.due = later;
                            self.due.push(Reverse((later, i, channel)));
                        }
                        _ => self.set(symbols, i, channel, SubscriptionState::Idle, ""),
                    }
                    continue;
                }
                SubscriptionState::Off
                | SubscriptionState::Idle
                | SubscriptionState::Rejected
                | SubscriptionState::Removed => continue,
            };
            self.set(symbols, i, channel, next, reason);
            out.add_ledger_row(out.ledger_row(LedgerKind::Resync, Some(channel), &symbols.all[i].name).reason(reason));
        }
    }

    /// An instrument channel that does not answer is requested again.
    pub(super) fn overdue(&mut self, options: &Options, symbols: &mut Symbols, out: &mut Output, now: i64) {
        match self.instrument {
            SubscriptionState::Requested(at) | SubscriptionState::Acked(at) if now - at > INSTRUMENT_TIMEOUT => {
                self.instrument = SubscriptionState::Pending(now);
                let row = LedgerRow { channel: Some("instrument".into()), ..LedgerRow::new(LedgerKind::Resync, now) };
                out.add_ledger_row(row.reason("no snapshot of the instrument channel"));
            }
            _ => {}
        }
        if self.instrument_since.is_some_and(|since| now - since > INSTRUMENT_PATIENCE) {
            self.instrument_since = None;
            self.subscribe_without_pairs(options, symbols, out);
        }
    }

    /// The instrument channel is silent: symbols that were named, and whose precision was given, need no pair.
    fn subscribe_without_pairs(&mut self, options: &Options, symbols: &mut Symbols, out: &mut Output) {
        let mut named: Vec<&String> = options.precision.keys().filter(|name| options.symbols.contains(name)).collect();
        named.sort();
        for name in named {
            let Some(i) = symbols.get_or_add(name, out) else { continue };
            if symbols.all[i].pair.is_some() {
                continue;
            }
            if !std::mem::replace(&mut symbols.all[i].selected, true) {
                symbols.selected += 1;
            }
            let row = out.ledger_row(LedgerKind::Listed, None, name);
            out.add_ledger_row(row.reason("no snapshot of the instrument channel; the precision is the given one"));
            self.want(options, symbols, out.now, i);
        }
    }

    /// The channels of a symbol that are selected and not subscribed are to be requested.
    pub(super) fn want(&mut self, options: &Options, symbols: &mut Symbols, now: i64, i: usize) {
        for &channel in &options.channels {
            let symbol = &symbols.all[i];
            if symbol.subscription(channel).state == SubscriptionState::Off
                && options.selects_for(channel, &symbol.name)
            {
                self.set(symbols, i, channel, SubscriptionState::Pending(now), "");
            }
        }
    }

    /// The subscriptions of a symbol that are selected no more are to be unsubscribed. Their books end at once.
    pub(super) fn unwant(&mut self, options: &Options, symbols: &mut Symbols, out: &mut Output, i: usize) {
        for channel in Channel::ALL {
            let symbol = &symbols.all[i];
            let next = match symbol.subscription(channel).state {
                _ if options.selects_for(channel, &symbol.name) || symbol.subscription(channel).leaving => continue,
                SubscriptionState::Off => continue,
                SubscriptionState::Pending(_) | SubscriptionState::Rejected | SubscriptionState::Removed => {
                    self.after_unsubscribing(options, symbols, i, channel, out.now, "");
                    continue;
                }
                state @ SubscriptionState::Unsubscribing(_) => state,
                SubscriptionState::Requested(_)
                | SubscriptionState::Acked(_)
                | SubscriptionState::Active
                | SubscriptionState::Idle
                | SubscriptionState::Resyncing(_) => SubscriptionState::Resyncing(out.now),
            };
            Self::leave(symbols, out, i, channel);
            self.set(symbols, i, channel, next, NO_LONGER_SELECTED);
        }
    }

    /// A subscription that nobody selects any more: its data ends here, by choice, so it is no gap.
    pub(super) fn leave(symbols: &mut Symbols, out: &mut Output, i: usize, channel: Channel) {
        let known = symbols.all[i].in_sync(channel) || symbols.all[i].subscription(channel).state.delivers();
        symbols.end(i, channel, out.now, NO_LONGER_SELECTED);
        let subscription = symbols.all[i].subscription_mut(channel);
        subscription.forget();
        subscription.leaving = true;
        if known {
            let row = out.ledger_row(LedgerKind::Unsubscribed, Some(channel), &symbols.all[i].name);
            out.add_ledger_row(row.reason(NO_LONGER_SELECTED));
        }
    }

    /// The instrument snapshot came.
    pub(super) fn instrument_came(&mut self) {
        self.instrument = SubscriptionState::Active;
        self.instrument_since = None;
    }

    /// What is to be sent now.
    pub(super) fn requests(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        out: &mut Output,
        now: i64,
        budget: &mut Budget,
    ) -> Vec<String> {
        let mut requests = Vec::new();
        if matches!(self.instrument, SubscriptionState::Pending(at) if at <= now) {
            let id = self.request_id();
            requests.push(request::instrument(options.tokenised, id));
            self.remember(id, None, &[], true);
            self.instrument = SubscriptionState::Requested(now);
            self.instrument_since.get_or_insert(now);
        }
        self.advance(options, symbols, out, now);
        if self.ready.iter().flatten().all(BTreeSet::is_empty) {
            return requests;
        }
        let waits = [SubscriptionState::Requested(0), SubscriptionState::Acked(0), SubscriptionState::Unsubscribing(0)];
        let mut waiting: usize =
            self.counts.iter().map(|counts| waits.map(|state| counts[state.index()]).iter().sum::<usize>()).sum();
        let cost = level3_cost(options.level3_depth.unwrap_or(DEPTH_DEFAULT));
        for subscribe in [false, true] {
            for channel in Channel::ALL {
                // A trade subscription that goes on from an earlier session asks for the snapshot, to close the gap.
                let goes_on = |symbol: &Symbol| channel == Channel::Trade && symbol.trades.is_some();
                for snapshot in [false, true] {
                    let mut within = |symbol: &Symbol| {
                        let was_active = symbol.subscription(channel).was_active;
                        channel != Channel::Level3
                            || self.token.is_some() && (!subscribe || budget.spend(now, cost, was_active))
                    };
                    let ready = self.ready[usize::from(subscribe)][channel as usize].iter().copied();
                    let chosen: Vec<usize> = ready
                        .filter(|&i| goes_on(&symbols.all[i]) == snapshot)
                        .take(limits::WAITING_MAX.saturating_sub(waiting))
                        .take_while(|&i| within(&symbols.all[i]))
                        .collect();
                    waiting += chosen.len();
                    for batch in chosen.chunks(limits::BATCH_MAX) {
                        requests.push(self.request(options, symbols, out, subscribe, channel, snapshot, batch, now));
                    }
                }
            }
        }
        requests
    }

    #[allow(clippy::too_many_arguments, reason = "what a request is made of")]
    fn request(
        &mut self,
        options: &Options,
        symbols: &mut Symbols,
        out: &mut Output,
        subscribe: bool,
        channel: Channel,
        snapshot: bool,
        batch: &[usize],
        now: i64,
    ) -> String {
        let id = self.request_id();
        for &i in batch {
            let reason = symbols.all[i].subscription(channel).reason;
            if !subscribe && symbols.all[i].in_sync(channel) {
                // In doubt, and in sync until now. The ack may be lost, and the book would stand still and look in sync.
                symbols.end(i, channel, now, reason);
                out.add_ledger_row(out.ledger_row(LedgerKind::Gap, Some(channel), &symbols.all[i].name).reason(reason));
            }
            let next =
                if subscribe { SubscriptionState::Requested(now) } else { SubscriptionState::Unsubscribing(now) };
            symbols.all[i].subscription_mut(channel).requested_at = now;
            self.set(symbols, i, channel, next, reason);
        }
        let names: Vec<&str> = batch.iter().map(|&i| &*symbols.all[i].name).collect();
        let subject = Subject {
            channel: channel.name(),
            symbols: &names,
            parameter: match channel {
                Channel::Book => Parameter::Depth(options.depth.unwrap_or(DEPTH_DEFAULT)),
                Channel::Trade => Parameter::None,
                Channel::Ticker => Parameter::BestPrices,
                Channel::Ohlc => Parameter::Interval(options.interval),
                Channel::Level3 => Parameter::Depth(options.level3_depth.unwrap_or(DEPTH_DEFAULT)),
            },
            token: self.token.as_deref().filter(|_| channel == Channel::Level3),
        };
        let text = if subscribe {
            subject.subscribe(channel != Channel::Trade || snapshot, id)
        } else {
            subject.unsubscribe(id)
        };
        self.remember(id, Some(channel), batch, subscribe);
        text
    }
}
