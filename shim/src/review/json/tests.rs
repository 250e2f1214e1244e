use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::review::given::{created, pod_of};
use crate::review::tree::Tree;

/// What was read, as others have it: numbers as 0.
fn value(tree: Tree<'_>) -> Json {
    match tree.kind() {
        Kind::Null => Json::Null,
        Kind::True => true.into(),
        Kind::False => false.into(),
        Kind::Number => 0.into(),
        Kind::Text | Kind::Unescaped => tree.text().unwrap().into(),
        Kind::List => tree.elements().map(value).collect(),
        Kind::Object => {
            tree.members().map(|(name, member)| (name.to_owned(), value(member))).collect()
        }
    }
}

fn of(text: &str) -> Result<Json, String> {
    match read(text).0 {
        Ok(document) => Ok(value(document.root())),
        Err(Stop::Wrong(error)) => Err(error.to_string()),
        Err(Stop::Past(what, limit)) => Err(format!("more {what} than {limit}")),
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    for (text, is) in [
        ("null", json!(null)),
        (" [ true , false , 1e5, -0.5 ] \r\n\t", json!([true, false, 0, 0])),
        ("{}", json!({})),
        ("{\"a\":{\"b\":[{},[],\"\"]},\"c\":\"x\"}", json!({"a": {"b": [{}, [], ""]}, "c": "x"})),
        (
            r#"["\"\\\/","\u0041\u00e9","\ud83d\ude00","é€😀"]"#,
            json!(["\"\\/", "Aé", "😀", "é€😀"]),
        ),
        (
            "{\"n\\u0061me\":\"a\",\"b\":\"\\n\",\"c\":\"\\t\"}",
            json!({"name": "a", "b": "\n", "c": "\t"}),
        ),
        (
            "{\"metadata\":{\"managedFields\":{\"a\":1,\"a\":[2]},\"name\":\"x\"}}",
            json!({"metadata": {"name": "x"}}),
        ),
        (
            "{\"metadata\":[{\"managedFields\":[\"y\"]}],\"managedFields\":[2]}",
            json!({"metadata": [{"managedFields": ["y"]}], "managedFields": [0]}),
        ),
    ] {
        assert_eq!(of(text).as_ref(), Ok(&is), "{text}");
    }
}

#[test]
fn what_is_no_json_is_refused_with_the_place() {
    for (text, error) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[1]\n 2", "trailing characters at line 2 column 2"),
        ("{\"metadata\":{\"managedFields\":[1,]}}", "expected value at line 1 column 33"),
        ("{\"a\":1,\"a\":2}", "`a` is there twice at line 1 column 10"),
    ] {
        assert_eq!(of(text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn a_name_that_is_there_twice_is_found_wherever_it_is() {
    for count in [1, 2, 9, FEW - 1, FEW, FEW + 1, 3 * FEW] {
        for again in [0, count / 2, count - 1] {
            let names: String =
                (0..count).map(|at| format!("\"n{at}\":{{\"n0\":[{at}]}},")).collect();
            of(&format!("{{{names}\"n\":1}}")).unwrap();
            of(&format!("{{{names}\"n{again}\":1}}")).unwrap_err();
            // The same name, written in another way.
            of(&format!("{{{names}\"\\u006e{again}\":1}}")).unwrap_err();
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

/// Values without numbers, which are not kept.
fn written() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        ".{0,20}".prop_map(Json::from)
    ];
    scalar.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            prop::collection::btree_map(".{0,9}", inner, 0..40)
                .prop_map(|members: BTreeMap<_, _>| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_written_is_read(written in written()) {
        prop_assert_eq!(of(&written.to_string()), Ok(written));
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
