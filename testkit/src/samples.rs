//! A registry and an authority in, the demo's images and its policy out.
//!
//! The vulnerabilities are real: identifiers, packages, versions and scores are those that the
//! distributions and the NVD published.

use portcullis_core::findings::Severity;
use portcullis_core::image::Digest;
use portcullis_core::signature::sign::{Format, SigningKey};
use time::{Duration, OffsetDateTime};

use crate::TestkitError;
use crate::attach::{attach_report, sign};
use crate::image::{image, index, platform_image};
use crate::keys::Authority;
use crate::registry::Registry;
use crate::report::TrivyReport;
use crate::tamper;

/// Common name of the certificate that signs the demo's reports.
const SIGNER: &str = "demo scanner";
const TAG: &str = "1.0";

/// An image of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its short name: `clean`.
    pub name: &'static str,
    /// Its reference, as a pod would name it.
    pub reference: String,
    /// What it shows, for people.
    pub shows: &'static str,
}

/// Pushes the demo's images, `demo/<name>:1.0`, with their reports: scanned an hour before `now` and
/// signed then by a new certificate of `authority`.
///
/// # Errors
/// When a certificate of the authority is not valid at that time.
pub fn samples(
    registry: &Registry,
    authority: &Authority,
    now: OffsetDateTime,
) -> Result<Vec<Sample>, TestkitError> {
    let scanned_at = now.checked_sub(Duration::hours(1)).ok_or(TestkitError::Validity)?;
    let stage = Stage { registry, key: authority.issue(SIGNER)?.signing_key()?, scanned_at };
    let clean = TrivyReport::new(scanned_at);

    let digest = stage.image("clean")?;
    stage.signed("clean", digest, &clean)?;

    let digest = stage.image("critical")?;
    stage.signed("critical", digest, &old_debian(scanned_at))?;

    let digest = stage.image("accepted")?;
    stage.signed("accepted", digest, &accepted_debian(scanned_at))?;

    stage.image("unscanned")?;

    let digest = stage.image("unsigned")?;
    attach_report(registry, "demo/unsigned", digest, &clean)?;

    let digest = stage.image("tampered")?;
    let report = stage.signed("tampered", digest, &old_debian(scanned_at))?;
    let name = format!("{}/demo/tampered", registry.host());
    let whitewash = clean.to_statement(&name, digest)?;
    tamper::replace_content(registry, "demo/tampered", report, whitewash)?;

    stage.multi_platform(&clean)?;

    let sample = |name: &'static str, shows| Sample {
        name,
        reference: format!("{}/demo/{name}:{TAG}", registry.host()),
        shows,
    };
    Ok(vec![
        sample("clean", "a signed report without findings"),
        sample("critical", "a signed report with critical findings that have fixes"),
        sample("accepted", "a signed report whose findings the policy accepts, each with a reason"),
        sample("unscanned", "no report"),
        sample("unsigned", "a report without findings that nobody signed"),
        sample("tampered", "a signed report whose findings somebody removed afterwards"),
        sample("multi", "two platforms, of which only linux/arm64 is vulnerable"),
    ])
}

/// The demo's policy: one rule that denies, and what it accepts.
#[must_use]
pub const fn rules() -> &'static str {
    include_str!("samples/rules.yaml")
}

struct Stage<'a> {
    registry: &'a Registry,
    key: SigningKey,
    scanned_at: OffsetDateTime,
}

impl Stage<'_> {
    fn image(&self, name: &str) -> Result<Digest, TestkitError> {
        image(self.registry, &format!("demo/{name}"), TAG, name)
    }

    fn signed(
        &self,
        name: &str,
        subject: Digest,
        report: &TrivyReport,
    ) -> Result<Digest, TestkitError> {
        let repository = format!("demo/{name}");
        let report = attach_report(self.registry, &repository, subject, report)?;
        sign(self.registry, &repository, report, &self.key, Format::Jws, self.scanned_at)?;
        Ok(report)
    }

    /// Each platform has its own report, as scanners that scan platforms attach them.
    fn multi_platform(&self, clean: &TrivyReport) -> Result<(), TestkitError> {
        let (amd64, arm64) = ("linux/amd64".parse()?, "linux/arm64".parse()?);
        let on_amd64 = platform_image(self.registry, "demo/multi", "", &amd64, "multi")?;
        let on_arm64 = platform_image(self.registry, "demo/multi", "", &arm64, "multi")?;
        self.signed("multi", on_amd64, clean)?;
        self.signed("multi", on_arm64, &old_alpine(self.scanned_at))?;
        index(self.registry, "demo/multi", TAG, &[(amd64, on_amd64), (arm64, on_arm64)])?;
        Ok(())
    }
}

/// Debian 11.3 as it was released, in March 2022 (fixes: DSA-5122, 5123, 5139, 5147, 5169, 5218).
fn old_debian(scanned_at: OffsetDateTime) -> TrivyReport {
    use Severity::{Critical, High};
    let openssl = "1.1.1n-0+deb11u1";
    TrivyReport::new(scanned_at)
        .system("debian", "11.3")
        .finding("CVE-2022-1664", Critical, "dpkg", "1.20.9", "1.20.10")
        .score(9.8)
        .finding("CVE-2022-1292", Critical, "libssl1.1", openssl, "1.1.1n-0+deb11u2")
        .score(9.8)
        .finding("CVE-2022-2068", Critical, "libssl1.1", openssl, "1.1.1n-0+deb11u3")
        .score(9.8)
        .finding(
            "CVE-2022-37434",
            Critical,
            "zlib1g",
            "1:1.2.11.dfsg-2+deb11u1",
            "1:1.2.11.dfsg-2+deb11u2",
        )
        .score(9.8)
        .finding("CVE-2022-1271", High, "gzip", "1.10-4", "1.10-4+deb11u1")
        .score(8.8)
        .finding("CVE-2022-1271", High, "liblzma5", "5.2.5-2", "5.2.5-2.1~deb11u1")
        .score(8.8)
}

/// Debian 12: what scanners report of it and Debian does not mean to fix.
fn accepted_debian(scanned_at: OffsetDateTime) -> TrivyReport {
    TrivyReport::new(scanned_at)
        .system("debian", "12")
        .finding("CVE-2023-45853", Severity::Critical, "zlib1g", "1:1.2.13.dfsg-1", "")
        .score(9.8)
        .finding("CVE-2023-2953", Severity::High, "libldap-2.5-0", "2.5.13+dfsg-5", "")
        .score(7.5)
}

/// Alpine 3.10.1 of July 2019.
fn old_alpine(scanned_at: OffsetDateTime) -> TrivyReport {
    TrivyReport::new(scanned_at)
        .system("alpine", "3.10.1")
        .finding("CVE-2019-14697", Severity::Critical, "musl", "1.1.22-r2", "1.1.22-r3")
        .score(9.8)
        .finding("CVE-2021-36159", Severity::Critical, "apk-tools", "2.10.4-r2", "2.10.7-r0")
        .score(9.1)
        .finding("CVE-2021-30139", Severity::High, "apk-tools", "2.10.4-r2", "2.10.6-r0")
        .score(7.5)
}

#[cfg(test)]
mod tests;
