//! Bytes of a text of JSON in, where its texts, numbers and words end out.

use super::tree::Kind;

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("what follows is no UTF-8")]
    Text,
    #[error("something follows the value")]
    End,
    #[error("expected a value")]
    Value,
    #[error("expected the name of a member")]
    Name,
    #[error("expected `:`")]
    Colon,
    #[error("expected `,` or `]`")]
    List,
    #[error("expected `,` or `}}`")]
    Object,
    #[error("a text does not end")]
    Open,
    #[error("a text has a control character that is not escaped")]
    Control,
    #[error("what is escaped is no character")]
    Escape,
    #[error("a number is too large")]
    Number,
    #[error("`{0}` is there twice")]
    Twice(String),
}

/// Where a text is no JSON that can be read in one way, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line} column {column}")]
pub struct JsonError {
    what: Wrong,
    line: usize,
    column: usize,
}

impl JsonError {
    pub(super) fn new(what: Wrong, text: &str, at: usize) -> Self {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        let lines = before.split(|byte| *byte == b'\n');
        let (line, column) = lines.fold((0, 0), |(line, _), last| (line + 1, last.len() + 1));
        Self { what, line, column }
    }
}

/// A number as short as this and without an exponent is none that is too large.
const SURELY_FINITE: usize = 300;
/// Each byte of a word 1, and the highest bit of each.
const ONES: u64 = u64::MAX / 0xff;
const HIGH: u64 = ONES << 7;

/// The place of the first quote, backslash or control character; the end where there is none.
pub(super) fn special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*chunk);
        let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let quotes = is_zero(word ^ (ONES * u64::from(b'"')));
        let backslashes = is_zero(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        // Above the lowest that is found others may be wrong.
        let found = (quotes | backslashes | controls) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(is_special).map_or(bytes.len(), |further| at + further)
}

/// A number that is mostly another for another text; texts that were chosen for it may have the same.
pub(super) fn mixed(bytes: &[u8], start: usize, end: usize) -> u64 {
    let length = end.saturating_sub(start);
    let first = match bytes.get(start..).and_then(<[u8]>::first_chunk) {
        Some(word) => u64::from_le_bytes(*word),
        // So near to the end of all it is put together.
        None => {
            let text = bytes.get(start..end).unwrap_or_default();
            text.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        }
    };
    // What is behind a short text is not of it.
    let behind = u32::try_from(8_usize.saturating_sub(length)).unwrap_or(0) * 8;
    let first = first & u64::MAX.checked_shr(behind).unwrap_or(0);
    (first ^ (length as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Adds what is meant by the text whose first quote is before `from`; gives the place behind its last.
pub(super) fn unescape(
    text: &str,
    from: usize,
    into: &mut String,
) -> Result<usize, (Wrong, usize)> {
    let mut from = from;
    loop {
        let at = special(text.as_bytes(), from);
        into.push_str(text.get(from..at).unwrap_or_default());
        if ends(text.as_bytes(), at)? {
            return Ok(at + 1);
        }
        let (character, behind) = escaped(text.as_bytes(), at).ok_or((Wrong::Escape, at))?;
        into.push(character);
        from = behind;
    }
}

/// The place behind the last quote of the text whose first one is before `from`.
pub(super) fn pass_over(bytes: &[u8], from: usize) -> Result<usize, (Wrong, usize)> {
    let mut from = from;
    loop {
        let at = special(bytes, from);
        if ends(bytes, at)? {
            return Ok(at + 1);
        }
        let escaped = match bytes.get(at + 1) {
            Some(b'u') => unit(bytes, at).map(|_| at + 6),
            Some(byte) => simple(*byte).map(|_| at + 2),
            None => None,
        };
        from = escaped.ok_or((Wrong::Escape, at))?;
    }
}

/// Whether a text ends at what is special at `at`; if not, it goes on with what is escaped there.
fn ends(bytes: &[u8], at: usize) -> Result<bool, (Wrong, usize)> {
    match bytes.get(at) {
        Some(b'"') => Ok(true),
        Some(b'\\') => Ok(false),
        Some(_) => Err((Wrong::Control, at)),
        None => Err((Wrong::Open, at)),
    }
}

/// The character that is escaped at `at`, and the place behind it.
fn escaped(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let byte = *bytes.get(at + 1)?;
    if byte != b'u' {
        return Some((simple(byte)?, at + 2));
    }
    let first = unit(bytes, at)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, at + 6));
    }
    // Of two surrogates the higher one comes first.
    let high = first.checked_sub(0xd800).filter(|high| *high < 0x400)?;
    let low = unit(bytes, at + 6)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    Some((char::from_u32(0x1_0000 + (high << 10 | low))?, at + 12))
}

/// What `\u` and four digits at `at` are.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// What a backslash before `byte` means.
const fn simple(byte: u8) -> Option<char> {
    Some(match byte {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    })
}

/// What is at `at`, if it is a word or a number, and where that ends.
pub(super) fn scalar(bytes: &[u8], at: usize) -> Option<(Kind, usize)> {
    let rest = bytes.get(at..)?;
    let words: [(&[u8], Kind); 3] =
        [(b"true", Kind::True), (b"false", Kind::False), (b"null", Kind::Null)];
    let word = words.into_iter().find(|(word, _)| rest.starts_with(word));
    match word {
        Some((word, kind)) => Some((kind, at + word.len())),
        None => Some((Kind::Number, number(bytes, at)?)),
    }
}

/// Where the number at `at` ends.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let is_at = |at: usize, those: &[u8]| bytes.get(at).is_some_and(|byte| those.contains(byte));
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let first = at + usize::from(is_at(at, b"-"));
    // No digit follows a zero that is the first.
    let mut end = if is_at(first, b"0") { first + 1 } else { digits(first)? };
    if is_at(end, b".") {
        end = digits(end + 1)?;
    }
    if is_at(end, b"eE") {
        end = digits(end + 1 + usize::from(is_at(end + 1, b"+-")))?;
    }
    Some(end)
}

/// Whether the number from `start` to `end` is one for others too, who have 64 bits for it.
pub(super) fn is_finite(text: &str, start: usize, end: usize) -> bool {
    let number = text.get(start..end).unwrap_or_default();
    if number.len() <= SURELY_FINITE && !number.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        return true;
    }
    number.parse().is_ok_and(f64::is_finite)
}

/// A place in a text, all of which are below [`super::MAX_REVIEW`].
pub(super) fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
