//! The state machine of subscriptions: what is requested, what the answers mean, what is requested again.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::SECOND;
use super::budget::{Budget, level3_cost};
use super::options::{Channel, DEPTH_DEFAULT, Options};
use super::output::{LedgerRow, detail, shortened};
use super::state::{AwaitedRequest, State};
use super::symbols::{Subscription, SubscriptionState, Symbol};
use crate::limits;
use crate::table::ledger::LedgerKind;
use crate::wire::json::write_text;
use crate::wire::message::Reply;

/// After this long without an ack a symbol is requested again.
const ACK_TIMEOUT: i64 = 20 * SECOND;
/// After this long without its snapshot a book is requested again. Kraken needs 0.1 to 0.6 s when it is not busy.
const SNAPSHOT_TIMEOUT: i64 = 60 * SECOND;

/// How many pairs, subscriptions and books stand where.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubscriptionCounts {
    /// Pairs that the instrument channel described.
    pub pairs: usize,
    /// Of them those that were chosen.
    pub selected: usize,
    /// Subscriptions that deliver.
    pub subscribed: usize,
    /// Subscriptions that the exchange rejected.
    pub rejected: usize,
    /// Subscriptions that are wanted, asked for, or to be asked for again.
    pub waiting: usize,
    /// Books that live, of both kinds.
    pub in_sync: usize,
}

impl State {
    pub(super) fn request_id(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }

    /// Keeps what a request was about until its answers have come. Requests that are never answered are forgotten after
    /// a thousand others.
    pub(super) fn remember(&mut self, id: u64, channel: Option<Channel>, symbols: &[usize]) {
        self.awaited.insert(id, AwaitedRequest { channel, symbols: symbols.to_vec(), token: self.tokens });
        self.awaited.retain(|&old, _| old + 1000 > id);
    }

    pub(super) fn reply(&mut self, options: &Options, reply: &Reply<'_>) {
        if !matches!(reply.method, "subscribe" | "unsubscribe") {
            if let Some(error) = reply.error {
                let row = LedgerRow {
                    detail: Some(detail("error", error)),
                    ..self.out.ledger_row(LedgerKind::Refused, None, "")
                };
                self.out.add_ledger_row(row);
                self.out.counts.refused += 1;
            }
            return;
        }
        let subscribe = reply.method == "subscribe";
        let id = reply.req_id.and_then(|id| u64::try_from(id).ok());
        let request = id.and_then(|id| self.awaited.get_mut(&id).map(|request| (id, request)));
        if let (Some(error), Some((_, request))) = (reply.error, &request)
            && token_refused(error)
            && request.token == self.tokens
        {
            self.token = None;
        }
        let mut channel = reply.channel.and_then(Channel::named);
        let mut symbols: Vec<usize> = reply.symbol.and_then(|name| self.index.get(name)).into_iter().collect();
        if let Some((id, request)) = request {
            channel = channel.or(request.channel);
            if symbols.is_empty() && request.channel.is_some() && reply.error.is_some() {
                // An error without a symbol (a depth that is not offered) is about all that is still open.
                symbols = std::mem::take(&mut request.symbols);
            }
            request.symbols.retain(|symbol| !symbols.contains(symbol));
            if request.symbols.is_empty() {
                self.awaited.remove(&id);
            }
        }
        let Some(channel) = channel else {
            return self.reply_without_symbols(reply, subscribe);
        };
        if symbols.is_empty() && options.passive {
            symbols.extend(reply.symbol.and_then(|name| self.add(name)));
        }
        for i in symbols {
            match (reply.error, subscribe) {
                (None, true) => self.acked(options, i, channel, reply),
                (None, false) => self.unsubscribed(options, i, channel),
                (Some(error), _) => self.refused(options, i, channel, subscribe, error),
            }
        }
    }

    /// An answer about the instrument channel, or a refusal that names nothing known.
    pub(super) fn reply_without_symbols(&mut self, reply: &Reply<'_>, subscribe: bool) {
        let now = self.out.now;
        let kind = match (reply.error, subscribe) {
            (Some(_), _) => LedgerKind::Refused,
            (None, true) => LedgerKind::Subscribed,
            (None, false) => LedgerKind::Unsubscribed,
        };
        let instrument = matches!(self.instrument, SubscriptionState::Requested(_)) && reply.symbol.is_none();
        if let Some(error) = reply.error {
            self.out.counts.refused += 1;
            if instrument {
                // Without pairs there is nothing to record: try again later.
                self.instrument =
                    SubscriptionState::Pending(now + if error == "Exceeded msg rate" { SECOND } else { 10 * SECOND });
            }
        } else if instrument {
            self.instrument = SubscriptionState::Acked(now);
        } else {
            // It grants nothing that anyone knows; a row without a symbol would speak for all of them.
            return;
        }
        let channel = if instrument { Some("instrument") } else { reply.channel };
        let symbol: String = reply.symbol.unwrap_or("").chars().take(limits::SYMBOL_LENGTH_MAX).collect();
        let row = LedgerRow {
            channel: channel.map(|name| name.chars().take(limits::SYMBOL_LENGTH_MAX).collect()),
            detail: reply.error.map(|error| detail("error", error)),
            ..self.out.ledger_row(kind, None, &symbol)
        };
        self.out.add_ledger_row(row);
    }

    pub(super) fn acked(&mut self, options: &Options, i: usize, channel: Channel, reply: &Reply<'_>) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        let mut detail = String::new();
        if let Some(depth) = reply.depth.and_then(|d| u16::try_from(d).ok()).filter(|d| limits::DEPTHS.contains(d))
            && let Some(known) = match channel {
                Channel::Book => Some(&mut symbol.book.depth),
                Channel::Level3 => Some(&mut symbol.orders.depth),
                Channel::Trade | Channel::Ticker | Channel::Ohlc => None,
            }
        {
            *known = Some((depth, "ack"));
            detail = format!("{{\"depth\":{depth}");
        }
        if !reply.warnings.is_empty() {
            detail.push_str(if detail.is_empty() { "{\"warnings\":" } else { ",\"warnings\":" });
            match shortened(&reply.warnings) {
                Cow::Borrowed(all) => detail.push_str(all),
                Cow::Owned(cut) => write_text(&cut, &mut detail),
            }
        }
        if !detail.is_empty() {
            detail.push('}');
        }
        let row = LedgerRow {
            detail: (!detail.is_empty()).then_some(detail),
            ..self.out.ledger_row(LedgerKind::Subscribed, Some(channel), &symbol.name)
        };
        self.out.add_ledger_row(row);
        if options.passive {
            return;
        }
        let subscription = &mut symbol.subscriptions[channel as usize];
        if matches!(subscription.state, SubscriptionState::Requested(_)) {
            if matches!(channel, Channel::Book | Channel::Level3) {
                subscription.state = SubscriptionState::Acked(now);
            } else {
                subscription.activate(now);
            }
        }
    }

    pub(super) fn unsubscribed(&mut self, options: &Options, i: usize, channel: Channel) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        // Updates until here still belonged to the old book.
        symbol.end(channel);
        let row = self.out.ledger_row(LedgerKind::Unsubscribed, Some(channel), &symbol.name);
        self.out.add_ledger_row(row);
        let subscription = &mut symbol.subscriptions[channel as usize];
        if !options.passive && matches!(subscription.state, SubscriptionState::Unsubscribing(_)) {
            subscription.state = SubscriptionState::Pending(now);
        }
    }

    pub(super) fn refused(&mut self, options: &Options, i: usize, channel: Channel, subscribe: bool, error: &str) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        self.out.counts.refused += 1;
        let row = LedgerRow {
            detail: Some(detail("error", error)),
            ..self.out.ledger_row(LedgerKind::Refused, Some(channel), &symbol.name)
        };
        self.out.add_ledger_row(row);
        if options.passive {
            return;
        }
        let subscription = &mut symbol.subscriptions[channel as usize];
        if matches!(subscription.state, SubscriptionState::Off | SubscriptionState::Removed) {
            return;
        }
        subscription.state = match (error, subscribe) {
            // Not a refusal of this symbol: ask again, ever more slowly.
            (error, true) if transient(error) => {
                subscription.attempts = subscription.attempts.max(1);
                SubscriptionState::Pending(subscription.pause(now))
            }
            (error, false) if transient(error) => {
                subscription.attempts = subscription.attempts.max(1);
                SubscriptionState::Resyncing(subscription.pause(now))
            }
            // The exchange still serves it and will send no snapshot: leave, then ask again.
            ("Already subscribed", true) => SubscriptionState::Resyncing(subscription.pause(now)),
            (_, true) => {
                subscription.reason = "refused by the exchange";
                SubscriptionState::Rejected
            }
            // Not subscribed there any more, whatever the reason: ask.
            (_, false) => SubscriptionState::Pending(subscription.pause(now)),
        };
    }

    /// Subscriptions whose answer is overdue are asked for again.
    pub(super) fn overdue(&mut self, now: i64) {
        for i in 0..self.symbols.len() {
            for channel in Channel::ALL {
                let symbol = &mut self.symbols[i];
                let subscription = &mut symbol.subscriptions[channel as usize];
                let (next, reason) = match subscription.state {
                    SubscriptionState::Requested(at) if now - at > ACK_TIMEOUT => {
                        (SubscriptionState::Pending(subscription.pause(now)), "no answer to subscribe")
                    }
                    SubscriptionState::Acked(at) if now - at > SNAPSHOT_TIMEOUT => {
                        (SubscriptionState::Resyncing(subscription.pause(now)), "no snapshot")
                    }
                    SubscriptionState::Unsubscribing(at) if now - at > ACK_TIMEOUT => {
                        (SubscriptionState::Pending(subscription.pause(now)), "no answer to unsubscribe")
                    }
                    _ => continue,
                };
                (subscription.state, subscription.reason) = (next, reason);
                let row = LedgerRow {
                    detail: Some(detail("reason", reason)),
                    ..self.out.ledger_row(LedgerKind::Resync, Some(channel), &symbol.name)
                };
                self.out.add_ledger_row(row);
            }
            self.stale(i, now);
        }
        match self.instrument {
            SubscriptionState::Requested(at) | SubscriptionState::Acked(at) if now - at > SNAPSHOT_TIMEOUT => {
                self.instrument = SubscriptionState::Pending(now);
            }
            _ => {}
        }
    }

    pub(super) fn requests(&mut self, options: &Options, now: i64, budget: &mut Budget) -> Vec<String> {
        let mut requests = Vec::new();
        if matches!(self.instrument, SubscriptionState::Pending(at) if at <= now) {
            let id = self.request_id();
            let tokenised = if options.tokenised { ",\"include_tokenized_assets\":true" } else { "" };
            requests.push(format!(
                "{{\"method\":\"subscribe\",\"params\":{{\"channel\":\"instrument\",\"snapshot\":true{tokenised}}},\"req_id\":{id}}}"
            ));
            self.remember(id, None, &[]);
            self.instrument = SubscriptionState::Requested(now);
        }
        let waits = |state| {
            matches!(
                state,
                SubscriptionState::Requested(_) | SubscriptionState::Acked(_) | SubscriptionState::Unsubscribing(_)
            )
        };
        let mut waiting = self.symbols.iter().flat_map(|s| &s.subscriptions).filter(|s| waits(s.state)).count();
        for subscribe in [false, true] {
            for channel in Channel::ALL {
                let due = |symbol: &Symbol| match (symbol.subscriptions[channel as usize].state, subscribe) {
                    (SubscriptionState::Resyncing(at), false) | (SubscriptionState::Pending(at), true) => at <= now,
                    _ => false,
                };
                // A trade subscription that goes on from an earlier session asks for the snapshot, to close the gap.
                let goes_on = |symbol: &Symbol| channel == Channel::Trade && symbol.last_trade.is_some();
                for snapshot in [false, true] {
                    let mut within = |symbol: &Symbol| {
                        let Subscription { was_active, .. } = symbol.subscriptions[channel as usize];
                        let cost = level3_cost(options.level3_depth.unwrap_or(DEPTH_DEFAULT));
                        channel != Channel::Level3
                            || self.token.is_some() && (!subscribe || budget.spend(now, cost, was_active))
                    };
                    let chosen: Vec<usize> = (0..self.symbols.len())
                        .filter(|&i| due(&self.symbols[i]) && goes_on(&self.symbols[i]) == snapshot)
                        .take(limits::WAITING_MAX.saturating_sub(waiting))
                        .take_while(|&i| within(&self.symbols[i]))
                        .collect();
                    waiting += chosen.len();
                    for batch in chosen.chunks(limits::BATCH_MAX) {
                        requests.push(self.request(options, subscribe, channel, snapshot, batch, now));
                    }
                }
            }
        }
        requests
    }

    pub(super) fn request(
        &mut self,
        options: &Options,
        subscribe: bool,
        channel: Channel,
        snapshot: bool,
        symbols: &[usize],
        now: i64,
    ) -> String {
        let id = self.request_id();
        let method = if subscribe { "subscribe" } else { "unsubscribe" };
        let mut text =
            format!("{{\"method\":\"{method}\",\"params\":{{\"channel\":\"{}\",\"symbol\":[", channel.name());
        for (n, &i) in symbols.iter().enumerate() {
            if n > 0 {
                text.push(',');
            }
            write_text(&self.symbols[i].name, &mut text);
            let symbol = &mut self.symbols[i];
            let subscription = &mut symbol.subscriptions[channel as usize];
            subscription.state =
                if subscribe { SubscriptionState::Requested(now) } else { SubscriptionState::Unsubscribing(now) };
            subscription.requested_at = now;
            let reason = subscription.reason;
            if !subscribe && symbol.in_sync(channel) {
                // In doubt, and alive until now. The ack may be lost, and the book would stand still and look alive.
                symbol.end(channel);
                let detail = Some(detail("reason", reason));
                let row = LedgerRow { detail, ..self.out.ledger_row(LedgerKind::Gap, Some(channel), &symbol.name) };
                self.out.add_ledger_row(row);
            }
        }
        text.push(']');
        // Kraken wants the parameters that tell subscriptions apart repeated when leaving.
        let _ = match channel {
            Channel::Book => write!(text, ",\"depth\":{}", options.depth.unwrap_or(DEPTH_DEFAULT)),
            Channel::Trade => Ok(()),
            Channel::Ticker => write!(text, ",\"event_trigger\":\"bbo\""),
            Channel::Ohlc => write!(text, ",\"interval\":{}", options.interval),
            Channel::Level3 => write!(text, ",\"depth\":{}", options.level3_depth.unwrap_or(DEPTH_DEFAULT)),
        };
        if subscribe {
            let _ = write!(text, ",\"snapshot\":{}", channel != Channel::Trade || snapshot);
        }
        if let (Channel::Level3, Some(token)) = (channel, &self.token) {
            text.push_str(",\"token\":");
            write_text(token, &mut text);
        }
        let _ = write!(text, "}},\"req_id\":{id}}}");
        self.remember(id, Some(channel), symbols);
        text
    }

    /// The book of a symbol is not the exchange's: its life ends, and it is asked for again.
    pub(super) fn resync(&mut self, options: &Options, i: usize, channel: Channel, reason: &'static str) {
        self.symbols[i].end(channel);
        if !options.passive {
            self.resubscribe(i, channel, reason);
        }
    }

    /// A book is to be left and asked for again. Kraken sends no new snapshot to a second subscribe, so the way is
    /// unsubscribe, its ack, subscribe.
    pub(super) fn resubscribe(&mut self, i: usize, channel: Channel, reason: &'static str) {
        let now = self.out.now;
        let symbol = &mut self.symbols[i];
        let subscription = &mut symbol.subscriptions[channel as usize];
        let at = subscription.pause(now);
        (subscription.state, subscription.reason) = (SubscriptionState::Resyncing(at), reason);
        let row = LedgerRow {
            ts_from: Some(at),
            detail: Some(detail("reason", reason)),
            ..self.out.ledger_row(LedgerKind::Resync, Some(channel), &symbol.name)
        };
        self.out.add_ledger_row(row);
    }

    pub(super) fn settle_doubt(&mut self, options: &Options, i: usize, channel: Channel, what: &'static str) {
        let Subscription { state, .. } = self.symbols[i].subscriptions[channel as usize];
        if !options.passive && state == SubscriptionState::Active {
            self.resubscribe(i, channel, what);
        }
    }
}

/// Whether a refusal is of the token, not of the request: "Invalid session" on every private channel by the
/// documentation, "Token(s) not found" as others saw it.
pub(super) fn token_refused(error: &str) -> bool {
    error.starts_with("ESession:") || error == "Token(s) not found"
}

/// Whether a refusal is of this moment: too many requests, by Kraken's word for the public channels and by the ending of
/// all its other words for it, the token, or trouble of the exchange's own (its page of errors: Unavailable, Busy,
/// Deadline elapsed, Internal error).
pub(super) fn transient(error: &str) -> bool {
    error == "Exceeded msg rate"
        || error.ends_with("ate limit exceeded")
        || error.starts_with("EService:")
        || error == "EGeneral:Internal error"
        || token_refused(error)
}
