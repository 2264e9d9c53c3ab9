//! Prices and quantities as whole steps of their pair, and amounts of an asset.

use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use krakpot_core::decimal::pow10;

/// A price in steps of 10^-`price_precision` of its pair, in the quote asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price(pub i64);

/// A quantity in steps of 10^-`qty_precision` of its pair, in the base asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Qty(pub i64);

impl Qty {
    /// None.
    pub const ZERO: Self = Self(0);

    /// Whether there is some.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }
}

impl Add for Qty {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Qty {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Qty {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for Qty {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Qty {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl std::iter::Sum for Qty {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

/// An amount of an asset, in steps of 10^-[`AMOUNT_SCALE`].
pub type Amount = i128;

/// Decimals of amounts: the product of a price and a quantity of ten decimals each is exact.
pub const AMOUNT_SCALE: u8 = 20;

/// A fee as a fraction, in millionths: 0.25 % is 2500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FeeRate(pub i64);

/// How an amount is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// Away from zero.
    #[default]
    Up,
    /// To the nearest, ties to the even one.
    HalfEven,
}

/// Rounds an amount to so many decimals. Decimals above [`AMOUNT_SCALE`] leave it as it is.
#[must_use]
pub fn round(amount: Amount, decimals: u8, rounding: Rounding) -> Amount {
    let Some(dropped) = AMOUNT_SCALE.checked_sub(decimals).filter(|dropped| *dropped > 0) else { return amount };
    let unit = pow10(dropped);
    let (whole, rest) = (amount.div_euclid(unit), amount.rem_euclid(unit));
    let up = match rounding {
        Rounding::Up => rest > 0 && amount > 0,
        Rounding::HalfEven => rest * 2 > unit || (rest * 2 == unit && whole % 2 != 0),
    };
    (whole + i128::from(up)) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded() {
        let of = |text: i128| text * pow10(AMOUNT_SCALE - 2);
        assert_eq!(round(of(125), 1, Rounding::Up), of(130));
        assert_eq!(round(of(-125), 1, Rounding::Up), of(-130));
        assert_eq!(round(of(125), 1, Rounding::HalfEven), of(120));
        assert_eq!(round(of(135), 1, Rounding::HalfEven), of(140));
        assert_eq!(round(of(126), 1, Rounding::HalfEven), of(130));
        assert_eq!(round(of(120), 1, Rounding::Up), of(120));
        assert_eq!(round(7, AMOUNT_SCALE, Rounding::Up), 7);
    }
}
