//! Texts of the private channels: execution reports, changes of balances, and their snapshots.
//!
//! A row is an object without its closing brace, so that what differs between subscribers can follow.

use crate::amount;
use crate::engine::Side;
use crate::market::Trade;
use crate::own::{ClientId, OwnOrder, Stage, State};
use crate::wallet::{Entry, Holding};
use crate::wire;

/// A fill of an order of the account, as it is reported and kept.
#[derive(Debug, Clone)]
pub struct OwnTrade {
    /// Its id, of Kraken's form.
    pub exec_id: String,
    /// Number of the order.
    pub order: u64,
    /// When it was booked, ns.
    pub at: i64,
    /// The public trade, with the time of the clock that stamps messages.
    pub trade: Trade,
    /// Whether the order rested.
    pub maker: bool,
    /// What it cost, in units of the quote asset.
    pub cost: i128,
    /// Fee, in units of the asset in which it is taken.
    pub fee: i128,
    /// Ids of the entries: base, quote.
    pub entries: [String; 2],
}

/// An object that is being written.
#[derive(Debug)]
pub struct Row(Vec<u8>);

impl Row {
    fn new() -> Self {
        Self(vec![b'{'])
    }

    fn name(&mut self, name: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A member that is a text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        // As JSON: it may be a client's text.
        self.raw(name, &serde_json::Value::from(value).to_string())
    }

    fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name);
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    fn number(&mut self, name: &str, value: impl Into<i128>, decimals: u8) -> &mut Self {
        self.name(name);
        wire::number(value.into(), decimals, &mut self.0);
        self
    }

    fn time(&mut self, name: &str, ts: i64) -> &mut Self {
        self.name(name);
        wire::time(ts, 6, &mut self.0);
        self
    }

    fn ids(&mut self, order: &OwnOrder) -> &mut Self {
        self.text("order_id", &order.id);
        match &order.terms.client {
            ClientId::Name(name) => self.text("cl_ord_id", name),
            ClientId::Number(number) => self.number("order_userref", *number, 0),
        }
    }

    fn sums(&mut self, order: &OwnOrder) -> &mut Self {
        let (quote, _) = order.precisions();
        let (pair, now) = (&order.pair, &order.now);
        self.number("cum_qty", now.filled, pair.qty_precision)
            .number("cum_cost", now.cost, quote)
            .number("avg_price", average(now), pair.price_precision)
            .number("fee_usd_equiv", usd(order, now.fee), 4)
    }

    fn terms(&mut self, order: &OwnOrder) -> &mut Self {
        let OwnOrder { terms, pair, now, .. } = order;
        let (p, q) = (pair.price_precision, pair.qty_precision);
        self.text("symbol", &pair.symbol)
            .number("order_qty", now.qty, q)
            .text("time_in_force", terms.time_in_force.name())
            .text("side", if terms.side == Side::Buy { "buy" } else { "sell" })
            .text("order_type", terms.kind.name());
        if let Some(limit) = now.limit {
            self.text("limit_price_type", "static").number("limit_price", limit, p);
        }
        if let Some(cash) = terms.cash {
            self.number("cash_order_qty", cash, order.precisions().0);
        }
        self.number("stop_price", now.trigger.unwrap_or(0), p);
        if terms.post_only {
            self.raw("post_only", "true");
        }
        if let Some(display) = now.display {
            self.number("display_qty", display, q);
        }
        if let Some(begins) = terms.begins {
            self.time("effective_time", begins);
        }
        if let Some(expires) = terms.expires {
            self.time("expire_time", expires);
        }
        if let Some(sender) = &terms.sender {
            self.text("sender_sub_id", sender);
        }
        self.triggers(order, None).text("fee_ccy_pref", if terms.base_fee { "fcib" } else { "fciq" })
    }

    /// The trigger of an order that has one; `last`: the price that triggered it.
    fn triggers(&mut self, order: &OwnOrder, last: Option<(i64, i64)>) -> &mut Self {
        let (Some(price), Some((_, index))) = (order.now.trigger, order.terms.trigger) else { return self };
        let p = order.pair.price_precision;
        let mut inner = Self::new();
        let reference = if index { "index" } else { "last" };
        inner.text("reference", reference).number("price", price, p).text("price_type", "static");
        let waits = matches!(order.now.stage, Stage::Untriggered | Stage::Scheduled);
        inner.text("status", if waits { "untriggered" } else { "triggered" });
        if let Some((last, ts)) = last {
            inner.number("actual_price", price, p).number("last_price", last, p).time("timestamp", ts);
        }
        inner.0.push(b'}');
        let json: String = inner.0.into_iter().map(char::from).collect();
        self.raw("triggers", &json)
    }

    fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Average price of what is filled, to the nearest unit; 0 if nothing is.
#[must_use]
pub fn average(state: &State) -> i128 {
    if state.filled == 0 { 0 } else { amount::divide(state.worth, state.filled.into(), amount::Rounding::HalfEven) }
}

/// A fee in US dollars: that of a pair which is quoted in them; 0 for others.
fn usd(order: &OwnOrder, fee: i128) -> i128 {
    if order.pair.quote == "USD" && !order.terms.base_fee { fee } else { 0 }
}

/// An order arrived: all its terms.
#[must_use]
pub fn pending(order: &OwnOrder, ts: i64) -> Vec<u8> {
    let mut row = Row::new();
    row.ids(order).terms(order).number("cum_cost", 0, order.precisions().0).text("exec_type", "pending_new");
    row.text("order_status", "pending_new").number("fee_usd_equiv", 0, 4).time("timestamp", ts).end()
}

/// An order is in force.
#[must_use]
pub fn new(order: &OwnOrder, ts: i64) -> Vec<u8> {
    let mut row = Row::new();
    row.time("timestamp", ts).text("order_status", "new").text("exec_type", "new").ids(order).end()
}

fn fill(row: &mut Row, order: &OwnOrder, trade: &OwnTrade) {
    let OwnOrder { pair, terms, .. } = order;
    let (quote, base) = order.precisions();
    row.ids(order)
        .text("exec_id", &trade.exec_id)
        .text("exec_type", "trade")
        .number("trade_id", trade.trade.id, 0)
        .text("symbol", &pair.symbol)
        .text("side", if terms.side == Side::Buy { "buy" } else { "sell" })
        .number("last_qty", trade.trade.qty, pair.qty_precision)
        .number("last_price", trade.trade.price, pair.price_precision)
        .text("liquidity_ind", if trade.maker { "m" } else { "t" })
        .number("cost", trade.cost, quote)
        .text("order_type", terms.kind.name())
        .time("timestamp", trade.trade.ts)
        .number("fee_usd_equiv", usd(order, trade.fee), 4);
    let (asset, decimals) = if terms.base_fee { (&pair.base, base) } else { (&pair.quote, quote) };
    let fee = amount::text(trade.fee, decimals);
    row.raw("fees", &format!("[{{\"asset\":\"{asset}\",\"qty\":{fee}}}]"));
}

/// A fill. Its status is never `filled`: that is reported next.
#[must_use]
pub fn trade(order: &OwnOrder, trade: &OwnTrade) -> Vec<u8> {
    let mut row = Row::new();
    fill(&mut row, order, trade);
    let (quote, _) = order.precisions();
    row.text("order_status", "partially_filled")
        .number("cum_qty", order.now.filled, order.pair.qty_precision)
        .number("cum_cost", order.now.cost, quote)
        .number("avg_price", average(&order.now), order.pair.price_precision)
        .end()
}

/// A fill in a snapshot.
#[must_use]
pub fn old_trade(order: &OwnOrder, trade: &OwnTrade) -> Vec<u8> {
    let mut row = Row::new();
    fill(&mut row, order, trade);
    row.text("order_status", "filled").end()
}

/// An order ended: filled, canceled or expired.
#[must_use]
pub fn ended(order: &OwnOrder, ts: i64) -> Vec<u8> {
    let mut row = Row::new();
    row.time("timestamp", ts).text("order_status", order.status()).text("exec_type", order.status()).sums(order);
    if let (Stage::Canceled, Some(reason)) = (order.now.stage, order.now.reason) {
        row.text("cancel_reason", reason).text("reason", reason);
    }
    row.ids(order).end()
}

/// An order got new terms.
#[must_use]
pub fn amended(order: &OwnOrder, ts: i64) -> Vec<u8> {
    let OwnOrder { pair, now, .. } = order;
    let mut row = Row::new();
    row.time("timestamp", ts)
        .text("exec_type", "amended")
        .text("order_status", order.status())
        .number("cum_qty", now.filled, pair.qty_precision)
        .text("reason", "User requested")
        .raw("amended", "true")
        .number("order_qty", now.qty, pair.qty_precision);
    if let Some(limit) = now.limit {
        row.number("limit_price", limit, pair.price_precision).text("limit_price_type", "static");
    }
    if let Some(display) = now.display {
        row.number("display_qty", display, pair.qty_precision);
    }
    row.triggers(order, None).ids(order).end()
}

/// The next part of an iceberg is shown.
#[must_use]
pub fn refilled(order: &OwnOrder, shown: i64, ts: i64) -> Vec<u8> {
    let q = order.pair.qty_precision;
    let mut row = Row::new();
    row.time("timestamp", ts)
        .text("exec_type", "iceberg_refill")
        .text("order_status", order.status())
        .number("display_qty", order.now.display.unwrap_or(shown), q)
        .number("display_qty_remain", shown, q);
    row.ids(order).end()
}

/// An order was triggered by a price.
#[must_use]
pub fn triggered(order: &OwnOrder, last: i64, ts: i64) -> Vec<u8> {
    let mut row = Row::new();
    row.time("timestamp", ts).text("exec_type", "status").text("order_status", order.status());
    row.triggers(order, Some((last, ts))).ids(order).end()
}

/// An open order in a snapshot.
#[must_use]
pub fn open(order: &OwnOrder) -> Vec<u8> {
    let mut row = Row::new();
    row.ids(order)
        .terms(order)
        .text("exec_type", if order.now.stage == Stage::Scheduled { "pending_new" } else { "new" });
    row.text("order_status", order.status()).sums(order);
    if order.now.amended {
        row.raw("amended", "true");
    }
    row.time("timestamp", order.now.clock).end()
}

/// An entry of the account.
#[must_use]
pub fn entry(entry: &Entry) -> Vec<u8> {
    let decimals = amount::precision(&entry.asset);
    let mut row = Row::new();
    row.text("ledger_id", &entry.id)
        .text("ref_id", &entry.reference)
        .time("timestamp", entry.ts)
        .text("type", "trade")
        .text("asset", &entry.asset)
        .text("asset_class", "currency")
        .text("category", "trade")
        .text("wallet_type", "spot")
        .text("wallet_id", "main")
        .number("amount", entry.amount, decimals)
        .number("fee", entry.fee, decimals)
        .number("balance", entry.balance, decimals)
        .end()
}

/// What there is of an asset, in a snapshot.
#[must_use]
pub fn balance(asset: &str, holding: Holding) -> Vec<u8> {
    let total = amount::text(holding.total, amount::precision(asset));
    let mut row = Row::new();
    row.text("asset", asset).text("asset_class", "currency").raw("balance", &total);
    row.raw("wallets", &format!("[{{\"type\":\"spot\",\"id\":\"main\",\"balance\":{total}}}]")).end()
}
