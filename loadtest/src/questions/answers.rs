//! Encoded answers in, as much of them as is counted out.

use portcullis_proto::v1;
use prost::Message as _;

/// The answer to a question in a stream: whose it is, and the status of gRPC, 0 for a decision.
/// Nothing where it cannot be read.
pub(crate) fn read_stream_answer(mut message: &[u8]) -> Option<(u64, u16)> {
    let (mut id, mut status) = (0, None);
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => id = take_varint(&mut message)?,
            (field, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                let (value, rest) = message.split_at_checked(length)?;
                message = rest;
                match field {
                    2 => status = Some(0),
                    3 => {
                        let error = v1::CheckError::decode(value).ok()?;
                        status = Some(u16::try_from(error.code).ok()?);
                    }
                    _ => {}
                }
            }
            (_, 0) => {
                take_varint(&mut message)?;
            }
            (_, 1) => message = message.get(8..)?,
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some((id, status?))
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The answer to a question in bulk: the actions and what is known, by their numbers. Nothing where it
/// cannot be read.
pub(crate) fn read_bulk_answer(mut message: &[u8]) -> Option<(Vec<i32>, Vec<i32>)> {
    let (mut actions, mut statuses) = (Vec::new(), Vec::new());
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        if key & 7 == 0 {
            take_varint(&mut message)?;
            continue;
        }
        if key & 7 != 2 {
            return None;
        }
        let length = usize::try_from(take_varint(&mut message)?).ok()?;
        let (mut packed, rest) = message.split_at_checked(length)?;
        message = rest;
        let list = match key >> 3 {
            1 => &mut actions,
            4 => &mut statuses,
            _ => continue,
        };
        while !packed.is_empty() {
            list.push(i32::try_from(take_varint(&mut packed)?).ok()?);
        }
    }
    Some((actions, statuses))
}
