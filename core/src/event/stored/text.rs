//! Bytes of a stored decision in, its numbers, instants, digests and texts out.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::super::kept;
use super::read::StoredError;
use crate::event::{MAX_LABELS, MAX_NAME};
use crate::image::Digest;

/// Reads one part after the other.
pub(super) struct Parts<'a> {
    pub(super) rest: &'a [u8],
    /// Whether a text was not whole, or is not shown as it was.
    pub(super) cut: bool,
}

impl<'a> Parts<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, StoredError> {
        let (byte, rest) = self.rest.split_first().ok_or(StoredError::Short)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], StoredError> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or(StoredError::Short)?;
        self.rest = rest;
        Ok(*chunk)
    }

    pub(super) fn varint(&mut self) -> Result<u64, StoredError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                return Err(StoredError::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(StoredError::Number)
    }

    pub(super) fn size(&mut self) -> Result<usize, StoredError> {
        usize::try_from(self.varint()?).map_err(|_| StoredError::Number)
    }

    pub(super) fn raw(&mut self) -> Result<&'a str, StoredError> {
        let length = self.size()?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or(StoredError::Short)?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| StoredError::Text)
    }

    /// A text as it is shown.
    pub(super) fn text(&mut self, limit: usize) -> Result<String, StoredError> {
        let raw = self.raw()?;
        Ok(kept(raw, limit, &mut self.cut))
    }

    pub(super) fn name(&mut self) -> Result<String, StoredError> {
        self.text(MAX_NAME)
    }

    pub(super) fn labels(&mut self) -> Result<BTreeMap<String, String>, StoredError> {
        let count = self.size()?;
        if count > MAX_LABELS {
            return Err(StoredError::Number);
        }
        (0..count).map(|_| Ok((self.name()?, self.name()?))).collect()
    }

    pub(super) fn digest(&mut self) -> Result<Option<Digest>, StoredError> {
        Ok(if self.byte()? == 0 { None } else { Some(Digest::from_bytes(self.chunk()?)) })
    }

    pub(super) fn instant(&mut self) -> Result<OffsetDateTime, StoredError> {
        let seconds = i64::from_le_bytes(self.chunk()?);
        let nanoseconds = u32::from_le_bytes(self.chunk()?);
        let instant = OffsetDateTime::from_unix_timestamp(seconds);
        let instant = instant.and_then(|instant| instant.replace_nanosecond(nanoseconds));
        instant.map_err(|_| StoredError::Time)
    }
}
