//! Docker's configuration and the programs that it names in, the credentials for an image out.
//!
//! Only the command line runs such a program: a service that runs programs for whoever may name an
//! image is what nobody wants.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use portcullis_core::image::Reference;
use portcullis_server::registry::{Credentials, DockerConfig, Secret, SecretSource};
use serde::Deserialize;

use crate::command::read;

/// The largest `config.json` that is read, in bytes.
const MAX_CONFIG: usize = 1024 * 1024;
/// The most that is read of what a credential helper writes, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// The name that stands for an identity token.
const TOKEN: &str = "<token>";

/// The credentials that `docker login` keeps for `image`, in `config.json` of `folder` or of the
/// user's `.docker`; nobody's, if there are none.
pub(crate) fn credentials(image: &Reference, folder: Option<&Path>) -> anyhow::Result<Credentials> {
    let own = || std::env::home_dir().map(|home| home.join(".docker"));
    let Some(folder) = folder.map(Path::to_path_buf).or_else(own) else {
        return Ok(Credentials::Anonymous);
    };
    let path = folder.join("config.json");
    if !path.exists() {
        return Ok(Credentials::Anonymous);
    }
    let config = DockerConfig::parse(&read(&path, MAX_CONFIG)?)
        .map_err(|why| anyhow::anyhow!("failed to use `{}`: {why}", path.display()))?;
    let held = match config.helper(image.registry()) {
        Some((program, server)) => ask(program, &server)?,
        None => None,
    };
    let first = || config.first(image.registry(), image.repository());
    Ok(held.or_else(first).unwrap_or(Credentials::Anonymous))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-<name>` for the credentials of `server`, by the protocol of
/// docker-credential-helpers. `None` if it has none. Nothing that it writes is repeated.
fn ask(name: &str, server: &str) -> anyhow::Result<Option<Credentials>> {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    anyhow::ensure!(
        !name.is_empty() && name.bytes().all(word),
        "`{name}` is not the name of a credential helper"
    );
    let program = PathBuf::from(format!("docker-credential-{name}"));
    let failed = || format!("failed to run `{}`", program.display());
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read what it is asked ends by itself, and says so by its status.
        let _ = stdin.write_all(format!("{server}\n").as_bytes());
    }
    let mut output = Vec::new();
    let mut read = Ok(0);
    if let Some(stdout) = child.stdout.take() {
        read = stdout.take(MAX_ANSWER as u64 + 1).read_to_end(&mut output);
    }
    let status = child.wait().with_context(failed)?;
    read.with_context(failed)?;
    let text = String::from_utf8_lossy(&output);
    if !status.success() {
        // The one text by which it says that it works and has nothing.
        if text.trim() == "credentials not found in native keychain" {
            return Ok(None);
        }
        anyhow::bail!("`{}` failed: {status}", program.display());
    }
    anyhow::ensure!(output.len() <= MAX_ANSWER, "`{}` wrote too much", program.display());
    // What it wrote has a secret in it, which the reader's error could repeat.
    let answer: Option<Answer> = serde_json::from_slice(&output).ok();
    let Some(Answer { username, secret }) = answer else {
        anyhow::bail!("`{}` did not write its credentials as JSON", program.display());
    };
    let secret = Secret::new(secret);
    Ok(Some(if username == TOKEN {
        Credentials::IdentityToken(SecretSource::Given(secret))
    } else {
        Credentials::Basic { username, password: secret }
    }))
}
