//! A registry that others wrote and that wants a password, which our command and our service have.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::PORTCULLIS;
use super::host::{self, Process, are_there, free_port, run, wait_for};
use super::notary::Notary;

/// A published test vector of bcrypt: `U*U`.
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
/// `scanner:U*U`
const AUTH: &str = "c2Nhbm5lcjpVKlU=";

/// docker-registry with a file of passwords: `portcullis attach` is let in by what Docker's
/// configuration says and without it is not, and what it has pushed is there for who logs in.
pub(crate) fn story() {
    if !are_there(&["docker-registry", "crane"], "docker-registry and passwords", true) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = free_port();
    let _registry = start(folder, port);
    let host = format!("localhost:{port}");
    let docker = folder.join("docker");
    fs::create_dir_all(&docker).unwrap();
    let config = serde_json::json!({"auths": {&host: {"auth": AUTH}}});
    fs::write(docker.join("config.json"), config.to_string()).unwrap();

    let image = format!("{host}/own/app:v1");
    let layer = folder.join("layer.tar");
    fs::write(&layer, [0; 1024]).unwrap();
    let crane = || {
        let mut command = Command::new("crane");
        command.env("DOCKER_CONFIG", &docker);
        command
    };
    run(crane().args(["append", "--insecure", "-t", &image, "-f"]).arg(&layer));

    let notary = Notary::new(folder);
    let (key, chain) = notary.own_authority("ours");
    let report = folder.join("trivy.json");
    fs::write(&report, host::trivy_report()).unwrap();
    let attach = |docker: &Path| {
        let mut command = Command::new(PORTCULLIS);
        command.args(["attach", &image, "--plain-http", "--output", "json", "--docker-config"]);
        command.arg(docker).arg("--report").arg(&report).arg("--key").arg(&key);
        command.arg("--cert-chain").arg(&chain).stdin(Stdio::null());
        command
    };
    let nobody = attach(&folder.join("none")).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    let told = String::from_utf8(nobody.stderr).unwrap();
    assert!(told.contains("denies access to") && told.contains("401"), "{told}");

    let attached: serde_json::Value = serde_json::from_str(&run(&mut attach(&docker))).unwrap();
    let digest = attached["report"].as_str().unwrap();
    run(crane().args(["manifest", "--insecure", &format!("{host}/own/app@{digest}")]));
}

fn start(folder: &Path, port: u16) -> Process {
    let passwords = folder.join("htpasswd");
    fs::write(&passwords, format!("scanner:{HASH}\n")).unwrap();
    let config = folder.join("registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n\
         http: {{addr: '127.0.0.1:{port}'}}\n\
         auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
        folder.join("store").display(),
        passwords.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::start(&mut command);
    wait_for(port);
    process
}
