//! Parts of an image's name in, whether they are spelled as they may be out.

use std::borrow::Cow;

use super::{ImageError, MAX_REGISTRY, MAX_TAG};

pub(super) const fn bounded(
    part: &'static str,
    text: &str,
    limit: usize,
) -> Result<(), ImageError> {
    if text.len() > limit {
        return Err(ImageError::TooLong { part, length: text.len(), limit });
    }
    Ok(())
}

/// A reference as it is spelled, in parts.
pub(super) struct Split<'a> {
    pub(super) name: &'a str,
    pub(super) tag: Option<&'a str>,
    pub(super) digest: Option<&'a str>,
}

/// What is before `:` and `@`, and what is behind each: in one walk over the name.
pub(super) fn split(text: &str) -> Split<'_> {
    let (mut at, mut colon) = (None, None);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'@' => {
                at = Some(place);
                break;
            }
            b':' => colon = Some(place),
            // A colon after the last slash begins a tag; one before it belongs to the host.
            b'/' => colon = None,
            _ => {}
        }
    }
    let behind =
        |mark: Option<usize>| mark.and_then(|mark| text.get(mark + 1..at.unwrap_or(text.len())));
    Split {
        name: text.get(..colon.or(at).unwrap_or(text.len())).unwrap_or_default(),
        tag: behind(colon),
        digest: at.and_then(|at| text.get(at + 1..)),
    }
}

/// The first part is a host if it could not be a path part: it has a dot, a port or upper case, or
/// is `localhost`.
pub(super) fn split_registry(name: &str) -> (&str, &str) {
    let slash = name.bytes().position(|b| b == b'/');
    match slash.and_then(|slash| Some((name.get(..slash)?, name.get(slash + 1..)?))) {
        Some((host, rest))
            if host.bytes().any(|b| matches!(b, b'.' | b':' | b'A'..=b'Z'))
                || host == "localhost" =>
        {
            (host, rest)
        }
        _ => ("docker.io", name),
    }
}

/// One spelling for each registry: lower case, no `:443`, an IPv6 address as RFC 5952 writes it, and
/// `docker.io` for all names of Docker Hub.
pub(super) fn canonical_registry(host: &str) -> Result<Cow<'_, str>, ImageError> {
    bounded("registry host", host, MAX_REGISTRY)?;
    if is_canonical(host) {
        return Ok(Cow::Borrowed(host));
    }
    let malformed = || ImageError::Registry(host.to_owned());
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(malformed)?;
            let address: std::net::Ipv6Addr = address.parse().map_err(|_| malformed())?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':').ok_or_else(malformed)?),
            };
            (format!("[{address}]"), port)
        }
        None => {
            let (name, port) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
            if !name.split('.').all(is_label) {
                return Err(malformed());
            }
            (name.to_ascii_lowercase(), port)
        }
    };
    if !port.is_none_or(is_port) {
        return Err(malformed());
    }
    let is_host = |text: &str| split_registry(&format!("{text}/a")).0 == text;
    let canonical = match port {
        // The port of https, unless it alone shows that this is a host.
        Some("443") if is_host(&name) => name,
        Some(port) => format!("{name}:{port}"),
        None => name,
    };
    // `B/app` names a host only by its upper case: in lower case it would be a path on Docker Hub, and
    // one name must not be two images.
    if !is_host(&canonical) {
        return Err(malformed());
    }
    Ok(match canonical.as_str() {
        "index.docker.io" | "registry-1.docker.io" => Cow::Borrowed("docker.io"),
        _ => Cow::Owned(canonical),
    })
}

/// Whether a host is spelled as it should be, as most are, without a look at what is rare.
fn is_canonical(host: &str) -> bool {
    let colon = host.bytes().position(|b| b == b':');
    let name = host.get(..colon.unwrap_or(host.len())).unwrap_or_default();
    let port = colon.and_then(|colon| host.get(colon + 1..));
    let (mut before, mut dots) = (b'.', 0);
    for byte in name.bytes() {
        let is_good = match byte {
            b'a'..=b'z' | b'0'..=b'9' => true,
            b'-' => before != b'.',
            b'.' => !matches!(before, b'.' | b'-'),
            _ => false,
        };
        if !is_good {
            return false;
        }
        dots += usize::from(byte == b'.');
        before = byte;
    }
    !matches!(before, b'.' | b'-')
        && port.map_or(dots > 0, |port| port != "443" && is_port(port))
        && !name.ends_with("docker.io")
}

/// `+80` and `080` would be other spellings of a port.
fn is_port(port: &str) -> bool {
    !port.starts_with('0')
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

/// Letters, digits and `-` between them (RFC 1123).
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `sha256:` and 64 hexadecimal digits, or the digits alone: the name of an image on a node, which a
/// node would run without asking any registry.
pub(super) fn is_image_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
pub(super) fn is_path_part(part: &[u8]) -> bool {
    let is_letter = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = part;
    loop {
        let end = rest.iter().position(|b| !is_letter(b)).unwrap_or(rest.len());
        let Some((_, behind)) = rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())
        else {
            return false;
        };
        if behind.is_empty() {
            return true;
        }
        let begin = behind.iter().position(is_letter).unwrap_or(behind.len());
        let Some((between, next)) = behind.split_at_checked(begin) else {
            return false;
        };
        if !matches!(between, b"." | b"_" | b"__") && between.iter().any(|b| *b != b'-') {
            return false;
        }
        rest = next;
    }
}

pub(super) fn checked_tag(tag: &str) -> Result<&str, ImageError> {
    bounded("tag", tag, MAX_TAG)?;
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = tag.bytes().next().is_some_and(word);
    if first && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
        Ok(tag)
    } else {
        Err(ImageError::Tag(tag.to_owned()))
    }
}

#[cfg(test)]
mod tests;
