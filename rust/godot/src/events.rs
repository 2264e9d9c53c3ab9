//! Events of a session as dictionaries with the fields that Python's events have. Prices and quantities are exact texts.

use godot::builtin::{VarArray, VarDictionary, Variant, varray, vdict};
use godot::meta::ToGodot;
use godot::register::godot_api;
use krakpot_core::decimal::Decimal;
use krakpot_core::limits::SCALE;
use krakpot_core::session::{BookMessage, Event, EventKind, Received, at_precision};
use krakpot_core::wire::message::{OHLC_NUMBERS, TICKER_NUMBERS};

use crate::session::KrakpotSession;
use crate::values::{count, maybe};

#[godot_api(secondary)]
impl KrakpotSession {
    /// The events since the last call, in the order of messages; then the subscriptions whose state is another.
    #[func]
    fn take_events(&mut self) -> VarArray {
        let mut found = VarArray::new();
        for event in self.core_mut().take_events() {
            found.push(&dictionary(&event));
        }
        found
    }
}

fn received(kind: EventKind, received: &Received) -> VarDictionary {
    vdict! {
        "channel" => kind.name(), "symbol" => &*received.symbol,
        "message" => count(received.message), "ts_recv" => received.ts_recv,
    }
}

/// What has a time of the exchange.
fn timed(kind: EventKind, message: &Received) -> VarDictionary {
    let mut found = received(kind, message);
    found.set("ts_event", &maybe(message.ts_event));
    found
}

fn book(kind: EventKind, message: &BookMessage) -> VarDictionary {
    let mut found = timed(kind, &message.received);
    found.set("kind", message.kind.word());
    found.set("outcome", message.outcome.word());
    found.set("checksum", &maybe(message.checksum));
    found
}

/// A number at a precision, exactly.
fn exact(number: Decimal) -> Variant {
    number.to_string().to_variant()
}

/// Numbers without precision, with the decimals that they need.
fn as_needed(into: &mut VarDictionary, names: &[&str], numbers: &[Option<i128>]) {
    for (name, number) in names.iter().zip(numbers) {
        let text = number.map(|value| {
            let whole = Decimal { mantissa: value, scale: SCALE };
            exact(at_precision(value, whole.needed()))
        });
        into.set(*name, &text.unwrap_or_else(Variant::nil));
    }
}

fn dictionary(event: &Event) -> VarDictionary {
    match event {
        Event::Book(message, levels) => {
            let mut found = book(EventKind::Book, message);
            let mut entries = VarArray::new();
            for level in levels {
                let price = exact(at_precision(level.price, message.price_precision));
                let qty = exact(at_precision(level.qty, message.qty_precision));
                entries.push(&varray![level.side.word(), &price, &qty]);
            }
            found.set("entries", &entries);
            found
        }
        Event::Level3(message, orders) => {
            let mut found = book(EventKind::Level3, message);
            let mut entries = VarArray::new();
            for order in orders {
                let event = maybe(order.event.map(|event| event.word().to_owned()));
                let price = exact(at_precision(order.price, message.price_precision));
                let qty = exact(at_precision(order.qty, message.qty_precision));
                let side = order.side.word();
                let id = order.id.to_string();
                entries.push(&varray![side, &event, id.as_str(), &price, &qty, order.timestamp]);
            }
            found.set("orders", &entries);
            found
        }
        Event::Trade(trade) => {
            let mut found = timed(EventKind::Trade, &trade.received);
            found.set("kind", trade.kind.word());
            found.set("side", trade.side.as_str());
            found.set("ord_type", trade.ord_type.as_str());
            found.set("trade_id", trade.trade_id);
            found.set("price", &exact(trade.price));
            found.set("qty", &exact(trade.qty));
            found
        }
        Event::Ticker(ticker) => {
            let mut found = timed(EventKind::Ticker, &ticker.received);
            as_needed(&mut found, &TICKER_NUMBERS, &ticker.numbers);
            found
        }
        Event::Ohlc(candle) => {
            let mut found = timed(EventKind::Ohlc, &candle.received);
            found.set("interval", i64::from(candle.interval));
            found.set("interval_begin", candle.interval_begin);
            found.set("trades", &maybe(candle.trades.map(count)));
            as_needed(&mut found, &OHLC_NUMBERS, &candle.numbers);
            found
        }
        Event::Status(status) => vdict! {
            "channel" => EventKind::Status.name(), "message" => count(status.message),
            "ts_recv" => status.ts_recv, "system" => status.system.as_str(),
        },
        Event::Subscription(subscription) => vdict! {
            "channel" => EventKind::Subscription.name(), "symbol" => &*subscription.symbol,
            "of" => subscription.channel.name(), "state" => subscription.state,
            "reason" => subscription.reason, "ts_recv" => subscription.ts_recv,
        },
        Event::Gap(gap) => {
            let mut found = received(EventKind::Gap, &gap.received);
            found.set("of", gap.channel.name());
            found.set("reason", gap.reason);
            let (first, last) = gap.trade_ids.unzip();
            for (name, number) in [("first_trade_id", first), ("last_trade_id", last), ("ts_from", gap.ts_from)] {
                found.set(name, &maybe(number));
            }
            found.set("ts_to", gap.ts_to);
            found
        }
    }
}
