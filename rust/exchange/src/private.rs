//! The private endpoint: what a client of the account asks for, the answers, and who is told what becomes of it.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::amend::NewTerms;
use crate::connection::{Follows, Label};
use crate::desk::{Desk, News, UNKNOWN, Which, stamp};
use crate::fanout::{DELISTED, Fanout};
use crate::kinds::{Fault, Occasion, What};
use crate::message;
use crate::own::{ClientId, Terms};
use crate::pairs::Pair;
use crate::rate::FIXED;
use crate::report;
use crate::request;
use crate::serve::{ALREADY, NOT_SUBSCRIBED, Server, TOO_MANY};
use crate::terms::{self, Asked, INVALID, METHODS, Params};
use crate::wire;

const SECOND: i64 = 1_000_000_000;
/// Fills in a snapshot.
const SNAPSHOT_TRADES: usize = 50;
/// Orders of a batch that are made, and that are cancelled.
const BATCH_ADD: std::ops::RangeInclusive<usize> = 2..=15;
const BATCH_CANCEL: std::ops::RangeInclusive<usize> = 2..=50;
/// Longest time of the dead-man timer, s.
const TIMEOUT_MAX: i64 = 86_400;
const NO_TOKEN: &str = "Token(s) not found";
const UNAVAILABLE: &str = "EService:Unavailable";
const WARNINGS: &str = "\"warnings\":[\"cancel_reason is deprecated, use reason\",\
    \"stop_price is deprecated, use triggers.price\",\"trigger is deprecated use triggers.reference\",\
    \"triggered_price is deprecated use triggers.last_price\"]";

/// An answer: the members that say what came of a request, or Kraken's text.
pub type Answer = Result<String, String>;

/// All that a request may look at or change.
#[derive(Debug)]
pub struct Private<'a> {
    /// The markets, and where messages go.
    pub fanout: &'a mut Fanout,
    /// The account.
    pub desk: &'a mut Desk,
    /// State of the exchange.
    pub system: &'static str,
    /// The soonest deadline of a request from now, ns.
    pub soonest: i64,
}

impl Private<'_> {
    /// Answers a request of a connection.
    pub fn receive(&mut self, server: &Server, place: usize, text: &[u8]) {
        let now = self.fanout.outbox.now;
        let message: Option<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(text).ok();
        let message = message.unwrap_or_default();
        let raw = |name: &str| message.get(name).map(|value| value.get());
        let method: String = raw("method").and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        let req_id: Option<Value> = raw("req_id").and_then(|raw| serde_json::from_str(raw).ok());
        let req_id = req_id.filter(|id| id.is_u64() || id.is_i64());
        let params = raw("params").and_then(Params::read);
        let Some(connection) = &mut self.fanout.outbox.connections[place] else { return };
        let many = !connection.requests.take(1.0, now);
        let known = METHODS.iter().any(|known| known.0 == method);
        let req_id = req_id.as_ref();
        match method.as_str() {
            _ if many && method.is_empty() => self.refuse(place, "error", req_id, TOO_MANY),
            _ if many => self.refuse(place, &method, req_id, TOO_MANY),
            "ping" if raw("params").is_some() => {
                self.refuse(place, "ping", req_id, "Unsupported field: 'params' for the given msg type: ping");
            }
            "ping" => {
                let stamp = self.fanout.outbox.stamp(now);
                request::pong(req_id, stamp, self.fanout.outbox.compose());
                self.fanout.outbox.send(&[place], Label::new("pong"));
            }
            "subscribe" | "unsubscribe" => {
                if let Err(error) = self.follow(server, place, (&method, req_id), &params.unwrap_or_default()) {
                    self.refuse(place, &method, req_id, &error);
                }
            }
            _ if known => self.order(server, place, (&method, req_id), &params.unwrap_or_default()),
            _ => self.refuse(place, "error", req_id, "Malformed request"),
        }
        self.tell();
        self.fanout.outbox.find_next_due();
    }

    fn refuse(&mut self, place: usize, method: &str, req_id: Option<&Value>, error: &str) {
        let outbox = &mut self.fanout.outbox;
        let stamp = outbox.stamp(outbox.now);
        request::refusal(error, method, req_id, None, stamp, outbox.compose());
        outbox.send(&[place], Label::new("refusal"));
    }

    /// The fault that happens to a request.
    fn fault(
        &mut self,
        occasion: Occasion,
        place: usize,
        (method, symbol): (&str, &str),
        may: impl Fn(What) -> bool,
    ) -> Option<Fault> {
        let outbox = &mut self.fanout.outbox;
        let id = outbox.connections[place].as_ref()?.id;
        let fault = outbox.faults.pick(occasion, (outbox.now, id, method, symbol), |fault| may(fault.kind.what))?;
        outbox.record_fault(&fault, Some(place), "", None);
        Some(fault)
    }

    /// Whether a token may be used on a connection: for as long as it lives, or as what it subscribed there lives.
    fn may(&mut self, server: &Server, place: usize, params: &Params, method: &str) -> Option<String> {
        let token = params.text("token").ok().flatten()?;
        if self.fault(Occasion::Token, place, (method, ""), |_| true).is_some() {
            return None;
        }
        let connection = self.fanout.outbox.connections[place].as_ref()?;
        let follows = connection.executions.is_some() || connection.balances.is_some();
        let kept = follows && connection.tokens.contains(&token);
        (kept || server.is_valid(Some(&token), self.fanout.outbox.now)).then_some(token)
    }

    /// Whether a fault happens to a message of a private channel.
    fn report_fault(&mut self, place: usize, channel: &str, what: What) -> bool {
        self.fault(Occasion::Report, place, (channel, ""), |other| other == what).is_some()
    }

    // Subscriptions.

    fn follow(
        &mut self,
        server: &Server,
        place: usize,
        (method, req_id): (&str, Option<&Value>),
        params: &Params,
    ) -> Result<(), String> {
        let channel = params.text("channel").ok().flatten().ok_or("Unsupported event")?;
        let executions = match channel.as_str() {
            "executions" => true,
            "balances" => false,
            "level3" | "instrument" | "book" | "trade" | "ticker" | "ohlc" => return Err(request::PUBLIC.to_owned()),
            _ => return Err("Subscription name invalid".to_owned()),
        };
        let Some(token) = self.may(server, place, params, method) else {
            let outbox = &mut self.fanout.outbox;
            let (name, stamp) = (if executions { "executions" } else { "balances" }, outbox.stamp(outbox.now));
            request::invalid_session(name, method, req_id, stamp, outbox.compose());
            outbox.send(&[place], Label::new("refusal"));
            return Ok(());
        };
        let flag = |name: &str, default: bool| if params.raw(name).is_none() { Ok(default) } else { params.flag(name) };
        let all = params.text("users")?.as_deref() == Some("all");
        let (result, snapshot) = if executions {
            let orders = flag("snap_orders", flag("snapshot", true)?)?;
            let trades = flag("snap_trades", flag("snapshot_trades", false)?)?;
            let limit = self.desk.settings.tier.limit;
            let result =
                format!("\"maxratecount\":{limit},\"snap_orders\":{orders},\"snap_trades\":{trades},{WARNINGS}");
            (result, [orders, trades])
        } else {
            let snapshot = flag("snapshot", true)?;
            (format!("\"snapshot\":{snapshot}"), [snapshot, false])
        };
        let (every, counter) = (flag("order_status", true)?, flag("ratecounter", false)?);
        let Some(connection) = &mut self.fanout.outbox.connections[place] else { return Ok(()) };
        let slot = if executions { &mut connection.executions } else { &mut connection.balances };
        let subscribe = method == "subscribe";
        if slot.is_some() == subscribe {
            return Err(if subscribe { ALREADY } else { NOT_SUBSCRIBED }.to_owned());
        }
        *slot = subscribe.then_some(Follows { sequence: 0, every, counter });
        if !subscribe {
            self.answer(place, (method, req_id), Ok(format!("\"result\":{{\"channel\":\"{channel}\"}}")), None);
            return Ok(());
        }
        connection.tokens.insert(token);
        self.answer(place, (method, req_id), Ok(format!("\"result\":{{\"channel\":\"{channel}\",{result}}}")), None);
        if !all && executions {
            self.send_orders(place, snapshot);
        } else if !all && snapshot[0] {
            let rows: Vec<Vec<u8>> =
                self.desk.wallet.all().map(|(asset, holding)| report::balance(asset, holding)).collect();
            self.send_rows(place, "balances", true, &rows);
        }
        Ok(())
    }

    fn send_orders(&mut self, place: usize, [orders, trades]: [bool; 2]) {
        let mut rows: Vec<Vec<u8>> = Vec::new();
        if orders {
            rows.extend(self.desk.open().map(report::open));
        }
        if trades {
            let from = self.desk.trades.len().saturating_sub(SNAPSHOT_TRADES);
            let last = self.desk.trades.range(from..);
            rows.extend(last.filter_map(|trade| Some(report::old_trade(self.desk.orders.get(&trade.order)?, trade))));
        }
        self.send_rows(place, "executions", true, &rows);
    }

    /// Sends rows of a private channel in one message, with the next number of its sequence.
    fn send_rows(&mut self, place: usize, channel: &'static str, snapshot: bool, rows: &[Vec<u8>]) {
        let skips = !snapshot && self.report_fault(place, channel, What::SequenceGap);
        let outbox = &mut self.fanout.outbox;
        let Some(connection) = &mut outbox.connections[place] else { return };
        let slot = if channel == "executions" { &mut connection.executions } else { &mut connection.balances };
        let Some(follows) = slot else { return };
        follows.sequence += 1 + u64::from(skips);
        let sequence = follows.sequence;
        let text = outbox.compose();
        message::begin(channel, snapshot, text);
        text.extend_from_slice(b",\"data\":[");
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(row);
            text.push(b'}');
        }
        text.extend_from_slice(format!("],\"sequence\":{sequence}}}").as_bytes());
        outbox.send(&[place], Label::new(channel));
    }

    /// Tells those who follow the account what is new.
    pub fn tell(&mut self) {
        for News { report, always, mut row } in std::mem::take(&mut self.desk.news) {
            let channel = if report.is_some() { "executions" } else { "balances" };
            let length = row.len();
            for place in 0..self.fanout.outbox.connections.len() {
                let Some(connection) = &self.fanout.outbox.connections[place] else { continue };
                let follows = if report.is_some() { &connection.executions } else { &connection.balances };
                let Some(follows) = follows.as_ref().filter(|follows| always || follows.every) else { continue };
                row.truncate(length);
                if let (Some((_, counted)), true) = (report, follows.counter) {
                    row.extend_from_slice(format!(",\"ratecount\":\"{counted:.10}\"").as_bytes());
                }
                self.send_rows(place, channel, false, std::slice::from_ref(&row));
                if self.report_fault(place, channel, What::DuplicateReport) {
                    self.send_rows(place, channel, false, std::slice::from_ref(&row));
                }
            }
        }
    }

    // Orders.

    fn order(&mut self, server: &Server, place: usize, (method, req_id): (&str, Option<&Value>), params: &Params) {
        if self.may(server, place, params, method).is_none() {
            return self.refuse(place, method, req_id, NO_TOKEN);
        }
        let symbol = self.concerns(params);
        let fault = self.fault(Occasion::Order, place, (method, &symbol), |_| true);
        let what = fault.as_ref().map(|fault| fault.kind.what);
        if what == Some(What::LostRequest) {
            return;
        }
        let answers = self.act(method, params);
        if what == Some(What::CutAnswer)
            && let Some(connection) = &mut self.fanout.outbox.connections[place]
        {
            connection.lost = true;
        }
        if self.desk.settings.is_other("ack") || matches!(what, Some(What::ReportBeforeAck | What::LateAck)) {
            self.tell();
        }
        if what == Some(What::LostAck) {
            return;
        }
        let late = fault.filter(|fault| fault.kind.what == What::LateAck).map(|fault| fault.by);
        for answer in answers {
            self.answer(place, (method, req_id), answer, late);
        }
    }

    /// Symbol of the pair that a request is about, by its name or by the order; empty: none, or many.
    fn concerns(&self, params: &Params) -> String {
        if let Ok(Some(symbol)) = params.text("symbol") {
            return symbol;
        }
        let first = |name: &str| params.list::<String>(name).ok().and_then(|found| found.into_iter().next());
        let which = first("order_id").map(Which::Id).or_else(|| first("cl_ord_id").map(Which::Name));
        let number = which.and_then(|which| self.desk.find(&which).first().copied());
        let order = number.and_then(|number| self.desk.orders.get(&number));
        order.map_or_else(String::new, |order| order.pair.symbol.clone())
    }

    /// Sends an answer: at once, or so much later.
    fn answer(&mut self, place: usize, (method, req_id): (&str, Option<&Value>), answer: Answer, late: Option<i64>) {
        let outbox = &mut self.fanout.outbox;
        let (now, stamp) = (outbox.now, outbox.stamp(outbox.now));
        let label = Label::new(if answer.is_ok() { "ack" } else { "refusal" });
        match answer {
            Ok(members) => request::answer(&members, method, req_id, stamp, outbox.compose()),
            Err(error) => request::refusal(&error, method, req_id, None, stamp, outbox.compose()),
        }
        match late {
            None => outbox.send(&[place], label),
            Some(by) => outbox.send_late(place, label, by),
        }
        if let Some(connection) = &mut outbox.connections[place]
            && connection.next_heartbeat == i64::MAX
        {
            connection.next_heartbeat = now + SECOND;
        }
    }

    /// Does what an order method asks for.
    pub fn act(&mut self, method: &str, params: &Params) -> Vec<Answer> {
        let ignore = self.desk.settings.is_other("unknown");
        if let Err(error) = params.check(method, ignore) {
            return vec![Err(error)];
        }
        let answers = match method {
            "add_order" => self.add(params),
            "amend_order" => self.amend(params),
            "edit_order" => self.edit(params),
            "cancel_order" => return self.cancel(params).unwrap_or_else(|error| vec![Err(error)]),
            "cancel_all" => self.cancel_all(params),
            "cancel_all_orders_after" => self.dead_man(params),
            "batch_add" => self.batch_add(params),
            "batch_cancel" => self.batch_cancel(params),
            _ => Err("Malformed request".to_owned()),
        };
        vec![answers]
    }

    /// Number of the pair that a request names.
    fn pair(&self, params: &Params) -> Result<usize, String> {
        let symbol = params.text("symbol")?.ok_or(INVALID)?;
        let pair = self.fanout.find(&symbol);
        let pair = pair.filter(|&pair| self.fanout.listings[pair].market.pair.status != DELISTED);
        pair.ok_or_else(|| request::unknown_pair(&symbol))
    }

    fn listed(&self, pair: usize) -> &Pair {
        &self.fanout.listings[pair].market.pair
    }

    fn is_served(&self, terms: &Terms) -> Result<(), String> {
        let (limit, index) = (terms.limit.is_some(), terms.trigger.is_some_and(|trigger| trigger.1));
        // As the instrument channel says of its index.
        if index && self.listed(terms.pair).levels <= 1000 {
            return Err(format!("{INVALID}:Index unavailable"));
        }
        Desk::is_served(self.fanout, terms.pair, self.system, terms.post_only, !limit)
    }

    /// Refuses a request whose time is over, by the clock that stamps messages.
    fn deadline(&self, params: &Params) -> Result<(), String> {
        terms::deadline(params, stamp(self.fanout), self.soonest)
    }

    fn add(&mut self, params: &Params) -> Answer {
        let (now, clock) = (self.fanout.outbox.now, stamp(self.fanout));
        let pair = self.pair(params)?;
        let asked = terms::order(params, pair, self.listed(pair), clock)?;
        let validate = params.flag("validate")?;
        self.is_served(&asked.terms)?;
        self.deadline(params)?;
        self.desk.count(pair, (FIXED, 0.0), now)?;
        self.desk.check(self.fanout, &asked)?;
        Ok(format!("\"result\":{}", self.place(asked, validate)))
    }

    /// Places an order that was checked, unless only that was asked for; returns what its answer says.
    fn place(&mut self, asked: Asked, validate: bool) -> String {
        let client = match &asked.terms.client {
            ClientId::Name(name) => format!("\"cl_ord_id\":{}", Value::from(name.as_str())),
            ClientId::Number(number) => format!("\"order_userref\":{number}"),
        };
        if validate {
            return format!("{{{client}}}");
        }
        let id = self.desk.place(self.fanout, asked.terms);
        format!("{{\"order_id\":\"{id}\",{client}}}")
    }

    fn batch_add(&mut self, params: &Params) -> Answer {
        let (now, clock) = (self.fanout.outbox.now, stamp(self.fanout));
        let pair = self.pair(params)?;
        let orders: Vec<Params> = params.list("orders")?;
        if !BATCH_ADD.contains(&orders.len()) {
            return Err(INVALID.to_owned());
        }
        let read = |order: &Params| terms::order(order, pair, self.listed(pair), clock);
        let orders = orders.iter().map(read).collect::<Result<Vec<Asked>, String>>()?;
        let validate = params.flag("validate")?;
        orders.iter().try_for_each(|asked| self.is_served(&asked.terms))?;
        self.deadline(params)?;
        #[allow(clippy::cast_precision_loss, reason = "at most fifteen")]
        self.desk.count(pair, (orders.len() as f64 / 2.0, 0.0), now)?;
        // What is wrong with an order in itself refuses all of them; what only now is in its way, that one.
        let alone = ["EOrder:Insufficient funds", "EOrder:Post only order", "EOrder:Orders limit exceeded"];
        for asked in &orders {
            self.desk
                .check(self.fanout, asked)
                .or_else(|error| if alone.contains(&error.as_str()) { Ok(()) } else { Err(error) })?;
        }
        let mut results = Vec::new();
        for asked in orders {
            results.push(match self.desk.check(self.fanout, &asked) {
                Ok(()) => self.place(asked, validate),
                Err(error) => format!("{{\"error\":\"{error}\"}}"),
            });
        }
        Ok(format!("\"result\":[{}]", results.join(",")))
    }

    /// The one open order that a request means.
    fn target(&self, params: &Params) -> Result<(Which, u64), String> {
        let which = match (params.text("order_id")?, params.text("cl_ord_id")?) {
            (Some(id), None) => Which::Id(id),
            (None, Some(name)) => Which::Name(name),
            _ => return Err(INVALID.to_owned()),
        };
        let number = self.desk.find(&which).first().copied().ok_or(UNKNOWN)?;
        Ok((which, number))
    }

    /// New terms of an order; a wrong price is refused later.
    fn new_terms(&self, params: &Params, number: u64) -> Result<NewTerms, String> {
        let order = self.desk.orders.get(&number).ok_or(UNKNOWN)?;
        let mut new = NewTerms { post_only: params.flag("post_only")?, ..NewTerms::default() };
        for name in ["limit_price_type", "trigger_price_type"] {
            if params.text(name)?.is_some_and(|kind| kind != "static") {
                return Err(format!("{INVALID}:{name}"));
            }
        }
        new.qty = params.raw("order_qty").map(|raw| terms::quantity(raw, &order.pair)).transpose()?;
        new.display = params.raw("display_qty").map(|raw| terms::quantity(raw, &order.pair)).transpose()?;
        let mut price = |name: &str| match params.raw(name).map(|raw| terms::price(raw, &order.pair)) {
            Some(Ok(price)) => Some(price),
            Some(Err(error)) => {
                new.price.get_or_insert(error);
                None
            }
            None => None,
        };
        let (limit, trigger) = (price("limit_price"), price("trigger_price"));
        (new.limit, new.trigger) = (limit, trigger);
        Ok(new)
    }

    fn amend(&mut self, params: &Params) -> Answer {
        self.deadline(params)?;
        let (which, number) = self.target(params)?;
        let new = self.new_terms(params, number)?;
        if new.qty.is_none()
            && new.limit.is_none()
            && new.display.is_none()
            && new.trigger.is_none()
            && new.price.is_none()
        {
            return Err(INVALID.to_owned());
        }
        let id = self.desk.amend(self.fanout, number, self.system, &new)?;
        let named = match which {
            Which::Name(name) => format!("\"cl_ord_id\":{}", Value::from(name)),
            Which::Id(id) => format!("\"order_id\":{}", Value::from(id)),
            Which::Number(number) => format!("\"order_userref\":{number}"),
        };
        Ok(format!("\"result\":{{\"amend_id\":\"{id}\",{named}}}"))
    }

    fn edit(&mut self, params: &Params) -> Answer {
        self.deadline(params)?;
        self.pair(params)?;
        let (_, number) = self.target(params)?;
        let new = self.new_terms(params, number)?;
        let (client, validate) = (params.whole("order_userref")?, params.flag("validate")?);
        let order = self.desk.orders.get(&number).ok_or(UNKNOWN)?;
        let (terms, old) = (order.terms.clone(), order.id.clone());
        self.is_served(&terms)?;
        let id = self.desk.edit(self.fanout, number, (&new, client), validate)?;
        let made = if validate { String::new() } else { format!("\"order_id\":\"{id}\",") };
        Ok(format!("\"result\":{{{made}\"original_order_id\":\"{old}\"}}"))
    }

    /// Nothing is cancelled in a maintenance.
    fn cancels(&self) -> Result<(), String> {
        if self.system == "maintenance" { Err(UNAVAILABLE.to_owned()) } else { Ok(()) }
    }

    fn cancel(&mut self, params: &Params) -> Result<Vec<Answer>, String> {
        let ids: Vec<String> = params.list("order_id")?;
        let names: Vec<String> = params.list("cl_ord_id")?;
        let numbers: Vec<i64> = params.list("order_userref")?;
        if ids.is_empty() && names.is_empty() && numbers.is_empty() {
            return Err(INVALID.to_owned());
        }
        self.cancels()?;
        let ids = ids.into_iter().map(Which::Id);
        let all = ids.chain(names.into_iter().map(Which::Name)).chain(numbers.into_iter().map(Which::Number));
        let mut answers = Vec::new();
        for which in all {
            let found = self.desk.find(&which);
            for &number in &found {
                self.desk.cancel_for(self.fanout, number);
            }
            let told = match which {
                Which::Id(id) => format!("\"result\":{{\"order_id\":{}}}", Value::from(id)),
                Which::Name(name) => format!("\"result\":{{\"cl_ord_id\":{}}}", Value::from(name)),
                Which::Number(number) => format!("\"result\":{{\"order_userref\":{number}}}"),
            };
            answers.push(if found.is_empty() { Err(UNKNOWN.to_owned()) } else { Ok(told) });
        }
        Ok(answers)
    }

    fn cancel_all(&mut self, _params: &Params) -> Answer {
        self.cancels()?;
        Ok(format!("\"result\":{{\"count\":{}}}", self.desk.cancel_all(self.fanout)))
    }

    fn batch_cancel(&mut self, params: &Params) -> Answer {
        let names: Vec<String> = params.list("cl_ord_id")?;
        let ids: Vec<String> = params.list("orders")?;
        if !BATCH_CANCEL.contains(&(names.len() + ids.len())) {
            return Err(INVALID.to_owned());
        }
        self.cancels()?;
        let all = ids.into_iter().map(Which::Id).chain(names.into_iter().map(Which::Name));
        let mut count = 0;
        for which in all {
            for number in self.desk.find(&which) {
                self.desk.cancel_for(self.fanout, number);
                count += 1;
            }
        }
        Ok(format!("\"orders_cancelled\":{count}"))
    }

    fn dead_man(&mut self, params: &Params) -> Answer {
        let timeout = params.whole("timeout")?.filter(|timeout| (0..TIMEOUT_MAX).contains(timeout));
        let timeout = timeout.ok_or_else(|| format!("{INVALID}:timeout"))?;
        let now = self.fanout.outbox.now;
        let due = now.saturating_add(timeout * SECOND);
        self.desk.dead_man = (timeout > 0).then_some(due);
        self.desk.find_next_due(self.fanout);
        // Kraken tells whole seconds.
        let current = self.fanout.outbox.stamp(now) + SECOND / 2;
        let current = current - current.rem_euclid(SECOND);
        let trigger = if timeout > 0 { seconds(current + timeout * SECOND) } else { "\"0\"".to_owned() };
        Ok(format!("\"result\":{{\"currentTime\":{},\"triggerTime\":{trigger}}}", seconds(current)))
    }
}

/// A time in whole seconds, with its quotes.
fn seconds(ns: i64) -> String {
    let mut text = Vec::new();
    wire::time(ns, 6, &mut text);
    let text: String = text.into_iter().map(char::from).collect();
    text.replace(".000000", "")
}
