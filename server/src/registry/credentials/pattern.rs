//! A host with patterns for labels in, whether a registry's host is meant out.

/// A host and an optional port, of which each label may hold `*` and `?`. They match within a label
/// only, so that `*.azurecr.io` is neither `evil-azurecr.io` nor `a.b.azurecr.io` (CASES T041).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPattern {
    text: String,
}

impl HostPattern {
    /// Reads a pattern; in lower case, without the port of TLS, and by the one name of Docker Hub.
    /// `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let host = lower.strip_suffix(":443").unwrap_or(&lower);
        let (name, port) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'*' | b'?'))
        };
        let number = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with(['0', '+']);
        if !name.split('.').all(label) || !port.is_none_or(number) {
            return None;
        }
        let text = match host {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            other => other,
        };
        Some(Self { text: text.to_owned() })
    }

    /// As it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches `registry`, a host as image references have it.
    #[must_use]
    pub fn matches(&self, registry: &str) -> bool {
        fn split(text: &str) -> (&str, Option<&str>) {
            text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)))
        }
        let ((pattern, port), (host, asked)) = (split(&self.text), split(registry));
        if port != asked {
            return false;
        }
        let (mut patterns, mut labels) = (pattern.split('.'), host.split('.'));
        loop {
            match (patterns.next(), labels.next()) {
                (None, None) => return true,
                (Some(p), Some(l)) if is_match(p.as_bytes(), l.as_bytes()) => {}
                _ => return false,
            }
        }
    }
}

/// Whether `*` for any bytes and `?` for one make `pattern` into `text`. Of two ways to go on, the
/// last `*` alone is tried again, so that the time is the product of the lengths at most.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b) if *b == b'?' || Some(b) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, hosts: &[&str], others: &[&str]) {
        let pattern = HostPattern::parse(pattern).unwrap();
        for host in hosts {
            assert!(pattern.matches(host), "{host}");
        }
        for host in others {
            assert!(!pattern.matches(host), "{host}");
        }
    }

    #[test]
    fn t041_a_pattern_matches_whole_labels_on_its_port_only() {
        check(
            "*.azurecr.io",
            &["x.azurecr.io", "team-1.azurecr.io"],
            &[
                "azurecr.io",
                "a.b.azurecr.io",
                "x.azurecr.io.attacker.com",
                "azurecr.io.evil",
                "evil-azurecr.io",
                "x.evil-azurecr.io",
                "x.azurecr.io:444",
                "x.azurecr.io.",
                "X.AZURECR.IO.evil",
                "x.xn--azurecr-9ib.io",
                "x.azurecr.i0",
                "",
            ],
        );
        check(
            "*.DKR.ecr.*.amazonaws.com",
            &["1.dkr.ecr.eu-west-1.amazonaws.com"],
            &[
                "1.dkr.ecr.amazonaws.com",
                "1.dkr.ecr.a.b.amazonaws.com",
                "1.dkr-ecr.eu-west-1.amazonaws.com",
            ],
        );
        check("reg-*.io:5000", &["reg-1.io:5000", "reg-.io:5000"], &["reg-1.io", "reg-1.io:50"]);
        check("r?g.io:443", &["reg.io", "rug.io"], &["rg.io", "reeg.io", "reg.io:443"]);
        check("a*b*c", &["abc", "aXbYc", "abbcc"], &["ab", "abcd", "acb"]);
        check("https", &["https"], &[]);
        check("index.docker.io", &["docker.io"], &["index.docker.io"]);
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in ["", ".", "a.", ".a", "a..b", "a/b", "a:b", "a:0", "a:99999", "[::1]", "ä.io"]
        {
            assert!(HostPattern::parse(text).is_none(), "{text}");
        }
    }
}
