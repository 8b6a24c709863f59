//! Amounts of money: whole minor units of a known currency, checked at every step.

use std::fmt;

use contracts::{mesh::v1::ErrorReason, values::v1::Money as Message};

use crate::Fault;

/// A rate of 100 %, in millionths.
pub const RATE_ONE_MICROS: i64 = 1_000_000;

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

/// An amount in minor units of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Minor units: cents for EUR, yen for JPY.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

/// Why an amount could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit.
    #[error("the amount is out of range")]
    Overflow,
    /// Two currencies cannot be added.
    #[error("{left} and {right} are different currencies")]
    CurrencyMismatch {
        /// Of the first amount.
        left: Currency,
        /// Of the second amount.
        right: Currency,
    },
    /// ISO 4217 knows no such currency.
    #[error("{code:?} is not an ISO 4217 currency code")]
    UnknownCurrency {
        /// What was given.
        code: String,
    },
    /// Nothing to divide by.
    #[error("the weights of a split are empty, negative or all zero")]
    NoWeights,
}

/// Codes of ISO 4217 whose minor unit is not a hundredth, with its exponent.
const EXPONENTS: [(&str, u32); 24] = [
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("ISK", 0),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("PYG", 0),
    ("RWF", 0),
    ("UGX", 0),
    ("UYI", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
    ("BHD", 3),
    ("IQD", 3),
    ("JOD", 3),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("TND", 3),
];

/// Codes of ISO 4217 with two decimals.
const HUNDREDTHS: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD \
     CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG \
     HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK \
     MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS \
     SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG";

// === impl Currency ===

impl Currency {
    /// The currency of a code.
    pub fn new(code: &str) -> Result<Self, MoneyError> {
        let unknown = || MoneyError::UnknownCurrency { code: code.chars().take(8).collect() };
        let bytes: [u8; 3] = code.as_bytes().try_into().map_err(|_| unknown())?;
        let known = HUNDREDTHS.split_ascii_whitespace().any(|known| known == code)
            || EXPONENTS.iter().any(|(known, _)| *known == code);
        if known { Ok(Self(bytes)) } else { Err(unknown()) }
    }

    /// The ISO 4217 code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// How many decimals the minor unit has: 2 for EUR, 0 for JPY, 3 for KWD.
    pub fn exponent(&self) -> u32 {
        EXPONENTS.iter().find(|(code, _)| *code == self.code()).map_or(2, |(_, exponent)| *exponent)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

// === impl Money ===

impl Money {
    /// An amount.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing.
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// The sum of two amounts of one currency.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// The difference of two amounts of one currency.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_sub(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// The amount, so many times.
    pub fn checked_mul(self, times: i64) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_mul(times).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// A share of the amount, rounded half to even: the tax at a rate in millionths.
    pub fn share(self, rate_micros: i64) -> Result<Self, MoneyError> {
        let product = i128::from(self.minor) * i128::from(rate_micros);
        let one = i128::from(RATE_ONE_MICROS);
        let (whole, rest) = (product.div_euclid(one), product.rem_euclid(one));
        let rounded = match (rest * 2).cmp(&one) {
            std::cmp::Ordering::Less => whole,
            std::cmp::Ordering::Greater => whole + 1,
            std::cmp::Ordering::Equal => whole + whole.rem_euclid(2),
        };
        Ok(Self { minor: i64::try_from(rounded).map_err(|_| MoneyError::Overflow)?, ..self })
    }

    /// The sum of many amounts of one currency.
    pub fn sum(
        currency: Currency,
        amounts: impl IntoIterator<Item = Self>,
    ) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self::zero(currency), Self::checked_add)
    }

    /// Parts in the proportion of the weights that add up to exactly the amount
    /// (largest remainder; ties go to the earlier part).
    pub fn split(self, weights: &[i64]) -> Result<Vec<Self>, MoneyError> {
        let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
        if total <= 0 || weights.iter().any(|weight| *weight < 0) {
            return Err(MoneyError::NoWeights);
        }
        let amount = i128::from(self.minor);
        let mut parts: Vec<(i128, i128)> = weights
            .iter()
            .map(|weight| {
                let product = amount * i128::from(*weight);
                (product.div_euclid(total), product.rem_euclid(total))
            })
            .collect();
        let mut left = amount - parts.iter().map(|(part, _)| part).sum::<i128>();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|position| std::cmp::Reverse(parts[*position].1));
        for position in order {
            if left == 0 {
                break;
            }
            parts[position].0 += 1;
            left -= 1;
        }
        parts
            .into_iter()
            .map(|(part, _)| {
                Ok(Self { minor: i64::try_from(part).map_err(|_| MoneyError::Overflow)?, ..self })
            })
            .collect()
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exponent = self.currency.exponent();
        let scale = 10_u64.pow(exponent);
        let (whole, rest) = (self.minor.unsigned_abs() / scale, self.minor.unsigned_abs() % scale);
        let sign = if self.minor < 0 { "-" } else { "" };
        match exponent {
            0 => write!(f, "{sign}{whole} {}", self.currency),
            2 => write!(f, "{sign}{whole}.{rest:02} {}", self.currency),
            _ => write!(f, "{sign}{whole}.{rest:03} {}", self.currency),
        }
    }
}

impl TryFrom<&Message> for Money {
    type Error = MoneyError;

    fn try_from(message: &Message) -> Result<Self, MoneyError> {
        Ok(Self { minor: message.minor_units, currency: Currency::new(&message.currency_code)? })
    }
}

impl TryFrom<Message> for Money {
    type Error = MoneyError;

    fn try_from(message: Message) -> Result<Self, MoneyError> {
        Self::try_from(&message)
    }
}

impl From<Money> for Message {
    fn from(money: Money) -> Self {
        Self { currency_code: money.currency.code().to_owned(), minor_units: money.minor }
    }
}

impl From<MoneyError> for Fault {
    fn from(error: MoneyError) -> Self {
        Self::invalid_argument(ErrorReason::MoneyInvalid).message(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::new("EUR").unwrap())
    }

    #[test]
    fn a_split_loses_nothing() {
        let parts = eur(100).split(&[1, 1, 1]).unwrap();
        assert_eq!(parts, [eur(34), eur(33), eur(33)]);
        let parts = eur(-100).split(&[3, 5, 0]).unwrap();
        assert_eq!(parts.iter().map(|part| part.minor).sum::<i64>(), -100);
        assert_eq!(eur(1).split(&[]), Err(MoneyError::NoWeights));
    }

    #[test]
    fn a_share_is_rounded_half_to_even() {
        assert_eq!(eur(50).share(210_000).unwrap(), eur(10)); // 10.5
        assert_eq!(eur(150).share(210_000).unwrap(), eur(32)); // 31.5
        assert_eq!(eur(1999).share(210_000).unwrap(), eur(420)); // 419.79
        assert_eq!(eur(-50).share(210_000).unwrap(), eur(-10)); // -10.5
    }

    #[test]
    fn nothing_overflows_silently() {
        assert_eq!(eur(i64::MAX).checked_add(eur(1)), Err(MoneyError::Overflow));
        assert_eq!(eur(i64::MAX).checked_mul(2), Err(MoneyError::Overflow));
        assert_eq!(eur(i64::MAX).share(2 * RATE_ONE_MICROS), Err(MoneyError::Overflow));
    }

    #[test]
    fn currencies_do_not_mix() {
        let yen = Money::new(1, Currency::new("JPY").unwrap());
        assert!(matches!(eur(1).checked_add(yen), Err(MoneyError::CurrencyMismatch { .. })));
        assert_eq!(yen.to_string(), "1 JPY");
        assert_eq!(eur(-1999).to_string(), "-19.99 EUR");
        assert!(Currency::new("XXQ").is_err());
        assert!(Currency::new("eur").is_err());
    }
}
