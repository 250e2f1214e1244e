use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::review::given::{created, pod_of};
use crate::review::oracle;

/// Reads a text, and compares what comes of it with what serde_json says.
#[track_caller]
fn compare(text: &str) -> Result<Value, String> {
    let (read, _) = read(text);
    let ours = match read {
        Ok(document) => Ok(oracle::value(document.root())),
        Err(Stop::Wrong(error)) => Err(error.to_string()),
        Err(Stop::Past(what, limit)) => panic!("more {what} than {limit}"),
    };
    match (&ours, oracle::read(text)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(*ours, theirs, "{text}"),
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{text}: {ours:?}, {theirs:?}"),
    }
    ours
}

#[test]
fn what_is_json_is_read_as_others_read_it() {
    for text in [
        "null",
        " [ true , false , null ] \r\n\t",
        "{}",
        "[]",
        "{\"a\":{\"b\":[{},[],\"\"]},\"c\":\"x\"}",
        "[0,-0,10,-1.5,1e5,1E+5,1.25e-10,123456789012345678901234567890]",
        r#"["\"\\\/\b\f\n\r\t","\u0041\u00e9\u20ac","\ud83d\ude00","é€😀","\u0000","\u007f"]"#,
        "{\"n\\u0061me\":1,\"\":2}",
        "{\"metadata\":{\"managedFields\":[{\"a\":{\".\":{}},\"b\":[]},{}],\"name\":\"x\"}}",
        "{\"metadata\":{\"managedFields\":{\"a\":1,\"a\":[\"\\ud800\",1e999]},\"name\":\"x\"}}",
        "{\"metadata\":[{\"managedFields\":[1]}],\"managedFields\":[2]}",
        "\"0123456\\n89abcdefghijklmnopqrstuvwxyz\\\\\"",
    ] {
        compare(text).unwrap();
    }
}

#[test]
fn what_is_no_json_is_refused_where_it_is_wrong() {
    for (text, error) in [
        ("", "expected a value at line 1 column 1"),
        ("[1]\n 2", "something follows the value at line 2 column 2"),
        ("[1 2]", "expected `,` or `]` at line 1 column 4"),
        ("[1,]", "expected a value at line 1 column 4"),
        ("{\"a\":1,}", "expected the name of a member at line 1 column 8"),
        ("{\"a\" 1}", "expected `:` at line 1 column 6"),
        ("{\"a\":1 \"b\":2}", "expected `,` or `}` at line 1 column 8"),
        ("{a:1}", "expected the name of a member at line 1 column 2"),
        ("\"abc", "a text does not end at line 1 column 5"),
        ("\"a\u{1}\"", "a text has a control character that is not escaped at line 1 column 3"),
        ("\"\\x\"", "what is escaped is no character at line 1 column 2"),
        ("\"\\ud800\"", "what is escaped is no character at line 1 column 2"),
        ("[1e999]", "a number is too large at line 1 column 2"),
        ("{\"a\":1,\"a\":2}", "`a` is there twice at line 1 column 12"),
    ] {
        assert_eq!(compare(text).unwrap_err(), error, "{text}");
    }
    for text in [
        "nul",
        "tru",
        "falsy",
        "nulll",
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "--1",
        "0x1",
        "NaN",
        "'a'",
        "[",
        "{",
        "]",
        "}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "[1",
        "\"\\",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\n\"",
        "\u{feff}1",
        "1\u{0}",
        "{\"metadata\":{\"managedFields\":[}}",
        "{\"metadata\":{\"managedFields\":{\"a\":}}}",
        "{\"metadata\":{\"managedFields\":{\"a\" 1}}}",
        "{\"metadata\":{\"managedFields\":[1,]}}",
        "{\"metadata\":{\"managedFields\":{\"a\":1,}}}",
        "{\"metadata\":{\"managedFields\":{,}}}",
        "{\"metadata\":{\"managedFields\":[\"\\x\"]}}",
        "{\"metadata\":{\"managedFields\":[1}}",
        "{\"metadata\":{\"managedFields\":{\"a\":1]}}",
        "{\"metadata\":{\"managedFields\":[\"",
    ] {
        compare(text).unwrap_err();
    }
    let long = format!("1{}", "0".repeat(400));
    compare(&long).unwrap_err();
}

#[test]
fn a_name_that_is_there_twice_is_found_wherever_it_is() {
    for count in [1, 2, 9, FEW - 1, FEW, FEW + 1, 3 * FEW] {
        for again in [0, count / 2, count - 1] {
            let names: String =
                (0..count).map(|at| format!("\"n{at}\":{{\"n0\":[{at}]}},")).collect();
            compare(&format!("{{{names}\"n\":1}}")).unwrap();
            compare(&format!("{{{names}\"n{again}\":1}}")).unwrap_err();
            // The same name, written in another way.
            compare(&format!("{{{names}\"\\u006e{again}\":1}}")).unwrap_err();
        }
    }
}

#[test]
fn a_text_is_read_to_its_end_wherever_that_is() {
    for length in 0..40 {
        for at in 0..=length {
            let (before, behind) = ("é".repeat(at), "x".repeat(length - at));
            for special in ["", "\\n", "\\\"", "\\\\", "\\u00e9"] {
                compare(&format!("\"{before}{special}{behind}\"")).unwrap();
            }
            for wrong in ["\u{1f}", "\\z", "\"", "\n"] {
                compare(&format!("\"{before}{wrong}{behind}\" ,")).unwrap_err();
            }
        }
    }
}

#[test]
fn what_is_passed_over_may_be_as_deep_as_it_is_long() {
    let deep = 100_000;
    let (open, close) = ("[".repeat(deep), "]".repeat(deep));
    let text = format!("{{\"metadata\":{{\"managedFields\":{open}{close},\"a\":1}}}}");
    assert!(read(&text).0.is_ok());
    let text = format!("{{\"metadata\":{{\"managedFields\":{open},\"a\":1}}}}");
    assert!(matches!(read(&text).0, Err(Stop::Wrong(_))));
}

/// Texts that are nearly JSON: of the bytes that mean something in it, and of values that are written.
fn text() -> impl Strategy<Value = String> {
    let bits = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\"a\"",
        "\"b\":",
        "\"metadata\":",
        "\"managedFields\":",
        "1",
        "-",
        "0",
        ".5",
        "e9",
        "null",
        "true",
        "\\u0061",
        "\\ud83d",
        "\\ude00",
        "\\n",
        " ",
        "\n",
        "é",
    ]);
    let nearly = prop::collection::vec(bits, 0..24).prop_map(|bits| bits.concat());
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    let name = prop_oneof![Just("metadata".to_owned()), Just("managedFields".to_owned()), ".{0,9}"];
    let value = scalar.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..8)
                .prop_map(|members| members.into_iter().collect()),
        ]
    });
    // A byte of it may be another one.
    let written = (value, any::<prop::sample::Index>(), prop::option::of("[\"\\\\{}\\[\\],:0a ]"));
    let written = written.prop_map(|(value, at, other)| {
        let mut characters: Vec<_> = value.to_string().chars().collect();
        let at = at.index(characters.len());
        characters.splice(at..at + other.iter().count(), other.iter().flat_map(|o| o.chars()));
        characters.into_iter().collect()
    });
    prop_oneof![nearly, written]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_written_is_read_as_others_read_it_or_refused(text in text()) {
        let _ = compare(&text);
    }
}

#[test]
fn the_uid_is_kept_whatever_follows_it() {
    let text = created("", "Pod", &pod_of(&["a"])).to_string();
    let uid = "705ab4f5-6393-11e8-b7cc-42010a800002";
    assert_eq!(read(&text).1.as_deref(), Some(uid));
    let end = text.find(uid).unwrap() + uid.len() + 1;
    for cut in end..text.len() {
        let (read, kept) = read(text.get(..cut).unwrap());
        assert!(read.is_err() && kept.as_deref() == Some(uid), "{cut}");
    }
    assert_eq!(read(text.get(..end - 1).unwrap()).1, None);
    let elsewhere =
        r#"{"uid":"a","object":{"request":{"uid":"b"}},"request":{"object":{"uid":"c"}}}"#;
    assert_eq!(read(elsewhere).1, None);
}
