//! What callers send: a message of a question is read field by field, without code that is generated.
//!
//! The file itself is compiled, as the crate that it is of would bring its server.
#![allow(dead_code, reason = "the service uses more of it")]

#[path = "../../server/src/grpc/wire/read.rs"]
mod read;

use self::read::Reader;

/// How deep messages are nested that are taken for such.
const DEPTH: usize = 4;

/// Reads a message, and what its fields have as whatever they may be: as one of texts, and as any other.
pub fn message(bytes: &[u8]) {
    walk(Reader::new(bytes), Reader::new(bytes), DEPTH);
}

/// Both have the same fields, and are wrong in the same way.
fn walk(mut plain: Reader<'_>, mut texts: Reader<'_>, depth: usize) {
    loop {
        let (one, other) = (plain.next(), texts.next());
        let (Ok(Some((field, value))), Ok(Some((same_field, same)))) = (one, other) else {
            assert_eq!(one.err(), other.err());
            return;
        };
        assert_eq!((field, value.number()), (same_field, same.number()));
        assert_eq!((value.bytes(), value.text()), (same.bytes(), same.text()));
        if let Ok(bytes) = value.bytes() {
            assert_eq!(value.text().ok(), std::str::from_utf8(bytes).ok());
        }
        if let (Ok(inner), Ok(same)) = (value.message(), same.texts())
            && depth > 0
        {
            walk(inner, same, depth - 1);
        }
    }
}
