//! Bytes or 64 hexadecimal digits in, the digest out, and back.

use std::fmt;
use std::str::FromStr;

use super::{ImageError, MAX_REFERENCE};

/// A SHA-256 content digest of a manifest, index or blob: the only key under which anything is
/// cached.
///
/// Written `sha256:` and 64 lower-case hexadecimal digits (OCI image-spec, descriptor.md).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut raw = [0; 32];
        raw.copy_from_slice(hash.as_ref());
        Self(raw)
    }

    /// A digest from its 32 raw bytes.
    #[must_use]
    pub const fn from_bytes(raw: [u8; 32]) -> Self {
        Self(raw)
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        std::str::from_utf8(&self.hex_digits()).unwrap_or_default().to_owned()
    }

    /// The 64 hexadecimal digits, in ASCII.
    #[must_use]
    pub fn hex_digits(&self) -> [u8; 64] {
        const fn digit(nibble: u8) -> u8 {
            if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
        }
        let mut digits = [0; 64];
        let (pairs, _) = digits.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        digits
    }

    /// The tag under which registries without the referrers API keep the list of what is attached
    /// to this digest (distribution-spec 1.1, "Referrers Tag Schema").
    #[must_use]
    pub fn fallback_tag(&self) -> String {
        format!("sha256-{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.len() > MAX_REFERENCE {
            return Err(ImageError::TooLong {
                part: "digest",
                length: text.len(),
                limit: MAX_REFERENCE,
            });
        }
        let malformed = || ImageError::Digest(text.to_owned());
        let Some(hex) = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64) else {
            let (algorithm, _) = text.split_once(':').ok_or_else(malformed)?;
            if matches!(algorithm, "sha384" | "sha512" | "blake3") {
                return Err(ImageError::Algorithm(algorithm.to_owned()));
            }
            return Err(malformed());
        };
        let mut nibbles = [0_u8; 64];
        let mut wrong = 0;
        for (value, digit) in nibbles.iter_mut().zip(hex.bytes()) {
            *value = nibble(digit);
            // A digit that is none has bits that no other has.
            wrong |= *value;
        }
        if wrong > 15 {
            return Err(malformed());
        }
        let mut raw = [0_u8; 32];
        let (pairs, _) = nibbles.as_chunks::<2>();
        for (byte, [high, low]) in raw.iter_mut().zip(pairs) {
            *byte = high << 4 | low;
        }
        Ok(Self(raw))
    }
}

/// The value of a hexadecimal digit in lower case; of anything else, more than 15.
/// Without a branch, so that many are looked at together.
const fn nibble(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
    let letter = if letter < 6 { letter + 10 } else { u8::MAX };
    if number < 10 { number } else { letter }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(std::str::from_utf8(&self.hex_digits()).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
