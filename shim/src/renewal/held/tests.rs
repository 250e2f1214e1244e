use time::Duration as Days;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-28 12:00 UTC);
const DAY: Duration = Duration::from_hours(24);

fn terms() -> Terms {
    let names = vec!["gate-shim.portcullis.svc".to_owned()];
    Terms { names, certificate_life: DAY * 30, authority_life: DAY * 360 }
}

fn new() -> Held {
    Held::new(Vec::new(), &terms(), NOW).unwrap()
}

#[track_caller]
fn check(held: &Held, days: i64, expected: Option<Renewal>) {
    let due = held.due(&terms(), NOW + Days::days(days), |_| false);
    assert_eq!(due, expected, "after {days} days");
}

#[test]
fn what_was_made_is_held_as_it_was_and_is_believed() {
    let held = new();
    let again = Held::read(&held.data()).unwrap();
    assert!(again == held);
    assert!(held.certificate.is_good(&held.authority.certificate, &terms().names, NOW));
    let others = ["other.portcullis.svc".to_owned()];
    assert!(!held.certificate.is_good(&held.authority.certificate, &others, NOW));
    assert!(!held.certificate.is_good(&new().authority.certificate, &terms().names, NOW));
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_life_is_left_and_an_authority_likewise() {
    let held = new();
    for (days, expected) in [
        (0, None),
        (19, None),
        (20, Some(Renewal::Certificate)),
        (240, Some(Renewal::Certificate)),
        (354, Some(Renewal::Certificate)),
        (355, Some(Renewal::Authority)),
        (400, Some(Renewal::Authority)),
    ] {
        check(&held, days, expected);
    }
    let at = |days| NOW + Days::days(days);
    let later = held.renewed(Renewal::Certificate, &terms(), at(230)).unwrap();
    check(&later, 239, None);
    check(&later, 240, Some(Renewal::Next));
    // The next one signs when it is announced, or when no time is left for that.
    let next = later.renewed(Renewal::Next, &terms(), at(240)).unwrap();
    check(&next, 241, None);
    assert_eq!(next.due(&terms(), at(241), |_| true), Some(Renewal::Authority));
    check(&next, 355, Some(Renewal::Authority));
    // What would live no longer is not made.
    let last = next.renewed(Renewal::Certificate, &terms(), at(340)).unwrap();
    check(&last, 354, None);
}

#[test]
fn what_is_next_signs_nothing_and_is_known_until_it_is_the_authority() {
    let first = new();
    let at = NOW + Days::days(240);
    let second = first.clone().renewed(Renewal::Next, &terms(), at).unwrap();
    let next = second.next.clone().unwrap();
    assert!(second.authority == first.authority && second.certificate == first.certificate);
    assert!(second.bundle() == first.bundle() + &next.certificate);
    assert!(Held::read(&second.data()).unwrap() == second);
    assert!(!second.clone().take(vec![next.certificate.clone()], &terms(), at));
    let third = second.clone().renewed(Renewal::Authority, &terms(), at).unwrap();
    assert!(third.authority == next && third.next.is_none());
    assert!(third.certificate.is_good(&next.certificate, &terms().names, at));
    // In the same Secret, which keeps what is not written over.
    let mut there = second.data();
    there.extend(third.data());
    assert!(Held::read(&there).unwrap() == third);
    // One that has itself all but ended never signs.
    let late = at + Days::days(355);
    let fresh = second.renewed(Renewal::Authority, &terms(), late).unwrap();
    assert!(fresh.authority != next);
}

#[test]
fn what_is_for_other_names_or_of_another_authority_or_has_another_key_is_renewed() {
    let (held, other) = (new(), new());
    let more = Terms { names: vec!["other.portcullis.svc".to_owned()], ..terms() };
    assert_eq!(held.due(&more, NOW, |_| false), Some(Renewal::Certificate));
    let foreign = Held { certificate: other.certificate.clone(), ..held.clone() };
    check(&foreign, 0, Some(Renewal::Certificate));
    let key = Pair { key: other.certificate.key, ..held.certificate.clone() };
    check(&Held { certificate: key, ..held }, 0, Some(Renewal::Certificate));
}

#[test]
fn what_lacks_something_or_is_broken_is_not_held() {
    let data = new().data();
    assert!(Held::read(&BTreeMap::new()).is_none());
    for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
        let mut less = data.clone();
        less.remove(key);
        assert!(Held::read(&less).is_none(), "without {key}");
    }
    let wrong = |key: &str, text: String| {
        let mut wrong = data.clone();
        wrong.insert(key.to_owned(), text);
        Held::read(&wrong).is_none()
    };
    assert!(wrong("ca.crt", "x".to_owned()));
    assert!(wrong("ca.key", new().authority.key));
    // What is signed by it cannot sign.
    assert!(wrong("ca.crt", new().certificate.certificate));
}

#[test]
fn a_certificate_never_outlives_its_authority() {
    let held = new();
    let late = NOW + Days::days(355);
    let certificate = issue::certificate(&held.authority, &terms(), late).unwrap();
    let of = |pair: &Pair| Read::of(&pair.certificate).unwrap().until;
    assert_eq!(of(&certificate), of(&held.authority));
}

#[test]
fn an_authority_of_before_is_trusted_until_it_ends_and_not_after() {
    let first = new();
    let at = NOW + Days::days(240);
    let second = first.clone().renewed(Renewal::Authority, &terms(), at).unwrap();
    assert!(second.authority != first.authority && second.certificate != first.certificate);
    assert_eq!(second.old, std::slice::from_ref(&first.authority.certificate));
    assert!(second.bundle().starts_with(&second.authority.certificate));
    assert!(second.bundle().contains(&first.authority.certificate));
    // Also while certificates are renewed, until it has ended for everybody's clock.
    let third = second.renewed(Renewal::Certificate, &terms(), NOW + Days::days(359)).unwrap();
    assert_eq!(third.old.len(), 1);
    check(&third, 360, None);
    let ended = NOW + Days::days(360) + Days::minutes(5);
    assert_eq!(third.due(&terms(), ended, |_| false), Some(Renewal::Ended));
    let fourth = third.clone().renewed(Renewal::Ended, &terms(), ended).unwrap();
    assert!(fourth.old.is_empty() && fourth.certificate == third.certificate);
    assert_eq!(fourth.due(&terms(), ended, |_| false), None);
}

#[test]
fn authorities_of_before_are_as_many_as_are_allowed_each_once() {
    let roots = |count| (0..count).map(|_| new().authority.certificate).collect::<Vec<_>>();
    let known = roots(MAX_OLD + 1);
    let held = |known: Vec<String>| Held::new(known, &terms(), NOW).unwrap().old.len();
    assert_eq!(held(known.iter().take(MAX_OLD).cloned().collect()), MAX_OLD);
    assert_eq!(held(known.clone()), MAX_OLD);
    assert_eq!(held([known.clone(), known].concat().into_iter().take(2).collect()), 2);
    let [one] = roots(1).try_into().unwrap();
    assert_eq!(held(vec![one.clone(), one]), 1);
}

#[test]
fn authorities_are_found_among_other_text() {
    let (one, other) = (new().authority.certificate, new().authority.certificate);
    let text = format!(
        "# ours\r\n{one}-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n{other}rest"
    );
    let found = authorities(&text);
    assert_eq!(found.len(), 2);
    assert_eq!(Read::of(&found[0]), Read::of(&one));
    assert_eq!(Read::of(&found[1]), Read::of(&other));
    assert!(authorities("").is_empty() && authorities("-----BEGIN CERTIFICATE-----").is_empty());
}

/// As RFC 5280 has it of a certificate without an end (section 4.1.2.5).
#[test]
fn an_authority_without_an_end_does_not_end() {
    let mut params = rcgen::CertificateParams::default();
    params.not_after = datetime!(9999-12-31 23:59:59 UTC);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    assert!(!has_ended(&pem, &terms(), NOW));
    assert!(has_ended("no certificate", &terms(), NOW));
}
