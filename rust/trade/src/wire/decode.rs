//! Bytes of the private socket to messages. Rows are read one by one: one that cannot be read does not hide the others.

use std::sync::Arc;

use krakpot_core::limits;
use krakpot_core::wire::message::Kind;

use super::json::{Members, Parser, Unread, Value, missing};
use super::message::{
    Ack, Acked, Advisory, EXECUTIONS, Entry, ExecType, Execution, Holding, Message, Rows, Status, amount,
};
use crate::amount::Amount;
use crate::terms::Side;

/// How the text of a proxy begins that says that it restarts.
const PROXY: &[u8] = b"CloudFlare";
/// Rows of a message that cannot be read and are kept with what is wrong; further ones are counted.
const REFUSED_MAX: usize = 100;
/// Warnings of an answer, wallets of a holding, fees of a fill, and the like.
const LIST_MAX: usize = 1000;

/// Decodes frames, reusing its memory.
#[derive(Default)]
pub struct Decoder {
    parser: Parser,
}

impl Decoder {
    /// Decodes one frame.
    ///
    /// # Errors
    /// [`Unread`] if it is no message, or its envelope is not as documented. What is wrong with a row is in the message.
    pub fn decode(&mut self, frame: &[u8]) -> Result<Message, Unread> {
        if frame.starts_with(PROXY) {
            return Ok(Message::Restarting);
        }
        self.parser.read(frame, |value| {
            let all = value.members().ok_or_else(|| Unread::Frame("it is no object of members".to_owned()))?;
            if all.get("method").is_some() {
                return ack(&all).map(Message::Ack);
            }
            let channel = all.get("channel").and_then(Value::text);
            match channel.ok_or_else(|| Unread::Frame("it has neither a channel nor a method".to_owned()))? {
                "heartbeat" => Ok(Message::Heartbeat),
                EXECUTIONS => rows(&all, EXECUTIONS, execution).map(Message::Executions),
                "balances" => match kind(&all, "balances")? {
                    Kind::Snapshot => rows(&all, "balances", holding).map(Message::Holdings),
                    Kind::Update => rows(&all, "balances", entry).map(Message::Entries),
                },
                "status" => {
                    let items = all.required("status", "data", Value::items)?;
                    items.take(LIST_MAX).map(status).collect::<Result<_, _>>().map(Message::Status)
                }
                other => Ok(Message::Other(other.chars().take(limits::SYMBOL_LENGTH_MAX).collect())),
            }
        })
    }
}

fn kind(all: &Members<'_, '_>, of: &str) -> Result<Kind, Unread> {
    all.required(of, "type", |value| match value.text()? {
        "snapshot" => Some(Kind::Snapshot),
        "update" => Some(Kind::Update),
        _ => None,
    })
}

fn rows<T>(
    all: &Members<'_, '_>,
    of: &'static str,
    read: impl Fn(Value<'_, '_>) -> Result<T, Unread>,
) -> Result<Rows<T>, Unread> {
    let mut rows = Rows {
        kind: kind(all, of)?,
        sequence: all.required(of, "sequence", Value::whole)?,
        taken: Vec::new(),
        refused: Vec::new(),
        more: 0,
    };
    for item in all.required(of, "data", Value::items)? {
        match read(item) {
            Ok(row) => rows.taken.push(row),
            Err(why) if rows.refused.len() < REFUSED_MAX => rows.refused.push(why),
            Err(_) => rows.more += 1,
        }
    }
    Ok(rows)
}

fn members<'t, 'a>(value: Value<'t, 'a>, of: &str) -> Result<Members<'t, 'a>, Unread> {
    value.members().ok_or_else(|| missing(of, "data"))
}

/// A name or a word.
fn id(value: Value<'_, '_>) -> Option<Arc<str>> {
    value.id().map(Arc::from)
}

/// Words for people, shortened where they are long.
fn words(value: Value<'_, '_>) -> Option<Arc<str>> {
    let text = value.text()?;
    let end = (0..=text.len().min(limits::WORDS_MAX)).rev().find(|&end| text.is_char_boundary(end))?;
    Some(text[..end].into())
}

fn money(value: Value<'_, '_>) -> Option<Amount> {
    amount(value.number()?)
}

fn ack(all: &Members<'_, '_>) -> Result<Ack, Unread> {
    let method = all.required("answer", "method", Value::text)?;
    let of = method;
    let error = all.optional(of, "error", words)?;
    let success = all.optional(of, "success", Value::flag)?;
    let mut ack = Ack {
        method: method.chars().take(limits::SYMBOL_LENGTH_MAX).collect(),
        req_id: all.optional(of, "req_id", Value::whole)?,
        // Nothing is named in the answer to a ping, or to a batch of cancels.
        result: Ok(Vec::new()),
        channel: None,
        rate_limit: None,
        trigger_time: None,
        warnings: Vec::new(),
        count: all.optional(of, "orders_cancelled", Value::whole)?,
        time_in: all.optional(of, "time_in", Value::time)?,
        time_out: all.optional(of, "time_out", Value::time)?,
    };
    if error.is_some() || success == Some(false) {
        if success == Some(true) {
            return Err(missing(of, "success"));
        }
        ack.result = Err(error.unwrap_or_default());
        return Ok(ack);
    }
    let Some(result) = all.get("result") else { return Ok(ack) };
    if let Some(items) = result.items() {
        let acked = items.take(LIST_MAX).map(|item| acked(&members(item, of)?, of));
        ack.result = Ok(acked.collect::<Result<_, _>>()?);
        return Ok(ack);
    }
    let result = result.members().ok_or_else(|| missing(of, "result"))?;
    ack.channel = result.optional(of, "channel", Value::id)?.map(str::to_owned);
    ack.rate_limit = result.optional(of, "maxratecount", Value::number)?;
    ack.count = result.optional(of, "count", Value::whole)?.or(ack.count);
    // "0" where the timer was ended.
    ack.trigger_time = result.get("triggerTime").and_then(Value::time);
    if let Some(warnings) = result.get("warnings").and_then(Value::items) {
        ack.warnings = warnings.take(LIST_MAX).filter_map(words).map(|text| text.to_string()).collect();
    }
    let one = acked(&result, of)?;
    if one != Acked::default() {
        ack.result = Ok(vec![one]);
    }
    Ok(ack)
}

fn acked(result: &Members<'_, '_>, of: &str) -> Result<Acked, Unread> {
    Ok(Acked {
        order_id: result.optional(of, "order_id", id)?,
        cl_ord_id: result.optional(of, "cl_ord_id", id)?,
        amend_id: result.optional(of, "amend_id", id)?,
        original_order_id: result.optional(of, "original_order_id", id)?,
        error: result.optional(of, "error", words)?,
    })
}

fn execution(value: Value<'_, '_>) -> Result<Execution, Unread> {
    let of = EXECUTIONS;
    let row = members(value, of)?;
    let side = |value: Value<'_, '_>| match value.text()? {
        "buy" => Some(Side::Buy),
        "sell" => Some(Side::Sell),
        _ => None,
    };
    let maker = |value: Value<'_, '_>| match value.text()? {
        "m" => Some(true),
        "t" => Some(false),
        _ => None,
    };
    let triggers = row.optional(of, "triggers", Value::members)?;
    let (trigger_price, triggered) = match &triggers {
        None => (None, None),
        Some(triggers) => (
            triggers.optional(of, "price", Value::number)?,
            triggers.optional(of, "status", Value::text)?.map(|status| status == "triggered"),
        ),
    };
    let mut fees = Vec::new();
    if let Some(items) = row.optional(of, "fees", Value::items)? {
        for item in items.take(LIST_MAX) {
            let fee = members(item, of)?;
            fees.push((fee.required(of, "asset", id)?, fee.required(of, "qty", Value::number)?));
        }
    }
    let reason = row.optional(of, "reason", words)?;
    let reason = if reason.is_some() { reason } else { row.optional(of, "cancel_reason", words)? };
    Ok(Execution {
        exec_type: ExecType::of(row.required(of, "exec_type", Value::id)?),
        order_id: row.required(of, "order_id", id)?,
        cl_ord_id: row.optional(of, "cl_ord_id", id)?,
        order_status: row.optional(of, "order_status", id)?,
        ts: row.required(of, "timestamp", Value::time)?,
        symbol: row.optional(of, "symbol", id)?,
        side: row.optional(of, "side", side)?,
        order_type: row.optional(of, "order_type", id)?,
        time_in_force: row.optional(of, "time_in_force", id)?,
        expire_time: row.optional(of, "expire_time", Value::time)?,
        post_only: row.optional(of, "post_only", Value::flag)?,
        order_qty: row.optional(of, "order_qty", Value::number)?,
        display_qty: row.optional(of, "display_qty", Value::number)?,
        limit_price: row.optional(of, "limit_price", Value::number)?,
        trigger_price,
        triggered,
        cum_qty: row.optional(of, "cum_qty", Value::number)?,
        cum_cost: row.optional(of, "cum_cost", Value::number)?,
        exec_id: row.optional(of, "exec_id", id)?,
        trade_id: row.optional(of, "trade_id", Value::whole)?,
        last_qty: row.optional(of, "last_qty", Value::number)?,
        last_price: row.optional(of, "last_price", Value::number)?,
        cost: row.optional(of, "cost", Value::number)?,
        maker: row.optional(of, "liquidity_ind", maker)?,
        fees,
        reason: reason.unwrap_or_default(),
        amended: row.optional(of, "amended", Value::flag)?.unwrap_or(false),
        // Kraken's pages do not agree on its name and type, so nothing depends on it.
        rate: row.get("ratecount").and_then(Value::number),
    })
}

fn holding(value: Value<'_, '_>) -> Result<Holding, Unread> {
    let of = "balances";
    let row = members(value, of)?;
    let mut wallets = Vec::new();
    if let Some(items) = row.optional(of, "wallets", Value::items)? {
        for item in items.take(LIST_MAX) {
            let wallet = members(item, of)?;
            let (kind, id) = (wallet.required(of, "type", id)?, wallet.required(of, "id", id)?);
            wallets.push((kind, id, wallet.required(of, "balance", money)?));
        }
    }
    Ok(Holding { asset: row.required(of, "asset", id)?, total: row.required(of, "balance", money)?, wallets })
}

fn entry(value: Value<'_, '_>) -> Result<Entry, Unread> {
    let of = "balances";
    let row = members(value, of)?;
    Ok(Entry {
        ledger_id: row.required(of, "ledger_id", id)?,
        ref_id: row.optional(of, "ref_id", id)?,
        ts: row.required(of, "timestamp", Value::time)?,
        kind: row.required(of, "type", id)?,
        asset: row.required(of, "asset", id)?,
        wallet: (row.optional(of, "wallet_type", id)?, row.optional(of, "wallet_id", id)?),
        amount: row.required(of, "amount", money)?,
        fee: row.optional(of, "fee", money)?.unwrap_or(0),
        balance: row.required(of, "balance", money)?,
    })
}

fn status(value: Value<'_, '_>) -> Result<Status, Unread> {
    let row = members(value, "status")?;
    let list = |name: &str| row.get(name).and_then(Value::items);
    let advisory = |value: Value<'_, '_>| {
        let facts = value.members()?;
        let word = |name: &str| facts.get(name).and_then(id);
        let time = |name: &str| facts.get(name).and_then(Value::time);
        let services = facts.get("affected_services").and_then(Value::items);
        Some(Advisory {
            phase: word("phase"),
            action: word("recommended_action"),
            order_submission: word("order_submission"),
            services: services.map(|all| all.take(LIST_MAX).filter_map(id).collect()).unwrap_or_default(),
            begin: time("expected_start_utc"),
            end: time("expected_end_utc"),
            cancel_before: time("cancel_before_utc"),
        })
    };
    Ok(Status {
        system: row.required("status", "system", id)?,
        maintenance: list("upcoming_maintenance")
            .map(|all| all.take(LIST_MAX).filter_map(advisory).collect())
            .unwrap_or_default(),
        emergencies: list("emergency").map_or(0, Iterator::count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::{Price, Qty};
    use crate::pair::Pair;
    use crate::report::{Change, Evidence, Fill, Report};

    fn pair() -> Pair {
        Pair { cost_precision: 4, qty_min: Qty(1), cost_min: 1, ..Pair::example() }
    }

    fn decode(frame: &str) -> Result<Message, Unread> {
        Decoder::default().decode(frame.as_bytes())
    }

    /// One report, in a message.
    fn row(text: &str) -> Execution {
        let frame = format!(r#"{{"channel":"executions","type":"update","data":[{text}],"sequence":7}}"#);
        let Ok(Message::Executions(mut rows)) = decode(&frame) else { panic!("{frame}") };
        assert_eq!((rows.kind, rows.sequence, rows.refused.len()), (Kind::Update, 7, 0), "{frame}");
        rows.taken.pop().expect("one")
    }

    const PENDING: &str = r#"{"order_id":"OK4GJX-KSTLS-7DZZO5","symbol":"BTC/USD","order_qty":0.00500000,"cum_cost":0.0000000,"time_in_force":"GTC","exec_type":"pending_new","side":"sell","order_type":"limit","cl_ord_id":"kp-maker1","limit_price_type":"static","limit_price":26500.0,"stop_price":0.0,"order_status":"pending_new","fee_usd_equiv":0.0000000,"fee_ccy_pref":"fciq","timestamp":"2026-11-28T15:00:01.709950Z"}"#;
    const NEW: &str = r#"{"timestamp":"2026-11-28T15:00:01.709982Z","order_status":"new","exec_type":"new","cl_ord_id":"kp-maker1","order_id":"OK4GJX-KSTLS-7DZZO5","ratecount":"3.5"}"#;
    const TRADE: &str = r#"{"order_id":"OK4GJX-KSTLS-7DZZO5","cl_ord_id":"kp-maker1","exec_id":"TGBB7L-HT5LX-J3BZ4A","exec_type":"trade","trade_id":62887576,"symbol":"BTC/USD","side":"sell","last_qty":0.00500000,"last_price":26599.9,"liquidity_ind":"t","cost":132.9995,"order_type":"limit","timestamp":"2026-11-28T15:00:01.709993Z","order_status":"partially_filled","cum_qty":0.00500000,"cum_cost":132.9995,"avg_price":26599.9,"fee_usd_equiv":0.3458,"fees":[{"asset":"USD","qty":0.3458}],"ratecount":4}"#;
    const CANCELED: &str = r#"{"timestamp":"2026-11-28T15:00:02Z","order_status":"canceled","exec_type":"canceled","cum_qty":0.00100000,"cum_cost":26.5,"fee_usd_equiv":0.000000,"avg_price":26500.0,"order_userref":0,"cancel_reason":"User requested","reason":"User requested","order_id":"KIUEL4"}"#;
    const AMENDED: &str = r#"{"timestamp":"2026-11-28T15:00:02Z","exec_type":"amended","order_status":"new","cum_qty":0.00000000,"reason":"User requested","amended":true,"order_qty":5.10000000,"limit_price":0.9,"limit_price_type":"static","order_userref":0,"order_id":"6LYQGW"}"#;
    const REFILL: &str = r#"{"timestamp":"2026-11-28T15:00:02Z","exec_type":"iceberg_refill","order_status":"partially_filled","display_qty":1.0,"display_qty_remain":1.0,"order_id":"6LYQGW"}"#;
    const STATUS: &str = r#"{"timestamp":"2026-11-28T15:00:02Z","exec_type":"status","order_status":"new","triggers":{"reference":"last","price":26500.0,"price_type":"static","status":"triggered","actual_price":26500.0,"last_price":26499.9,"timestamp":"2026-11-28T15:00:02Z"},"order_id":"6LYQGW"}"#;
    const ADDED: &str = r#"{"method":"add_order","req_id":10,"result":{"order_id":"OPS23M-VS41G-DDE5Z2","cl_ord_id":"kp-maker1"},"success":true,"time_in":"2026-11-28T15:00:01.293682Z","time_out":"2026-11-28T15:00:01.300542Z"}"#;
    const REFUSED: &str = r#"{"error":"EOrder:Insufficient funds","method":"add_order","req_id":10,"success":false,"time_in":"2026-11-28T15:00:01.293682Z","time_out":"2026-11-28T15:00:01.300542Z"}"#;
    const BALANCE: &str = r#"{"channel":"balances","type":"update","data":[{"ledger_id":"AAICKV-NMQSR-ZO5IJD","ref_id":"TGBB7L-HT5LX-J3BZ4A","timestamp":"2023-09-22T10:33:05.710082Z","type":"trade","asset":"BTC","asset_class":"currency","category":"trade","wallet_type":"spot","wallet_id":"main","amount":-0.0050000000,"fee":0.0000000000,"balance":0.0050000000}],"sequence":9}"#;
    const HOLDINGS: &str = r#"{"channel":"balances","type":"snapshot","data":[{"asset":"BTC","asset_class":"currency","balance":1.2000000000,"wallets":[{"type":"spot","id":"main","balance":1.2000000000}]},{"asset":"USD","asset_class":"currency","balance":160.2405,"wallets":[]}],"sequence":1}"#;
    const MAINTENANCE: &str = r#"{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":18125794168470749634,"upcoming_maintenance":[{"affected_services":["spot_trading","spot_ws"],"cancel_before_utc":"2026-10-05T08:55:00.000000Z","event_id":33,"expected_end_utc":"2026-10-05T10:00:00.000000Z","expected_start_utc":"2026-10-05T09:00:00.000000Z","order_submission":"allowed","phase":"approaching_30m","recommended_action":"continue","time_to_start_s":129689,"title":"Maintenance"}],"emergency":[]}]}"#;

    /// Goal: each kind of report becomes what an account understands, in whole steps.
    #[test]
    fn reports() {
        let at = |second: i64, micros: i64| 1_795_878_000_000_000_000 + second * 1_000_000_000 + micros * 1000;
        let fill = Fill {
            exec_id: "TGBB7L-HT5LX-J3BZ4A".into(),
            trade_id: Some(62_887_576),
            counterparty: None,
            cost: Some(1_329_995 * 10i128.pow(16)),
            qty: Qty(500_000),
            price: Price(265_999),
            maker: false,
            fee: 3458 * 10i128.pow(16),
            evidence: Evidence::Exchange,
            doubt: false,
        };
        let amended = |restated| Change::Amended { qty: Qty(510_000_000), price: Some(Price(9)), restated };
        let whole = Some(Qty(500_000));
        let other =
            |from: &str, word: &str| from.replace("\"exec_type\":\"canceled\"", &format!("\"exec_type\":\"{word}\""));
        for (text, change, filled, ts, reason) in [
            (PENDING.to_owned(), Change::Pending, None, at(1, 709_950), ""),
            (NEW.to_owned(), Change::New, None, at(1, 709_982), ""),
            (TRADE.to_owned(), Change::Fill(fill), whole, at(1, 709_993), ""),
            (CANCELED.to_owned(), Change::Canceled, Some(Qty(100_000)), at(2, 0), "User requested"),
            (
                CANCELED.replace("\"reason\":\"User requested\",", ""),
                Change::Canceled,
                Some(Qty(100_000)),
                at(2, 0),
                "User requested",
            ),
            (other(CANCELED, "filled"), Change::Filled, Some(Qty(100_000)), at(2, 0), "User requested"),
            (other(CANCELED, "expired"), Change::Expired, Some(Qty(100_000)), at(2, 0), "User requested"),
            (AMENDED.to_owned(), amended(false), Some(Qty(0)), at(2, 0), "User requested"),
            (
                AMENDED.replace("\"exec_type\":\"amended\"", "\"exec_type\":\"restated\""),
                amended(true),
                Some(Qty(0)),
                at(2, 0),
                "User requested",
            ),
            (REFILL.to_owned(), Change::Refilled, None, at(2, 0), ""),
            (STATUS.to_owned(), Change::Triggered, None, at(2, 0), ""),
        ] {
            let execution = row(&text);
            let order_id = execution.order_id.clone();
            let expected = Report { order: 5, order_id, ts, change, filled, reason: reason.into() };
            assert_eq!(execution.report(5, &pair()), Ok(Some(expected)), "{text}");
        }
        assert_eq!(row(&other(CANCELED, "of_a_new_kind")).report(5, &pair()), Ok(None));
        assert_eq!(
            row(&STATUS.replace("\"status\":\"triggered\"", "\"status\":\"untriggered\"")).report(5, &pair()),
            Ok(None)
        );
        let rate = |text: &str| row(text).rate.map(|rate| (rate.mantissa, rate.scale));
        assert_eq!((rate(NEW), rate(TRADE), rate(PENDING)), (Some((35, 1)), Some((4, 0)), None));
        let terms = row(PENDING);
        assert_eq!(
            (terms.side, terms.post_only, terms.cl_ord_id.as_deref()),
            (Some(Side::Sell), None, Some("kp-maker1"))
        );
    }

    /// Goal: a number that is no whole step, or a report without what it is about, is an error and no wrong report.
    #[test]
    fn reports_that_do_not_fit() {
        for (from, to, name) in [
            ("26599.9", "26599.95", "last_price"),
            ("\"last_price\":26599.9,", "", "last_price"),
            ("\"last_qty\":0.00500000", "\"last_qty\":0", "last_qty"),
            ("\"last_qty\":0.00500000", "\"last_qty\":-0.005", "last_qty"),
            ("\"symbol\":\"BTC/USD\"", "\"symbol\":\"ETH/USD\"", "symbol"),
            ("\"cum_qty\":0.00500000", "\"cum_qty\":99999999999999999999", "cum_qty"),
            ("\"qty\":0.3458", "\"qty\":1e30", "fees"),
        ] {
            let text = TRADE.replace(from, to);
            assert_ne!(text, TRADE, "{from}");
            let error = row(&text).report(5, &pair()).expect_err(&text);
            assert_eq!(error, Unread::Member { of: "executions".into(), name });
        }
        let no_id = TRADE.replace("\"exec_id\":\"TGBB7L-HT5LX-J3BZ4A\",", "");
        let Ok(Some(Report { change: Change::Fill(fill), .. })) = row(&no_id).report(5, &pair()) else {
            panic!("{no_id}")
        };
        assert_eq!(&*fill.exec_id, "OK4GJX-KSTLS-7DZZO5/62887576");
        let in_base = TRADE.replace(
            "[{\"asset\":\"USD\",\"qty\":0.3458}]",
            "[{\"asset\":\"BTC\",\"qty\":0.00001},{\"asset\":\"KFEE\",\"qty\":9}]",
        );
        let Ok(Some(Report { change: Change::Fill(fill), .. })) = row(&in_base).report(5, &pair()) else {
            panic!("{in_base}")
        };
        assert_eq!(fill.fee, 265_999 * 10i128.pow(14), "0.265999 USD");
    }

    /// Goal: answers say what was asked, of which order, and whether it was done.
    #[test]
    fn answers() {
        let read = |text: &str| match decode(text) {
            Ok(Message::Ack(ack)) => ack,
            other => panic!("{text}: {other:?}"),
        };
        let added = read(ADDED);
        assert_eq!((added.method.as_str(), added.req_id), ("add_order", Some(10)));
        assert_eq!(added.result.as_ref().expect("done")[0].order_id.as_deref(), Some("OPS23M-VS41G-DDE5Z2"));
        assert_eq!(added.time_out.zip(added.time_in).map(|(out, inward)| out - inward), Some(6_860_000));
        assert_eq!(read(REFUSED).result.expect_err("refused").as_ref(), "EOrder:Insufficient funds");
        let batch = read(
            r#"{"method":"batch_add","req_id":16,"result":[{"order_id":"JQDNTT"},{"error":"EOrder:Insufficient funds"}],"success":true}"#,
        );
        let all = batch.result.expect("done");
        assert_eq!((all.len(), all[1].error.as_deref()), (2, Some("EOrder:Insufficient funds")));
        assert_eq!(read(r#"{"method":"batch_cancel","orders_cancelled":2,"req_id":17,"success":true}"#).count, Some(2));
        assert_eq!(read(r#"{"method":"cancel_all","req_id":14,"result":{"count":2},"success":true}"#).count, Some(2));
        let timer = read(
            r#"{"method":"cancel_all_orders_after","req_id":15,"result":{"currentTime":"2024-05-19T19:22:20Z","triggerTime":"2024-05-19T19:23:20Z"},"success":true}"#,
        );
        assert_eq!(timer.trigger_time, Some(1_716_146_600_000_000_000));
        assert_eq!(
            read(r#"{"method":"cancel_all_orders_after","result":{"triggerTime":"0"},"success":true}"#).trigger_time,
            None
        );
        let follows = read(
            r#"{"method":"subscribe","req_id":1,"result":{"channel":"executions","maxratecount":125,"snapshot":true,"warnings":["a","b"]},"success":true}"#,
        );
        assert_eq!((follows.channel.as_deref(), follows.warnings.len()), (Some("executions"), 2));
        assert_eq!(follows.rate_limit.and_then(|limit| limit.rescale(0)), Some(125));
        assert_eq!(read(r#"{"method":"pong","req_id":101,"time_in":"2024-05-19T19:22:20Z"}"#).result, Ok(Vec::new()));
        assert!(read(r#"{"method":"add_order","success":false}"#).result.is_err());
        assert!(decode(r#"{"method":"add_order","success":true,"error":"EOrder:x"}"#).is_err(), "both cannot be");
        assert!(decode(r#"{"method":"add_order","success":true,"req_id":-1}"#).is_err());
    }

    /// Goal: balances are exact, with wallets, and so is what is said of a maintenance.
    #[test]
    fn balances_and_status() {
        let Ok(Message::Entries(rows)) = decode(BALANCE) else { panic!("entries") };
        let entry = &rows.taken[0];
        let unit = 10i128.pow(16);
        assert_eq!(
            (rows.sequence, &*entry.asset, entry.amount, entry.fee, entry.balance),
            (9, "BTC", -50 * unit, 0, 50 * unit)
        );
        let Ok(Message::Holdings(rows)) = decode(HOLDINGS) else { panic!("holdings") };
        assert_eq!((rows.kind, rows.taken.len()), (Kind::Snapshot, 2));
        assert_eq!(rows.taken[0].wallets, [("spot".into(), "main".into(), 12_000 * unit)]);
        assert_eq!(rows.taken[1].total, 1_602_405 * unit);
        let Ok(Message::Status(status)) = decode(MAINTENANCE) else { panic!("a status") };
        let advisory = &status[0].maintenance[0];
        assert_eq!((&*status[0].system, status[0].emergencies), ("online", 0));
        assert_eq!((advisory.phase.as_deref(), advisory.services.len()), (Some("approaching_30m"), 2));
        assert_eq!(
            advisory.begin.zip(advisory.cancel_before).map(|(begin, before)| begin - before),
            Some(300_000_000_000)
        );
        for (frame, message) in [
            (r#"{"channel":"heartbeat"}"#, Message::Heartbeat),
            (r#"{"channel":"ticker","type":"update","data":[]}"#, Message::Other("ticker".into())),
            ("CloudFlare WebSocket proxy restarting", Message::Restarting),
        ] {
            assert_eq!(decode(frame), Ok(message));
        }
    }

    /// Goal: a row that cannot be read does not hide the others, and is told.
    #[test]
    fn rows_are_read_one_by_one() {
        let bad = NEW.replace("\"order_id\"", "\"order\"");
        let frame =
            format!(r#"{{"channel":"executions","type":"snapshot","data":[{bad},{NEW},7,{TRADE}],"sequence":1}}"#);
        let Ok(Message::Executions(rows)) = decode(&frame) else { panic!("{frame}") };
        assert_eq!((rows.taken.len(), rows.refused.len(), rows.more), (2, 2, 0));
        assert_eq!(
            rows.refused[0].to_string(),
            "executions: member order_id is missing, repeated, of another type or beyond its range"
        );
        let many =
            format!(r#"{{"channel":"executions","type":"update","data":[{}{NEW}],"sequence":1}}"#, "0,".repeat(1000));
        let Ok(Message::Executions(rows)) = decode(&many) else { panic!("{many}") };
        assert_eq!((rows.taken.len(), rows.refused.len(), rows.more), (1, REFUSED_MAX, 900));
    }

    /// Goal: whatever bytes come, decoding and reporting do not panic; most damaged frames still are what they were.
    #[test]
    fn damaged_frames() {
        let list = |row: &str| format!(r#"{{"channel":"executions","type":"update","data":[{row}],"sequence":7}}"#);
        let mut frames: Vec<Vec<u8>> =
            [PENDING, NEW, TRADE, CANCELED, AMENDED, REFILL, STATUS].iter().map(|row| list(row).into_bytes()).collect();
        frames.extend([ADDED, REFUSED, BALANCE, HOLDINGS, MAINTENANCE].iter().map(|text| text.as_bytes().to_vec()));
        let mut decoder = Decoder::default();
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).expect("small")
        };
        let tokens: [&[u8]; 12] = [
            b"-",
            b"9999999999999999999999999999999999999999",
            b"1e999999999",
            b"null",
            b"\"",
            b"\\u0000",
            b"{}",
            b"[]",
            b"0.",
            b"\xff",
            b"18446744073709551616",
            b"true",
        ];
        let (mut read, mut refused) = (0, 0);
        for _ in 0..40_000 {
            let mut frame = frames[random(frames.len())].clone();
            for _ in 0..=random(4) {
                let at = random(frame.len());
                match random(5) {
                    0 => frame[at] ^= 1 << random(8),
                    1 => {
                        frame.remove(at);
                    }
                    2 => frame.truncate(at.max(1)),
                    3 => {
                        let end = (at + random(12)).min(frame.len());
                        frame.splice(at..end, tokens[random(tokens.len())].iter().copied());
                    }
                    _ => {
                        let other = &frames[random(frames.len())];
                        let from = random(other.len());
                        let piece = other[from..(from + random(60)).min(other.len())].to_vec();
                        frame.splice(at..at, piece);
                    }
                }
                if frame.is_empty() {
                    frame.push(b'{');
                }
            }
            match decoder.decode(&frame) {
                Ok(Message::Executions(rows)) => {
                    read += 1;
                    for row in &rows.taken {
                        if let Ok(Some(report)) = row.report(1, &pair()) {
                            assert!(report.filled.is_none_or(|filled| filled.0 >= 0));
                        }
                    }
                }
                Ok(_) => read += 1,
                Err(why) => {
                    refused += 1;
                    assert!(!why.to_string().is_empty());
                }
            }
        }
        assert!(read > 1000 && refused > 10_000, "{read} {refused}");
    }
}
