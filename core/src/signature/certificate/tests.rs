//! Chains with one rule broken in each.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints,
};

use super::super::chain::Chain;
use super::super::testing::{KeyKind, NOT_AFTER, NOT_BEFORE, Plan, issuer, key};
use super::*;

#[track_caller]
fn accepted(change: impl FnOnce(&mut Plan)) {
    Chain::check(&Plan::with(change).make().chain).expect("the chain is good");
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Plan), expected: impl FnOnce(&CertificateError) -> bool) {
    let error = Chain::check(&Plan::with(change).make().chain).expect_err("the chain is bad");
    assert!(expected(&error), "{error:?}");
}

#[track_caller]
fn breaks(change: impl FnOnce(&mut Plan), name: &str, expected: &Rule) {
    refused(change, |error| {
        matches!(error, CertificateError::Rule { subject, rule }
            if rule == expected && subject.starts_with(&format!("CN={name},")))
    });
}

fn extension(oid: &[u64], critical: bool, der: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, der.to_vec());
    extension.set_criticality(critical);
    extension
}

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];

#[test]
fn chains_of_one_and_more_are_accepted() {
    accepted(|_| {});
    accepted(|plan| plan.middle.clear());
    accepted(|plan| plan.middle = vec![issuer("b"), issuer("a")]);
    accepted(|plan| plan.root = None);
}

#[test]
fn who_says_that_others_were_revoked_has_the_usage_for_that() {
    let root = |change: fn(&mut CertificateParams)| {
        let mut root = issuer("root");
        change(&mut root);
        let chain = Plan::with(|plan| plan.root = Some(root)).make().chain;
        Certificate::parse(&chain[2]).unwrap()
    };
    assert!(!root(|_| {}).may_sign_crls());
    assert!(root(|root| root.key_usages.push(KeyUsagePurpose::CrlSign)).may_sign_crls());
    let leaf = |purpose, more: Option<CustomExtension>| {
        let plan = Plan::with(|plan| {
            plan.leaf.extended_key_usages = vec![purpose];
            plan.leaf.custom_extensions.extend(more);
        });
        Certificate::parse(&plan.make().chain[0]).unwrap()
    };
    let ocsp = || ExtendedKeyUsagePurpose::OcspSigning;
    assert!(leaf(ocsp(), None).may_sign_ocsp());
    assert!(!leaf(ExtendedKeyUsagePurpose::CodeSigning, None).may_sign_ocsp());
    // Nor if it says more than is understood.
    let critical = extension(&[1, 2, 3, 4], true, &[5, 0]);
    assert!(!leaf(ocsp(), Some(critical)).may_sign_ocsp());
}

#[test]
fn a_leaf_may_sign_and_nothing_else() {
    use KeyUsagePurpose as Usage;
    accepted(|plan| plan.leaf.key_usages.push(Usage::ContentCommitment));
    for usage in [
        Usage::KeyEncipherment,
        Usage::DataEncipherment,
        Usage::KeyAgreement,
        Usage::KeyCertSign,
        Usage::CrlSign,
        Usage::EncipherOnly,
        Usage::DecipherOnly,
    ] {
        breaks(|plan| plan.leaf.key_usages.push(usage), "scanner", &Rule::LeafKeyUsage);
    }
    breaks(
        |plan| plan.leaf.key_usages = vec![Usage::ContentCommitment],
        "scanner",
        &Rule::LeafKeyUsage,
    );
    breaks(|plan| plan.leaf.key_usages.clear(), "scanner", &Rule::KeyUsage);
    let not_critical = extension(KEY_USAGE, false, &[3, 2, 7, 0x80]);
    breaks(
        |plan| {
            plan.leaf.key_usages.clear();
            plan.leaf.custom_extensions.push(not_critical);
        },
        "scanner",
        &Rule::KeyUsage,
    );
}

#[test]
fn a_leaf_has_no_extended_key_usage_of_other_trades() {
    use ExtendedKeyUsagePurpose as Usage;
    accepted(|plan| plan.leaf.extended_key_usages = vec![Usage::CodeSigning]);
    accepted(|plan| plan.leaf.extended_key_usages = vec![Usage::Other(vec![1, 3, 6, 1, 4, 1, 9])]);
    for (usage, name) in [
        (Usage::Any, "anyExtendedKeyUsage"),
        (Usage::ServerAuth, "serverAuth"),
        (Usage::ClientAuth, "clientAuth"),
        (Usage::EmailProtection, "emailProtection"),
        (Usage::TimeStamping, "timeStamping"),
        (Usage::OcspSigning, "OCSPSigning"),
    ] {
        breaks(
            |plan| plan.leaf.extended_key_usages = vec![Usage::CodeSigning, usage],
            "scanner",
            &Rule::ExtendedKeyUsage(name),
        );
    }
    // An issuer may have any.
    accepted(|plan| plan.middle[0].extended_key_usages = vec![Usage::Any]);
}

#[test]
fn a_leaf_is_no_ca_and_an_issuer_is_one() {
    accepted(|plan| plan.leaf.is_ca = IsCa::ExplicitNoCa);
    breaks(
        |plan| plan.leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        "scanner",
        &Rule::LeafIsCa,
    );
    breaks(|plan| plan.middle[0].is_ca = IsCa::ExplicitNoCa, "middle", &Rule::NotCa);
    breaks(|plan| plan.middle[0].is_ca = IsCa::NoCa, "middle", &Rule::NotCa);
    breaks(
        |plan| {
            let ca = extension(BASIC_CONSTRAINTS, false, &[0x30, 3, 1, 1, 0xff]);
            plan.middle[0].is_ca = IsCa::NoCa;
            plan.middle[0].custom_extensions.push(ca);
        },
        "middle",
        &Rule::NotCa,
    );
    breaks(
        |plan| plan.root.as_mut().unwrap().key_usages = vec![KeyUsagePurpose::CrlSign],
        "root",
        &Rule::KeyCertSign,
    );
    breaks(|plan| plan.middle[0].key_usages.clear(), "middle", &Rule::KeyUsage);
}

#[test]
fn a_path_length_limits_the_issuers_below() {
    let limit = |n| IsCa::Ca(BasicConstraints::Constrained(n));
    accepted(|plan| plan.middle[0].is_ca = limit(0));
    accepted(|plan| plan.root.as_mut().unwrap().is_ca = limit(1));
    breaks(
        |plan| plan.root.as_mut().unwrap().is_ca = limit(0),
        "root",
        &Rule::PathLength { limit: 0, count: 1 },
    );
}

#[test]
fn only_strong_keys_and_signatures_count() {
    for kind in [KeyKind::P384, KeyKind::P521, KeyKind::Rsa2048] {
        accepted(|plan| plan.issuer_key = kind);
    }
    let der = ed25519();
    let error = Chain::check(&[der]).unwrap_err();
    assert!(matches!(error, CertificateError::Rule { rule: Rule::Key, .. }), "{error:?}");
}

fn ed25519() -> Vec<u8> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    Plan::default().leaf.self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn what_is_critical_and_not_known_is_refused() {
    const PRIVATE: &[u64] = &[1, 3, 6, 1, 4, 1, 55555, 1];
    accepted(|plan| plan.leaf.custom_extensions.push(extension(PRIVATE, false, &[5, 0])));
    breaks(
        |plan| plan.leaf.custom_extensions.push(extension(PRIVATE, true, &[5, 0])),
        "scanner",
        &Rule::CriticalExtension("1.3.6.1.4.1.55555.1".to_owned()),
    );
    breaks(
        |plan| {
            let root = plan.root.as_mut().unwrap();
            root.custom_extensions.push(extension(PRIVATE, true, &[5, 0]));
        },
        "root",
        &Rule::CriticalExtension("1.3.6.1.4.1.55555.1".to_owned()),
    );
    breaks(
        |plan| {
            plan.middle[0].name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("a.example".to_owned())],
                excluded_subtrees: Vec::new(),
            });
        },
        "middle",
        &Rule::NameConstraints,
    );
    breaks(
        |plan| plan.leaf.custom_extensions.push(extension(KEY_USAGE, true, &[3, 2, 7, 0x80])),
        "scanner",
        &Rule::DuplicateExtension,
    );
    breaks(
        |plan| {
            plan.leaf.key_usages.clear();
            plan.leaf.custom_extensions.push(extension(KEY_USAGE, true, &[4, 1, 1]));
        },
        "scanner",
        &Rule::UnreadableExtension("2.5.29.15".to_owned()),
    );
}

#[test]
fn a_chain_is_in_order_and_ends_in_its_root() {
    let chain = Plan::default().make().chain;
    let [leaf, middle, root] = <[Vec<u8>; 3]>::try_from(chain).unwrap();
    let check = |chain: &[&Vec<u8>], expected: fn(&CertificateError) -> bool| {
        let error = Chain::check(chain).expect_err("the chain is bad");
        assert!(expected(&error), "{error:?}");
    };
    check(&[], |e| matches!(e, CertificateError::Empty));
    check(&[&leaf, &middle], |e| matches!(e, CertificateError::NoRoot { .. }));
    check(&[&leaf], |e| matches!(e, CertificateError::NoRoot { .. }));
    check(&[&leaf, &root], |e| matches!(e, CertificateError::NotIssued { .. }));
    check(&[&leaf, &root, &middle], |e| matches!(e, CertificateError::NotIssued { .. }));
    check(&[&leaf, &middle, &root, &root], |e| matches!(e, CertificateError::EarlyRoot { .. }));
    // Same names, other keys.
    let other = Plan::default().make().chain;
    check(&[&leaf, &other[1], &other[2]], |e| matches!(e, CertificateError::NotIssued { .. }));
    check(&[&leaf, &middle, &other[2]], |e| matches!(e, CertificateError::NotIssued { .. }));
}

#[test]
fn an_issuer_has_the_name_that_is_stated_and_not_only_the_key() {
    let (root_key, leaf_key) = (key(KeyKind::P256), key(KeyKind::P256));
    let named = |name: &str| issuer(name).self_signed(&root_key).unwrap().der().to_vec();
    let root = issuer("root");
    let by = rcgen::Issuer::from_params(&root, &root_key);
    let leaf = Plan::default().leaf.signed_by(&leaf_key, &by).unwrap().der().to_vec();
    Chain::check(&[leaf.clone(), named("root")]).unwrap();
    let error = Chain::check(&[leaf, named("other")]).unwrap_err();
    assert!(matches!(error, CertificateError::NotIssued { .. }), "{error:?}");
}

#[test]
fn no_flipped_bit_of_a_chain_is_accepted() {
    let chain = Plan::default().make().chain;
    let mut accepted = Vec::new();
    for i in 0..chain.len() {
        for j in 0..chain[i].len() {
            for bit in 0..8 {
                let mut bad = chain.clone();
                bad[i][j] ^= 1 << bit;
                if Chain::check(&bad).is_ok() {
                    accepted.push((i, j, bit, chain[i][j]));
                }
            }
        }
    }
    assert!(accepted.is_empty(), "{accepted:?}");
}

#[test]
fn chains_are_refused_one_past_their_bounds() {
    let plan = |count: usize| {
        Plan::with(|plan| plan.middle = vec![issuer("middle"); count - 2]).make().chain
    };
    Chain::check(&plan(super::super::MAX_CHAIN)).unwrap();
    let error = Chain::check(&plan(super::super::MAX_CHAIN + 1)).unwrap_err();
    assert!(matches!(error, CertificateError::TooMany { .. }), "{error:?}");

    // A certificate is filled up to its bound with an extension.
    let sized = |fill: usize| {
        let filler = extension(&[1, 3, 6, 1, 4, 1, 55555, 2], false, &vec![0; fill]);
        let mut leaf = Plan::default().leaf;
        leaf.custom_extensions.push(filler);
        leaf.self_signed(&key(KeyKind::Rsa2048)).unwrap().der().to_vec()
    };
    let fill = MAX_CERTIFICATE - sized(MAX_CERTIFICATE / 2).len() + MAX_CERTIFICATE / 2;
    // Serial numbers may differ by a byte.
    let at = (fill - 2..=fill + 2).map(sized).collect::<Vec<_>>();
    assert!(at.iter().any(|der| der.len() <= MAX_CERTIFICATE && Certificate::parse(der).is_ok()));
    let past = at.iter().find(|der| der.len() > MAX_CERTIFICATE).unwrap();
    let error = Certificate::parse(past).unwrap_err();
    assert!(matches!(error, CertificateError::TooLarge { .. }), "{error:?}");
}

#[test]
fn t029_huge_names_are_cheap_to_refuse() {
    let mut leaf = Plan::default().leaf;
    leaf.distinguished_name.push(DnType::OrganizationalUnitName, "a".repeat(identity::MAX_NAME));
    let der = leaf.self_signed(&key(KeyKind::P256)).unwrap().der().to_vec();
    let error = Certificate::parse(&der).unwrap_err();
    assert!(matches!(error, CertificateError::Subject(IdentityError::TooLong { .. })));

    // Four attributes are there already.
    let parts = |count: usize| {
        let mut leaf = Plan::default().leaf;
        for i in 4..count as u64 {
            leaf.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 3, i]), "a");
        }
        Certificate::parse(leaf.self_signed(&key(KeyKind::P256)).unwrap().der())
    };
    parts(identity::MAX_NAME_PARTS).unwrap();
    let error = parts(identity::MAX_NAME_PARTS + 1).unwrap_err();
    assert!(matches!(error, CertificateError::Subject(IdentityError::TooMany)));
}

#[test]
fn a_subject_is_printed_as_rfc_4514_has_it() {
    let mut leaf = Plan::default().leaf;
    leaf.distinguished_name.push(DnType::OrganizationalUnitName, " a,b#\n");
    leaf.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]), "x");
    let der = leaf.self_signed(&key(KeyKind::P256)).unwrap().der().to_vec();
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(
        certificate.subject(),
        r"1.2.840.113549.1.9.1=#78,OU=\ a\,b#\0A,CN=scanner,O=acme,ST=WA,C=US",
    );
}

#[test]
fn validity_has_both_its_ends() {
    let chain = Chain::check(&Plan::default().make().chain).unwrap();
    let second = time::Duration::SECOND;
    for (time, valid, expired) in [
        (NOT_BEFORE - second, false, false),
        (NOT_BEFORE, true, false),
        (NOT_AFTER, true, false),
        (NOT_AFTER + second, false, true),
    ] {
        assert_eq!(chain.leaf().is_valid_at(time), valid, "{time}");
        assert_eq!(chain.leaf().is_expired_at(time), expired, "{time}");
    }
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let good = Plan::default().make().chain.remove(0);
    for length in 0..good.len() {
        assert!(Certificate::parse(&good[..length]).is_err(), "{length}");
    }
    let error = Certificate::parse(&[good.as_slice(), &[0]].concat()).unwrap_err();
    assert!(matches!(error, CertificateError::Trailing { length: 1 }), "{error:?}");
}
