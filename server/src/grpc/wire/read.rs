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
    Bytes(Content<'a>),
    /// What no field of the contract has.
    Other,
}

/// Bytes, and the same as a text where that is known already.
#[derive(Debug, Clone, Copy)]
pub(in crate::grpc) struct Content<'a> {
    bytes: &'a [u8],
    text: Option<&'a str>,
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
            Self::Bytes(content) => Ok(content.bytes),
            Self::Number(_) | Self::Other => Err(Malformed::Type),
        }
    }

    #[inline]
    pub(in crate::grpc) fn text(self) -> Result<&'a str, Malformed> {
        match self {
            Self::Bytes(Content { text: Some(text), .. }) => Ok(text),
            _ => std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Text),
        }
    }

    pub(in crate::grpc) const fn message(self) -> Result<Reader<'a>, Malformed> {
        match self {
            Self::Bytes(Content { bytes, text: Some(text) }) => {
                Ok(Reader { rest: bytes, whole: text })
            }
            Self::Bytes(content) => Ok(Reader::new(content.bytes)),
            Self::Number(_) | Self::Other => Err(Malformed::Type),
        }
    }

    /// A message whose fields are texts, nearly all, or messages of such: it is looked at once as a whole
    /// whether it is text, and not once for each field. What is not is read as any other.
    pub(in crate::grpc) fn texts(self) -> Result<Reader<'a>, Malformed> {
        let reader = self.message()?;
        if !reader.whole.is_empty() {
            return Ok(reader);
        }
        Ok(Reader { whole: std::str::from_utf8(reader.rest).unwrap_or_default(), ..reader })
    }
}

/// Reads one message.
#[derive(Debug)]
pub(in crate::grpc) struct Reader<'a> {
    rest: &'a [u8],
    /// All of the message, of which `rest` is the end, if it is known to be text; empty otherwise.
    whole: &'a str,
}

impl<'a> Reader<'a> {
    pub(in crate::grpc) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message, whole: "" }
    }

    /// How many bytes of it were not read yet.
    pub(in crate::grpc) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The number of the next field and its content, until there is none.
    #[inline]
    pub(in crate::grpc) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        // Nearly all: a text or a message of less than 128 bytes, in one of the first fifteen fields.
        if let [key @ 8..0x80, length @ 0..0x80, rest @ ..] = self.rest
            && key & 7 == 2
            && let Some((taken, rest)) = rest.split_at_checked((*length).into())
        {
            self.rest = rest;
            return Ok(Some((u32::from(key >> 3), Value::Bytes(self.content(taken)))));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.field(0)
    }

    /// What was `taken` just now, before `rest`.
    #[inline]
    fn content(&self, taken: &'a [u8]) -> Content<'a> {
        let text = self.whole.len().checked_sub(self.rest.len()).and_then(|end| {
            // None too where it cuts a character in two.
            self.whole.get(end.checked_sub(taken.len())?..end)
        });
        Content { bytes: taken, text }
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
                let taken = self.take(usize::try_from(length).map_err(|_| Malformed::Short)?)?;
                Value::Bytes(self.content(taken))
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
