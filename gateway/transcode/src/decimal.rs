//! Integers as decimal text and back, eight digits in one word.
//!
//! A loop over digits is cheap; what costs is that their count is hard to foresee. Here nothing branches on it.

/// Text of up to 16 bytes, the first one lowest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short {
    pub(crate) bytes: u128,
    pub(crate) length: u32,
}

use crate::wire::index;

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Below this, digits with up to four bytes around them fit into a [`Short`].
pub(crate) const SHORT: u64 = 1_000_000_000_000;

/// The eight digits of a number below 10^8, each in a byte of its own, the first one lowest; zeros in front.
#[inline]
fn eight(value: u64) -> u64 {
    // Four digits in each half, then two in each quarter, then one in each byte.
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let high = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = high | ((fours - high * 100) << 16);
    let high = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    high | ((twos - high * 10) << 8)
}

/// The eight digits of a number below 10^8, with zeros in front.
#[inline]
pub(crate) fn eight_digits(value: u64) -> [u8; 8] {
    (eight(value) | ZEROS).to_le_bytes()
}

impl Short {
    /// No text.
    pub(crate) const EMPTY: Self = Self { bytes: 0, length: 0 };

    /// Up to 16 bytes of text.
    pub(crate) const fn new(text: &[u8]) -> Self {
        let (mut bytes, mut length) = (0, 0);
        let mut at = text.len();
        while at > 0 {
            at -= 1;
            bytes = bytes << 8 | byte(text[at]);
            length += 1;
        }
        Self { bytes, length }
    }

    /// The digits of a number below 10^8.
    #[inline]
    fn small(value: u64) -> Self {
        let digits = eight(value);
        // The last digit stands even where it is zero.
        let skipped = (digits | 1 << 56).trailing_zeros() >> 3;
        Self { bytes: u128::from((digits | ZEROS) >> (skipped * 8)), length: 8 - skipped }
    }

    /// The digits of a number below 10^16.
    #[inline]
    pub(crate) fn number(value: u64) -> Self {
        if value < 100_000_000 {
            return Self::small(value);
        }
        let low = eight(value % 100_000_000) | ZEROS;
        Self::small(value / 100_000_000).then(Self { bytes: u128::from(low), length: 8 })
    }

    /// All sixteen digits of a number below 10^16, with zeros in front.
    pub(crate) fn sixteen(value: u64) -> Self {
        let high = eight(value / 100_000_000) | ZEROS;
        let low = eight(value % 100_000_000) | ZEROS;
        Self { bytes: u128::from(high) | u128::from(low) << 64, length: 16 }
    }

    /// The first so many digits of a number below 10^8 that has eight with its zeros.
    #[inline]
    pub(crate) fn leading(value: u64, length: u32) -> Self {
        let mask = (1_u128 << (length * 8)) - 1;
        Self { bytes: u128::from(eight(value) | ZEROS) & mask, length }
    }

    /// This and that behind it; together they must fit.
    #[inline]
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            bytes: self.bytes | (next.bytes << ((self.length * 8) & 127)),
            length: self.length + next.length,
        }
    }
}

const fn byte(value: u8) -> u128 {
    u128::from_le_bytes([value, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// The number that eight digits are; `None` if they are not all digits.
#[inline]
pub(crate) fn parse_eight(text: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(text);
    // Each byte begins with 3, and still does with 6 added.
    let high = 0xf0f0_f0f0_f0f0_f0f0;
    if (word & high) | (word.wrapping_add(0x0606_0606_0606_0606) & high) >> 4
        != 0x3333_3333_3333_3333
    {
        return None;
    }
    let digits = word & 0x0f0f_0f0f_0f0f_0f0f;
    let twos = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// The number of up to seven digits that `text` begins with, and how many they are; `None` if it begins with eight, or with
/// none.
#[inline]
pub(crate) fn parse_few(text: [u8; 8]) -> Option<(u64, usize)> {
    let digits = u64::from_le_bytes(text) ^ ZEROS;
    // The high bit of each byte that is more than 9; exact up to the first one.
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    let bits = others.trailing_zeros() & 0x78;
    if others == 0 || bits == 0 {
        return None;
    }
    // What follows is shifted out, and zeros come in front.
    let digits = digits << (64 - bits);
    let twos = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    Some(((fours * 10_000 + (fours >> 32)) & 0xffff_ffff, index(bits >> 3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(short: Short) -> String {
        let length = usize::try_from(short.length).unwrap();
        String::from_utf8(short.bytes.to_le_bytes()[..length].to_vec()).unwrap()
    }

    fn numbers() -> impl Iterator<Item = u64> {
        (0..20_000)
            .chain((4..16).flat_map(|power| {
                let power = 10_u64.pow(power);
                [power - 1, power, power + 1, power * 9 + 7]
            }))
            .chain((0..100_000_000).step_by(9973))
            .filter(|number| *number < 10_u64.pow(16))
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in numbers() {
            assert_eq!(shown(Short::number(number)), number.to_string());
        }
    }

    #[test]
    fn pieces_stand_one_behind_the_other() {
        let quote = Short::new(b"\"");
        assert_eq!(shown(Short::new(b",\"").then(Short::number(70)).then(quote)), ",\"70\"");
        assert_eq!(shown(Short::EMPTY.then(Short::new(b"sixteen letters!"))), "sixteen letters!");
        assert_eq!(shown(Short::sixteen(12_000_000_007)), "0000012000000007");
        let leading: Vec<String> = (0..=8).map(|n| shown(Short::leading(12_345_678, n))).collect();
        assert_eq!(leading.concat(), "112123123412345123456123456712345678");
    }

    #[test]
    fn few_digits_are_read_up_to_whatever_follows() {
        for number in numbers().filter(|number| *number < 10_000_000) {
            let digits = number.to_string();
            for other in [',', ' ', '.', '}', '/', ':', '\u{7f}', '\0'] {
                let text = format!("{digits}{other}1234567").into_bytes();
                let found = parse_few(*text.first_chunk().unwrap());
                assert_eq!(found, Some((number, digits.len())), "{text:?}");
            }
            let text = [digits.as_bytes(), &[0xff; 8]].concat();
            assert_eq!(parse_few(*text.first_chunk().unwrap()), Some((number, digits.len())));
        }
        for text in [b"12345678", b",1234567", b"-1234567", b"\xb01234567"] {
            assert_eq!(parse_few(*text), None, "{text:?}");
        }
    }

    #[test]
    fn eight_digits_are_read_and_nothing_else() {
        for number in numbers().filter(|number| *number < 100_000_000) {
            let text = format!("{number:08}").into_bytes().try_into().unwrap();
            assert_eq!(parse_eight(text), Some(number));
        }
        for at in 0..8 {
            for byte in (0..=255_u8).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"12345678";
                text[at] = byte;
                assert_eq!(parse_eight(text), None, "{text:?}");
            }
        }
    }
}
