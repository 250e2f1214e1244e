//! The bytes of a protobuf message in, its fields out, without a copy.

/// How deep groups that nobody knows may be nested.
const MAX_GROUPS: usize = 100;
/// The greatest number of a field.
const MAX_FIELD: u64 = (1 << 29) - 1;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::grpc) enum Malformed {
    #[error("it ends within a field")]
    Short,
    #[error("a number in it has more than 64 bits")]
    Number,
    #[error("a field in it has a number that no field has")]
    Field,
    #[error("a field in it has another type than the contract says")]
    Type,
    #[error("a text in it is not UTF-8")]
    Text,
    #[error("a group in it does not end, or is nested too deep")]
    Group,
}

/// The content of a field.
#[derive(Debug, Clone, Copy)]
pub(in crate::grpc) enum Value<'a> {
    /// A number or an enum.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// What no field of the contract has.
    Other,
}

impl<'a> Value<'a> {
    pub(in crate::grpc) const fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Other => Err(Malformed::Type),
        }
    }

    pub(in crate::grpc) const fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Other => Err(Malformed::Type),
        }
    }

    pub(in crate::grpc) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Text)
    }

    pub(in crate::grpc) const fn message(self) -> Result<Reader<'a>, Malformed> {
        match self.bytes() {
            Ok(bytes) => Ok(Reader::new(bytes)),
            Err(error) => Err(error),
        }
    }
}

/// Reads one message.
#[derive(Debug)]
pub(in crate::grpc) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(in crate::grpc) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The number of the next field and its content, until there is none.
    pub(in crate::grpc) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.field(0)
    }

    fn field(&mut self, depth: usize) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || number > MAX_FIELD {
            return Err(Malformed::Field);
        }
        let number = u32::try_from(number).map_err(|_| Malformed::Field)?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| Malformed::Short)?)?)
            }
            3 => self.group(number, depth).map(|()| Value::Other)?,
            4 if depth > 0 => return Ok(None),
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return Err(Malformed::Type),
        };
        Ok(Some((number, value)))
    }

    /// Skips a group: only senders of proto2 have them.
    fn group(&mut self, number: u32, depth: usize) -> Result<(), Malformed> {
        if depth >= MAX_GROUPS {
            return Err(Malformed::Group);
        }
        loop {
            let mut ahead = Reader::new(self.rest);
            let key = ahead.varint().map_err(|_| Malformed::Group)?;
            if self.field(depth + 1)?.is_none() {
                return if key >> 3 == u64::from(number) { Ok(()) } else { Err(Malformed::Group) };
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed::Short)?;
            self.rest = rest;
            if shift == 63 && *byte > 1 {
                return Err(Malformed::Number);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }
}
