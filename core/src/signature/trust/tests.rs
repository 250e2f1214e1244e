//! Trust policies: those of notation are read, and what could mislead is refused.

use serde_json::{Value, json};

use super::super::statement::{Action, Demands, MAX_IDENTITIES, Tokens};
use super::super::store::{MAX_STORE_CERTIFICATES, MAX_STORE_FILE, StoreKind};
use super::super::testing::{Plan, pem, policy, statement, store};
use super::*;

fn stores() -> Vec<StoreFile> {
    let root = Plan::default().make();
    [StoreKind::Ca, StoreKind::SigningAuthority, StoreKind::Tsa]
        .map(|kind| store(kind, "acme", root.root()))
        .into()
}

fn parse(change: impl FnOnce(&mut Value)) -> Result<Trust, TrustError> {
    let mut statement = statement();
    change(&mut statement);
    Trust::parse(&policy(&[statement]), &stores())
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Value), expected: fn(&StatementError) -> bool) {
    match parse(change).expect_err("it is refused") {
        TrustError::Statement { source, .. } => assert!(expected(&source), "{source:?}"),
        other => panic!("{other:?}"),
    }
}

fn demands(trust: &Trust) -> &Demands {
    trust.statements[0].demands.as_ref().expect("it is not level skip")
}

#[test]
fn levels_and_overrides_are_those_of_the_table() {
    use Action::{Enforce, Log, Skip};
    let check = |level: &str, overrides: Value, expected: [Action; 4]| {
        let verification = json!({"level": level, "override": overrides});
        let trust = parse(|s| s["signatureVerification"] = verification).unwrap();
        let d = demands(&trust);
        assert_eq!([d.authenticity, d.timestamp, d.expiry, d.revocation], expected);
        assert_eq!(trust.warnings().is_empty(), d.authenticity == Enforce, "{level}");
    };
    check("strict", json!({}), [Enforce; 4]);
    check("permissive", json!({}), [Enforce, Log, Log, Log]);
    check("audit", json!({}), [Log; 4]);
    check("strict", json!({"authenticity": "log"}), [Log, Enforce, Enforce, Enforce]);
    check("strict", json!({"authenticTimestamp": "log"}), [Enforce, Log, Enforce, Enforce]);
    check("strict", json!({"expiry": "log"}), [Enforce, Enforce, Log, Enforce]);
    check("strict", json!({"revocation": "log"}), [Enforce, Enforce, Enforce, Log]);
    check("strict", json!({"revocation": "skip"}), [Enforce, Enforce, Enforce, Skip]);
    check("audit", json!({"authenticity": "enforce"}), [Enforce, Log, Log, Log]);
}

#[test]
fn levels_and_overrides_outside_the_table_are_refused() {
    let check = |level: &str, overrides: Value, expected: fn(&StatementError) -> bool| {
        let verification = json!({"level": level, "override": overrides});
        refused(|s| s["signatureVerification"] = verification, expected);
    };
    for level in ["", "Strict", "custom", "strict "] {
        check(level, json!({}), |e| matches!(e, StatementError::Level(_)));
    }
    refused(|s| s["signatureVerification"] = json!({}), |e| matches!(e, StatementError::Level(_)));
    check("strict", json!({"other": "log"}), |e| matches!(e, StatementError::Override(_)));
    for overrides in [
        json!({"integrity": "enforce"}),
        json!({"integrity": "log"}),
        json!({"authenticity": "skip"}),
        json!({"expiry": "skip"}),
        json!({"authenticTimestamp": "skip"}),
        json!({"revocation": "never"}),
        json!({"revocation": ""}),
    ] {
        check("strict", overrides, |e| matches!(e, StatementError::Action { .. }));
    }
}

#[test]
fn level_skip_has_nothing_to_trust_and_is_warned_of() {
    let skip = |extra: Value| {
        let mut statement = json!({
            "name": "s",
            "registryScopes": ["reg.io/a"],
            "signatureVerification": {"level": "skip"},
        });
        for (key, value) in extra.as_object().unwrap() {
            statement[key] = value.clone();
        }
        move |s: &mut Value| *s = statement
    };
    let trust = parse(skip(json!({}))).unwrap();
    assert!(trust.statements[0].demands.is_none());
    assert_eq!(trust.warnings().len(), 1);
    refused(skip(json!({"trustStores": ["ca:acme"]})), |e| matches!(e, StatementError::SkipStores));
    refused(skip(json!({"trustedIdentities": ["*"]})), |e| matches!(e, StatementError::SkipStores));
    let overridden = json!({"level": "skip", "override": {"expiry": "log"}});
    refused(skip(json!({"signatureVerification": overridden})), |e| {
        matches!(e, StatementError::SkipOverride)
    });
}

#[test]
fn a_scope_is_one_repository_in_one_spelling() {
    let scope = |text: &str| parse(|s| s["registryScopes"] = json!([text]));
    for (written, read) in [
        ("reg.io/team/app", "reg.io/team/app"),
        ("REG.io/team/app", "reg.io/team/app"),
        ("localhost:5000/app", "localhost:5000/app"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx"),
        ("*", "*"),
    ] {
        let trust = scope(written).unwrap();
        assert_eq!(trust.statements[0].scopes, [read], "{written}");
        assert!(trust.warnings().is_empty());
    }
    // To notation `local` is a registry, and no image reference can name it.
    let trust = scope("local/layout").unwrap();
    assert_eq!(trust.statements[0].scopes, ["local/layout"]);
    assert_eq!(trust.warnings().len(), 1);
    for bad in [
        "",
        "nginx",
        "reg.io/*",
        "reg.io/team/*",
        "**",
        "*.io/a",
        "reg.io/a:tag",
        "reg.io/a@sha256:0",
        "https://reg.io/a",
        "reg.io/",
        "/a",
        "reg.io/A",
        "reg.io/a/../b",
        "reg.io/a/",
        "reg.io:x/a",
    ] {
        refused(
            |s| s["registryScopes"] = json!([bad]),
            |e| matches!(e, StatementError::Scope(_) | StatementError::Repository { .. }),
        );
    }
    refused(|s| s["registryScopes"] = json!([]), |e| matches!(e, StatementError::NoScope));
    refused(
        |s| s["registryScopes"] = json!(["reg.io/a", "*"]),
        |e| matches!(e, StatementError::WildcardScope),
    );
}

#[test]
fn t009_a_scope_belongs_to_one_statement_and_the_exact_one_wins() {
    let named = |name: &str, scopes: Value| {
        let mut statement = statement();
        statement["name"] = name.into();
        statement["registryScopes"] = scopes;
        statement
    };
    let parse = |statements: &[Value]| Trust::parse(&policy(statements), &stores());
    let trust =
        parse(&[named("all", json!(["*"])), named("one", json!(["reg.io/team/app", "reg.io/b"]))])
            .unwrap();
    let applies = |repository| trust.statement(repository).unwrap().name.as_str();
    assert_eq!(applies("reg.io/team/app"), "one");
    assert_eq!(applies("reg.io/team/app2"), "all");
    assert_eq!(applies("reg.io/team"), "all");
    assert_eq!(applies("reg.io/team/app/x"), "all");
    let narrow = parse(&[named("one", json!(["reg.io/team"]))]).unwrap();
    assert!(narrow.statement("reg.io/team-evil").is_none());
    assert!(narrow.statement("reg.io/team/app").is_none());
    assert!(narrow.statement("*").is_none());

    for scopes in [["*", "*"], ["reg.io/a", "reg.io/a"], ["docker.io/a", "docker.io/library/a"]] {
        let twice = [named("a", json!([scopes[0]])), named("b", json!([scopes[1]]))];
        let error = parse(&twice).unwrap_err();
        assert!(matches!(error, TrustError::DuplicateScope(_)), "{error:?}");
    }
    let names = [named("a", json!(["reg.io/a"])), named("a", json!(["reg.io/b"]))];
    assert!(matches!(parse(&names).unwrap_err(), TrustError::DuplicateName(_)));
    let nameless = [named("", json!(["*"]))];
    assert!(matches!(parse(&nameless).unwrap_err(), TrustError::Nameless));
}

#[test]
fn stores_are_named_and_there() {
    let with = |names: Value| move |s: &mut Value| s["trustStores"] = names;
    parse(with(json!(["ca:acme", "ca:acme", "signingAuthority:acme", "tsa:acme"]))).unwrap();
    refused(with(json!([])), |e| matches!(e, StatementError::Incomplete));
    refused(|s| s["trustedIdentities"] = json!([]), |e| matches!(e, StatementError::Incomplete));
    refused(with(json!(["acme"])), |e| matches!(e, StatementError::Store(_)));
    for bad in ["CA:acme", "x:acme", ":acme", "ca:", "ca:a/b", "ca:..\\x", "ca:a:b"] {
        refused(with(json!([bad])), |e| matches!(e, StatementError::StoreName { .. }));
    }
    refused(with(json!(["ca:other"])), |e| matches!(e, StatementError::NoStore(_)));
}

#[test]
fn tokens_are_demanded_only_with_a_tsa_store() {
    let check = |stores: Value, verify: Option<&str>, expected: Tokens| {
        let trust = parse(|s| {
            s["trustStores"] = stores;
            if let Some(verify) = verify {
                s["signatureVerification"]["verifyTimestamp"] = verify.into();
            }
        });
        let trust = trust.unwrap();
        assert_eq!(demands(&trust).tokens, expected);
        assert!(trust.warnings().is_empty(), "{:?}", trust.warnings());
    };
    let (ca, tsa) = (json!(["ca:acme"]), json!(["ca:acme", "tsa:acme"]));
    check(ca.clone(), None, Tokens::Never);
    check(ca, Some("always"), Tokens::Never);
    check(tsa.clone(), None, Tokens::Always);
    check(tsa.clone(), Some("always"), Tokens::Always);
    check(tsa, Some("afterCertExpiry"), Tokens::AfterCertificateExpiry);
    refused(
        |s| s["signatureVerification"]["verifyTimestamp"] = "never".into(),
        |e| matches!(e, StatementError::VerifyTimestamp(_)),
    );
}

#[test]
fn identities_are_compared_or_refused() {
    let with = |list: Value| move |s: &mut Value| s["trustedIdentities"] = list;
    const ACME: &str = "x509.subject: C=US, ST=WA, O=acme";
    let trust = parse(with(json!([ACME]))).unwrap();
    assert!(demands(&trust).trusts_subject("CN=a,O=acme,ST=WA,C=US").unwrap());
    assert!(!demands(&trust).trusts_subject("CN=a,O=evil,ST=WA,C=US").unwrap());
    demands(&trust).trusts_subject("CN=a,O=acme,C=US").unwrap_err();
    demands(&trust).trusts_subject("").unwrap_err();
    let anyone = parse(|_| {}).unwrap();
    assert!(demands(&anyone).trusts_subject("").unwrap());

    refused(with(json!([ACME, "*"])), |e| matches!(e, StatementError::WildcardIdentity));
    refused(with(json!([""])), |e| matches!(e, StatementError::Identity(_)));
    refused(with(json!(["C=US"])), |e| matches!(e, StatementError::Identity(_)));
    refused(with(json!(["x509.subject:"])), |e| matches!(e, StatementError::Name { .. }));
    refused(with(json!(["x509.subject: C=US"])), |e| matches!(e, StatementError::Name { .. }));
    let more = "x509.subject: C=US, ST=WA, O=acme, CN=a";
    refused(with(json!([ACME, more])), |e| matches!(e, StatementError::Overlap(..)));
    refused(with(json!([more, ACME])), |e| matches!(e, StatementError::Overlap(..)));
    refused(with(json!([ACME, ACME])), |e| matches!(e, StatementError::Overlap(..)));

    // One for a plugin of notation trusts nobody here, and does not stop the others.
    let plugin = parse(with(json!(["aws.signer:arn", ACME]))).unwrap();
    assert_eq!(plugin.warnings().len(), 1);
    let only = parse(with(json!(["aws.signer:arn"]))).unwrap();
    assert!(!demands(&only).trusts_subject("CN=a,O=acme,ST=WA,C=US").unwrap());
}

#[test]
fn unknown_fields_are_warned_of_as_notation_ignores_them() {
    let mut document: Value = serde_json::from_slice(&policy(&[statement()])).unwrap();
    document["comment"] = "a".into();
    document["trustPolicies"][0]["note"] = "b".into();
    document["trustPolicies"][0]["signatureVerification"]["levels"] = "c".into();
    let trust = Trust::parse(document.to_string().as_bytes(), &stores()).unwrap();
    assert_eq!(trust.warnings().len(), 3, "{:?}", trust.warnings());
}

#[test]
fn other_documents_are_refused() {
    let parse = |text: &str| Trust::parse(text.as_bytes(), &[]).unwrap_err();
    for text in ["", "[]", "{", r#"{"version":1}"#, r#"{"version":"1.0","version":"1.0"}"#] {
        assert!(matches!(parse(text), TrustError::Malformed(_)), "{text}");
    }
    for text in ["{}", r#"{"version":"2.0"}"#, r#"{"version":"1.0 "}"#] {
        assert!(matches!(parse(text), TrustError::Version(_)), "{text}");
    }
    assert!(matches!(parse(r#"{"version":"1.0","trustPolicies":[]}"#), TrustError::Empty));
}

#[test]
fn certificate_files_are_pem_or_der() {
    let (a, b) = (Plan::default().make(), Plan::default().make());
    let both = pem(&[a.chain[1].clone(), b.chain[2].clone()]);
    let file = |bytes: &[u8]| {
        Trust::parse(&policy(&[statement()]), &[store(StoreKind::Ca, "acme", bytes)])
    };
    let refused = |bytes: &[u8], expected: fn(&StoreError) -> bool| match file(bytes) {
        Err(TrustError::Stores(error)) => assert!(expected(&error), "{error:?}"),
        other => panic!("{other:?}"),
    };
    file(both.as_bytes()).unwrap();
    file(format!("a comment\n{both}").as_bytes()).unwrap();
    file(a.root()).unwrap();
    refused(b"", |e| matches!(e, StoreError::Certificate { .. }));
    refused(b"text", |e| matches!(e, StoreError::Certificate { .. }));
    refused(a.key_pem.as_bytes(), |e| matches!(e, StoreError::Empty { .. }));
    refused(both.replacen("END", "EMD", 1).as_bytes(), |e| {
        matches!(e, StoreError::Pem { .. } | StoreError::Certificate { .. })
    });
    // A leaf that another issued vouches for nobody; one that is its own root does for itself.
    refused(&a.chain[0], |e| matches!(e, StoreError::NotAnchor { .. }));
    file(&Plan::with(|plan| plan.root = None).make().chain[0]).unwrap();
    let unnamed = Trust::parse(&policy(&[statement()]), &[store(StoreKind::Ca, "a/b", a.root())]);
    assert!(matches!(unnamed, Err(TrustError::Stores(StoreError::Name(_)))));
}

#[test]
fn the_revision_changes_with_everything_that_changes_an_answer() {
    let root = Plan::default().make();
    let other = Plan::default().make();
    let text = policy(&[statement()]);
    let revision = |text: &[u8], files: &[StoreFile]| Trust::parse(text, files).unwrap().revision();
    let (a, b) =
        (store(StoreKind::Ca, "acme", root.root()), store(StoreKind::Ca, "acme", other.root()));
    let base = revision(&text, std::slice::from_ref(&a));
    // The order of files and their form do not matter.
    assert_eq!(revision(&text, &[a.clone(), b.clone()]), revision(&text, &[b.clone(), a.clone()]),);
    let as_pem = pem(&[root.root().to_vec()]);
    assert_eq!(base, revision(&text, &[store(StoreKind::Ca, "acme", as_pem.as_bytes())]));
    let mut changed = statement();
    changed["trustedIdentities"] = json!(["x509.subject: C=US, ST=WA, O=acme"]);
    let all = [
        base,
        revision(&policy(&[changed]), std::slice::from_ref(&a)),
        revision(&text, std::slice::from_ref(&b)),
        revision(&text, &[a.clone(), b]),
        revision(&text, &[a.clone(), store(StoreKind::Tsa, "acme", root.root())]),
        revision(&text, &[a.clone(), store(StoreKind::Tsa, "acm", root.root())]),
        revision(&text, &[a, store(StoreKind::SigningAuthority, "acme", root.root())]),
    ];
    let distinct: HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn policies_and_stores_are_refused_one_past_their_bounds() {
    let mut text = policy(&[statement()]);
    text.resize(MAX_TRUST_POLICY, b' ');
    Trust::parse(&text, &stores()).unwrap();
    text.push(b' ');
    assert!(matches!(Trust::parse(&text, &stores()), Err(TrustError::TooLarge { .. })));

    let identities = |count: usize| {
        (0..count)
            .map(|i| format!("x509.subject: C=US, ST=WA, O=o{i}").into())
            .collect::<Vec<Value>>()
    };
    parse(|s| s["trustedIdentities"] = identities(MAX_IDENTITIES).into()).unwrap();
    refused(
        |s| s["trustedIdentities"] = identities(MAX_IDENTITIES + 1).into(),
        |e| matches!(e, StatementError::TooManyIdentities { .. }),
    );

    let root = Plan::default().make();
    let file = |bytes: Vec<u8>| {
        Trust::parse(&policy(&[statement()]), &[store(StoreKind::Ca, "acme", &bytes)])
    };
    let mut padded = pem(&[root.root().to_vec()]).into_bytes();
    padded.resize(MAX_STORE_FILE, b'\n');
    file(padded.clone()).unwrap();
    padded.push(b'\n');
    let error = file(padded).unwrap_err();
    assert!(matches!(error, TrustError::Stores(StoreError::TooLarge { .. })), "{error:?}");

    let many = vec![store(StoreKind::Ca, "acme", root.root()); MAX_STORE_CERTIFICATES + 1];
    Trust::parse(&policy(&[statement()]), &many[1..]).unwrap();
    let error = Trust::parse(&policy(&[statement()]), &many).unwrap_err();
    assert!(matches!(error, TrustError::Stores(StoreError::TooMany)), "{error:?}");
}
