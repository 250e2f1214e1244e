//! Where trust is configured in, the trust that its files make out.

use std::path::{Path, PathBuf};

use portcullis_core::image::Digest;
use portcullis_core::signature::cosign::{CosignEntry, CosignTrust};
use portcullis_core::signature::{StoreFile, StoreKind, Trust};

use super::{RulesConfig, RulesError, cosign, file_name, files, read};

/// Where trust is read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TrustConfig {
    /// Nowhere: nobody is trusted.
    #[default]
    Nobody,
    /// Files of notation's formats, wherever they are.
    Files {
        /// A trust policy, as `trustpolicy.json` has it.
        policy: PathBuf,
        /// The folder that has `x509/{ca,signingAuthority,tsa}/<store>/*.{pem,crt,cer,der}`.
        store: Option<PathBuf>,
    },
    /// The configuration folder of the notation tool, as it is.
    Notation(PathBuf),
}

/// Which files of a trust store are certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Those that are called like one.
    Known,
    /// All of them, as for notation.
    Any,
}

/// A trust policy, its stores and the signers of cosign attestations, as read.
pub(super) struct TrustFiles {
    notary: Option<NotaryFiles>,
    cosign: Vec<CosignEntry>,
}

struct NotaryFiles {
    path: PathBuf,
    policy: Vec<u8>,
    stores: Vec<StoreFile>,
    warning: Option<String>,
}

impl TrustFiles {
    pub(super) fn read(config: &RulesConfig) -> Result<Self, RulesError> {
        let cosign = cosign::entries(&config.cosign)?;
        let notary = match &config.trust {
            TrustConfig::Nobody => None,
            TrustConfig::Files { policy, store } => {
                let stores = store.as_deref().map(|folder| store_files(folder, Named::Known));
                let stores = stores.transpose()?.unwrap_or_default();
                let (path, policy) = (policy.clone(), read(policy)?);
                Some(NotaryFiles { path, policy, stores, warning: None })
            }
            TrustConfig::Notation(folder) => Some(NotaryFiles::of_notation(folder)?),
        };
        Ok(Self { notary, cosign })
    }

    pub(super) fn parse(&self) -> Result<Trust, RulesError> {
        let trust = match &self.notary {
            Some(NotaryFiles { path, policy, stores, warning }) => Trust::parse(policy, stores)
                .map_err(|source| RulesError::Trust { path: path.clone(), source })?
                .with_warnings(warning.clone()),
            None => Trust::nobody(),
        };
        Ok(trust.with_cosign(CosignTrust::parse(&self.cosign)?))
    }

    /// What tells one state of the files from another.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(NotaryFiles { policy, stores, .. }) = &self.notary {
            all.extend(Digest::of(policy).as_bytes());
            for file in stores {
                let name = format!("{:?}/{}/{}", file.kind, file.store, file.file);
                all.extend(Digest::of(name.as_bytes()).as_bytes());
                all.extend(Digest::of(&file.bytes).as_bytes());
            }
        }
        all.extend(cosign::fingerprint(&self.cosign));
        all
    }
}

impl NotaryFiles {
    /// The names are those of notation-go, and for the stores also that of the specification.
    fn of_notation(folder: &Path) -> Result<Self, RulesError> {
        let path = ["trustpolicy.oci.json", "trustpolicy.json"].map(|name| folder.join(name));
        let Some(path) = path.into_iter().find(|path| path.exists()) else {
            return Err(RulesError::NoTrustPolicy { path: folder.to_owned() });
        };
        let stores = ["truststore", "trust-store"].map(|name| folder.join(name));
        let stores: Vec<_> = stores.iter().filter(|path| path.exists()).collect();
        let stores = match stores[..] {
            [] => Vec::new(),
            [store] => store_files(store, Named::Any)?,
            _ => return Err(RulesError::TwoTrustStores { path: folder.to_owned() }),
        };
        let blob = folder.join("trustpolicy.blob.json");
        let warning = blob.exists().then(|| {
            format!(
                "`{}` is not used: it is about files, and reports are in registries",
                blob.display()
            )
        });
        Ok(Self { policy: read(&path)?, path, stores, warning })
    }
}

fn store_files(folder: &Path, named: Named) -> Result<Vec<StoreFile>, RulesError> {
    const EXTENSIONS: [&str; 4] = ["pem", "crt", "cer", "der"];
    let mut found = Vec::new();
    for kind in [StoreKind::Ca, StoreKind::SigningAuthority, StoreKind::Tsa] {
        let kind_folder = folder.join("x509").join(kind.as_str());
        if !kind_folder.is_dir() {
            continue;
        }
        for store in files(&kind_folder)?.into_iter().filter(|p| p.is_dir()) {
            for path in files(&store)? {
                let known = path.extension().is_some_and(|e| EXTENSIONS.iter().any(|k| e == *k));
                if (known || named == Named::Any) && path.is_file() {
                    found.push(StoreFile {
                        kind,
                        store: file_name(&store),
                        file: file_name(&path),
                        bytes: read(&path)?,
                    });
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use portcullis_testkit::keys::Authority;
    use time::macros::datetime;

    use super::*;

    fn write(folder: &Path, file: &str, content: impl AsRef<[u8]>) {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }

    fn authority() -> Authority {
        Authority::new("it", datetime!(2026-08-01 12:00 UTC)).unwrap()
    }

    #[test]
    fn a_trust_store_is_read_by_kind_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority();
        for path in ["ca/it/root.pem", "ca/it/readme.txt", "ca/.hidden/root.pem", "tsa/clock/t.crt"]
        {
            write(folder.path(), &format!("x509/{path}"), authority.root_pem());
        }
        let names = |named| {
            let found = store_files(folder.path(), named).unwrap();
            found.into_iter().map(|f| (f.kind, f.store, f.file)).collect::<Vec<_>>()
        };
        let file = |kind, store: &str, file: &str| (kind, store.to_owned(), file.to_owned());
        let root = file(StoreKind::Ca, "it", "root.pem");
        let clock = file(StoreKind::Tsa, "clock", "t.crt");
        assert_eq!(names(Named::Known), [root.clone(), clock.clone()]);
        let other = file(StoreKind::Ca, "it", "readme.txt");
        assert_eq!(names(Named::Any), [other, root, clock]);
    }

    /// Notation's own folder: its policy, and a certificate that is not called like one.
    fn notation(policy: &str, stores: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority();
        write(folder.path(), policy, authority.trust_policy_json("*", "it").unwrap());
        write(folder.path(), &format!("{stores}/x509/ca/it/example.io"), authority.root_pem());
        // What else notation keeps there.
        write(folder.path(), "signingkeys.json", "{}");
        write(folder.path(), "config.json", "{}");
        folder
    }

    fn load(folder: &tempfile::TempDir) -> Result<Trust, RulesError> {
        let trust = TrustConfig::Notation(folder.path().to_owned());
        TrustFiles::read(&RulesConfig { trust, ..RulesConfig::default() })?.parse()
    }

    #[test]
    fn a_folder_of_notation_is_taken_as_it_is() {
        for policy in ["trustpolicy.json", "trustpolicy.oci.json"] {
            for stores in ["truststore", "trust-store"] {
                let trust = load(&notation(policy, stores)).unwrap();
                assert!(trust.warnings().is_empty(), "{policy} {stores}");
            }
        }
        let folder = notation("trustpolicy.oci.json", "truststore");
        write(folder.path(), "trustpolicy.json", "an older one, which notation ignores");
        load(&folder).unwrap();
    }

    #[test]
    fn a_policy_for_files_is_ignored_and_told_of() {
        let folder = notation("trustpolicy.oci.json", "truststore");
        write(folder.path(), "trustpolicy.blob.json", "not even read");
        let trust = load(&folder).unwrap();
        let [warning] = trust.warnings() else { panic!("{:?}", trust.warnings()) };
        assert!(warning.contains("trustpolicy.blob.json` is not used"), "{warning}");
    }

    #[test]
    fn a_folder_of_notation_that_has_two_readings_or_none_is_refused() {
        let folder = notation("trustpolicy.blob.json", "truststore");
        let error = load(&folder).unwrap_err();
        assert!(matches!(error, RulesError::NoTrustPolicy { .. }), "{error:?}");
        let folder = notation("trustpolicy.json", "truststore");
        fs::create_dir(folder.path().join("trust-store")).unwrap();
        let error = load(&folder).unwrap_err();
        assert!(matches!(error, RulesError::TwoTrustStores { .. }), "{error:?}");
        fs::remove_dir_all(folder.path().join("truststore")).unwrap();
        let error = load(&folder).unwrap_err();
        assert!(matches!(error, RulesError::Trust { .. }), "{error:?}");
    }
}
