//! The account at a time, as JSON: its orders, fills, balances and entries. All amounts are texts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::amount;
use crate::desk::Desk;
use crate::engine::Side;
use crate::own::{Amended, ClientId, OwnOrder, Stage, State};
use crate::report::{OwnTrade, average};

/// Orders that were there at `at`, ns, in the order in which they were made: the open ones, those that had ended, or all.
#[must_use]
pub fn orders(desk: &Desk, at: i64, open: Option<bool>) -> Value {
    let then = desk.orders.values().filter_map(|order| Some((order, order.at(at)?)));
    let chosen = then.filter(|(_, state)| open.is_none_or(|open| state.stage.is_alive() == open));
    chosen.map(|(order, state)| describe(order, state, at)).collect()
}

fn describe(order: &OwnOrder, state: &State, at: i64) -> Value {
    let OwnOrder { pair, terms, .. } = order;
    let (p, q, (money, _)) = (pair.price_precision, pair.qty_precision, order.precisions());
    let price = |value: Option<i64>| value.map(|value| amount::text(value.into(), p));
    let qty = |value: i64| amount::text(value.into(), q);
    let (name, number) = match &terms.client {
        ClientId::Name(name) => (Some(name), 0),
        ClientId::Number(number) => (None, *number),
    };
    let status = match state.stage {
        Stage::Scheduled => "pending",
        Stage::Untriggered | Stage::Open => "open",
        Stage::Filled => "closed",
        Stage::Canceled => "canceled",
        Stage::Expired => "expired",
    };
    let amends = order.amends.iter().filter(|amended| amended.ts <= at).map(|amended| {
        let Amended { id, ts, qty: [all, left], limit, display } = amended;
        json!({
            "id": id, "ts": ts, "qty": qty(*all), "left": qty(*left), "limit": price(*limit), "display": display.map(qty),
        })
    });
    let trades = desk_trades(order, state);
    json!({
        "id": order.id, "symbol": pair.symbol, "base": pair.base, "quote": pair.quote, "status": status,
        "side": if terms.side == Side::Buy { "buy" } else { "sell" }, "kind": terms.kind.name(),
        "time_in_force": terms.time_in_force.name(), "qty": qty(state.qty), "filled": qty(state.filled),
        "cost": amount::text(state.cost, money), "fee": amount::text(state.fee, fee_decimals(order)),
        "average": amount::text(average(state), p), "limit": price(state.limit), "trigger": price(state.trigger),
        "display": state.display.map(qty), "cl_ord_id": name, "userref": number, "post_only": terms.post_only,
        "base_fee": terms.base_fee, "created": order.created, "begins": terms.begins, "expires": terms.expires,
        "closed": (!state.stage.is_alive()).then_some(state.clock), "reason": state.reason, "trades": trades,
        "amends": amends.collect::<Vec<Value>>(),
    })
}

/// Ids of the fills that an order had in a state.
fn desk_trades(order: &OwnOrder, state: &State) -> Vec<String> {
    // Each fill kept a state with more filled than before.
    let fills =
        order.history.windows(2).filter(|pair| pair[1].ts <= state.ts && pair[1].filled > pair[0].filled).count();
    order.fills[..fills.min(order.fills.len())].to_vec()
}

fn fee_decimals(order: &OwnOrder) -> u8 {
    let (quote, base) = order.precisions();
    if order.terms.base_fee { base } else { quote }
}

/// Fills until `at`, ns, oldest first.
#[must_use]
pub fn trades(desk: &Desk, at: i64) -> Value {
    let of = |trade: &OwnTrade| {
        let order = desk.orders.get(&trade.order)?;
        let (pair, money) = (&order.pair, order.precisions().0);
        Some(json!({
            "id": trade.exec_id, "order": order.id, "symbol": pair.symbol, "ts": trade.trade.ts,
            "side": if order.terms.side == Side::Buy { "buy" } else { "sell" }, "kind": order.terms.kind.name(),
            "price": amount::text(trade.trade.price.into(), pair.price_precision),
            "qty": amount::text(trade.trade.qty.into(), pair.qty_precision), "cost": amount::text(trade.cost, money),
            "fee": amount::text(trade.fee, fee_decimals(order)), "trade_id": trade.trade.id, "maker": trade.maker,
            "entries": trade.entries,
        }))
    };
    desk.trades.iter().filter(|trade| trade.at <= at).filter_map(of).collect()
}

/// What there was of each asset at a time, ns: all of it, and what open orders held.
#[must_use]
pub fn balances(desk: &Desk, at: i64) -> Value {
    let mut held: BTreeMap<&str, i128> = BTreeMap::new();
    for order in desk.orders.values() {
        if let Some(state) = order.at(at) {
            *held.entry(order.holds()).or_default() += state.held;
        }
    }
    let text = |asset: &str, value: i128| amount::text(value, amount::precision(asset));
    let totals = desk.wallet.totals_at(at);
    let rows = totals.iter().map(|(asset, &total)| {
        let held = held.get(asset.as_str()).copied().unwrap_or_default();
        (asset.clone(), json!([text(asset, total), text(asset, held)]))
    });
    Value::Object(rows.collect())
}

/// Entries until `at`, ns, oldest first.
#[must_use]
pub fn entries(desk: &Desk, at: i64) -> Value {
    let entries = desk.wallet.entries().filter(|entry| entry.at <= at);
    let of = entries.map(|entry| {
        let text = |value: i128| amount::text(value, amount::precision(&entry.asset));
        json!({
            "id": entry.id, "reference": entry.reference, "ts": entry.ts, "asset": entry.asset,
            "amount": text(entry.amount), "fee": text(entry.fee), "balance": text(entry.balance),
        })
    });
    of.collect()
}
