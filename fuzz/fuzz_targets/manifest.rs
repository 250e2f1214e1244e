//! Registry documents, as a manifest, an index and a list of referrers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    use portcullis_core::referrers::{DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, Profiles, parse, parse_list};
    for declared in [OCI_MANIFEST, OCI_INDEX, DOCKER_LIST] {
        let _ = parse(bytes, declared);
    }
    if let Ok(list) = parse_list(bytes) {
        assert!(Profiles::default().reports(&list).len() <= list.len());
    }
});
