//! The protobuf wire format: a cursor that reads it and a buffer that writes it.

mod writer;

pub(crate) use writer::{Full, Writer};

use crate::path::Raw;

pub(crate) const VARINT: u8 = 0;
pub(crate) const FIXED64: u8 = 1;
pub(crate) const LEN: u8 = 2;
pub(crate) const START_GROUP: u8 = 3;
pub(crate) const END_GROUP: u8 = 4;
pub(crate) const FIXED32: u8 = 5;

/// How deep unknown groups may nest before the bytes count as broken.
const GROUP_DEPTH: u32 = 100;

/// The low 32 bits.
#[inline]
pub(crate) fn low32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The low 8 bits.
#[inline]
pub(crate) fn low8(value: u64) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

/// An index; every platform this runs on has at least 32 bits.
#[inline]
pub(crate) fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[inline]
pub(crate) fn zigzag32(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)).cast_unsigned())
}

#[inline]
pub(crate) fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
pub(crate) fn unzigzag32(value: u64) -> i32 {
    let value = low32(value);
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[inline]
pub(crate) fn unzigzag64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// A cursor over wire bytes. `None` means that they are broken.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'w> {
    rest: &'w [u8],
}

impl<'w> Reader<'w> {
    #[inline]
    pub(crate) fn new(rest: &'w [u8]) -> Self {
        Self { rest }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What lies between this cursor and a later one over the same bytes.
    pub(crate) fn up_to(&self, later: &Self) -> &'w [u8] {
        self.rest.get(..self.rest.len().saturating_sub(later.rest.len())).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        match *self.rest {
            [low, ref rest @ ..] if low < 0x80 => {
                self.rest = rest;
                Some(u64::from(low))
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.rest = rest;
                Some(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let word = match self.rest.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            // The blanks behind it end a varint, which is then longer than what there is.
            None => crate::json::short(self.rest),
        };
        let last = !word & HIGH;
        if last == 0 {
            return self.longest_varint();
        }
        let (_, rest) = self.rest.split_at_checked(index(last.trailing_zeros() >> 3) + 1)?;
        self.rest = rest;
        // Seven bits of each byte up to the last, put together in pairs.
        let septets = word & (last ^ (last - 1)) & !HIGH;
        let pairs = septets & 0x007f_007f_007f_007f | (septets & 0x7f00_7f00_7f00_7f00) >> 1;
        let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
        Some(fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4)
    }

    #[inline(never)]
    fn longest_varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in 0..10 {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            // Bits above the 64th are dropped, as every implementation does.
            value |= u64::from(byte & 0x7f) << (shift * 7);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The next field's number and wire type.
    #[inline]
    pub(crate) fn tag(&mut self) -> Option<(u32, u8)> {
        number_and_type(self.whole_tag()?)
    }

    /// The next field's tag, of which nothing is known yet.
    #[inline]
    pub(crate) fn whole_tag(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    #[inline]
    pub(crate) fn fixed32(&mut self) -> Option<u32> {
        let (value, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*value))
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Option<u64> {
        let (value, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*value))
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> Option<&'w [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(value)
    }

    /// The bytes of a group whose start tag is read, without its end tag.
    pub(crate) fn group(&mut self, number: u32) -> Option<&'w [u8]> {
        let start = self.rest;
        let mut open = [0; 100];
        let mut depth = 0_u32;
        loop {
            let before = self.rest.len();
            let (found, kind) = self.tag()?;
            match kind {
                START_GROUP => {
                    *open.get_mut(index(depth)).filter(|_| depth < GROUP_DEPTH)? = found;
                    depth += 1;
                }
                END_GROUP if depth == 0 => {
                    return start.get(..start.len() - before).filter(|_| found == number);
                }
                END_GROUP => {
                    depth -= 1;
                    if open.get(index(depth)) != Some(&found) {
                        return None;
                    }
                }
                _ => self.skip(found, kind)?,
            }
        }
    }

    /// Skips a field whose tag is read.
    pub(crate) fn skip(&mut self, number: u32, kind: u8) -> Option<()> {
        match kind {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            LEN => self.bytes().map(drop),
            START_GROUP => self.group(number).map(drop),
            FIXED32 => self.fixed32().map(drop),
            _ => None,
        }
    }

    /// The value of a field whose tag is read; `Some(None)` for an end of group that nothing started.
    pub(crate) fn raw(&mut self, number: u32, kind: u8) -> Option<Option<Raw<'w>>> {
        Some(Some(match kind {
            VARINT => Raw::Varint(self.varint()?),
            FIXED64 => Raw::Fixed64(self.fixed64()?),
            LEN => Raw::Bytes(self.bytes()?),
            START_GROUP => Raw::Bytes(self.group(number)?),
            FIXED32 => Raw::Fixed32(self.fixed32()?),
            _ => return None,
        }))
    }
}

/// The field's number and the wire type that a tag is made of; there is no field 0.
#[inline]
pub(crate) fn number_and_type(tag: u32) -> Option<(u32, u8)> {
    let number = tag >> 3;
    (number != 0).then_some((number, low8(u64::from(tag)) & 7))
}

/// A tag as it is written: up to five bytes, copied as eight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tag {
    bytes: [u8; 8],
    length: u8,
}

impl Tag {
    pub(crate) fn new(number: u32, kind: u8) -> Self {
        let mut bytes = [0; 8];
        let length = encode_varint(u64::from(number << 3 | u32::from(kind)), &mut bytes);
        Self { bytes, length: low8(u64::try_from(length).unwrap_or(0)) }
    }
}

/// A tag of one byte, for field numbers below 16.
pub(crate) fn small_tag(number: u8, kind: u8) -> u8 {
    number << 3 | kind
}

/// Writes `value` at the start of `bytes`, which must have room; gives its length.
#[inline]
pub(crate) fn encode_varint(mut value: u64, bytes: &mut [u8]) -> usize {
    let mut length = 0;
    for byte in bytes {
        length += 1;
        if value < 0x80 {
            *byte = low8(value);
            break;
        }
        *byte = low8(value) | 0x80;
        value >>= 7;
    }
    length
}

/// How many bytes `value` takes.
#[inline]
pub(crate) fn varint_length(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    index(bits.div_ceil(7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Short;

    #[test]
    fn varints_of_every_length_come_back() {
        for value in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, 0, 100);
            assert!(writer.varint(value).is_ok());
            writer.finish();
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Some(value));
            assert!(reader.is_empty());
            assert_eq!(varint_length(usize::try_from(value).unwrap()), out.len());
        }
    }

    #[test]
    fn a_varint_is_read_up_to_its_end_and_not_where_it_is_cut_off() {
        for value in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let mut bytes = [0; 10];
            let length = encode_varint(value, &mut bytes);
            for behind in 0..12 {
                let text = [&bytes[..length], &vec![0x81; behind]].concat();
                let mut reader = Reader::new(&text);
                assert_eq!(reader.varint(), Some(value), "{behind} behind");
                assert_eq!(reader.rest.len(), behind);
            }
            for cut in 0..length {
                assert_eq!(Reader::new(&bytes[..cut]).varint(), None, "{value} cut at {cut}");
            }
        }
        // More bytes than it needs, as some write what they fill in later.
        assert_eq!(Reader::new(&[0x81, 0x80, 0x80, 0x80, 0x00, 7]).varint(), Some(1));
    }

    #[test]
    fn a_varint_of_eleven_bytes_is_broken() {
        assert_eq!(Reader::new(&[0xff; 11]).varint(), None);
    }

    #[test]
    fn numbers_are_written_in_full() {
        let quote = Short::new(b"\"");
        for value in (0..20)
            .flat_map(|power| [10_u64.pow(power) - 1, 10_u64.pow(power)])
            .chain([u64::MAX, 1234567])
        {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, 0, 100);
            assert!(writer.decimal(Short::new(b",\"-"), value, quote).is_ok());
            writer.finish();
            assert_eq!(out, format!(",\"-{value}\"").into_bytes());
        }
    }

    #[test]
    fn brief_texts_of_every_length_are_written_in_full() {
        let text = b"abcdefghijklmnopqrstuvwxyz012345";
        for length in 0..=32 {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, 0, 100);
            assert!(writer.brief(&text[..length]).is_ok());
            writer.finish();
            assert_eq!(out, text[..length]);
        }
    }

    #[test]
    fn a_writer_that_is_dropped_gives_its_buffer_back() {
        let mut out = b"before".to_vec();
        drop(Writer::new(&mut out, 0, 100));
        assert!(out.starts_with(b"before"));
    }

    #[test]
    fn zigzag_is_its_own_inverse() {
        for value in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag64(zigzag64(value)), value);
        }
        for value in [0, 1, -1, i32::MAX, i32::MIN] {
            assert_eq!(unzigzag32(zigzag32(value)), value);
        }
    }

    #[test]
    fn a_length_that_outgrows_its_hole_moves_the_content() {
        for length in [0_usize, 1, 127, 128, 20_000] {
            let mut out = b"before".to_vec();
            let mut writer = Writer::new(&mut out, 0, 1 << 20);
            let body = writer.open().ok().unwrap();
            assert!(writer.bytes(&vec![7; length]).is_ok());
            assert!(writer.close(body).is_ok());
            writer.finish();
            let mut reader = Reader::new(&out[6..]);
            assert_eq!(reader.bytes(), Some(&*vec![7; length]));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_group_ends_at_its_own_end_tag() {
        // group 1 { group 2 { varint 3 } } then varint 4
        let bytes = [0x13, 0x18, 5, 0x14, 0x0c, 0x20, 1];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.group(1), Some(&bytes[..4]));
        assert_eq!(reader.tag(), Some((4, VARINT)));
        assert_eq!(Reader::new(&[0x1c]).group(1), None);
    }
}
