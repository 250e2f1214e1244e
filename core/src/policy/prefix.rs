//! The beginning of an image name in, a test on path boundaries out.

use crate::image::Reference;

/// The beginning of a normalised image name. `reg.io/team` is the beginning of `reg.io/team/app`
/// and of `reg.io/team:v1`, and not of `reg.io/team-evil` (CASES T054).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    text: Box<str>,
    boundary: Boundary,
}

/// What must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boundary {
    /// `/`: the text is a host, or was written with a slash at its end.
    Slash,
    /// The end, `/`, `:` or `@`: the text is a path.
    Part,
    /// Anything: the text names a tag or its beginning.
    Anything,
}

impl Prefix {
    /// Reads a host (`reg.io`), a host and a path (`reg.io/team`), a name without host, which is
    /// one of Docker Hub as containerd reads it (`nginx`, `me/app`), or one of these with a tag.
    /// A path after a host that was written is taken as it is: `docker.io/me` is everything of
    /// `me`. `None` when it is none of these.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, slash) = text.strip_suffix('/').map_or((text, false), |name| (name, true));
        if let Some(host) = host(name) {
            return Some(Self { text: host.into(), boundary: Boundary::Slash });
        }
        let tagged = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        if tagged {
            let reference: Reference = name.parse().ok()?;
            let boundary = Boundary::Anything;
            return (!slash).then(|| Self { text: reference.to_string().into(), boundary });
        }
        let boundary = if slash { Boundary::Slash } else { Boundary::Part };
        if !slash && !name.contains('/') {
            let reference: Reference = name.parse().ok()?;
            return Some(Self { text: reference.name().into(), boundary });
        }
        // One more part keeps `library/` from being put before a path of one part.
        let reference: Reference = format!("{name}/x").parse().ok()?;
        let path = reference.name();
        Some(Self { text: path.strip_suffix("/x")?.into(), boundary })
    }

    /// As [`Prefix::parse`], but without tag and with a host: what a registry is named by.
    pub(super) fn of_registry(text: &str) -> Option<Self> {
        let name = text.strip_suffix('/').unwrap_or(text);
        host(name.split('/').next()?)?;
        Self::parse(name).filter(|prefix| prefix.boundary != Boundary::Anything)
    }

    /// As it is compared.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it may hold a tag or its beginning.
    pub(super) fn is_tagged(&self) -> bool {
        self.boundary == Boundary::Anything
    }

    /// The host and the path that it is in or begins at, without a tag: every name that it matches
    /// begins with this, and then ends or goes on with a `/`, or with a tag or digest.
    pub(super) fn path(&self) -> &str {
        let last = self.text.rfind('/').unwrap_or_default();
        let tag = |c| self.boundary == Boundary::Anything && matches!(c, ':' | '@');
        let end = self.text.get(last..).and_then(|part| part.find(tag));
        end.and_then(|end| self.text.get(..last + end)).unwrap_or(&self.text)
    }

    /// Whether `name`, a normalised reference or a part of one, begins with this.
    pub(super) fn matches(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&*self.text) else {
            return false;
        };
        match self.boundary {
            Boundary::Slash => rest.starts_with('/'),
            Boundary::Part => rest.is_empty() || rest.starts_with(['/', ':', '@']),
            Boundary::Anything => true,
        }
    }
}

/// The canonical form of a registry host that stands alone: it has a dot or is `localhost`, and if
/// it has a colon, a port follows. All else is an image name.
pub(super) fn host(text: &str) -> Option<String> {
    let name = match text.strip_prefix('[') {
        Some(_) => "[.]",
        None => match text.split_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            Some(_) => return None,
            None => text,
        },
    };
    if text.contains('/') || !(name.contains('.') || name.eq_ignore_ascii_case("localhost")) {
        return None;
    }
    let reference: Reference = format!("{text}/x/x").parse().ok()?;
    Some(reference.registry().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefix: &str, image: &str, expected: bool) {
        let image: Reference = image.parse().unwrap();
        let prefix = Prefix::parse(prefix).unwrap();
        assert_eq!(prefix.matches(&image.to_string()), expected, "{prefix:?} of {image}");
    }

    #[test]
    fn t054_a_beginning_ends_at_a_boundary() {
        check("reg.io/team", "reg.io/team/x", true);
        check("reg.io/team", "reg.io/team:v1", true);
        check("reg.io/team", "reg.io/team-evil/x", false);
        check("reg.io/team/", "reg.io/team/x", true);
        check("reg.io/team/", "reg.io/team:v1", false);
        check("reg.io", "reg.io/x", true);
        check("reg.io", "reg.io:5000/x", false);
        check("reg.io", "reg.io.evil.com/x", false);
        check("reg.io:5000", "reg.io:5000/x", true);
        check("docker.io", "docker.io.evil.com/nginx", false);
        check("docker.io/", "nginx", true);
    }

    #[test]
    fn a_beginning_is_normalised_as_containerd_does() {
        check("index.docker.io", "nginx", true);
        check("REG.io/team", "reg.io/team/x", true);
        check("nginx", "nginx:1.27", true);
        check("nginx", "nginx-evil", false);
        check("me/app", "docker.io/me/app", true);
        check("me/", "me/app", true);
        check("docker.io/library", "nginx", true);
        check("docker.io/me", "me/app", true);
        check("nginx:1.", "nginx:1.27", true);
        check("nginx:1.", "nginx:2.0", false);
        check("localhost:5000", "localhost:5000/x", true);
    }

    #[test]
    fn the_path_of_a_beginning_has_no_tag() {
        for (prefix, path) in [
            ("reg.io", "reg.io"),
            ("reg.io:5000", "reg.io:5000"),
            ("reg.io:5000/team/", "reg.io:5000/team"),
            ("reg.io:5000/team:v1", "reg.io:5000/team"),
            ("nginx:1.", "docker.io/library/nginx"),
        ] {
            assert_eq!(Prefix::parse(prefix).unwrap().path(), path, "{prefix}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "/", "Nginx", "reg.io//x", "a b", "reg.io/../x", "reg.io/a:t/", "nginx@sha"]
        {
            assert_eq!(Prefix::parse(bad), None, "{bad}");
        }
        for bad in ["nginx", "team/app", "reg.io/app:v1", "", "/x"] {
            assert_eq!(Prefix::of_registry(bad), None, "{bad}");
        }
        assert!(Prefix::of_registry("[::1]:5000/x").is_some());
    }
}
