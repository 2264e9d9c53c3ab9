//! Requests as text: orders, amendments, cancels, subscriptions. Numbers are whole steps, written as fixed-point digits.

use std::fmt::Write as _;
use std::ops::Range;

use krakpot_core::wire::write_text;

use crate::amount::{Price, Qty};
use crate::names::cl_ord_id;
use crate::pair::Pair;
use crate::terms::{Request, Terms, TimeInForce};

/// Nanoseconds of a second and of a millisecond.
const SECOND: i64 = 1_000_000_000;
const MILLISECOND: i64 = 1_000_000;
/// Kraken's dead-man timer is shorter than a day, s.
pub const TIMEOUT_MAX: u32 = 86_399;

/// A token: what a private request is made with. It is never printed, and overwritten when it is dropped.
pub struct Token(Vec<u8>);

impl Token {
    /// A token as the exchange gave it; `None` if it is empty, or has characters that no token has.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.as_bytes().to_vec()))
    }

    fn write(&self, out: &mut String) -> Range<usize> {
        // Made of ASCII.
        let text: String = self.0.iter().copied().map(char::from).collect();
        let begin = out.len() + 1;
        write_text(&text, out);
        begin..out.len() - 1
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fill(0);
        // Or the compiler may leave out what nobody reads.
        std::hint::black_box(&self.0);
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// The text of a request. Printed, it has stars in place of its token.
pub struct Frame {
    text: String,
    token: Range<usize>,
}

impl Frame {
    /// The text as it is to be sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text without its token, for logs and journals.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}***{}", &self.text[..self.token.start], &self.text[self.token.end..])
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Why a request cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsendable {
    /// The order has no name: its number is too large, or the prefix has not eight letters or digits.
    Name(u64),
    /// A quantity that is not positive.
    Qty(Qty),
    /// A price that is not positive.
    Price(Price),
    /// An iceberg without a price, or one with a trigger: the exchange has no such kind of order.
    Kind,
    /// A time before 1970.
    Time(i64),
    /// An amendment of nothing, or a cancel of no order.
    Nothing,
    /// A dead-man timer of so many seconds.
    Timeout(u32),
}

impl std::fmt::Display for Unsendable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(order) => write!(
                f,
                "order {order} has no name: its number is too large, or the prefix has not eight letters or digits"
            ),
            Self::Qty(qty) => write!(f, "a quantity of {} steps is not positive", qty.0),
            Self::Price(price) => write!(f, "a price of {} steps is not positive", price.0),
            Self::Kind => f.write_str("an iceberg needs a price and has no trigger"),
            Self::Time(ts) => write!(f, "the time {ts} lies before 1970"),
            Self::Nothing => f.write_str("nothing is asked for"),
            Self::Timeout(seconds) => write!(f, "{seconds} s is beyond the {TIMEOUT_MAX} s of the dead-man timer"),
        }
    }
}

impl std::error::Error for Unsendable {}

/// What the exchange does where an own order meets another own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelfTrade {
    /// The arriving one is cancelled.
    #[default]
    CancelNewest,
    /// The resting one is.
    CancelOldest,
    /// Both are.
    CancelBoth,
}

impl SelfTrade {
    /// Kraken's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::CancelNewest => "cancel_newest",
            Self::CancelOldest => "cancel_oldest",
            Self::CancelBoth => "cancel_both",
        }
    }
}

/// How requests of a strategy are written.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Begin of the names of its orders.
    pub prefix: Box<str>,
    /// Always sent: what happens where own orders meet.
    pub self_trade: SelfTrade,
    /// Whether new orders are only checked by the exchange.
    pub validate: bool,
}

impl Writer {
    /// A request about an order of `pair`. `amended` are the terms of an order that is amended, and its quantity in all:
    /// one that must not take when it is new must not take when it is amended; and the quantity is always said.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn request(
        &self,
        request: &Request,
        pair: &Pair,
        amended: Option<(&Terms, Qty)>,
        (id, token): (u64, &Token),
    ) -> Result<Frame, Unsendable> {
        match *request {
            Request::Add { order, ref terms, deadline } => self.add((order, terms, deadline), pair, (id, token)),
            Request::Amend { qty: None, price: None, .. } => Err(Unsendable::Nothing),
            Request::Amend { order, qty, price, deadline } => {
                let post_only = amended.is_some_and(|(terms, _)| terms.post_only);
                let qty = qty.or(amended.map(|(_, qty)| qty));
                self.amend((order, qty, price, post_only, deadline), pair, (id, token))
            }
            Request::Cancel { order } => self.cancel(&[order], (id, token)),
        }
    }

    fn add(
        &self,
        (order, terms, deadline): (u64, &Terms, i64),
        pair: &Pair,
        ending: (u64, &Token),
    ) -> Result<Frame, Unsendable> {
        let mut text = begin("add_order");
        text.push_str("\"order_type\":");
        write_text(kind(terms)?, &mut text);
        member("side", &mut text);
        write_text(terms.side.word(), &mut text);
        member("symbol", &mut text);
        write_text(&pair.symbol, &mut text);
        write_qty("order_qty", terms.qty, pair, &mut text)?;
        if let Some(price) = terms.price {
            write_price("limit_price", price, pair, &mut text)?;
        }
        if let Some(display) = terms.display {
            write_qty("display_qty", display, pair, &mut text)?;
        }
        if let Some(trigger) = terms.trigger {
            text.push_str(",\"triggers\":{\"reference\":\"last\"");
            write_price("price", trigger.price, pair, &mut text)?;
            text.push('}');
        }
        let word = match terms.time_in_force {
            TimeInForce::Gtc => "gtc",
            TimeInForce::Gtd(_) => "gtd",
            TimeInForce::Ioc => "ioc",
            TimeInForce::Fok => "fok",
        };
        member("time_in_force", &mut text);
        write_text(word, &mut text);
        if let TimeInForce::Gtd(until) = terms.time_in_force {
            // Kraken takes whole seconds here. Rounded down: an order never lives longer than it was asked to.
            write_time("expire_time", until.div_euclid(SECOND) * SECOND, 0, &mut text)?;
        }
        if terms.post_only {
            text.push_str(",\"post_only\":true");
        }
        // Always said: Kraken's page and its messages do not agree on what it does by default.
        text.push_str(",\"fee_preference\":\"quote\"");
        member("stp_type", &mut text);
        write_text(self.self_trade.word(), &mut text);
        member("cl_ord_id", &mut text);
        write_text(&cl_ord_id(&self.prefix, order).ok_or(Unsendable::Name(order))?, &mut text);
        write_deadline(deadline, &mut text)?;
        if self.validate {
            text.push_str(",\"validate\":true");
        }
        Ok(end(text, ending))
    }

    fn amend(
        &self,
        (order, qty, price, post_only, deadline): (u64, Option<Qty>, Option<Price>, bool, i64),
        pair: &Pair,
        ending: (u64, &Token),
    ) -> Result<Frame, Unsendable> {
        let mut text = begin("amend_order");
        text.push_str("\"cl_ord_id\":");
        write_text(&cl_ord_id(&self.prefix, order).ok_or(Unsendable::Name(order))?, &mut text);
        if let Some(qty) = qty {
            write_qty("order_qty", qty, pair, &mut text)?;
        }
        if let Some(price) = price {
            write_price("limit_price", price, pair, &mut text)?;
            if post_only {
                text.push_str(",\"post_only\":true");
            }
        }
        write_deadline(deadline, &mut text)?;
        Ok(end(text, ending))
    }

    /// A cancel of some orders. Each has an answer of its own, with the same id, and a refusal does not say which order it
    /// is about: to know that, cancel them one by one.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn cancel(&self, orders: &[u64], ending: (u64, &Token)) -> Result<Frame, Unsendable> {
        let mut text = begin("cancel_order");
        text.push_str("\"cl_ord_id\":[");
        for (at, &order) in orders.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            write_text(&cl_ord_id(&self.prefix, order).ok_or(Unsendable::Name(order))?, &mut text);
        }
        text.push(']');
        if orders.is_empty() { Err(Unsendable::Nothing) } else { Ok(end(text, ending)) }
    }
}

/// A cancel of all orders of the account, whoever made them.
#[must_use]
pub fn cancel_all(ending: (u64, &Token)) -> Frame {
    end(begin("cancel_all"), ending)
}

/// Sets the dead-man timer: all orders of the account are cancelled after so many seconds, unless it is set again. 0 ends
/// it.
///
/// # Errors
/// [`Unsendable::Timeout`].
pub fn cancel_all_after(seconds: u32, ending: (u64, &Token)) -> Result<Frame, Unsendable> {
    if seconds > TIMEOUT_MAX {
        return Err(Unsendable::Timeout(seconds));
    }
    let mut text = begin("cancel_all_orders_after");
    text.push_str("\"timeout\":");
    write_int(seconds, &mut text);
    Ok(end(text, ending))
}

/// Asks for a sign of life, whose answer has the exchange's times.
#[must_use]
pub fn ping(id: u64) -> String {
    format!("{{\"method\":\"ping\",\"req_id\":{id}}}")
}

/// Subscribes reports, with the open orders, the last fifty fills, and the rate counter in each report.
#[must_use]
pub fn executions(ending: (u64, &Token)) -> Frame {
    let mut text = begin("subscribe");
    text.push_str(
        "\"channel\":\"executions\",\"snap_orders\":true,\"snap_trades\":true,\"order_status\":true,\"ratecounter\":true",
    );
    end(text, ending)
}

/// Subscribes balances.
#[must_use]
pub fn balances(ending: (u64, &Token)) -> Frame {
    let mut text = begin("subscribe");
    text.push_str("\"channel\":\"balances\",\"snapshot\":true");
    end(text, ending)
}

/// The exchange's name of a kind of order.
fn kind(terms: &Terms) -> Result<&'static str, Unsendable> {
    Ok(match (terms.trigger.map(|trigger| trigger.stop), terms.price.is_some(), terms.display.is_some()) {
        (None, true, true) => "iceberg",
        (None, true, false) => "limit",
        (None, false, false) => "market",
        (Some(true), true, false) => "stop-loss-limit",
        (Some(true), false, false) => "stop-loss",
        (Some(false), true, false) => "take-profit-limit",
        (Some(false), false, false) => "take-profit",
        _ => return Err(Unsendable::Kind),
    })
}

/// Kraken takes milliseconds here. Rounded down: nothing is done later than was asked.
fn write_deadline(deadline: i64, text: &mut String) -> Result<(), Unsendable> {
    write_time("deadline", deadline.div_euclid(MILLISECOND) * MILLISECOND, 3, text)
}

fn begin(method: &str) -> String {
    format!("{{\"method\":\"{method}\",\"params\":{{")
}

fn member(name: &str, out: &mut String) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
}

fn write_int(value: impl Into<u64>, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", value.into());
}

/// Ends a request with its token and its id.
fn end(mut text: String, (id, token): (u64, &Token)) -> Frame {
    if !text.ends_with('{') {
        text.push(',');
    }
    text.push_str("\"token\":");
    let token = token.write(&mut text);
    text.push_str("},\"req_id\":");
    write_int(id, &mut text);
    text.push('}');
    Frame { text, token }
}

fn write_qty(name: &str, qty: Qty, pair: &Pair, out: &mut String) -> Result<(), Unsendable> {
    let steps = u64::try_from(qty.0).ok().filter(|steps| *steps > 0).ok_or(Unsendable::Qty(qty))?;
    member(name, out);
    write_steps(steps, pair.qty_precision, out);
    Ok(())
}

fn write_price(name: &str, price: Price, pair: &Pair, out: &mut String) -> Result<(), Unsendable> {
    let steps = u64::try_from(price.0).ok().filter(|steps| *steps > 0).ok_or(Unsendable::Price(price))?;
    member(name, out);
    write_steps(steps, pair.price_precision, out);
    Ok(())
}

/// Writes steps of 10^-`decimals` as a number with that many decimals.
pub fn write_steps(steps: u64, decimals: u8, out: &mut String) {
    let digits = steps.to_string();
    let decimals = usize::from(decimals);
    let whole = digits.len().saturating_sub(decimals);
    out.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    if decimals > 0 {
        out.push('.');
        out.extend(std::iter::repeat_n('0', decimals.saturating_sub(digits.len())));
        out.push_str(&digits[whole..]);
    }
}

/// Writes a member that is a time (RFC 3339, UTC) with so many decimals of a second.
fn write_time(name: &str, ns: i64, decimals: usize, out: &mut String) -> Result<(), Unsendable> {
    if ns < 0 {
        return Err(Unsendable::Time(ns));
    }
    let (seconds, rest) = (ns / SECOND, ns % SECOND);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days, by years that begin in March (the leap day is then the last of its year).
    let from = days + 719_468;
    let era = from / 146_097;
    let day_of_era = from % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    member(name, out);
    // Writing to a String cannot fail.
    let _ = write!(out, "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if decimals > 0 {
        out.push('.');
        out.push_str(&format!("{rest:09}")[..decimals.min(9)]);
    }
    out.push_str("Z\"");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::{Side, Trigger};
    use krakpot_core::wire::time::parse_time;

    const TOKEN: &str = "WW91IGZvdW5kIG1l";

    fn pair() -> Pair {
        Pair { cost_precision: 4, qty_min: Qty(1), cost_min: 1, ..Pair::example() }
    }

    fn terms() -> Terms {
        Terms { post_only: true, ..Terms::limit(0, Side::Buy, Qty(500_000), Price(265_000)) }
    }

    fn writer() -> Writer {
        Writer { prefix: "kpmaker0".into(), self_trade: SelfTrade::default(), validate: false }
    }

    fn write(writer: &Writer, request: &Request) -> Result<String, Unsendable> {
        let token = Token::new(TOKEN).expect("a token");
        let frame = writer.request(request, &pair(), Some((&terms(), Qty(500_000))), (7, &token))?;
        let (text, shown) = (frame.text().to_owned(), format!("{frame:?} {token:?}"));
        assert!(text.contains(TOKEN) && !shown.contains(TOKEN) && shown.contains("***"), "{shown}");
        assert_eq!(frame.shown(), text.replace(TOKEN, "***"));
        Ok(text.replace(TOKEN, "T"))
    }

    /// Goal: every member is where Kraken's documentation shows it, with the digits of its steps; the token is never shown.
    #[test]
    fn requests_are_written() {
        let deadline = parse_time(b"2026-11-28T15:00:01.5009Z").expect("a time");
        let add = |terms| Request::Add { order: 33, terms, deadline };
        for (request, expected) in [
            (
                add(terms()),
                r#"{"method":"add_order","params":{"order_type":"limit","side":"buy","symbol":"BTC/USD","order_qty":0.00500000,"limit_price":26500.0,"time_in_force":"gtc","post_only":true,"fee_preference":"quote","stp_type":"cancel_newest","cl_ord_id":"kpmaker00000000011","deadline":"2026-11-28T15:00:01.500Z","token":"T"},"req_id":7}"#,
            ),
            (
                add(Terms {
                    side: Side::Sell,
                    price: None,
                    post_only: false,
                    time_in_force: TimeInForce::Gtd(parse_time(b"2028-02-29T23:59:59.9Z").expect("a time")),
                    trigger: Some(Trigger { price: Price(7), stop: true }),
                    qty: Qty(i64::MAX),
                    ..terms()
                }),
                r#"{"method":"add_order","params":{"order_type":"stop-loss","side":"sell","symbol":"BTC/USD","order_qty":92233720368.54775807,"triggers":{"reference":"last","price":0.7},"time_in_force":"gtd","expire_time":"2028-02-29T23:59:59Z","fee_preference":"quote","stp_type":"cancel_newest","cl_ord_id":"kpmaker00000000011","deadline":"2026-11-28T15:00:01.500Z","token":"T"},"req_id":7}"#,
            ),
            (
                Request::Amend { order: 1, qty: Some(Qty(1)), price: Some(Price(265_010)), deadline },
                r#"{"method":"amend_order","params":{"cl_ord_id":"kpmaker00000000001","order_qty":0.00000001,"limit_price":26501.0,"post_only":true,"deadline":"2026-11-28T15:00:01.500Z","token":"T"},"req_id":7}"#,
            ),
            (
                // Kraken's list of members says that the quantity is needed.
                Request::Amend { order: 1, qty: None, price: Some(Price(265_010)), deadline },
                r#"{"method":"amend_order","params":{"cl_ord_id":"kpmaker00000000001","order_qty":0.00500000,"limit_price":26501.0,"post_only":true,"deadline":"2026-11-28T15:00:01.500Z","token":"T"},"req_id":7}"#,
            ),
            (
                Request::Cancel { order: 1 },
                r#"{"method":"cancel_order","params":{"cl_ord_id":["kpmaker00000000001"],"token":"T"},"req_id":7}"#,
            ),
        ] {
            assert_eq!(write(&writer(), &request).as_deref(), Ok(expected));
        }
        let validate = Writer { validate: true, ..writer() };
        assert!(write(&validate, &add(terms())).expect("written").contains("\"validate\":true"));
        let token = Token::new(TOKEN).expect("a token");
        assert_eq!(
            cancel_all_after(60, (1, &token)).expect("written").shown(),
            r#"{"method":"cancel_all_orders_after","params":{"timeout":60,"token":"***"},"req_id":1}"#
        );
        assert_eq!(cancel_all((2, &token)).shown(), r#"{"method":"cancel_all","params":{"token":"***"},"req_id":2}"#);
        assert_eq!(
            balances((3, &token)).shown(),
            r#"{"method":"subscribe","params":{"channel":"balances","snapshot":true,"token":"***"},"req_id":3}"#
        );
        assert!(executions((4, &token)).shown().contains(r#""ratecounter":true,"token":"***""#));
    }

    /// Goal: what cannot be said is refused before it is sent.
    #[test]
    fn what_cannot_be_said() {
        let add = |terms| Request::Add { order: 0, terms, deadline: 0 };
        for (request, why) in [
            (add(Terms { qty: Qty(0), ..terms() }), Unsendable::Qty(Qty(0))),
            (add(Terms { price: Some(Price(-1)), ..terms() }), Unsendable::Price(Price(-1))),
            (add(Terms { price: None, display: Some(Qty(1)), ..terms() }), Unsendable::Kind),
            (Request::Add { order: u64::MAX, terms: terms(), deadline: 0 }, Unsendable::Name(u64::MAX)),
            (Request::Add { order: 0, terms: terms(), deadline: -1 }, Unsendable::Time(-MILLISECOND)),
            (Request::Amend { order: 0, qty: None, price: None, deadline: 0 }, Unsendable::Nothing),
            (Request::Cancel { order: u64::MAX }, Unsendable::Name(u64::MAX)),
        ] {
            assert_eq!(write(&writer(), &request), Err(why));
        }
        let token = Token::new(TOKEN).expect("a token");
        assert_eq!(writer().cancel(&[], (1, &token)).expect_err("no order"), Unsendable::Nothing);
        assert_eq!(cancel_all_after(86_400, (1, &token)).expect_err("a day"), Unsendable::Timeout(86_400));
        assert!(Token::new("").is_none() && Token::new("a b").is_none() && Token::new("ä").is_none());
    }

    /// Goal: steps and times are written as the core reads them.
    #[test]
    fn digits_and_times() {
        for (steps, decimals, text) in [
            (0, 0, "0"),
            (5, 0, "5"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (500, 2, "5.00"),
            (u64::MAX, 10, "1844674407.3709551615"),
        ] {
            let mut out = String::new();
            write_steps(steps, decimals, &mut out);
            assert_eq!(out, text);
        }
        let mut ns = 0i64;
        let mut seen = 0;
        while ns < 8_000_000_000 * SECOND {
            let mut out = String::new();
            write_time("t", ns, 9, &mut out).expect("after 1970");
            let text = out.strip_prefix(",\"t\":\"").and_then(|rest| rest.strip_suffix('"')).expect("a member");
            assert_eq!(parse_time(text.as_bytes()), Some(ns), "{text}");
            ns += 86_399 * SECOND * 37 + 123_456_789;
            seen += 1;
        }
        assert!(seen > 2000);
    }
}
