//! The protobuf wire format, read field by field without copying.
//! <https://protobuf.dev/programming-guides/encoding/>

/// One field as it lies on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'b> {
    pub(super) number: u32,
    pub(super) wire: Wire<'b>,
}

/// A value by its wire type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Delimited(&'b [u8]),
    Fixed32(u32),
    /// A group, already skipped: proto3 has none.
    Group,
}

/// Reads fields from the front of a slice.
#[derive(Debug)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'b>>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let wire = if wire_type == 3 { self.group(number, 0)? } else { self.value(wire_type)? };
        Ok(Some(Field { number, wire }))
    }

    /// A value of a known wire type.
    pub(super) fn value(&mut self, wire_type: u8) -> Result<Wire<'b>, String> {
        Ok(match wire_type {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?)
                    .map_err(|_| "a length does not fit".to_owned())?;
                Wire::Delimited(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(format!("wire type {other} does not exist")),
        })
    }

    fn tag(&mut self) -> Result<(u32, u8), String> {
        let tag =
            u32::try_from(self.varint()?).map_err(|_| "a field number is too large".to_owned())?;
        let number = tag >> 3;
        if number == 0 {
            return Err("field number 0 does not exist".to_owned());
        }
        Ok((number, tag.to_le_bytes()[0] & 7))
    }

    fn group(&mut self, number: u32, depth: usize) -> Result<Wire<'b>, String> {
        if depth > super::DEPTH_MAX {
            return Err("groups nest too deep".to_owned());
        }
        loop {
            let (inner, wire_type) = self.tag()?;
            match wire_type {
                4 if inner == number => return Ok(Wire::Group),
                4 => return Err("a group ends that did not begin".to_owned()),
                3 => {
                    self.group(inner, depth + 1)?;
                }
                other => {
                    self.value(other)?;
                }
            }
        }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for (position, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if position == 9 && *byte > 1 {
                return Err("a number is longer than 64 bits".to_owned());
            }
            value |= bits << (7 * position);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[position + 1..];
                return Ok(value);
            }
        }
        Err("a number ends too early".to_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "a value ends too early".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], String> {
        if length > self.rest.len() {
            return Err("a value ends too early".to_owned());
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }
}
