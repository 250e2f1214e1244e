use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use std::os::unix::fs::symlink;

use portcullis_tls::{MAX_FILE, PairFiles};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

struct Pair {
    certificate: String,
    key: String,
}

fn pair(name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    Pair { certificate, key: key.serialize_pem() }
}

struct Folder {
    folder: TempDir,
    metrics: Metrics,
}

impl Folder {
    fn new(pair: &Pair) -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap(), metrics: Metrics::default() };
        folder.write("tls.crt", &pair.certificate);
        folder.write("tls.key", &pair.key);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn config(&self) -> TlsConfig {
        TlsConfig {
            pair: Some(PairFiles { certificate: self.path("tls.crt"), key: self.path("tls.key") }),
            renewal: None,
            client_authorities: None,
        }
    }

    fn load(&self) -> Certificates {
        Certificates::load(&self.config(), portcullis_tls::system_time()).unwrap()
    }

    /// Looks until files that rest are taken; whether something else is used than before.
    fn turned(&self, certificates: &Certificates) -> bool {
        let taken = || {
            let text = self.metrics.encode().unwrap();
            let changes = "portcullis_shim_certificate_changes_total{result=\"taken\"} ";
            text.lines().find_map(|line| line.strip_prefix(changes)).map(str::to_owned)
        };
        let before = taken();
        certificates.look(&self.metrics);
        assert_eq!(taken(), before, "it is taken before it rests");
        certificates.look(&self.metrics);
        taken() != before
    }
}

#[test]
fn t151_a_pair_is_taken_when_it_is_whole_and_the_old_one_kept_until_then() {
    let (old, new) = (pair("old"), pair("new"));
    let folder = Folder::new(&old);
    let certificates = folder.load();
    assert!(!folder.turned(&certificates), "nothing changed");
    // Key before certificate.
    folder.write("tls.key", &new.key);
    assert!(!folder.turned(&certificates), "the key is of another certificate");
    // Half written.
    let (half, _) = new.certificate.split_at(new.certificate.len() / 2);
    folder.write("tls.crt", half);
    assert!(!folder.turned(&certificates), "half a certificate");
    folder.write("tls.crt", "");
    assert!(!folder.turned(&certificates), "an empty file");
    fs::remove_file(folder.path("tls.crt")).unwrap();
    assert!(!folder.turned(&certificates), "no file");
    folder.write("tls.crt", &new.certificate);
    assert!(folder.turned(&certificates), "a whole pair, written in place");
    assert!(!folder.turned(&certificates), "it is taken once");
}

#[test]
fn t151_a_pair_is_taken_that_comes_by_rename() {
    let folder = Folder::new(&pair("old"));
    let certificates = folder.load();
    let new = pair("new");
    folder.write("new.crt", &new.certificate);
    folder.write("new.key", &new.key);
    fs::rename(folder.path("new.crt"), folder.path("tls.crt")).unwrap();
    assert!(!folder.turned(&certificates));
    fs::rename(folder.path("new.key"), folder.path("tls.key")).unwrap();
    assert!(folder.turned(&certificates));
}

#[test]
fn t151_a_pair_is_taken_that_comes_by_a_turned_link_as_the_kubelet_does() {
    let folder = Folder::new(&pair("unused"));
    for (name, pair) in [("..1", pair("old")), ("..2", pair("new"))] {
        fs::create_dir(folder.path(name)).unwrap();
        folder.write(&format!("{name}/tls.crt"), &pair.certificate);
        folder.write(&format!("{name}/tls.key"), &pair.key);
    }
    for file in ["tls.crt", "tls.key"] {
        fs::remove_file(folder.path(file)).unwrap();
        symlink(Path::new("..data").join(file), folder.path(file)).unwrap();
    }
    symlink("..1", folder.path("..data")).unwrap();
    let certificates = folder.load();
    symlink("..2", folder.path("..tmp")).unwrap();
    fs::rename(folder.path("..tmp"), folder.path("..data")).unwrap();
    assert!(folder.turned(&certificates));
}

#[test]
fn what_cannot_be_used_is_named() {
    let (one, other) = (pair("one"), pair("other"));
    let folder = Folder::new(&one);
    let refused = |words: &[&str]| {
        let error =
            Certificates::load(&folder.config(), portcullis_tls::system_time()).err().unwrap();
        let text = crate::chain(&error);
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    folder.write("tls.key", &other.key);
    refused(&["tls.crt", "tls.key", "does not go with"]);
    folder.write("tls.key", "no key");
    refused(&["tls.key", "not PEM"]);
    folder.write("tls.crt", &one.key);
    refused(&["tls.crt", "no certificate"]);
    folder.write("tls.crt", &"x".repeat(MAX_FILE + 1));
    refused(&["tls.crt", "longer than"]);
}
