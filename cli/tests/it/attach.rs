//! `portcullis attach`: a report at the image, or nothing at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use portcullis_core::findings::Severity;
use portcullis_testkit::image;
use portcullis_testkit::registry::{Auth, Credentials};
use portcullis_testkit::report::TrivyReport;
use time::OffsetDateTime;

use super::command::{Ran, run, run_with_programs};
use super::world::World;

const REPOSITORY: &str = "it/app";

/// A world with an image that has no report, and the files to attach one.
struct Desk {
    world: World,
    image: String,
    report: PathBuf,
    key: PathBuf,
    chain: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let world = World::new();
        image::image(&world.registry, REPOSITORY, "v1", "seed").unwrap();
        let image = format!("{}/{REPOSITORY}:v1", world.registry.host());
        let issued = world.authority.issue("it scanner").unwrap();
        let key = world.write("key.pem", &issued.key_pem);
        let chain = world.write("chain.pem", &issued.chain_pem);
        let report = TrivyReport::new(OffsetDateTime::now_utc())
            .finding("CVE-2022-37434", Severity::Critical, "zlib1g", "1.2.11", "1.2.12")
            .to_json(&image)
            .unwrap();
        let report = world.write("trivy.json", report);
        world.registry.clear_requests();
        Self { world, image, report, key, chain }
    }

    #[track_caller]
    fn attach(&self, more: &[&str]) -> Ran {
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (report, key, chain) = (path(&self.report), path(&self.key), path(&self.chain));
        let files = ["--report", &report, "--key", &key, "--cert-chain", &chain];
        run(&[&["attach", &self.image, "--plain-http"], files.as_slice(), more].concat())
    }

    /// As [`Desk::attach`], with this `config.json` of Docker's, whose program `docker-credential-it`
    /// is this script.
    #[track_caller]
    fn attach_with_docker(&self, config: &serde_json::Value, helper: &str) -> Ran {
        let config = self.world.write("config.json", config.to_string());
        let folder = config.parent().unwrap();
        // Copied by another process: a file that this one has open for writing cannot be run, also not
        // while another test starts a process that still has it.
        let text = self.world.write("helper", format!("#!/bin/sh\n{helper}\n"));
        let program = folder.join("docker-credential-it");
        assert!(Command::new("cp").args([&text, &program]).status().unwrap().success());
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (report, key, chain) = (path(&self.report), path(&self.key), path(&self.chain));
        let files = ["--report", &report, "--key", &key, "--cert-chain", &chain];
        let docker = ["--docker-config", folder.to_str().unwrap()];
        let first = ["attach", self.image.as_str(), "--plain-http"];
        run_with_programs(folder, &[first.as_slice(), &files, &docker].concat())
    }

    /// It fails, says all of `words`, and pushes nothing.
    #[track_caller]
    fn refuses(&self, words: &[&str]) {
        self.attach(&[]).complains_of(words);
        let requests = self.world.registry.requests();
        let pushed: Vec<_> =
            requests.iter().filter(|r| r.method != "GET" && r.method != "HEAD").collect();
        assert!(pushed.is_empty(), "{pushed:#?}");
    }

    /// As [`Desk::refuses`], with another report.
    #[track_caller]
    fn refuses_report(mut self, report: &[u8], words: &[&str]) {
        self.report = self.world.write("other.json", report);
        self.refuses(&[&["other.json`"], words].concat());
    }
}

#[test]
fn an_attached_report_decides() {
    for format in ["cose", "jws"] {
        let desk = Desk::new();
        let service = desk.world.serve();
        let json = desk.attach(&["--format", format, "--output", "json"]).ends_with(0).json();
        assert_eq!((&json["findings"], &json["scanner"]), (&1.into(), &"trivy".into()));
        let denied = service.check(&desk.image, &["--output", "json"]).ends_with(2).json();
        let check = &denied["checks"][0];
        assert_eq!(check["digest"], json["subject"]);
        assert_eq!(check["violations"][0]["findings"][0]["id"], "CVE-2022-37434");
        let report = &check["evidence"]["subjects"][0]["reports"][0];
        assert_eq!(report["digest"], json["report"]);
        assert!(report["signer"].as_str().unwrap().starts_with("CN=it scanner"), "{report}");
    }
}

#[test]
fn attaching_is_told_in_a_pipe_without_escape_codes() {
    let ran = Desk::new().attach(&[]).ends_with(0);
    assert!(ran.stdout.starts_with("attached 1 finding of trivy to "), "{ran:#?}");
    assert!(!ran.stdout.contains('\x1b') && ran.stderr.is_empty(), "{ran:#?}");
}

#[test]
fn what_is_not_a_report_is_refused() {
    Desk::new().refuses_report(b"", &["cannot be read", "line 1 column 0"]);
    Desk::new().refuses_report(b"not JSON", &["cannot be read", "line 1 column 2"]);
    let sarif = br#"{"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
                     "version": "2.1.0", "runs": []}"#;
    Desk::new().refuses_report(sarif, &["Trivy JSON report"]);
}

#[test]
fn sarif_that_does_not_say_when_it_was_made_is_refused_with_the_cure() {
    let sarif =
        br#"{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": "Trivy", "version": "0.60.0", "rules": [{
            "id": "CVE-2024-2222", "name": "OsPackageVulnerability",
            "properties": {"security-severity": "9.8", "tags": ["vulnerability", "CRITICAL"]}}]}},
          "results": [{"ruleId": "CVE-2024-2222", "ruleIndex": 0, "level": "error",
            "message": {"text": "Package: zlib\nInstalled Version: 1.0\nSeverity: CRITICAL"}}]}]}"#;
    Desk::new().refuses_report(sarif, &["attach the scanner's JSON", "`invocations.endTimeUtc`"]);
}

#[test]
fn a_report_past_its_bound_is_refused() {
    let limit = portcullis_core::findings::MAX_REPORT;
    let words = [format!("longer than the {limit} bytes")];
    Desk::new().refuses_report(&vec![b' '; limit + 1], &words.each_ref().map(String::as_str));
}

#[test]
fn a_key_that_does_not_fit_its_chain_is_refused() {
    let mut desk = Desk::new();
    let other = desk.world.authority.issue("other").unwrap();
    desk.key = desk.world.write("other.pem", other.key_pem);
    desk.refuses(&["other.pem`", "chain.pem`", "is not the one of the first certificate"]);
}

#[test]
fn files_that_are_not_keys_or_certificates_are_refused() {
    let mut desk = Desk::new();
    let good = std::mem::replace(&mut desk.key, desk.world.write("bad.pem", "nothing"));
    desk.refuses(&["bad.pem`", "not a PEM private key"]);
    (desk.key, desk.chain) = (good, desk.key);
    desk.refuses(&["bad.pem`", "certificate chain"]);
    desk.chain = desk.chain.with_file_name("none.pem");
    desk.refuses(&["none.pem`", "No such file"]);
}

#[test]
fn an_image_that_is_not_there_is_named() {
    let mut desk = Desk::new();
    desk.image = desk.image.replace(":v1", ":v2");
    desk.refuses(&["has no", "v2"]);
}

#[test]
fn an_image_of_one_platform_has_no_other() {
    let desk = Desk::new();
    desk.attach(&["--platform", "linux/arm64"]).complains_of(&[&desk.image, "`--platform`"]);
}

#[test]
fn a_report_on_an_image_of_several_platforms_says_which_it_is_about() {
    let mut desk = Desk::new();
    desk.image = desk.world.image("multi").to_owned();
    desk.refuses(&["several platforms", "`--platform`", "linux/arm64", "`--all-platforms`"]);
    desk.attach(&["--platform", "linux/s390x"]).complains_of(&["linux/s390x", "linux/arm64"]);
    desk.attach(&["--platform", "linux/amd64"]).ends_with(0);
    desk.attach(&["--all-platforms"]).ends_with(0);
}

#[test]
fn a_registry_that_is_down_is_named() {
    let Desk { world, image, report, key, chain } = Desk::new();
    let (host, _folder) = world.without_registry();
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (report, key, chain) = (path(&report), path(&key), path(&chain));
    let files = ["--report", &report, "--key", &key, "--cert-chain", &chain];
    run(&[&["attach", &image, "--plain-http"], files.as_slice()].concat())
        .complains_of(&[&format!("no answer from `{host}`")]);
}

#[test]
fn a_registry_that_wants_a_password_is_named() {
    let desk = Desk::new();
    let credentials = Credentials { username: "u".to_owned(), password: "p".to_owned() };
    desk.world.registry.set_auth(Auth::Basic(credentials));
    desk.refuses(&["denies access to", REPOSITORY, "401"]);
}

#[test]
fn a_registry_that_lets_only_read_is_named() {
    let desk = Desk::new();
    desk.world.registry.set_auth(Auth::AnonymousBearer);
    desk.attach(&[]).complains_of(&["failed to push the config", "denies access to", REPOSITORY]);
    let subject = desk.world.registry.tagged(REPOSITORY, "v1").unwrap();
    assert_eq!(desk.world.registry.referrers(REPOSITORY, subject), []);
}

#[test]
fn what_docker_login_keeps_is_used() {
    let desk = Desk::new();
    let credentials = Credentials { username: "u".to_owned(), password: "p".to_owned() };
    desk.world.registry.set_auth(Auth::Bearer(credentials));
    let host = desk.world.registry.host().to_owned();
    // `u:p`, and `x:y` for somebody else's repositories.
    let config = serde_json::json!({"auths": {
        &host: {"auth": "dTpw"},
        format!("{host}/other"): {"auth": "eDp5"},
    }});
    desk.attach_with_docker(&config, "exit 1").ends_with(0);
}

#[test]
fn a_credential_helper_is_asked_for_the_registry_by_name() {
    let desk = Desk::new();
    let credentials = Credentials { username: "u".to_owned(), password: "p".to_owned() };
    desk.world.registry.set_auth(Auth::Basic(credentials));
    let host = desk.world.registry.host().to_owned();
    let helper = format!(
        "read -r host; [ \"$1 $host\" = \"get {host}\" ] || exit 3\n\
         printf '{{\"ServerURL\":\"{host}\",\"Username\":\"u\",\"Secret\":\"p\"}}'"
    );
    for config in [
        serde_json::json!({"credHelpers": {&host: "it"}}),
        serde_json::json!({"auths": {&host: {}}, "credsStore": "it"}),
    ] {
        desk.attach_with_docker(&config, &helper).ends_with(0);
    }
    // One that has nothing leaves what the file says.
    let config = serde_json::json!({"auths": {&host: {"auth": "dTpw"}}, "credsStore": "it"});
    let nothing = "echo 'credentials not found in native keychain'; exit 1";
    desk.attach_with_docker(&config, nothing).ends_with(0);
}

#[test]
fn a_credential_helper_that_fails_is_named_and_not_repeated() {
    let desk = Desk::new();
    let config = serde_json::json!({"credsStore": "it"});
    for helper in
        ["echo canary; echo canary >&2; exit 2", "echo canary", "while :; do echo canary; done"]
    {
        let ran = desk.attach_with_docker(&config, helper);
        ran.complains_of(&["docker-credential-it"]);
        assert!(!ran.stderr.contains("canary"), "{ran:?}");
    }
    for name in ["../it", "it it", "none"] {
        let config = serde_json::json!({ "credsStore": name });
        desk.attach_with_docker(&config, "").complains_of(&[name]);
    }
}
