//! The account as it is asked for: its balances, fees and limits, and what this exchange does where Kraken's behaviour is
//! not known.

use std::collections::BTreeMap;

use crate::amount::{self, RATE};
use crate::rate::{TIERS, Tier};

/// Where Kraken is silent: a switch, its default, the other value, and what it decides.
pub const SWITCHES: [(&str, &str, &str, &str); 10] = [
    ("amend_up", "lose", "keep", "an amendment to more quantity at the same price goes to the back of the queue"),
    (
        "amend_l3",
        "order",
        "modify",
        "level 3 shows an order that loses its place as a delete and an add, or as one modify",
    ),
    ("post_only", "fail", "cancel", "a post-only order that would take is refused; or it is accepted and cancelled"),
    ("ack", "first", "late", "the answer comes before the reports"),
    ("fok", "cancel", "fail", "a fill-or-kill order that cannot be filled is accepted and cancelled; or it is refused"),
    ("hold", "taker", "maker", "a buy holds price × quantity with this fee"),
    ("fees", "up", "half_even", "how a fee is rounded to the last decimal of its asset"),
    ("trades", "order", "price", "a report for each resting order that was met, or for each price"),
    ("unknown", "refuse", "ignore", "what happens to a request with an unknown member"),
    ("threshold", "above", "at", "where the rate counter refuses"),
];

/// Kraken's fees: from this volume in USD on, of the last 30 days, a resting order and one that takes cost so many
/// millionths.
pub const FEES: [(i128, [i128; 2]); 10] = [
    (0, [2500, 4000]),
    (10_000, [2000, 3500]),
    (50_000, [1400, 2400]),
    (100_000, [1200, 2200]),
    (250_000, [1000, 2000]),
    (500_000, [800, 1800]),
    (1_000_000, [600, 1600]),
    (2_500_000, [400, 1400]),
    (5_000_000, [200, 1200]),
    (10_000_000, [0, 1000]),
];

/// The account and the switches.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it has at the beginning, by asset, in units of the asset's last decimal.
    pub balances: BTreeMap<String, i128>,
    /// Fee of a resting order and of one that takes, in millionths, whatever was traded.
    pub fees: [i128; 2],
    /// What was traded in the 30 days before, in units of the last decimal of USD; fees follow Kraken's schedule then.
    pub volume: Option<i128>,
    /// Limits.
    pub tier: Tier,
    /// For each switch, whether it has its other value.
    other: [bool; SWITCHES.len()],
}

impl Default for Settings {
    fn default() -> Self {
        let balances = [("USD", 100_000), ("EUR", 100_000), ("BTC", 10), ("ETH", 100)];
        let units =
            |(asset, amount): (&str, i128)| (asset.to_owned(), amount * amount::pow10(amount::precision(asset)));
        Self {
            balances: balances.map(units).into(),
            fees: FEES[0].1,
            volume: None,
            tier: TIERS[1],
            other: [false; SWITCHES.len()],
        }
    }
}

impl Settings {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let Some((name, value)) = text.trim().split_once('=') else {
            return Err(format!(
                "{text}: this has no '='; give for example amend_up=keep, balance.USD=5000 or tier=pro"
            ));
        };
        if let Some(asset) = name.strip_prefix("balance.") {
            let right = (1..=20).contains(&asset.len()) && asset.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let decimals = amount::precision(asset);
            let allowed = format!("{name}={value}: allowed is an amount from 0 with up to {decimals} decimals");
            let units = amount::read(value, decimals).ok().filter(|units| right && (0..10i128.pow(28)).contains(units));
            self.balances.insert(asset.to_owned(), units.ok_or(allowed)?);
            return Ok(());
        }
        match name {
            "maker" | "taker" => {
                let allowed = format!("{name}={value}: allowed is a percentage from 0 to 10, as 0.25");
                let rate = amount::read(value, 4).ok().filter(|rate| (0..=RATE / 10).contains(rate)).ok_or(allowed)?;
                self.fees[usize::from(name == "taker")] = rate;
            }
            "volume" => {
                let units = amount::read(value, amount::precision("USD")).ok();
                let units = units.filter(|units| (0..10i128.pow(28)).contains(units));
                let allowed = format!("volume={value}: allowed is an amount of USD from 0 with up to 4 decimals");
                self.volume = Some(units.ok_or(allowed)?);
            }
            "tier" => {
                let found = TIERS.into_iter().find(|tier| tier.name == value);
                let names = TIERS.map(|tier| tier.name).join(", ");
                self.tier = found.ok_or_else(|| format!("tier={value}: allowed is one of {names}"))?;
            }
            _ => {
                let Some(at) = SWITCHES.iter().position(|switch| switch.0 == name) else {
                    let names = SWITCHES.map(|switch| switch.0).join(", ");
                    return Err(format!(
                        "{name}={value}: no setting has this name; allowed are balance.ASSET, maker, taker, tier, volume, {names}"
                    ));
                };
                let (_, default, other, _) = SWITCHES[at];
                if value != default && value != other {
                    return Err(format!("{name}={value}: allowed is {default} or {other}"));
                }
                self.other[at] = value == other;
            }
        }
        Ok(())
    }

    /// The fees, by the volume in USD from which they hold: one row if the volume does not matter.
    #[must_use]
    pub fn schedule(&self) -> Vec<(i128, [i128; 2])> {
        if self.volume.is_some() { FEES.to_vec() } else { vec![(0, self.fees)] }
    }

    /// The fees of an account that traded so much in the last 30 days, in units of the last decimal of USD.
    #[must_use]
    pub fn fees_of(&self, volume: i128) -> [i128; 2] {
        let unit = amount::pow10(amount::precision("USD"));
        let reached = self.schedule().into_iter().rfind(|row| row.0 * unit <= volume);
        reached.map_or(self.fees, |row| row.1)
    }

    /// Whether a switch has its other value.
    #[must_use]
    pub fn is_other(&self, name: &str) -> bool {
        SWITCHES.iter().position(|switch| switch.0 == name).is_some_and(|at| self.other[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a wrong text is refused with what is allowed; a right one has its effect.
    #[test]
    fn texts() {
        for (text, sentence) in [
            ("fish", "fish: this has no '='"),
            ("fish=1", "fish=1: no setting has this name; allowed are balance.ASSET,"),
            ("amend_up=maybe", "amend_up=maybe: allowed is lose or keep"),
            ("tier=gold", "tier=gold: allowed is one of starter, intermediate, pro"),
            ("maker=11", "allowed is a percentage from 0 to 10"),
            ("taker=-1", "allowed is a percentage from 0 to 10"),
            ("balance.USD=1.00001", "allowed is an amount from 0 with up to 4 decimals"),
            ("balance.USD=-1", "allowed is an amount from 0"),
            ("balance.=1", "allowed is an amount"),
            ("volume=-1", "allowed is an amount of USD from 0"),
        ] {
            let error = Settings::default().set(text).expect_err(text);
            assert!(error.contains(sentence), "{text}: {error}");
        }
        let mut settings = Settings::default();
        for text in ["balance.USD=12.5", "maker=0.16", "tier=pro", "amend_up=keep"] {
            settings.set(text).expect(text);
        }
        assert_eq!((settings.balances["USD"], settings.fees, settings.tier.limit), (125_000, [1600, 4000], 180));
        assert_eq!(settings.fees_of(10i128.pow(20)), [1600, 4000], "whatever was traded");
        settings.set("volume=9999.9999").expect("right");
        let fees = [99_999_999, 100_000_000, 99_999_999_999, 100_000_000_000].map(|volume| settings.fees_of(volume));
        assert_eq!(fees, [[2500, 4000], [2000, 3500], [200, 1200], [0, 1000]]);
        assert!(settings.is_other("amend_up") && !settings.is_other("post_only"));
    }
}
