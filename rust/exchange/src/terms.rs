//! What order methods ask for, read from JSON: digits are read as they are written, never as floats.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::amount::{self, Wrong};
use crate::engine::{SelfTrade, Side};
use crate::own::{ClientId, KINDS, OrderKind, Terms, TimeInForce};
use crate::pairs::Pair;
use crate::wire;

/// Kraken's text for a request that is formed wrongly.
pub const INVALID: &str = "EGeneral:Invalid arguments";
/// ns.
const SECOND: i64 = 1_000_000_000;
/// The soonest deadline from now, ns: of a request to the private endpoint, and of one to REST.
pub const DEADLINE_MIN: [i64; 2] = [SECOND / 2, 2 * SECOND];
/// The latest deadline from now, ns.
const DEADLINE_MAX: i64 = 60 * SECOND;
/// The longest life of an order that expires, ns: a month.
const EXPIRES_MAX: i64 = 31 * 86_400 * SECOND;
/// Largest price and quantity, in units of the last decimal: their products fit.
const UNITS_MAX: i128 = 10_000_000_000_000_000;
/// An iceberg shows at least this part of its quantity.
const DISPLAY: i64 = 15;

/// Methods of the private endpoint, and the members that each may have.
pub const METHODS: [(&str, &[&str]); 8] = [
    ("add_order", &["symbol", "deadline", "validate", "token"]),
    (
        "amend_order",
        &[
            "order_id",
            "cl_ord_id",
            "symbol",
            "order_qty",
            "limit_price",
            "limit_price_type",
            "display_qty",
            "post_only",
            "trigger_price",
            "trigger_price_type",
            "deadline",
            "token",
        ],
    ),
    (
        "edit_order",
        &[
            "order_id",
            "symbol",
            "order_qty",
            "limit_price",
            "display_qty",
            "post_only",
            "reduce_only",
            "order_userref",
            "fee_preference",
            "deadline",
            "validate",
            "no_mpp",
            "token",
        ],
    ),
    ("cancel_order", &["order_id", "cl_ord_id", "order_userref", "token"]),
    ("cancel_all", &["token"]),
    ("cancel_all_orders_after", &["timeout", "token"]),
    ("batch_add", &["symbol", "orders", "deadline", "validate", "token"]),
    ("batch_cancel", &["orders", "cl_ord_id", "token"]),
];
/// Members of an order.
const ORDER: [&str; 22] = [
    "order_type",
    "side",
    "order_qty",
    "limit_price",
    "limit_price_type",
    "triggers",
    "time_in_force",
    "margin",
    "post_only",
    "reduce_only",
    "effective_time",
    "expire_time",
    "cl_ord_id",
    "order_userref",
    "conditional",
    "display_qty",
    "fee_preference",
    "stp_type",
    "cash_order_qty",
    "no_mpp",
    "sender_sub_id",
    "stop_price",
];
/// Members that must be numbers.
const NUMBERS: [&str; 6] = ["order_qty", "limit_price", "display_qty", "cash_order_qty", "trigger_price", "price"];

/// Members of an object, as they were written.
#[derive(Debug, Default)]
pub struct Params(BTreeMap<String, Box<RawValue>>);

impl Params {
    /// Reads an object; `None` if it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// The text of a member as it was written; null is no member.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.get()).filter(|text| *text != "null")
    }

    /// A member that is a text.
    ///
    /// # Errors
    /// If it is something else.
    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        let read = |raw: &str| serde_json::from_str(raw).map_err(|_| format!("{INVALID}:{name}"));
        self.raw(name).map(read).transpose()
    }

    /// A member that is true or false; false if it is missing.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag(&self, name: &str) -> Result<bool, String> {
        match self.raw(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(format!("{INVALID}:{name}")),
        }
    }

    /// A member that is a whole number.
    ///
    /// # Errors
    /// If it is something else.
    pub fn whole(&self, name: &str) -> Result<Option<i64>, String> {
        let read = |raw: &str| raw.parse().map_err(|_| format!("{INVALID}:{name}"));
        self.raw(name).map(read).transpose()
    }

    /// A member that is a time, ns.
    ///
    /// # Errors
    /// If it is something else.
    pub fn time(&self, name: &str) -> Result<Option<i64>, String> {
        let read = |text: String| wire::read_time(&text).ok_or_else(|| format!("{INVALID}:{name}"));
        self.text(name)?.map(read).transpose()
    }

    /// A member that is a list, or one value.
    ///
    /// # Errors
    /// If a value is not of this kind.
    pub fn list<T: for<'a> Read<'a>>(&self, name: &str) -> Result<Vec<T>, String> {
        let Some(raw) = self.raw(name) else { return Ok(Vec::new()) };
        let wrong = || format!("{INVALID}:{name}");
        if raw.starts_with('[') {
            serde_json::from_str::<Vec<Box<RawValue>>>(raw)
                .ok()
                .and_then(|values| values.iter().map(|value| T::read(value.get())).collect())
                .ok_or_else(wrong)
        } else {
            T::read(raw).map(|value| vec![value]).ok_or_else(wrong)
        }
    }

    /// What is wrong with the members of a request of `method`: a text where a number belongs, or one that it does not
    /// have.
    ///
    /// # Errors
    /// Kraken's text.
    pub fn check(&self, method: &str, ignore: bool) -> Result<(), String> {
        let allowed = METHODS.iter().find(|known| known.0 == method).map_or(&[][..], |known| known.1);
        self.check_members(method, ignore, |name| {
            allowed.contains(&name) || (method == "add_order" && ORDER.contains(&name))
        })?;
        if method == "add_order"
            && let Some(triggers) = self.raw("triggers").and_then(Self::read)
        {
            let known = ["price", "price_type", "reference"];
            triggers.check_members(method, ignore, |name| known.contains(&name))?;
        }
        if method == "batch_add" {
            for order in self.list::<Self>("orders")? {
                order.check_members(method, ignore, |name| ORDER.contains(&name))?;
            }
        }
        Ok(())
    }

    fn check_members(&self, method: &str, ignore: bool, known: impl Fn(&str) -> bool) -> Result<(), String> {
        for name in NUMBERS {
            if self.raw(name).is_some_and(|raw| !raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()))
            {
                let capital: String = name[..1].to_ascii_uppercase() + &name[1..];
                return Err(format!("{capital} field must be a number_float"));
            }
        }
        match self.0.keys().find(|name| !known(name)) {
            Some(name) if !ignore => Err(format!("Unsupported field: '{name}' for the given msg type: {method}")),
            _ => Ok(()),
        }
    }
}

/// A value of a list.
pub trait Read<'a>: Sized {
    /// Reads its JSON.
    fn read(raw: &'a str) -> Option<Self>;
}

impl Read<'_> for String {
    fn read(raw: &str) -> Option<Self> {
        serde_json::from_str(raw).ok()
    }
}

impl Read<'_> for i64 {
    fn read(raw: &str) -> Option<Self> {
        raw.parse().ok()
    }
}

impl Read<'_> for Params {
    fn read(raw: &str) -> Option<Self> {
        Self::read(raw)
    }
}

/// Terms, and what is wrong with a price: that is refused later than a wrong form.
#[derive(Debug)]
pub struct Asked {
    /// The terms.
    pub terms: Terms,
    /// What is wrong with its prices.
    pub price: Option<String>,
}

/// A price in units of the pair's last decimal.
///
/// # Errors
/// Kraken's text.
pub fn price(raw: &str, pair: &Pair) -> Result<i64, String> {
    match amount::read(raw, pair.price_precision) {
        Ok(value) if (1..=UNITS_MAX).contains(&value) => Ok(i64::try_from(value).unwrap_or(i64::MAX)),
        Err(Wrong::TooFine) => {
            let (symbol, decimals) = (&pair.symbol, pair.price_precision);
            Err(format!("EOrder:Invalid price:{symbol} price can only be specified up to {decimals} decimals."))
        }
        _ => Err("EOrder:Invalid price".to_owned()),
    }
}

/// A quantity in units of the pair's last decimal.
///
/// # Errors
/// Kraken's text.
pub fn quantity(raw: &str, pair: &Pair) -> Result<i64, String> {
    let value = amount::read(raw, pair.qty_precision).ok().filter(|value| (1..=UNITS_MAX).contains(value));
    value.and_then(|value| i64::try_from(value).ok()).ok_or_else(|| format!("{INVALID}:volume"))
}

/// Whether a part of a quantity may be shown alone.
#[must_use]
pub const fn may_show(display: i64, qty: i64) -> bool {
    display <= qty && display >= qty.div_euclid(DISPLAY) + (qty % DISPLAY > 0) as i64
}

/// Refuses a request whose time is over, or whose deadline is too soon or too late. `soonest`: from now, ns.
///
/// # Errors
/// Kraken's text.
pub fn deadline(params: &Params, now: i64, soonest: i64) -> Result<(), String> {
    match params.time("deadline")? {
        Some(deadline) if deadline < now => Err("EService:Deadline elapsed".to_owned()),
        Some(deadline) if !(now + soonest..=now + DEADLINE_MAX).contains(&deadline) => {
            Err(format!("{INVALID}:deadline"))
        }
        _ => Ok(()),
    }
}

/// Whether a text may be a `cl_ord_id`: a UUID with or without dashes, or up to 18 characters of ASCII.
fn is_name(text: &str) -> bool {
    let hexadecimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    let uuid = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|part| hexadecimal(part));
    let short = (1..=18).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    short || uuid || (text.len() == 32 && hexadecimal(text))
}

/// The word of a list that a member names.
fn word<T: Copy>(params: &Params, name: &str, words: &[(&str, T)], wrong: &str) -> Result<Option<T>, String> {
    let Some(text) = params.text(name)? else { return Ok(None) };
    let found = words.iter().find(|word| word.0.eq_ignore_ascii_case(&text));
    found.map(|word| Some(word.1)).ok_or_else(|| format!("{INVALID}:{wrong}"))
}

/// When an order expires and when it begins, ns.
fn times(params: &Params, time_in_force: TimeInForce, now: i64) -> Result<(Option<i64>, Option<i64>), String> {
    let (expires, begins) = (params.time("expire_time")?, params.time("effective_time")?);
    let ends = expires.is_some_and(|time| time > now && time <= now + EXPIRES_MAX && begins.is_none_or(|at| at < time));
    if ends != (time_in_force == TimeInForce::Gtd) || (expires.is_some() && !ends) {
        return Err(format!("{INVALID}:expiretm"));
    }
    Ok((expires, begins))
}

/// The client's own name of an order.
fn client(params: &Params) -> Result<ClientId, String> {
    match (params.text("cl_ord_id")?, params.whole("order_userref")?) {
        (Some(_), Some(_)) => Err(INVALID.to_owned()),
        (Some(name), None) if is_name(&name) => Ok(ClientId::Name(name)),
        (Some(_), None) => Err(format!("{INVALID}:cl_ord_id")),
        (None, number) => {
            let number = number.unwrap_or(0);
            i32::try_from(number).map_err(|_| format!("{INVALID}:userref"))?;
            Ok(ClientId::Number(number))
        }
    }
}

/// Reads an order of a pair, without symbol, deadline and token.
///
/// # Errors
/// Kraken's text for what is formed wrongly.
pub fn order(params: &Params, number: usize, pair: &Pair, now: i64) -> Result<Asked, String> {
    let invalid = |what: &str| format!("{INVALID}:{what}");
    let side = word(params, "side", &[("buy", Side::Buy), ("sell", Side::Sell)], "type")?.ok_or(invalid("type"))?;
    let kind = word(params, "order_type", &KINDS, "ordertype")?.ok_or(invalid("ordertype"))?;
    let words =
        [("gtc", TimeInForce::Gtc), ("gtd", TimeInForce::Gtd), ("ioc", TimeInForce::Ioc), ("fok", TimeInForce::Fok)];
    let time_in_force = word(params, "time_in_force", &words, "timeinforce")?.unwrap_or(TimeInForce::Gtc);
    let cash = match params.raw("cash_order_qty") {
        Some(raw) if kind == OrderKind::Market && side == Side::Buy => {
            let value = amount::read(raw, amount::precision(&pair.quote)).ok().filter(|value| *value > 0);
            Some(value.ok_or_else(|| invalid("volume"))?)
        }
        Some(_) => return Err(invalid("viqc")),
        None => None,
    };
    let qty = match params.raw("order_qty") {
        Some(raw) => quantity(raw, pair)?,
        None if cash.is_some() => 0,
        None => return Err(invalid("volume")),
    };
    let post_only = params.flag("post_only")?;
    if post_only && !matches!(kind, OrderKind::Limit | OrderKind::Iceberg) {
        return Err(invalid("postonly"));
    }
    let waits = matches!(time_in_force, TimeInForce::Gtc | TimeInForce::Gtd);
    if (post_only && !waits) || (time_in_force == TimeInForce::Fok && kind != OrderKind::Limit) {
        return Err(invalid("timeinforce"));
    }
    if params.flag("no_mpp")? && kind != OrderKind::Market {
        return Err(invalid("no_mpp order option is only available when ordertype = market"));
    }
    let display = match params.raw("display_qty") {
        Some(raw) if kind == OrderKind::Iceberg => {
            let shown = quantity(raw, pair)?;
            Some(Some(shown).filter(|&shown| may_show(shown, qty)).ok_or_else(|| invalid("displayvol"))?)
        }
        None if kind != OrderKind::Iceberg => None,
        _ => return Err(invalid("displayvol")),
    };
    let mut wrong = None;
    let mut read = |raw: Option<&str>| -> i64 {
        let found = raw.ok_or_else(|| invalid("price")).and_then(|raw| price(raw, pair));
        found.unwrap_or_else(|error| {
            wrong.get_or_insert(error);
            1
        })
    };
    let limit = kind.has_limit().then(|| read(params.raw("limit_price")));
    let trigger = match (kind.stops(), params.raw("triggers")) {
        (None, None) => None,
        (Some(_), Some(raw)) => {
            let triggers = Params::read(raw).ok_or_else(|| invalid("triggers"))?;
            word(&triggers, "price_type", &[("static", ())], "price_type")?;
            let index = word(&triggers, "reference", &[("last", false), ("index", true)], "trigger")?.unwrap_or(false);
            Some((read(triggers.raw("price")), index))
        }
        _ => return Err(invalid("triggers")),
    };
    if !kind.has_limit() && params.raw("limit_price").is_some() {
        return Err(invalid("price"));
    }
    let (expires, begins) = times(params, time_in_force, now)?;
    let client = client(params)?;
    let kinds = [
        ("cancel_newest", SelfTrade::CancelNewest),
        ("cancel_oldest", SelfTrade::CancelOldest),
        ("cancel_both", SelfTrade::CancelBoth),
    ];
    let self_trade = word(params, "stp_type", &kinds, "stptype")?.unwrap_or(SelfTrade::CancelNewest);
    let base_fee = word(params, "fee_preference", &[("base", true), ("quote", false)], "oflags")?;
    if params.flag("margin")? {
        return Err("EOrder:Insufficient margin".to_owned());
    }
    if params.flag("reduce_only")? {
        return Err("EOrder:Reduce only:No position exists".to_owned());
    }
    if params.raw("conditional").is_some() {
        return Err(invalid("conditional"));
    }
    let sender = params.text("sender_sub_id")?;
    // Kraken's page says that the fee of a sell is taken in the base asset by default; its messages show the quote asset.
    let base_fee = base_fee.unwrap_or(false);
    let terms = Terms {
        pair: number,
        side,
        kind,
        qty,
        cash,
        limit,
        display,
        trigger,
        time_in_force,
        expires,
        begins,
        post_only,
        base_fee,
        self_trade,
        client,
        sender,
    };
    Ok(Asked { terms, price: wrong })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::pairs;

    fn read(text: &str) -> Result<Asked, String> {
        let pair = pairs(1, 1).swap_remove(0);
        let params = Params::read(text).expect("JSON");
        params.check("add_order", false)?;
        order(&params, 0, &pair, 0)
    }

    /// Goal: what is formed wrongly is refused in Kraken's words; digits are read exactly.
    #[test]
    fn orders() {
        for (members, error) in [
            (r#""limit_price":"1""#, "Limit_price field must be a number_float"),
            (r#""fish":1"#, "Unsupported field: 'fish' for the given msg type: add_order"),
            (r#""order_qty":0"#, "EGeneral:Invalid arguments:volume"),
            (r#""order_qty":0.000000001"#, "EGeneral:Invalid arguments:volume"),
            (r#""side":"long""#, "EGeneral:Invalid arguments:type"),
            (r#""order_type":"fish""#, "EGeneral:Invalid arguments:ordertype"),
            (r#""order_type":"market","post_only":true"#, "EGeneral:Invalid arguments:postonly"),
            (r#""time_in_force":"gtd""#, "EGeneral:Invalid arguments:expiretm"),
            (r#""expire_time":"2026-01-01T00:00:00Z""#, "EGeneral:Invalid arguments:expiretm"),
            (r#""cl_ord_id":"a","order_userref":1"#, "EGeneral:Invalid arguments"),
            (r#""cl_ord_id":"nineteen characters""#, "EGeneral:Invalid arguments:cl_ord_id"),
            (r#""display_qty":0.1"#, "EGeneral:Invalid arguments:displayvol"),
            (r#""order_type":"iceberg","order_qty":1,"display_qty":0.06"#, "EGeneral:Invalid arguments:displayvol"),
            (
                r#""no_mpp":true"#,
                "EGeneral:Invalid arguments:no_mpp order option is only available when ordertype = market",
            ),
            (r#""margin":true"#, "EOrder:Insufficient margin"),
        ] {
            // The last member of a name counts.
            let text = format!(r#"{{"order_type":"limit","side":"buy","order_qty":1,"limit_price":1,{members}}}"#);
            assert_eq!(read(&text).expect_err(&text), error, "{text}");
        }
        let base = r#"{"order_type":"limit","side":"buy","order_qty":90071992.54740993,"limit_price":"#;
        let asked = read(&format!("{base}1234567890.1}}")).expect("right");
        assert_eq!((asked.terms.qty, asked.terms.limit), (9_007_199_254_740_993, Some(12_345_678_901)));
        let price = read(&format!("{base}1.05}}")).expect("formed well").price.expect("refused later");
        assert_eq!(price, "EOrder:Invalid price:BTC/USD price can only be specified up to 1 decimals.");
        assert_eq!(read(&format!("{base}-1}}")).expect("formed well").price.as_deref(), Some("EOrder:Invalid price"));
    }

    #[test]
    fn deadlines_and_shown_parts() {
        let read = |text: &str| Params::read(&format!(r#"{{"deadline":"{text}"}}"#)).expect("JSON");
        let at = |text: &str| deadline(&read(text), 10 * SECOND, DEADLINE_MIN[0]);
        assert_eq!(at("1970-01-01T00:00:09.999Z").expect_err("over"), "EService:Deadline elapsed");
        assert_eq!(at("1970-01-01T00:01:10.001Z").expect_err("too late"), "EGeneral:Invalid arguments:deadline");
        assert_eq!(at("1970-01-01T00:00:10.499Z").expect_err("too soon"), "EGeneral:Invalid arguments:deadline");
        assert!(at("1970-01-01T00:00:10.5Z").is_ok() && at("1970-01-01T00:01:10Z").is_ok());
        assert!(deadline(&read("1970-01-01T00:00:11Z"), 10 * SECOND, DEADLINE_MIN[1]).is_err());
        assert!(at("1970-01-01T00:00:15Z").is_ok() && deadline(&Params::default(), 0, SECOND).is_ok());
        assert!(may_show(1, 15) && may_show(2, 16) && !may_show(1, 16) && !may_show(17, 16));
    }
}
