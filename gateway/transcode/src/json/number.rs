//! Numbers as text: exact integers in any spelling, and floats.

use std::ops::RangeInclusive;

/// A number of JSON.
#[derive(Clone, Copy)]
pub(crate) struct Number<'j> {
    pub(crate) text: &'j [u8],
    negative: bool,
    /// Its digits as an integer, if it is spelt as one and fits.
    plain: Option<u64>,
}

/// Reads a number at the start of `text` by the grammar of JSON.
#[inline]
pub(crate) fn scan(text: &[u8]) -> Option<Number<'_>> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut at = start;
    let mut value = 0_u64;
    let mut fits = true;
    while let Some(digit) =
        text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
    {
        if at - start < 19 {
            value = value * 10 + u64::from(digit);
        } else {
            let next = value.checked_mul(10).and_then(|ten| ten.checked_add(u64::from(digit)));
            fits &= next.is_some();
            value = next.unwrap_or(0);
        }
        at += 1;
    }
    if at == start || (at > start + 1 && text.get(start) == Some(&b'0')) {
        return None;
    }
    if !matches!(text.get(at), Some(b'.' | b'e' | b'E')) {
        return Some(Number { text: text.get(..at)?, negative, plain: fits.then_some(value) });
    }
    let end = scan_rest(text, at)?;
    Some(Number { text: text.get(..end)?, negative, plain: None })
}

/// The fraction and exponent; gives their end.
fn scan_rest(text: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > start).then_some(at)
    };
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = matches!(text.get(at + 1), Some(b'+' | b'-'));
        at = digits(at + 1 + usize::from(sign))?;
    }
    Some(at)
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
        match self.plain {
            Some(value) => Some(value),
            None => exact(self.text),
        }
    }

    /// The nearest double; `None` if it is beyond the largest.
    pub(crate) fn double(&self) -> Option<f64> {
        let text = std::str::from_utf8(self.text).ok()?;
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// The nearest float; `None` if it is beyond the largest.
    pub(crate) fn float(&self) -> Option<f32> {
        let text = std::str::from_utf8(self.text).ok()?;
        text.parse().ok().filter(|value: &f32| value.is_finite())
    }
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
    fn floats_beyond_the_largest_are_refused() {
        assert_eq!(scan_all(b"1.89769e308").unwrap().double(), None);
        assert_eq!(scan_all(b"3.502823e38").unwrap().float(), None);
        assert_eq!(scan_all(b"1e-400").unwrap().double(), Some(0.0));
        assert_eq!(scan_all(b"0.1").unwrap().float(), Some(0.1));
    }
}
