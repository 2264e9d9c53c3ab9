//! Events of a session, as JSON: a list of objects with the fields that Python's events have. Times and the numbers of trades
//! are digits in quotes, numbers of the exchange too.

use krakpot_core::decimal::Decimal;
use krakpot_core::limits::SCALE;
use krakpot_core::session::{BookMessage, Event, EventKind, Received, at_precision};
use krakpot_core::wire::message::{OHLC_NUMBERS, TICKER_NUMBERS};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::json::Json;
use crate::session::Session;

#[wasm_bindgen]
impl Session {
    /// The events since the last call, in the order of messages; then the subscriptions whose state is another.
    #[wasm_bindgen(js_name = takeEvents)]
    pub fn take_events(&mut self) -> Option<String> {
        let events = self.core_mut().take_events();
        if events.is_empty() {
            return None;
        }
        let mut json = Json::new();
        json.list(|json| events.iter().for_each(|event| write(json, event)));
        Some(json.done())
    }
}

fn received(json: &mut Json, kind: EventKind, received: &Received) {
    json.name("channel").text(kind.name()).name("symbol").text(&received.symbol);
    json.name("message").number(received.message).name("ts_recv").digits(received.ts_recv);
}

/// What has a time of the exchange.
fn timed(json: &mut Json, kind: EventKind, message: &Received) {
    received(json, kind, message);
    json.name("ts_event").maybe(message.ts_event, Json::digits);
}

fn book(json: &mut Json, kind: EventKind, message: &BookMessage) {
    timed(json, kind, &message.received);
    json.name("kind").text(message.kind.word()).name("outcome").text(message.outcome.word());
    json.name("checksum").maybe(message.checksum, Json::number);
}

/// A number without precision, with the decimals that it needs.
fn as_needed(json: &mut Json, name: &str, value: Option<i128>) {
    json.name(name).maybe(value, |json, value| {
        let whole = Decimal { mantissa: value, scale: SCALE };
        json.digits(at_precision(value, whole.needed()))
    });
}

fn write(json: &mut Json, event: &Event) {
    json.object(|json| match event {
        Event::Book(message, levels) => {
            book(json, EventKind::Book, message);
            json.name("entries").list(|json| {
                for level in levels {
                    json.list(|json| {
                        json.text(level.side.word());
                        json.digits(at_precision(level.price, message.price_precision));
                        json.digits(at_precision(level.qty, message.qty_precision));
                    });
                }
            });
        }
        Event::Level3(message, orders) => {
            book(json, EventKind::Level3, message);
            json.name("orders").list(|json| {
                for order in orders {
                    json.list(|json| {
                        json.text(order.side.word());
                        json.maybe(order.event, |json, event| json.text(event.word()))
                            .text(order.id.borrowed().text(&mut [0; 19]));
                        json.digits(at_precision(order.price, message.price_precision));
                        json.digits(at_precision(order.qty, message.qty_precision)).digits(order.timestamp);
                    });
                }
            });
        }
        Event::Trade(trade) => {
            timed(json, EventKind::Trade, &trade.received);
            json.name("kind").text(trade.kind.word()).name("side").text(&trade.side);
            json.name("ord_type").text(&trade.ord_type).name("trade_id").digits(trade.trade_id);
            json.name("price").digits(trade.price).name("qty").digits(trade.qty);
        }
        Event::Ticker(ticker) => {
            timed(json, EventKind::Ticker, &ticker.received);
            TICKER_NUMBERS.iter().zip(ticker.numbers).for_each(|(name, value)| as_needed(json, name, value));
        }
        Event::Ohlc(candle) => {
            timed(json, EventKind::Ohlc, &candle.received);
            json.name("interval").number(candle.interval).name("interval_begin").digits(candle.interval_begin);
            json.name("trades").maybe(candle.trades, Json::number);
            OHLC_NUMBERS.iter().zip(candle.numbers).for_each(|(name, value)| as_needed(json, name, value));
        }
        Event::Status(status) => {
            json.name("channel").text(EventKind::Status.name()).name("message").number(status.message);
            json.name("ts_recv").digits(status.ts_recv).name("system").text(&status.system);
        }
        Event::Subscription(subscription) => {
            json.name("channel").text(EventKind::Subscription.name()).name("symbol").text(&subscription.symbol);
            json.name("of").text(subscription.channel.name()).name("state").text(subscription.state);
            json.name("reason").text(subscription.reason).name("ts_recv").digits(subscription.ts_recv);
        }
        Event::Gap(gap) => {
            received(json, EventKind::Gap, &gap.received);
            json.name("of").text(gap.channel.name()).name("reason").text(gap.reason);
            let (first, last) = gap.trade_ids.unzip();
            for (name, id) in [("first_trade_id", first), ("last_trade_id", last), ("ts_from", gap.ts_from)] {
                json.name(name).maybe(id, Json::digits);
            }
            json.name("ts_to").digits(gap.ts_to);
        }
    });
}
