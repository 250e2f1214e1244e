//! Responses and lists of made-up authorities in, what core makes of them out.

use bytes::Bytes;
use portcullis_core::signature::revocation::{
    Answer, CrlError, Inquiry, MAX_CRL, MAX_OCSP_RESPONSE, MAX_SKEW, OcspError, Refusal,
    RevocationList,
};
use portcullis_core::signature::{RevocationQuestion, RevocationStatus};
use rcgen::ExtendedKeyUsagePurpose;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::{Entry, List, OcspAnswer, Standing};
use crate::keys::{Authority, Issued};

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);
const BEFORE: OffsetDateTime = datetime!(2026-07-01 12:00 UTC);
const LIST: &str = "http://crl.example/complete.crl";
/// Of a critical extension that nobody knows.
const UNKNOWN: &[u8] = &[0x2a, 3, 4];

struct World {
    authority: Authority,
    issued: Issued,
    inquiry: Inquiry,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new("acme", NOW).unwrap();
        let issued = authority.issue("scanner").unwrap();
        let inquiry = Inquiry::new(&question(&issued)).unwrap();
        Self { authority, issued, inquiry }
    }

    fn ocsp(&self, answer: &OcspAnswer) -> Result<Answer, OcspError> {
        let response = self.authority.ocsp(&self.inquiry.ocsp_request(), answer).unwrap();
        self.inquiry.ocsp(&response, NOW)
    }

    fn entry(&self) -> Entry {
        Entry::new(self.issued.serial().unwrap(), BEFORE)
    }

    fn list(&self, list: &List) -> Result<RevocationList, CrlError> {
        self.inquiry.list(&self.crl(list), NOW)
    }

    fn crl(&self, list: &List) -> Bytes {
        self.authority.crl(list).unwrap().into()
    }

    /// What the complete list with these entries and changes with those say together.
    #[track_caller]
    fn combined(&self, listed: Vec<Entry>, changes: Vec<Entry>) -> RevocationStatus {
        let complete = self.list(&List::new(listed, NOW)).unwrap();
        let changes = List { base: Some(5), number: 6, ..List::new(changes, NOW) };
        let delta = self.inquiry.delta(&complete, &self.crl(&changes), NOW).unwrap();
        complete.answer(Some(&delta)).status
    }
}

fn question(issued: &Issued) -> RevocationQuestion {
    RevocationQuestion {
        subject: "CN=scanner".to_owned(),
        certificate: issued.chain[0].clone(),
        issuer: issued.chain[1].clone(),
        ocsp: Vec::new(),
        crl: vec![LIST.to_owned()],
        freshest_crl: Vec::new(),
    }
}

const fn revoked_for(reason: Option<u8>) -> Standing {
    Standing::Revoked { at: BEFORE, reason, invalid_since: None }
}

fn revoked(reason: Option<&str>) -> RevocationStatus {
    let reason = reason.map(str::to_owned);
    RevocationStatus::Revoked { at: BEFORE, reason, invalid_since: None }
}

#[test]
fn a_responder_says_good_revoked_or_unknown() {
    let world = World::new();
    let said = |standing| world.ocsp(&OcspAnswer::new(standing, NOW)).unwrap();
    let good = said(Standing::Good);
    assert_eq!(good.status, RevocationStatus::Good);
    assert_eq!(good.next_update, NOW + Duration::DAY);
    assert_eq!(said(revoked_for(None)).status, revoked(None));
    assert_eq!(said(revoked_for(Some(1))).status, revoked(Some("keyCompromise")));
    assert_eq!(said(revoked_for(Some(6))).status, revoked(Some("certificateHold")));
    assert!(matches!(said(Standing::Unknown).status, RevocationStatus::Unknown { .. }));
    let since = Standing::Revoked { at: BEFORE, reason: None, invalid_since: Some(BEFORE) };
    let RevocationStatus::Revoked { invalid_since, .. } = said(since).status else {
        panic!("not revoked");
    };
    assert_eq!(invalid_since, Some(BEFORE));
}

#[test]
fn who_answers_for_the_issuer_needs_a_certificate_for_that() {
    let world = World::new();
    let request = world.inquiry.ocsp_request();
    let good = OcspAnswer::new(Standing::Good, NOW);
    let by = |authority: &Authority, purpose| {
        let response = authority.delegate(purpose).unwrap().ocsp(&request, &good).unwrap();
        world.inquiry.ocsp(&response, NOW)
    };
    let purpose = ExtendedKeyUsagePurpose::OcspSigning;
    let answer = by(&world.authority, purpose.clone()).unwrap();
    assert_eq!(answer.status, RevocationStatus::Good);
    for (authority, purpose) in [
        (&world.authority, ExtendedKeyUsagePurpose::CodeSigning),
        (&Authority::new("acme", NOW).unwrap(), purpose.clone()),
        (&Authority::new("other", NOW).unwrap(), purpose.clone()),
    ] {
        let error = by(authority, purpose).unwrap_err();
        assert!(matches!(error, OcspError::NotEntitled { .. }), "{error:?}");
    }
    // Its certificate is valid for a year.
    let delegate = world.authority.delegate(purpose).unwrap();
    let later = NOW + Duration::days(366);
    let response = delegate.ocsp(&request, &OcspAnswer::new(Standing::Good, later)).unwrap();
    let error = world.inquiry.ocsp(&response, later).unwrap_err();
    assert!(matches!(error, OcspError::NotEntitled { .. }), "{error:?}");
}

#[test]
fn another_authority_cannot_answer_in_the_name_of_the_issuer() {
    let world = World::new();
    let other = Authority::new("acme", NOW).unwrap();
    let good = OcspAnswer::new(Standing::Good, NOW);
    let response = other.ocsp(&world.inquiry.ocsp_request(), &good).unwrap();
    let error = world.inquiry.ocsp(&response, NOW).unwrap_err();
    assert!(matches!(error, OcspError::Signature), "{error:?}");
}

#[test]
fn a_response_about_another_certificate_says_nothing() {
    let world = World::new();
    let good = OcspAnswer::new(Standing::Good, NOW);
    let error = world.ocsp(&OcspAnswer { serial: Some(vec![7]), ..good.clone() }).unwrap_err();
    assert!(matches!(error, OcspError::NotAbout), "{error:?}");
    // The same serial number of another issuer: the names of its key and its own differ.
    let other = World::new();
    let response = world.authority.ocsp(
        &other.inquiry.ocsp_request(),
        &OcspAnswer { serial: Some(world.issued.serial().unwrap()), ..good },
    );
    let error = world.inquiry.ocsp(&response.unwrap(), NOW).unwrap_err();
    assert!(matches!(error, OcspError::NoResponder | OcspError::NotAbout), "{error:?}");
}

#[test]
fn a_response_holds_from_its_time_until_the_next_one() {
    let world = World::new();
    let good = OcspAnswer::new(Standing::Good, NOW);
    let at = |this_update, next_update| {
        world.ocsp(&OcspAnswer { this_update, next_update, ..good.clone() })
    };
    at(BEFORE, Some(NOW)).unwrap();
    at(NOW + MAX_SKEW, Some(NOW + Duration::DAY)).unwrap();
    let error = at(BEFORE, Some(NOW - Duration::SECOND)).unwrap_err();
    assert!(matches!(error, OcspError::NotCurrent { .. }), "{error:?}");
    let ahead = NOW + MAX_SKEW + Duration::SECOND;
    let error = at(ahead, Some(NOW + Duration::DAY)).unwrap_err();
    assert!(matches!(error, OcspError::NotCurrent { .. }), "{error:?}");
    let error = at(BEFORE, None).unwrap_err();
    assert!(matches!(error, OcspError::NoNextUpdate), "{error:?}");
}

#[test]
fn a_critical_extension_of_a_response_must_be_known() {
    let world = World::new();
    let good = OcspAnswer::new(Standing::Good, NOW);
    let error = world.ocsp(&OcspAnswer { critical: Some(UNKNOWN.to_vec()), ..good }).unwrap_err();
    assert!(matches!(error, OcspError::CriticalExtension), "{error:?}");
}

#[test]
fn a_responder_may_refuse() {
    let inquiry = World::new().inquiry;
    for (code, refusal) in [
        (1, Refusal::Malformed),
        (2, Refusal::Internal),
        (3, Refusal::TryLater),
        (5, Refusal::SignatureRequired),
        (6, Refusal::Unauthorized),
    ] {
        let error = inquiry.ocsp(&[0x30, 3, 0x0a, 1, code], NOW).unwrap_err();
        assert!(matches!(error, OcspError::Refused(r) if r == refusal), "{error:?}");
    }
    for response in [&[0x30, 3, 0x0a, 1, 0][..], &[0x30, 3, 0x0a, 1, 4], b"<html>", b""] {
        let error = inquiry.ocsp(response, NOW).unwrap_err();
        assert!(matches!(error, OcspError::Malformed), "{error:?}");
    }
}

#[test]
fn a_response_one_past_its_bound_is_not_read() {
    let inquiry = World::new().inquiry;
    let error = inquiry.ocsp(&vec![0; MAX_OCSP_RESPONSE], NOW).unwrap_err();
    assert!(matches!(error, OcspError::Malformed), "{error:?}");
    let error = inquiry.ocsp(&vec![0; MAX_OCSP_RESPONSE + 1], NOW).unwrap_err();
    assert!(matches!(error, OcspError::TooLarge { .. }), "{error:?}");
}

#[test]
fn no_byte_of_a_response_or_a_list_can_be_changed() {
    let world = World::new();
    let good = OcspAnswer::new(Standing::Good, NOW);
    let response = world.authority.ocsp(&world.inquiry.ocsp_request(), &good).unwrap();
    for at in 0..response.len() {
        let mut changed = response.clone();
        changed[at] ^= 1;
        assert!(world.inquiry.ocsp(&changed, NOW).is_err(), "byte {at}");
    }
    assert!(world.inquiry.ocsp(&[&response[..], &[0]].concat(), NOW).is_err());
    let list = world.crl(&List::new(vec![Entry::new(vec![7], BEFORE)], NOW));
    for at in 0..list.len() {
        let mut changed = list.to_vec();
        changed[at] ^= 1;
        assert!(world.inquiry.list(&changed.into(), NOW).is_err(), "byte {at}");
    }
    assert!(world.inquiry.list(&[&list[..], &[0]].concat().into(), NOW).is_err());
}

#[test]
fn who_is_on_the_list_is_revoked() {
    let world = World::new();
    let said = |entries| world.list(&List::new(entries, NOW)).unwrap().answer(None);
    let other = Entry::new(vec![7], BEFORE);
    let good = said(vec![]);
    assert_eq!((good.status, good.next_update), (RevocationStatus::Good, NOW + Duration::DAY));
    assert_eq!(said(vec![other.clone(); 3]).status, RevocationStatus::Good);
    assert_eq!(said(vec![other.clone(), world.entry(), other]).status, revoked(None));
    let entry = world.entry().because(1);
    assert_eq!(said(vec![entry.clone()]).status, revoked(Some("keyCompromise")));
    // One entry that is for ever is not undone by another.
    let hold = world.entry().because(6);
    assert_eq!(said(vec![hold.clone(), entry.clone()]).status, revoked(Some("keyCompromise")));
    assert_eq!(said(vec![entry, hold]).status, revoked(Some("keyCompromise")));
    let padded = Entry { serial: [&[0][..], &world.entry().serial].concat(), ..world.entry() };
    assert_eq!(said(vec![padded]).status, revoked(None));
    let since = Entry { invalid_since: Some(BEFORE), ..world.entry() };
    let RevocationStatus::Revoked { invalid_since, .. } = said(vec![since]).status else {
        panic!("not revoked");
    };
    assert_eq!(invalid_since, Some(BEFORE));
}

#[test]
fn a_long_list_is_walked_to_its_end() {
    let world = World::new();
    let serial = |n: u32| [&[1][..], &n.to_be_bytes()].concat();
    let mut entries: Vec<_> = (0..50_000).map(|n| Entry::new(serial(n), BEFORE)).collect();
    let list = world.list(&List::new(entries.clone(), NOW)).unwrap();
    assert_eq!(list.answer(None).status, RevocationStatus::Good);
    entries.push(world.entry());
    let list = world.list(&List::new(entries, NOW)).unwrap();
    assert_eq!(list.answer(None).status, revoked(None));
}

#[test]
fn a_list_is_signed_by_the_issuer() {
    let world = World::new();
    let other = Authority::new("acme", NOW).unwrap();
    let list = other.crl(&List::new(vec![], NOW)).unwrap();
    let error = world.inquiry.list(&list.into(), NOW).unwrap_err();
    assert!(matches!(error, CrlError::Signature { .. }), "{error:?}");
}

#[test]
fn a_list_holds_from_its_time_until_the_next_one() {
    let world = World::new();
    let at = |this_update, next_update| {
        world.list(&List { this_update, next_update, ..List::new(vec![], NOW) })
    };
    at(BEFORE, Some(NOW)).unwrap();
    at(NOW + MAX_SKEW, Some(NOW + Duration::DAY)).unwrap();
    let error = at(BEFORE, Some(NOW - Duration::SECOND)).unwrap_err();
    assert!(matches!(error, CrlError::NotCurrent { .. }), "{error:?}");
    let error = at(NOW + MAX_SKEW + Duration::SECOND, Some(NOW + Duration::DAY)).unwrap_err();
    assert!(matches!(error, CrlError::NotCurrent { .. }), "{error:?}");
    let error = at(BEFORE, None).unwrap_err();
    assert!(matches!(error, CrlError::NoNextUpdate), "{error:?}");
}

#[test]
fn a_critical_extension_of_a_list_or_of_any_entry_must_be_known() {
    let world = World::new();
    let critical = Some(UNKNOWN.to_vec());
    let list = List { critical: critical.clone(), ..List::new(vec![], NOW) };
    let error = world.list(&list).unwrap_err();
    assert!(matches!(&error, CrlError::CriticalExtension(id) if id == "1.2.3.4"), "{error:?}");
    let other = Entry { critical, ..Entry::new(vec![7], BEFORE) };
    let error = world.list(&List::new(vec![other], NOW)).unwrap_err();
    assert!(matches!(error, CrlError::CriticalExtension(_)), "{error:?}");
}

#[test]
fn a_list_must_have_the_certificate_in_its_scope() {
    let world = World::new();
    let point =
        |url: &str| world.list(&List { point: Some(url.to_owned()), ..List::new(vec![], NOW) });
    point(LIST).unwrap();
    let error = point("http://crl.example/another-part.crl").unwrap_err();
    assert!(matches!(error, CrlError::Scope(_)), "{error:?}");
    // onlyContainsUserCerts, and then what a leaf is not in, or not wholly.
    let scope =
        |field: &[u8]| world.list(&List { scope: field.to_vec(), ..List::new(vec![], NOW) });
    scope(&[0x81, 1, 0xff]).unwrap();
    for field in [&[0x82, 1, 0xff][..], &[0x83, 2, 1, 0x40], &[0x84, 1, 0xff], &[0x85, 1, 0xff]] {
        let error = scope(field).unwrap_err();
        assert!(matches!(error, CrlError::Scope(_)), "{error:?}");
    }
    let error = scope(&[0x86, 1, 0xff]).unwrap_err();
    assert!(matches!(error, CrlError::Malformed), "{error:?}");
}

#[test]
fn changes_have_the_first_word_and_only_a_hold_is_lifted() {
    let world = World::new();
    let hold = || vec![world.entry().because(6)];
    let lost = || vec![world.entry().because(1)];
    let removed = || vec![world.entry().because(8)];
    assert_eq!(world.combined(vec![], vec![]), RevocationStatus::Good);
    assert_eq!(world.combined(vec![], lost()), revoked(Some("keyCompromise")));
    assert_eq!(world.combined(lost(), vec![]), revoked(Some("keyCompromise")));
    assert_eq!(world.combined(hold(), vec![]), revoked(Some("certificateHold")));
    assert_eq!(world.combined(hold(), lost()), revoked(Some("keyCompromise")));
    assert_eq!(world.combined(hold(), removed()), RevocationStatus::Good);
    assert_eq!(world.combined(lost(), removed()), revoked(Some("keyCompromise")));
    assert_eq!(world.combined(vec![], removed()), RevocationStatus::Good);
    let error = world.list(&List::new(removed(), NOW)).unwrap_err();
    assert!(matches!(error, CrlError::Malformed), "{error:?}");
}

#[test]
fn changes_are_those_to_the_list_that_is_there() {
    let world = World::new();
    let complete = world.list(&List::new(vec![], NOW)).unwrap();
    let lost = List { number: 6, ..List::new(vec![world.entry()], NOW) };
    let delta = |list: List| world.inquiry.delta(&complete, &world.crl(&list), NOW);
    let changes = delta(List { base: Some(4), ..lost.clone() }).unwrap();
    assert_eq!(complete.answer(Some(&changes)).status, revoked(None));
    let error = delta(List { base: Some(6), ..lost.clone() }).unwrap_err();
    assert!(matches!(error, CrlError::OtherBase), "{error:?}");
    let point = Some(LIST.to_owned());
    let error = delta(List { base: Some(5), point, ..lost.clone() }).unwrap_err();
    assert!(matches!(error, CrlError::OtherBase), "{error:?}");
    let error = delta(lost.clone()).unwrap_err();
    assert!(matches!(error, CrlError::NotDelta), "{error:?}");
    let error = world.list(&List { base: Some(5), ..lost.clone() }).unwrap_err();
    assert!(matches!(error, CrlError::IsDelta), "{error:?}");
    // The complete list is the newer one: who is not on it has been taken off since.
    let older = delta(List { base: Some(3), number: 4, ..lost.clone() }).unwrap();
    assert_eq!(complete.answer(Some(&older)).status, RevocationStatus::Good);
    // Until the first of both is due.
    let next_update = Some(NOW + Duration::HOUR);
    let soon = delta(List { base: Some(5), next_update, ..lost }).unwrap();
    assert_eq!(complete.answer(Some(&soon)).next_update, NOW + Duration::HOUR);
}

#[test]
fn a_list_names_where_changes_are_and_not_too_many_places() {
    let world = World::new();
    let urls: Vec<_> = (0..5).map(|n| format!("http://crl.example/{n}")).collect();
    let list = world.list(&List { freshest: urls.clone(), ..List::new(vec![], NOW) }).unwrap();
    assert_eq!(list.freshest(), &urls[..4]);
}

#[test]
fn a_list_one_past_its_bound_is_not_read() {
    let inquiry = World::new().inquiry;
    let error = inquiry.list(&vec![0; MAX_CRL].into(), NOW).unwrap_err();
    assert!(matches!(error, CrlError::Malformed), "{error:?}");
    let error = inquiry.list(&vec![0; MAX_CRL + 1].into(), NOW).unwrap_err();
    assert!(matches!(error, CrlError::TooLarge { .. }), "{error:?}");
}

#[test]
fn an_issuer_is_only_asked_about_what_it_issued() {
    let (world, other) = (World::new(), World::new());
    let mixed =
        RevocationQuestion { issuer: other.issued.chain[1].clone(), ..question(&world.issued) };
    assert!(Inquiry::new(&mixed).is_err());
}
