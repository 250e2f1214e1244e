//! Distinguished names: what may be trusted by name, and what only by `*`.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(identity: &str, subject: &str, expected: bool) {
    let parse = |text| Identity::parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parse(identity).matches(&parse(subject)), expected, "{identity:?} on {subject:?}");
}

#[test]
fn an_identity_is_a_part_of_a_subject() {
    const SUBJECT: &str = "CN=scanner,OU=sec,O=acme,L=Seattle,ST=WA,C=US";
    check("C=US, ST=WA, O=acme", SUBJECT, true);
    check(" O = acme , S = WA,C =US ", SUBJECT, true);
    check(SUBJECT, SUBJECT, true);
    check("C=US,ST=WA,O=acme,CN=scanner", SUBJECT, true);
    check("C=US,ST=WA,O=acme,CN=other", SUBJECT, false);
    check("C=US,ST=WA,O=Acme", SUBJECT, false);
    check("C=US,ST=CA,O=acme", SUBJECT, false);
    check("C=US,ST=WA,O=acme,STREET=x", SUBJECT, false);
    check(SUBJECT, "C=US,ST=WA,O=acme", false);
    check(r"C=US,ST=WA,O=a\,b\20", r"C=US,ST=WA,O=a\2cb\ ", true);
    check(r"C=US,ST=WA,O=acme\, inc", "C=US,ST=WA,O=acme", false);
    check("C=US,ST=WA,O=Žluťoučký kůň", r"C=US,ST=WA,O=Žluťoučký k\c5\af\c5\88", true);
}

#[test]
fn names_that_cannot_be_compared_are_refused() {
    use IdentityError as E;
    let refused = |text: &str, expected: fn(&E) -> bool| {
        let error = Identity::parse(text).expect_err(text);
        assert!(expected(&error), "{text:?} gave {error:?}");
    };
    for (missing, text) in [
        ("C", "ST=WA,O=acme"),
        ("ST", "C=US,O=acme"),
        ("O", "C=US,ST=WA"),
        ("C", "c=US,ST=WA,O=acme"),
    ] {
        let error = Identity::parse(text).unwrap_err();
        assert_eq!(error, E::Incomplete { name: text.to_owned(), attribute: missing });
    }
    refused("C=US,ST=WA,O=#0c04", |e| matches!(e, E::Hexadecimal(_)));
    refused("C=US,ST=WA,O=acme,1.2.3=#", |e| matches!(e, E::Hexadecimal(_)));
    refused("C=US,ST=WA,O=a,O=b", |e| matches!(e, E::Duplicate { .. }));
    refused("C=US,ST=WA,S=WA,O=a", |e| matches!(e, E::Duplicate { .. }));
    refused("C=US,ST=WA,O=a,OU=x+CN=y", |e| matches!(e, E::MultiValued(_)));
    for text in [
        "",
        ",",
        "C",
        "C=US,ST=WA,O=acme,",
        "C=US,,ST=WA,O=acme",
        "C=US,ST=WA,O=",
        "C=US,ST=WA,O= ",
        "C=US,ST=WA,O=\"acme, inc\"",
        "C=US;ST=WA;O=acme",
        "C=US,ST=WA,O=a\0b",
        r"C=US,ST=WA,O=a\",
        r"C=US,ST=WA,O=a\x",
        r"C=US,ST=WA,O=a\c",
        r"C=US,ST=WA,O=a\ff",
        "C=US,ST=WA,O=a,C N=b",
        "C=US,ST=WA,O=a,=b",
    ] {
        refused(text, |e| matches!(e, E::Malformed { .. }));
    }
}

#[test]
fn t029_names_are_refused_one_past_their_bounds() {
    let name = |length: usize| format!("C=US,ST=WA,O={}", "a".repeat(length - 13));
    Identity::parse(&name(MAX_NAME)).unwrap();
    let error = Identity::parse(&name(MAX_NAME + 1)).unwrap_err();
    assert_eq!(error, IdentityError::TooLong { length: MAX_NAME + 1 });
    let parts = |count: usize| {
        let more: String = (3..count).map(|i| format!(",X{i}=a")).collect();
        format!("C=US,ST=WA,O=a{more}")
    };
    Identity::parse(&parts(MAX_NAME_PARTS)).unwrap();
    assert_eq!(Identity::parse(&parts(MAX_NAME_PARTS + 1)).unwrap_err(), IdentityError::TooMany);
}

proptest! {
    #[test]
    fn an_escaped_value_is_read_back(value in "\\PC{1,40}|[ #,+\"\\\\<>;=\u{0}-\u{1f}a]{1,10}") {
        let mut text = "C=US,ST=WA,O=acme,CN=".to_owned();
        escape(&value, &mut text);
        prop_assume!(!text.contains("=#"));
        let parsed = Identity::parse(&text).unwrap();
        prop_assert_eq!(&parsed.0["CN"], &value);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[CSTO=,+\\\\# \"a0é]{0,40}") {
        let _ = Identity::parse(&text);
    }
}
