//! Huffman code in, text out (RFC 7541 appendix B).
//!
//! The code is canonical: it follows from the lengths of its words alone.

use std::sync::LazyLock;

/// The longest word, in bits.
const LONGEST: usize = 30;

/// The length of each byte's word, in bits.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// For each length: the first word of it, how many there are, and where their bytes begin.
struct Code {
    rows: [(u32, u32, usize); LONGEST + 1],
    bytes: Vec<u8>,
}

static CODE: LazyLock<Code> = LazyLock::new(|| {
    let mut rows = [(0, 0, 0); LONGEST + 1];
    let (mut bytes, mut next) = (Vec::with_capacity(LENGTHS.len()), 0_u32);
    for (length, row) in rows.iter_mut().enumerate() {
        next <<= 1;
        let of_length = (0..=u8::MAX).zip(LENGTHS).filter(|(_, l)| usize::from(*l) == length);
        let start = bytes.len();
        bytes.extend(of_length.map(|(byte, _)| byte));
        let count = u32::try_from(bytes.len() - start).unwrap_or_default();
        *row = (next, count, start);
        next += count;
    }
    Code { rows, bytes }
});

/// The text, or nothing where it is not such code. What fills the last byte must be ones, at most
/// seven of them.
pub(super) fn decode(packed: &[u8]) -> Option<Vec<u8>> {
    let code = &*CODE;
    let mut text = Vec::with_capacity(packed.len() * 2);
    let (mut word, mut length, mut ones) = (0_u32, 0_usize, true);
    for byte in packed {
        for shift in (0..8).rev() {
            let bit = byte >> shift & 1;
            word = word << 1 | u32::from(bit);
            ones &= bit == 1;
            length += 1;
            let (first, count, start) = *code.rows.get(length)?;
            let above = word.checked_sub(first).filter(|above| *above < count);
            if let Some(above) = above {
                text.push(*code.bytes.get(start + usize::try_from(above).ok()?)?);
                (word, length, ones) = (0, 0, true);
            }
        }
    }
    (ones && length < 8).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_rfc_are_read() {
        let packed = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&packed).unwrap(), b"www.example.com");
        assert_eq!(decode(&[]).unwrap(), b"");
        assert_eq!(decode(&[0x64, 0x02]).unwrap(), b"302");
    }

    #[test]
    fn what_fills_up_must_be_short_and_ones() {
        // `0` is 00000; then three bits.
        assert_eq!(decode(&[0b0000_0111]).unwrap(), b"0");
        assert_eq!(decode(&[0b0000_0110]), None);
        assert_eq!(decode(&[0b0000_0111, 0xff]), None);
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None);
    }
}
