//! Files as they are replaced in the field, and as they go wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use portcullis_testkit::keys::{Authority, Issued};
use time::macros::datetime;

use super::*;
use crate::pair::{MAX_CHAIN, PairFiles};

/// A folder with a pair in it.
struct Site {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Site {
    fn new() -> Self {
        let authority = Authority::new("tls", datetime!(2026-08-01 12:00 UTC)).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), authority }
    }

    fn pair(&self) -> Issued {
        self.authority.tls(&["localhost"]).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn part(&self, folder: &str) -> Part<PairFiles> {
        let (certificate, key) =
            (self.path(folder).join("tls.crt"), self.path(folder).join("tls.key"));
        Part::load(PairFiles { certificate, key }).unwrap()
    }
}

fn write(folder: &Path, pair: &Issued) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("tls.crt"), &pair.chain_pem).unwrap();
    fs::write(folder.join("tls.key"), &pair.key_pem).unwrap();
}

#[track_caller]
fn holds(part: &Part<PairFiles>, pair: &Issued) {
    assert!(part.value().key.cert[0].as_ref() == pair.chain[0], "it is another");
}

/// It is seen at the next look and taken at the one after.
#[track_caller]
fn taken(part: &mut Part<PairFiles>, pair: &Issued) {
    assert!(part.look().is_none());
    part.look().unwrap().unwrap();
    holds(part, pair);
    assert!(part.look().is_none());
}

/// It is seen at the next look, and told of once at the one after.
#[track_caller]
fn kept(part: &mut Part<PairFiles>, pair: &Issued, word: &str) {
    assert!(part.look().is_none());
    let error = part.look().unwrap().unwrap_err();
    assert!(cause(&error).contains(word), "{}", cause(&error));
    holds(part, pair);
    assert!(part.look().is_none());
}

#[test]
fn t151_a_swap_of_the_kubelets_link_is_taken() {
    let (site, old, new) = (Site::new(), Site::new().pair(), Site::new().pair());
    write(&site.path("..1"), &old);
    write(&site.path("..2"), &new);
    symlink("..1", site.path("..data")).unwrap();
    let mut part = site.part("..data");
    holds(&part, &old);
    assert!(part.look().is_none());
    symlink("..2", site.path("..new")).unwrap();
    fs::rename(site.path("..new"), site.path("..data")).unwrap();
    taken(&mut part, &new);
}

#[test]
fn t151_a_key_before_its_certificate_waits_for_it() {
    let (site, old, new) = (Site::new(), Site::new().pair(), Site::new().pair());
    write(&site.path("a"), &old);
    write(&site.path("b"), &new);
    let mut part = site.part("a");
    let rename = |name: &str| {
        fs::rename(site.path("b").join(name), site.path("a").join(name)).unwrap();
    };
    rename("tls.key");
    kept(&mut part, &old, "does not go with the certificate");
    rename("tls.crt");
    taken(&mut part, &new);
}

#[test]
fn t151_a_file_that_is_written_in_place_is_taken_when_it_is_whole() {
    let (site, old, new) = (Site::new(), Site::new().pair(), Site::new().pair());
    let folder = site.path("a");
    write(&folder, &old);
    let mut part = site.part("a");
    fs::write(folder.join("tls.key"), &new.key_pem).unwrap();
    // It is never at rest.
    for length in [0, 10, 300, new.chain_pem.len() - 2] {
        fs::write(folder.join("tls.crt"), new.chain_pem.get(..length).unwrap()).unwrap();
        assert!(part.look().is_none());
        holds(&part, &old);
    }
    // Whoever wrote it stopped in the middle.
    fs::write(folder.join("tls.crt"), new.chain_pem.get(..400).unwrap()).unwrap();
    kept(&mut part, &old, "only a part of it is there");
    fs::write(folder.join("tls.crt"), &new.chain_pem).unwrap();
    taken(&mut part, &new);
}

#[test]
fn t151_no_beginning_of_a_file_is_taken_for_the_whole() {
    let (site, pair) = (Site::new(), Site::new().pair());
    write(&site.path("a"), &pair);
    let part = site.part("a");
    let whole = (pair.chain_pem.trim_end().as_bytes(), pair.key_pem.trim_end().as_bytes());
    let parse = |certificate: &[u8], key: &[u8]| {
        part.source.parse(&[certificate.to_vec(), key.to_vec()]).map(drop)
    };
    parse(whole.0, whole.1).unwrap();
    for length in 0..whole.0.len() {
        assert!(parse(&whole.0[..length], whole.1).is_err(), "{length}");
    }
    for length in 0..whole.1.len() {
        assert!(parse(whole.0, &whole.1[..length]).is_err(), "{length}");
    }
}

#[test]
fn t151_a_file_that_is_away_costs_nothing() {
    let (site, old) = (Site::new(), Site::new().pair());
    write(&site.path("a"), &old);
    let mut part = site.part("a");
    fs::remove_dir_all(site.path("a")).unwrap();
    kept(&mut part, &old, "No such file");
    write(&site.path("a"), &old);
    taken(&mut part, &old);
}

#[test]
fn files_are_refused_one_past_their_bounds() {
    let (site, pair) = (Site::new(), Site::new().pair());
    write(&site.path("a"), &pair);
    let mut part = site.part("a");
    let chain = |count| pair.chain_pem.repeat(count);
    fs::write(site.path("a").join("tls.crt"), chain(MAX_CHAIN)).unwrap();
    taken(&mut part, &pair);
    fs::write(site.path("a").join("tls.crt"), chain(MAX_CHAIN + 1)).unwrap();
    kept(&mut part, &pair, "17 certificates, more than the 16 allowed");
    let long = |length: usize| pair.chain_pem.clone() + &"\n".repeat(length - pair.chain_pem.len());
    fs::write(site.path("a").join("tls.crt"), long(crate::MAX_FILE)).unwrap();
    taken(&mut part, &pair);
    fs::write(site.path("a").join("tls.crt"), long(crate::MAX_FILE + 1)).unwrap();
    kept(&mut part, &pair, "longer than the 1048576 bytes allowed");
}
