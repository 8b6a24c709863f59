//! Whether text is UTF-8, for texts that are ASCII but for some letters.

/// Whether these bytes are UTF-8, as `std::str::from_utf8` has it. That one goes byte by byte for a while after each
/// letter beyond ASCII; this one looks at eight bytes at a time throughout, and at sixteen
/// where there are no such letters.
#[inline(never)]
pub(crate) fn is_utf8(text: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const WIDE_HIGH: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;
    let mut rest = text;
    loop {
        while let Some((chunk, after)) = rest.split_first_chunk::<16>()
            && u128::from_le_bytes(*chunk) & WIDE_HIGH == 0
        {
            rest = after;
        }
        let word = match rest.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => crate::json::short(rest),
        };
        let plain = crate::wire::index((word & HIGH).trailing_zeros() >> 3);
        // Behind the last bytes there are blanks.
        let Some(after) = rest.get(plain..) else { return true };
        rest = after;
        if plain < 8 {
            let Some(length) = letter(rest) else { return false };
            rest = rest.get(length..).unwrap_or_default();
        }
        if rest.is_empty() {
            return true;
        }
    }
}

/// The length of the letter beyond ASCII that these bytes begin with (table 3-7 of the Unicode standard).
#[inline]
fn letter(text: &[u8]) -> Option<usize> {
    match *text {
        [0xc2..=0xdf, 0x80..=0xbf, ..] => Some(2),
        [0xe0, 0xa0..=0xbf, 0x80..=0xbf, ..]
        | [0xe1..=0xec | 0xee..=0xef, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xed, 0x80..=0x9f, 0x80..=0xbf, ..] => Some(3),
        [0xf0, 0x90..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf1..=0xf3, 0x80..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf4, 0x80..=0x8f, 0x80..=0xbf, 0x80..=0xbf, ..] => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(text: &[u8]) {
        assert_eq!(is_utf8(text), std::str::from_utf8(text).is_ok(), "{text:02x?}");
    }

    #[test]
    fn every_letter_is_taken_at_every_offset() {
        for letter in ('\0'..=char::MAX).step_by(41) {
            for offset in [0, 3, 7, 8] {
                let text = format!("{}{letter}tail of ASCII", "x".repeat(offset));
                assert!(is_utf8(text.as_bytes()), "{text}");
                assert!(is_utf8(text.trim_end_matches("tail of ASCII").as_bytes()), "{text}");
            }
        }
        assert!(is_utf8(b""));
    }

    #[test]
    fn two_bytes_of_every_sort_are_judged_as_the_standard_library_does() {
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                for end in [&[][..], &[0x80], &[0xbf, 0x80], &[0x80, 0x80, 0x41], b"abcdefgh"] {
                    same(&[&[first, second], end].concat());
                    same(&[b"1234567", &[first, second][..], end].concat());
                }
            }
        }
    }

    #[test]
    fn texts_with_a_byte_changed_are_judged_as_the_standard_library_does() {
        let text =
            "größere Läden für 😀 Füße – ЖЖЖ 漢字 and ASCII for a while after that".as_bytes();
        for at in 0..text.len() {
            same(&text[..at]);
            same(&text[at..]);
            for byte in 0..=255_u8 {
                let mut changed = text.to_vec();
                changed[at] = byte;
                same(&changed);
            }
        }
    }
}
