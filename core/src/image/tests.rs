//! References and digests: what containerd accepts, spelled in one way; all else refused.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::*;
use proptest::prelude::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[track_caller]
fn check(input: &str, expected: Option<&str>) {
    let printed = input.parse::<Reference>().map(|r| r.to_string());
    assert_eq!(printed.as_deref().ok(), expected, "{input:?} gave {printed:?}");
}

/// CASES T053.
#[test]
fn t053_names_are_normalised_as_containerd_does() {
    check("nginx", Some("docker.io/library/nginx:latest"));
    check("library/nginx", Some("docker.io/library/nginx:latest"));
    check("docker.io/nginx", Some("docker.io/library/nginx:latest"));
    check("index.docker.io/library/nginx", Some("docker.io/library/nginx:latest"));
    check("registry-1.docker.io/library/nginx", Some("docker.io/library/nginx:latest"));
    check("docker.io.evil.com/nginx", Some("docker.io.evil.com/nginx:latest"));
    check("me/app:v1", Some("docker.io/me/app:v1"));
    check("localhost/app", Some("localhost/app:latest"));
    check("REG.io/team/app:v1", Some("reg.io/team/app:v1"));
    check("reg.io:5000/a/b__c/d--e.f", Some("reg.io:5000/a/b__c/d--e.f:latest"));
    check("[::1]:5000/a", Some("[::1]:5000/a:latest"));
    // One registry has one spelling, or a rule for it could be passed.
    check("[0:0:0:0:0:0:0:1]:5000/a", Some("[::1]:5000/a:latest"));
    check("reg.io:443/team/app", Some("reg.io/team/app:latest"));
    check("registry-1.docker.io:443/library/nginx", Some("docker.io/library/nginx:latest"));
    check("[::1]:443/a", Some("[::1]/a:latest"));
    check("reg:443/a", Some("reg:443/a:latest"));
}

/// CASES T056.
#[test]
fn t056_a_digest_needs_no_tag_and_keeps_one() {
    check(&format!("nginx@sha256:{HEX}"), Some(&format!("docker.io/library/nginx@sha256:{HEX}")));
    check(&format!("reg.io/a:v1@sha256:{HEX}"), Some(&format!("reg.io/a:v1@sha256:{HEX}")));
}

#[test]
fn the_parts_of_a_reference_are_parts_of_its_text() {
    let parts = |text: &str| {
        let image: Reference = text.parse().unwrap();
        assert_eq!(image.name(), format!("{}/{}", image.registry(), image.repository()));
        assert_eq!(image.as_str(), image.to_string());
        let own = |part: Option<&str>| part.map(str::to_owned);
        (own(image.tag()), own(image.with_tag()), own(image.with_digest()))
    };
    let some = |text: &str| Some(text.to_owned());
    let pinned = format!("reg.io:5000/a/b@sha256:{HEX}");
    assert_eq!(parts("reg.io:5000/a/b:v1"), (some("v1"), some("reg.io:5000/a/b:v1"), None));
    assert_eq!(parts(&pinned), (None, None, some(&pinned)));
    assert_eq!(
        parts(&format!("reg.io:5000/a/b:v1@sha256:{HEX}")),
        (some("v1"), some("reg.io:5000/a/b:v1"), some(&pinned))
    );
    let image: Reference = "reg.io/a:v1".parse().unwrap();
    let at = image.at(Digest::of(b""));
    assert_eq!(at, format!("reg.io/a@sha256:{HEX}").parse().unwrap());
}

#[test]
fn references_are_in_the_order_of_their_parts() {
    let ordered = [
        "reg.io/a".to_owned(),
        format!("reg.io/a@sha256:{HEX}"),
        "reg.io/a:v1".to_owned(),
        format!("reg.io/a:v1@sha256:{HEX}"),
        "reg.io/a/b:v1".to_owned(),
        "reg.io/a-b:v1".to_owned(),
        "reg.io-x.de/a".to_owned(),
        "reg.io:5000/a".to_owned(),
    ];
    let read = |text: &String| text.parse::<Reference>().unwrap();
    let mut images: Vec<_> = ordered.iter().rev().map(read).collect();
    images.sort();
    let mut expected: Vec<_> = ordered.iter().map(read).collect();
    expected.sort_by_key(|image| {
        let own = str::to_owned;
        (own(image.registry()), own(image.repository()), image.tag().map(own), image.digest())
    });
    assert_eq!(images, expected);
    let hash = |image: &Reference| BuildHasherDefault::<DefaultHasher>::default().hash_one(image);
    assert_eq!(hash(&read(&"nginx".to_owned())), hash(&read(&"docker.io/nginx:latest".to_owned())));
}

/// CASES T055.
#[test]
fn t055_malformed_references_are_refused() {
    for input in [
        "",
        " ",
        "nginx ",
        "Nginx",
        "reg.io/",
        "reg.io//a",
        "reg.io/a/../b",
        "reg.io/a%2fb",
        "a:",
        "a:-x",
        "a\0b",
        "reg.io:0/a",
        "reg.io:080/a",
        "reg.io:65536/a",
        "reg.io:x/a",
        "-a.io/b",
        "reg..io/a",
        "a___b",
        "a._b",
        "reg.io/a:t@",
        "[::1/a",
        "[zz]/a",
        "B/64",
        "reg.io/a:b:c",
        "@sha256:00",
    ] {
        check(input, None);
    }
}

#[test]
fn the_id_of_an_image_on_a_node_is_no_reference() {
    check(HEX, None);
    check(&format!("sha256:{HEX}"), None);
    check(&format!("reg.io/{HEX}"), Some(&format!("reg.io/{HEX}:latest")));
}

#[test]
fn a_reference_is_the_same_however_it_came_to_be() {
    let spelled = |text: &str| text.parse::<Reference>().unwrap();
    for (usual, other) in [
        ("reg.io/team/app:v1", "REG.io/team/app:v1"),
        ("reg.io/app:latest", "reg.io/app"),
        ("docker.io/library/app:v1", "app:v1"),
        ("docker.io/me/app:v1", "index.docker.io/me/app:v1"),
        ("reg.io/app:v1", "reg.io:443/app:v1"),
    ] {
        let digest = Digest::of(usual.as_bytes());
        for end in [String::new(), format!("@{digest}")] {
            let (one, two) = (spelled(&format!("{usual}{end}")), spelled(&format!("{other}{end}")));
            // A tag that nobody named is none where there is a digest.
            if other != "reg.io/app" || end.is_empty() {
                assert_eq!(one, two);
                assert_eq!((one.parts(), one.with_tag()), (two.parts(), two.with_tag()));
                assert_eq!(one.with_digest(), two.with_digest());
            }
            assert_eq!(one.at(digest).as_str(), format!("{}@{digest}", one.name()));
        }
    }
}

#[test]
fn each_digit_of_a_digest_is_looked_at() {
    for place in 0..64 {
        for byte in 0..128_u8 {
            let mut text = HEX.to_owned().into_bytes();
            text[place] = byte;
            let text = format!("sha256:{}", String::from_utf8(text).unwrap());
            let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let read = text.parse::<Digest>();
            assert_eq!(read.is_ok(), is_digit, "{text:?}");
            assert!(read.is_err() || read.is_ok_and(|digest| digest.to_string() == text));
        }
    }
}

/// CASES T055.
#[test]
fn t055_malformed_digests_are_refused() {
    for digest in [
        format!("sha256:{}", HEX.split_at(1).1),
        format!("sha256:{HEX}0"),
        format!("sha256:{}", HEX.to_uppercase()),
        format!("SHA256:{HEX}"),
        "sha256:../../etc".to_owned(),
        format!("sha512:{HEX}{HEX}"),
        format!("md5:{HEX}"),
        HEX.to_owned(),
    ] {
        check(&format!("nginx@{digest}"), None);
        assert!(digest.parse::<Digest>().is_err(), "{digest}");
    }
}

#[test]
fn each_part_is_refused_one_byte_past_its_bound() {
    let tag = |n: usize| format!("reg.io/a:{}", "t".repeat(n));
    check(&tag(MAX_TAG), Some(&tag(MAX_TAG)));
    check(&tag(MAX_TAG + 1), None);
    let repository = |n: usize| format!("reg.io/{}:t", "a".repeat(n));
    check(&repository(MAX_REPOSITORY), Some(&repository(MAX_REPOSITORY)));
    check(&repository(MAX_REPOSITORY + 1), None);
    let host = |n: usize| format!("{}.io/a:t", "h".repeat(n - 3));
    check(&host(MAX_REGISTRY), Some(&host(MAX_REGISTRY)));
    check(&host(MAX_REGISTRY + 1), None);
    let long = "a".repeat(MAX_REFERENCE + 1);
    assert!(matches!(
        long.parse::<Reference>(),
        Err(ImageError::TooLong { part: "image reference", .. })
    ));
}

#[test]
fn a_digest_is_the_hash_of_the_bytes() {
    assert_eq!(Digest::of(b"").to_string(), format!("sha256:{HEX}"));
    assert_eq!(Digest::of(b"").fallback_tag(), format!("sha256-{HEX}"));
}

#[test]
fn platforms_are_read_and_refused() {
    assert_eq!("linux/arm/v7".parse::<Platform>().unwrap().to_string(), "linux/arm/v7");
    for bad in ["", "linux", "linux/", "linux/amd64/", "a/b/c/d", "li nux/amd64"] {
        assert!(bad.parse::<Platform>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_prints_the_same(text in "\\PC{0,80}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let printed = reference.to_string();
            prop_assert_eq!(printed.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn a_printed_reference_reads_back(
        host in "[a-z]{1,8}\\.(io|dev)(:[1-9][0-9]{0,3})?",
        repository in "[a-z0-9]{1,6}(/[a-z0-9]{1,6}){0,3}",
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
    ) {
        let text = tag.map_or(format!("{host}/{repository}"), |t| format!("{host}/{repository}:{t}"));
        let reference: Reference = text.parse().unwrap();
        prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
    }
}

#[test]
fn what_is_wrong_is_said_of_what_was_written() {
    let said = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
    assert!(said("nope:::").starts_with("`nope::` is not a repository"), "{}", said("nope:::"));
    assert!(said("reg.io/Team").starts_with("`Team` is not"), "{}", said("reg.io/Team"));
}
