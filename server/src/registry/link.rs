//! `Link` headers in, where the next page is out (RFC 8288).

use http::header::LINK;
use http::{HeaderMap, HeaderValue};

use super::fault::Fault;

/// The target of `Link: <…>; rel="next"` (RFC 8288). A header that cannot be read is an error, since
/// it may name a page that we would miss.
pub(super) fn next_link(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut next = None;
    for header in headers.get_all(LINK) {
        for (target, relations) in links(header)? {
            let is_next =
                relations.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case("next"));
            if is_next && next.replace(target).is_some() {
                return Err(Fault::Link("there are two"));
            }
        }
    }
    Ok(next)
}

/// The targets of a `Link` header with their relations.
fn links(header: &HeaderValue) -> Result<Vec<(String, String)>, Fault> {
    let unreadable = Fault::Link("the header cannot be read");
    let Ok(mut rest) = header.to_str() else {
        return Err(unreadable);
    };
    let mut links = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(links);
        }
        let Some((target, after)) = rest.strip_prefix('<').and_then(|r| r.split_once('>')) else {
            return Err(unreadable);
        };
        let mut relations = None;
        rest = after.trim_start();
        while let Some(parameter) = rest.strip_prefix(';') {
            let Some((name, value, after)) = parameter_of(parameter.trim_start()) else {
                return Err(unreadable);
            };
            // Of several `rel`, the first counts (RFC 8288, 3.3).
            if name.eq_ignore_ascii_case("rel") {
                relations.get_or_insert(value);
            }
            rest = after.trim_start();
        }
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(unreadable);
        }
        links.push((target.to_owned(), relations.unwrap_or_default()));
    }
}

/// A link parameter's name, its value, and what comes after it.
fn parameter_of(text: &str) -> Option<(&str, String, &str)> {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let name = name.trim();
    let Some(value) = rest.strip_prefix('=') else {
        return Some((name, String::new(), rest));
    };
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([';', ',']).unwrap_or(value.len());
        let (value, rest) = value.split_at_checked(end)?;
        return Some((name, value.trim().to_owned(), rest));
    };
    let mut unescaped = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((name, unescaped, quoted.split_at_checked(at + 1)?.1)),
            '\\' => unescaped.push(characters.next()?.1),
            other => unescaped.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[&'static str], next: Result<Option<&str>, ()>) {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(LINK, HeaderValue::from_static(header));
        }
        let found = next_link(&map).map_err(|_| ());
        assert_eq!(found.as_ref().map(Option::as_deref), next.as_ref().copied());
    }

    #[test]
    fn the_next_link_is_found_in_every_spelling() {
        check(&[], Ok(None));
        check(&[r#"</v2/a?n=1>; rel="next""#], Ok(Some("/v2/a?n=1")));
        check(&["</a>;rel=next"], Ok(Some("/a")));
        check(&[r#"</a> ; title="a, \"b\"; c" ; REL = "prev Next""#], Ok(Some("/a")));
        check(&[r#"</a>; rel="prev", </b>; rel="next""#], Ok(Some("/b")));
        check(&[r#"</a>; rel="prev""#, r#"</b>; rel="next""#], Ok(Some("/b")));
        check(&[r#"</a>; rel="nextish""#, "</b>; rel=first; rel=next"], Ok(None));
    }

    #[test]
    fn a_link_that_cannot_be_read_is_not_no_link() {
        check(&["/a; rel=next"], Err(()));
        check(&["</a; rel=next"], Err(()));
        check(&[r#"</a>; rel="next"#], Err(()));
        check(&["</a> rel=next"], Err(()));
        check(&["</a>; rel=next, </b>; rel=next"], Err(()));
        check(&["</a>; rel=next", "</b>; rel=next"], Err(()));
    }
}
