//! A pattern with `*` and `**` in, a test of names that have path segments out.

use crate::image::Reference;

/// The most wildcards of one pattern, so that no pattern is slow (CASES T095).
const MAX_WILDCARDS: usize = 16;

/// A text in which `*` stands for any characters of one path segment and `**` for any at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Token {
    Text(Box<str>),
    /// Any characters but `/`, or none.
    Segment,
    /// Any characters, or none.
    Anything,
}

impl Glob {
    /// Reads a pattern; `None` with more than [`MAX_WILDCARDS`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('*') {
            if !before.is_empty() {
                tokens.push(Token::Text(before.into()));
            }
            let stars = after.len() - after.trim_start_matches('*').len();
            tokens.push(if stars == 0 { Token::Segment } else { Token::Anything });
            rest = after.trim_start_matches('*');
        }
        if !rest.is_empty() {
            tokens.push(Token::Text(rest.into()));
        }
        let wildcards = tokens.iter().filter(|t| !matches!(t, Token::Text(_))).count();
        (wildcards <= MAX_WILDCARDS).then_some(Self { tokens })
    }

    /// A text that fits.
    pub(super) fn example(&self) -> String {
        let part = |token: &Token| match token {
            Token::Text(text) => text.to_string(),
            Token::Segment | Token::Anything => "x".to_owned(),
        };
        self.tokens.iter().map(part).collect()
    }

    /// Whether all of `text` fits.
    pub(crate) fn matches(&self, text: &str) -> bool {
        // Every place of the text, in bytes, that what was read of the pattern can end at.
        let mut reached = vec![false; text.len() + 1];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        for token in &self.tokens {
            reached = token.step(&reached, text.as_bytes());
        }
        reached.last().copied().unwrap_or_default()
    }
}

impl Token {
    fn step(&self, reached: &[bool], text: &[u8]) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        match self {
            Self::Text(own) => {
                for (place, _) in reached.iter().enumerate().filter(|(_, r)| **r) {
                    let fits =
                        text.get(place..).is_some_and(|rest| rest.starts_with(own.as_bytes()));
                    if let Some(end) = next.get_mut(place + own.len()).filter(|_| fits) {
                        *end = true;
                    }
                }
            }
            Self::Segment | Self::Anything => {
                let mut open = false;
                let ends = std::iter::once(None).chain(text.iter().map(Some));
                for ((before, here), end) in ends.zip(reached).zip(&mut next) {
                    if before == Some(&b'/') && *self == Self::Segment {
                        open = false;
                    }
                    open |= *here;
                    *end = open;
                }
            }
        }
        next
    }
}

/// Patterns of image names.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImagePatterns(Vec<ImagePattern>);

/// A pattern of image names, as it was written and as it is compared.
#[derive(Debug, Clone)]
pub(crate) struct ImagePattern {
    text: Box<str>,
    glob: Glob,
    /// Whether it names a tag, or a digest: what a pattern does not name, it does not look at.
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Tag,
    Digest,
}

impl ImagePattern {
    /// Reads a pattern of normalised names with their host: `reg.io/team/*`, `reg.io/**`,
    /// `docker.io/library/nginx:1.*`, `*.azurecr.io/base/*`. A wildcard in the host is only its
    /// beginning, `*.`, for any subdomain. `None` when it is none of these.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, path) = text.split_once('/')?;
        let wild = host.strip_prefix("*.");
        let host = super::prefix::host(wild.unwrap_or(host))?;
        let last = path.rsplit('/').next().unwrap_or_default();
        let part = match last.find(['@', ':']).and_then(|at| last.as_bytes().get(at)) {
            Some(b'@') => Part::Digest,
            Some(_) => Part::Tag,
            None => Part::Name,
        };
        let before_tag = path.split([':', '@']).next().unwrap_or_default();
        // What stands between the wildcards must be parts of names, or nothing would ever fit.
        let sample: String = before_tag.replace('*', "x");
        let _: Reference = format!("{host}/{sample}").parse().ok()?;
        let star = if wild.is_some() { "*." } else { "" };
        let glob = Glob::parse(&format!("{star}{host}/{path}"))?;
        Some(Self { text: text.into(), glob, part })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `image` fits for certain: beside a digest, a tag is anyone's word and is not looked
    /// at.
    pub(crate) fn matches(&self, image: &Reference) -> bool {
        match (self.part, image.with_tag(), image.with_digest()) {
            (Part::Name, ..) => self.glob.matches(image.name()),
            (Part::Tag, Some(tagged), None) => self.glob.matches(tagged),
            (Part::Digest, _, Some(pinned)) => self.glob.matches(pinned),
            (Part::Tag | Part::Digest, ..) => false,
        }
    }
}

impl ImagePatterns {
    pub(crate) const fn new(patterns: Vec<ImagePattern>) -> Self {
        Self(patterns)
    }

    pub(super) fn extend(&mut self, patterns: Vec<ImagePattern>) {
        self.0.extend(patterns);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first pattern that fits `image`.
    pub(crate) fn find(&self, image: &Reference) -> Option<&ImagePattern> {
        self.0.iter().find(|pattern| pattern.matches(image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, image: &str, expected: bool) {
        let compiled = ImagePattern::parse(pattern).unwrap();
        let image: Reference = image.parse().unwrap();
        assert_eq!(compiled.matches(&image), expected, "{pattern} of {image}");
    }

    #[test]
    fn one_star_stays_within_a_segment_and_two_cross_segments() {
        check("reg.io/nginx*", "reg.io/nginx:latest", true);
        check("reg.io/nginx*", "reg.io/nginx-images/nginx", false);
        check("reg.io/nginx**", "reg.io/nginx-1.14.2/image:latest", true);
        check("reg.io/*/app", "reg.io/team/app:v1", true);
        check("reg.io/*/app", "reg.io/team/sub/app:v1", false);
        check("reg.io/**/app", "reg.io/team/sub/app", true);
        check("reg.io/**", "reg.io/team/sub/app", true);
        check("reg.io/**", "reg.io.evil.com/team", false);
        check("docker.io/library/*", "nginx", true);
        check("index.docker.io/library/*", "nginx", true);
        check("*.azurecr.io/base/*", "team.azurecr.io/base/x", true);
        check("*.azurecr.io/base/*", "azurecr.io/base/x", false);
        check("*.azurecr.io/base/*", "team.azurecr.io.evil.com/base/x", false);
        check("*.azurecr.io/base/*", "evil-azurecr.io/base/x", false);
    }

    #[test]
    fn a_tag_is_only_looked_at_where_it_decides() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        check("reg.io/app:v1.*", "reg.io/app:v1.2", true);
        check("reg.io/app:v1.*", "reg.io/app:v2", false);
        check("reg.io/app:v1.*", &format!("reg.io/app:v1.2@{digest}"), false);
        check("reg.io/app", &format!("reg.io/app:v1.2@{digest}"), true);
        check(&format!("reg.io/app@{digest}"), &format!("reg.io/app:v1@{digest}"), true);
        check(&format!("reg.io/app@{digest}"), "reg.io/app:v1", false);
    }

    #[test]
    fn what_could_fit_no_image_or_any_host_is_refused() {
        for bad in [
            "",
            "*",
            "**",
            "nginx",
            "team/app",
            "reg.io",
            "reg.io/",
            "reg*.io/app",
            "*/app",
            "reg.io/Team",
            "reg.io/a b",
            "*.io*/x",
            "reg.io//x",
        ] {
            assert!(ImagePattern::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_has_at_most_so_many_wildcards() {
        assert!(Glob::parse(&"a*".repeat(MAX_WILDCARDS)).is_some());
        assert!(Glob::parse(&"a*".repeat(MAX_WILDCARDS + 1)).is_none());
    }
}
