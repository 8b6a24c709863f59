//! Numbers as text: exact integers in any spelling, and floats.
#![expect(
    clippy::float_arithmetic,
    reason = "a quotient of two doubles is a decimal, rounded once"
)]

use std::ops::RangeInclusive;

use crate::{decimal::parse_eight, wire::low32};

/// A number of JSON.
#[derive(Clone, Copy)]
pub(crate) struct Number<'j> {
    pub(crate) text: &'j [u8],
    negative: bool,
    /// All its digits as an integer, if they fit and no exponent follows.
    digits: Option<u64>,
    /// How many of them stand behind the point.
    places: usize,
    /// It has neither point nor exponent.
    plain: bool,
}

/// Reads a number at the start of `text` by the grammar of JSON.
#[inline]
pub(crate) fn scan(text: &[u8]) -> Option<Number<'_>> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut digits = Digits { value: 0, fits: true };
    let mut at = digits.take(text, start);
    if at == start || (at > start + 1 && text.get(start) == Some(&b'0')) {
        return None;
    }
    if !matches!(text.get(at), Some(b'.' | b'e' | b'E')) {
        return Some(Number {
            text: text.get(..at)?,
            negative,
            digits: digits.fits.then_some(digits.value),
            places: 0,
            plain: true,
        });
    }
    let mut places = 0;
    if text.get(at) == Some(&b'.') {
        let point = at + 1;
        at = digits.take(text, point);
        places = at - point;
        if places == 0 {
            return None;
        }
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        digits.fits = false;
        let sign = matches!(text.get(at + 1), Some(b'+' | b'-'));
        let first = at + 1 + usize::from(sign);
        at = Digits { value: 0, fits: false }.take(text, first);
        if at == first {
            return None;
        }
    }
    Some(Number {
        text: text.get(..at)?,
        negative,
        digits: digits.fits.then_some(digits.value),
        places,
        plain: false,
    })
}

/// Digits on their way to an integer.
struct Digits {
    value: u64,
    /// No digit was too many; else `value` means nothing.
    fits: bool,
}

impl Digits {
    /// Takes the digits that stand at `at`; gives their end.
    #[inline]
    fn take(&mut self, text: &[u8], mut at: usize) -> usize {
        while let Some(eight) =
            text.get(at..).and_then(<[u8]>::first_chunk).and_then(|eight| parse_eight(*eight))
        {
            self.add(100_000_000, eight);
            at += 8;
        }
        while let Some(digit) =
            text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            self.add(10, u64::from(digit));
            at += 1;
        }
        at
    }

    #[inline]
    fn add(&mut self, scale: u64, digits: u64) {
        let (scaled, over) = self.value.overflowing_mul(scale);
        let (sum, carried) = scaled.overflowing_add(digits);
        self.value = sum;
        self.fits &= !over && !carried;
    }
}

/// Reads a number that is all of `text`, as in a string.
pub(crate) fn scan_all(text: &[u8]) -> Option<Number<'_>> {
    scan(text).filter(|number| number.text.len() == text.len())
}

impl Number<'_> {
    /// The number as an integer of `range`; exact, so `1e2` and `1.0` are integers and `1.5` is none.
    #[inline]
    pub(crate) fn signed(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let magnitude = self.magnitude()?;
        let value = if self.negative {
            0_i64.checked_sub_unsigned(magnitude)?
        } else {
            i64::try_from(magnitude).ok()?
        };
        range.contains(&value).then_some(value)
    }

    #[inline]
    pub(crate) fn unsigned(&self, most: u64) -> Option<u64> {
        let magnitude = self.magnitude()?;
        (magnitude <= most && (!self.negative || magnitude == 0)).then_some(magnitude)
    }

    #[inline]
    fn magnitude(&self) -> Option<u64> {
        match self.digits {
            Some(value) if self.plain => Some(value),
            _ => exact(self.text),
        }
    }

    /// The nearest double; `None` if it is beyond the largest.
    #[inline]
    pub(crate) fn double(&self) -> Option<f64> {
        // Both the digits and the power of ten are doubles themselves, and IEEE 754 rounds their quotient once.
        if let Some(digits) = self.digits.filter(|digits| digits >> 53 == 0)
            && let Some(power) = POWERS.get(self.places)
        {
            let magnitude = double_of(digits) / power;
            return Some(if self.negative { -magnitude } else { magnitude });
        }
        let text = std::str::from_utf8(self.text).ok()?;
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// The nearest float; `None` if it is beyond the largest.
    pub(crate) fn float(&self) -> Option<f32> {
        let text = std::str::from_utf8(self.text).ok()?;
        text.parse().ok().filter(|value: &f32| value.is_finite())
    }
}

/// Powers of ten that are doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// An integer below 2^53, which is a double.
#[inline]
fn double_of(value: u64) -> f64 {
    const HIGH: f64 = 4_294_967_296.0;
    f64::from(low32(value >> 32)) * HIGH + f64::from(low32(value))
}

/// The magnitude of a decimal with fraction or exponent, if it is an integer.
fn exact(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let at = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at_checked(at)?;
    let exponent: i64 = match exponent.split_first() {
        Some((_, digits)) => std::str::from_utf8(digits).ok()?.parse().unwrap_or(i64::MAX),
        None => 0,
    };
    let dot = mantissa.iter().position(|&byte| byte == b'.');
    let fraction = dot.map_or(0, |dot| mantissa.len() - dot - 1);
    let digits = || {
        mantissa.iter().filter(|byte| byte.is_ascii_digit()).map(|digit| u64::from(digit - b'0'))
    };
    if digits().all(|digit| digit == 0) {
        return Some(0);
    }
    // Digits before the dot once the exponent has moved it; all behind it must be zeros.
    let whole = i64::try_from(mantissa.len() - usize::from(dot.is_some()) - fraction)
        .ok()?
        .checked_add(exponent)?;
    let mut value = 0_u64;
    let mut count = 0_i64;
    for digit in digits() {
        if count < whole {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
        count += 1;
    }
    while count < whole {
        value = value.checked_mul(10)?;
        count += 1;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(text: &str) -> Option<i64> {
        scan_all(text.as_bytes())?.signed(i64::MIN..=i64::MAX)
    }

    #[test]
    fn integers_are_exact_in_every_spelling() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("1e2", 100),
            ("1E+2", 100),
            ("100.000", 100),
            ("12.5e1", 125),
            ("1200e-2", 12),
            ("-2.147483648e9", -2_147_483_648),
            ("0e999999999999999999999", 0),
            ("123456789012345678.0", 123_456_789_012_345_678),
            ("1234567890123456789000e-3", 1_234_567_890_123_456_789),
            ("0.0", 0),
        ] {
            assert_eq!(signed(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_integer_of_the_range_is_refused() {
        for text in [
            "0.5",
            "1e-1",
            "9223372036854775808",
            "1e19",
            "1e999999999999999999999",
            "1.25e1",
            "18446744073709551616",
        ] {
            assert_eq!(signed(text), None, "{text}");
        }
        assert_eq!(scan_all(b"-1").unwrap().unsigned(u64::MAX), None);
        assert_eq!(scan_all(b"18446744073709551615").unwrap().unsigned(u64::MAX), Some(u64::MAX));
        assert_eq!(scan_all(b"99999999999999999999").unwrap().unsigned(u64::MAX), None);
    }

    #[test]
    fn the_grammar_is_that_of_json() {
        for text in
            ["", "-", "01", "-01", "+1", "1.", ".5", "1e", "1e+", "1 ", " 1", "0x1", "1.e1", "--1"]
        {
            assert!(scan_all(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn doubles_are_those_of_the_standard_library() {
        let mut state = 1_u64;
        for nth in 0..200_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(nth) | 1);
            let digits = state >> (state % 50 + 10);
            let places = usize::try_from(state >> 40).unwrap() % 26;
            let sign = if nth % 2 == 0 { "" } else { "-" };
            let whole = digits / 10_u64.pow(u32::try_from(places.min(19)).unwrap());
            let text = format!("{sign}{whole}.{digits:0places$}");
            let expected: f64 = text.parse().unwrap();
            let found = scan_all(text.as_bytes()).unwrap().double();
            assert_eq!(found.map(f64::to_bits), Some(expected.to_bits()), "{text}");
            let plain = format!("{sign}{digits}");
            let found = scan_all(plain.as_bytes()).unwrap().double();
            assert_eq!(found, Some(plain.parse().unwrap()), "{plain}");
        }
        assert_eq!(scan_all(b"-0.0").unwrap().double().map(f64::to_bits), Some(1 << 63));
    }

    #[test]
    fn floats_beyond_the_largest_are_refused() {
        assert_eq!(scan_all(b"1.89769e308").unwrap().double(), None);
        assert_eq!(scan_all(b"3.502823e38").unwrap().float(), None);
        assert_eq!(scan_all(b"1e-400").unwrap().double(), Some(0.0));
        assert_eq!(scan_all(b"0.1").unwrap().float(), Some(0.1));
    }
}
