//! The quick readings say what the plain ones do.

use super::*;
use proptest::prelude::*;

/// As [`is_path_part`], as the grammar has it.
fn plain_path_part(part: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = part.bytes().next().is_some_and(letter) && part.bytes().last().is_some_and(letter);
    ends && part.as_bytes().split(|b| letter(*b)).all(|between| {
        matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|b| *b == b'-')
    })
}

/// As [`is_canonical`], label by label.
fn plain_canonical(host: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
    port.map_or_else(|| name.contains('.'), |port| port != "443" && is_port(port))
        && !name.ends_with("docker.io")
        && !name.bytes().any(|b| b.is_ascii_uppercase())
        && name.split('.').all(is_label)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_part_of_a_path_is_read_as_the_grammar_has_it(part in "[a0._A/-]{0,8}|[a-z0-9._-]{0,20}") {
        prop_assert_eq!(is_path_part(part.as_bytes()), plain_path_part(&part), "{}", part);
    }

    #[test]
    fn a_reference_is_split_at_its_marks(text in "[a/:@.]{0,10}") {
        let (rest, digest) = text.split_once('@').map_or((&*text, None), |(r, d)| (r, Some(d)));
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let found = split(&text);
        prop_assert_eq!((found.name, found.tag, found.digest), (name, tag, digest));
    }

    #[test]
    fn a_host_is_read_as_its_labels_are(
        host in "[a0.:A_-]{0,8}|[a-z0-9.-]{0,20}(:[0-9]{0,6})?|[a-c.]{0,4}docker\\.io(:443|:5000)?",
    ) {
        prop_assert_eq!(is_canonical(&host), plain_canonical(&host), "{}", host);
    }
}
