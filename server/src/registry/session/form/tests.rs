//! What was stored comes back as it was, or not at all.

use portcullis_core::referrers::OCI_MANIFEST;

use super::*;
use crate::registry::Fetched;

fn sample() -> Answers {
    let listed = br#"{"manifests":[
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,
         "digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "artifactType":"application/x","annotations":{"a":"1"},
         "platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
        {"mediaType":"application/y","size":0,
         "digest":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}]}"#;
    let bytes = Bytes::from_static(b"a manifest");
    let digest = Digest::of(&bytes);
    let fetched = Fetched { bytes, media_type: OCI_MANIFEST.to_owned(), digest };
    let mut answers = Answers::of(Some("v1"), &fetched);
    answers.lists.insert(digest, referrers::parse_list(listed).unwrap());
    answers.tags.insert("sha256-0.att".to_owned(), None);
    let blob = Bytes::from_static(b"a report");
    let content = Content { bytes: blob.clone(), media_type: String::new() };
    answers.contents.insert((Kind::Blob, Digest::of(&blob)), content);
    answers
}

#[test]
fn answers_come_back_as_they_were() {
    for answers in [Answers::default(), sample()] {
        let bytes = Bytes::from(answers.encode().unwrap());
        assert_eq!(Answers::decode(&bytes).unwrap(), answers);
        assert_eq!(bytes, answers.encode().unwrap());
    }
    let named = sample().named(Some("v1"), None).unwrap();
    assert_eq!((&named.bytes[..], named.media_type.as_str()), (&b"a manifest"[..], OCI_MANIFEST));
    assert_eq!(sample().named(None, Some(named.digest)), Some(named));
    assert_eq!(sample().named(Some("v2"), None), None);
}

#[test]
fn answers_of_which_a_byte_was_changed_or_cut_off_do_not_come_back_as_others() {
    let (answers, bytes) = (sample(), sample().encode().unwrap());
    let contents = answers.bytes();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let decoded = Answers::decode(&changed.into());
        if place >= bytes.len() - contents {
            assert!(matches!(decoded, Err(AnswersError::Digest(_))), "{place}");
        } else if let Ok(decoded) = decoded {
            // Names and lists are claims, as a registry's are; content has its digest.
            assert!(decoded.contents.iter().all(|((_, d), c)| *d == Digest::of(&c.bytes)));
        }
        let cut = Bytes::copy_from_slice(&bytes[..place]);
        assert!(Answers::decode(&cut).is_err(), "{place}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(Answers::decode(&longer.into()), Err(AnswersError::Length { .. })));
}

#[test]
fn a_long_list_comes_back_whole() {
    let mut answers = sample();
    let list = answers.lists.values().next().unwrap().clone();
    let digest = Digest::of(b"long");
    let long: Vec<_> = list.into_iter().cycle().take(MAX_DESCRIPTORS).collect();
    answers.lists.insert(digest, long);
    let bytes = Bytes::from(answers.encode().unwrap());
    assert_eq!(Answers::decode(&bytes).unwrap(), answers);
}
