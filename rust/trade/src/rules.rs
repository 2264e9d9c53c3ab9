//! What Kraken refuses, in its words and in its order, as far as values say it before a request is sent.

use std::sync::Arc;

use crate::amount::{AMOUNT_SCALE, Amount, Price, Qty};
use crate::order::cost;
use crate::pair::Pair;
use crate::terms::{Terms, TimeInForce};
use krakpot_core::decimal::pow10;

/// The shortest and the longest time that Kraken lets an order wait to be matched first, ns.
pub const DEADLINE: [i64; 2] = [500_000_000, 60_000_000_000];
/// An iceberg shows at least one part of so many.
const DISPLAY_PARTS: i128 = 15;

/// The counter of the pair is too high.
pub const RATE: &str = "EOrder:Rate limit exceeded";
/// More orders than the tier allows are open in the pair.
pub const ORDERS: &str = "EOrder:Orders limit exceeded";
/// More than the account has free.
pub const FUNDS: &str = "EOrder:Insufficient funds";
/// The order is not open.
pub const UNKNOWN: &str = "EOrder:Unknown order";
/// It is being cancelled.
pub const CANCEL_PENDING: &str = "EOrder:Cancel pending";
/// Something about the request makes no sense.
pub const INVALID: &str = "EGeneral:Invalid arguments";

/// The part of a reason that names it: what is before the first `: `. What follows says the number that was hit.
#[must_use]
pub fn code(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(code, _)| code)
}

/// A number without needless zeros.
#[must_use]
pub fn number(value: i128, scale: u8) -> String {
    let unit = pow10(scale).unsigned_abs();
    let (sign, size) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    let (whole, rest) = (size / unit, size % unit);
    let decimals = format!("{rest:0width$}", width = usize::from(scale));
    let decimals = decimals.trim_end_matches('0');
    if rest == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{decimals}") }
}

/// An amount of an asset, as text.
#[must_use]
pub fn amount(value: Amount, asset: &str) -> String {
    format!("{} {asset}", number(value, AMOUNT_SCALE))
}

/// Whether an iceberg may show so much of a quantity.
fn may_show(display: Qty, qty: Qty) -> bool {
    display.is_positive() && display <= qty && i128::from(display.0) * DISPLAY_PARTS >= i128::from(qty.0)
}

/// Whether the form of an order makes sense. `wait`: ns from now to its deadline.
///
/// # Errors
/// Kraken's text.
pub fn form(terms: &Terms, now: i64, wait: i64) -> Result<(), Arc<str>> {
    let wrong = |member: &str| Err(format!("{INVALID}:{member}").into());
    if !terms.qty.is_positive() {
        return wrong("volume");
    }
    if terms.post_only && (terms.price.is_none() || terms.time_in_force == TimeInForce::Ioc) {
        return wrong("postonly");
    }
    match terms.time_in_force {
        TimeInForce::Fok if terms.price.is_none() || terms.trigger.is_some() => return wrong("timeinforce"),
        TimeInForce::Gtd(end) if end <= now => return wrong("expiretm"),
        _ => {}
    }
    if let Some(display) = terms.display
        && (terms.price.is_none() || !may_show(display, terms.qty))
    {
        return wrong("displayvol");
    }
    if !(DEADLINE[0]..=DEADLINE[1]).contains(&wait) {
        return wrong("deadline");
    }
    Ok(())
}

/// Whether the market of a pair takes an order in its state, and in that of the exchange.
///
/// # Errors
/// Kraken's text.
pub fn served(pair: &Pair, system: &str, post_only: bool, market: bool) -> Result<(), Arc<str>> {
    for state in [system, &pair.status] {
        match state {
            "online" => {}
            "post_only" if post_only => {}
            "limit_only" if !market => {}
            "cancel_only" | "post_only" | "limit_only" => return Err(format!("EService:Market in {state} mode").into()),
            _ => return Err("EService:Unavailable".into()),
        }
    }
    Ok(())
}

/// Whether prices and quantity are what the pair allows. `price`: each price that the order names; `valued`: the price
/// at which its value counts.
///
/// # Errors
/// Kraken's text.
pub fn sizes(pair: &Pair, prices: &[Price], valued: Price, qty: Qty) -> Result<(), Arc<str>> {
    for price in prices {
        if price.0 <= 0 {
            return Err("EOrder:Invalid price".into());
        }
    }
    if prices.iter().any(|price| price.0 % pair.price_increment.0.max(1) != 0) {
        return Err("EOrder:Tick size check failed".into());
    }
    if qty < pair.qty_min {
        return Err("EOrder:Order minimum not met".into());
    }
    match cost(pair, valued, qty) {
        Some(cost) if cost < pair.cost_min => Err("EOrder:Cost minimum not met".into()),
        Some(_) => Ok(()),
        None => Err(format!("{INVALID}:volume").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::{Side, Trigger};

    fn pair() -> Pair {
        Pair { price_increment: Price(5), ..Pair::example() }
    }

    fn terms() -> Terms {
        Terms::limit(0, Side::Buy, Qty(15_000), Price(300_000))
    }

    /// Goal: each wrong form has its text, and the last right one passes.
    #[test]
    fn forms() {
        let text = |terms: &Terms| form(terms, 1000, DEADLINE[0]).err().map_or(String::new(), |text| text.to_string());
        assert_eq!(text(&terms()), "");
        let cases = [
            (Terms { qty: Qty(0), ..terms() }, "volume"),
            (Terms { qty: Qty(i64::MIN), ..terms() }, "volume"),
            (Terms { price: None, post_only: true, ..terms() }, "postonly"),
            (Terms { time_in_force: TimeInForce::Ioc, post_only: true, ..terms() }, "postonly"),
            (Terms { price: None, time_in_force: TimeInForce::Fok, ..terms() }, "timeinforce"),
            (Terms { time_in_force: TimeInForce::Gtd(1000), ..terms() }, "expiretm"),
            (Terms { display: Some(Qty(999)), ..terms() }, "displayvol"),
            (Terms { display: Some(Qty(15_001)), ..terms() }, "displayvol"),
            (Terms { display: Some(Qty(15_000)), price: None, ..terms() }, "displayvol"),
        ];
        for (terms, member) in cases {
            assert_eq!(text(&terms), format!("EGeneral:Invalid arguments:{member}"));
        }
        let trigger = Some(Trigger { price: Price(5), stop: true });
        for right in [
            Terms { time_in_force: TimeInForce::Gtd(1001), ..terms() },
            Terms { display: Some(Qty(1000)), ..terms() },
            Terms { price: None, trigger, ..terms() },
        ] {
            assert_eq!(text(&right), "");
        }
        for (wait, right) in [(DEADLINE[0] - 1, false), (DEADLINE[1], true), (DEADLINE[1] + 1, false)] {
            assert_eq!(form(&terms(), 0, wait).is_ok(), right);
        }
    }

    #[test]
    fn states_of_markets() {
        let told = |system: &str, status: &str, post_only, market| {
            let pair = Pair { status: status.into(), ..pair() };
            served(&pair, system, post_only, market).err().map_or(String::new(), |text| text.to_string())
        };
        assert_eq!(told("online", "online", false, true), "");
        assert_eq!(told("online", "cancel_only", true, false), "EService:Market in cancel_only mode");
        assert_eq!(told("post_only", "online", false, false), "EService:Market in post_only mode");
        assert_eq!(told("online", "post_only", true, false), "");
        assert_eq!(told("online", "limit_only", false, false), "");
        assert_eq!(told("online", "limit_only", false, true), "EService:Market in limit_only mode");
        assert_eq!(told("maintenance", "online", true, false), "EService:Unavailable");
        assert_eq!(told("online", "a new word", true, false), "EService:Unavailable");
    }

    /// Goal: at each bound of the pair an order passes, one step beyond it does not; the first fault answers.
    #[test]
    fn sizes_of_orders() {
        let told = |price: i64, qty: i64| {
            let valued = Price(price);
            sizes(&pair(), &[valued], valued, Qty(qty)).err().map_or(String::new(), |text| text.to_string())
        };
        assert_eq!(told(100_000, 5000), "", "10,000.0 × 0.00005 = 0.5");
        assert_eq!(told(100_001, 5000), "EOrder:Tick size check failed");
        assert_eq!(told(100_000, 4999), "EOrder:Order minimum not met");
        assert_eq!(told(99_995, 5000), "EOrder:Cost minimum not met");
        assert_eq!(told(0, 5000), "EOrder:Invalid price");
        assert_eq!(told(-1, 1), "EOrder:Invalid price");
        assert_eq!(told(1, 1), "EOrder:Tick size check failed");
        assert_eq!(told(i64::MAX - 2, i64::MAX), "EGeneral:Invalid arguments:volume", "more than can be");
    }

    #[test]
    fn texts() {
        assert_eq!(code("krakpot:collar: 5 % from the mid"), "krakpot:collar");
        assert_eq!(code("EOrder:Invalid price:ETH/GBP price"), "EOrder:Invalid price:ETH/GBP price");
        assert_eq!(amount(-pow10(AMOUNT_SCALE) * 5 / 4, "USD"), "-1.25 USD");
        assert_eq!(number(1000, 2), "10");
        assert_eq!(number(7, 0), "7");
        assert_eq!(number(i128::MIN, 0), i128::MIN.to_string());
    }
}
