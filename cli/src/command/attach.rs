//! `portcullis attach`: a scanner's report in, a signed findings artifact at the image out.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use portcullis_core::artifact::{EMPTY_CONFIG, Target, report_manifest, signature_manifest};
use portcullis_core::findings::statement::{self, Statement};
use portcullis_core::findings::{FindingsError, MAX_REPORT};
use portcullis_core::image::{Digest, Platform, Reference};
use portcullis_core::referrers::{self, Document, OCI_MANIFEST};
use portcullis_core::signature::sign::{self, SigningKey};
use portcullis_server::registry::{
    Credentials, Fetched, HostConfig, Registry, RegistryConfig, Scheme, Secret,
};
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::args::{self, Output};
use crate::command::{login, read};
use crate::render;

/// The largest key or certificate file that is read, in bytes.
const MAX_KEY_FILE: usize = 1024 * 1024;
/// The field of SARIF that neither Trivy nor Grype writes by itself.
const SARIF_TIME: &str = "invocations.endTimeUtc";
/// How long the whole work may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Pushes in order: config, statement, report manifest, envelope, signature manifest.
const STEPS: u64 = 5;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image that the report is about.
    image: String,
    /// The scanner's report: JSON or SARIF of Trivy or Grype, or CycloneDX; it must say when it was
    /// made, which SARIF seldom does.
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// The private key to sign with, PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The certificate of the key and those that issued it up to the root, PEM, in this order.
    #[arg(long, value_name = "FILE")]
    cert_chain: PathBuf,
    /// The form of the signature.
    #[arg(long, value_enum, default_value_t = Envelope::Cose)]
    format: Envelope,
    /// For an image of several platforms: the one that the report is about.
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// For an image of several platforms: the report is about all of them.
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// Speak plain HTTP to the registry.
    #[arg(long)]
    plain_http: bool,
    /// A token server, beside the registry itself, that may be told the credentials; may be given more
    /// than once.
    #[arg(long, value_name = "HOST")]
    trusted_realm_host: Vec<String>,
    /// The user name for the registry.
    #[arg(long, requires = "password_stdin")]
    username: Option<String>,
    /// Read the password for the registry from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// The folder of Docker's `config.json`, whose credentials are used where `--username` is not given:
    /// by default `.docker` of the home folder.
    #[arg(long, env = "DOCKER_CONFIG", value_name = "FOLDER")]
    docker_config: Option<PathBuf>,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Envelope {
    /// `COSE_Sign1`.
    Cose,
    /// JSON web signature.
    Jws,
}

impl From<Envelope> for sign::Format {
    fn from(envelope: Envelope) -> Self {
        match envelope {
            Envelope::Cose => Self::Cose,
            Envelope::Jws => Self::Jws,
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let image = args::image(&args.image)?;
    let report = read(&args.report, MAX_REPORT)?;
    let key = SigningKey::from_pem(
        &read(&args.key, MAX_KEY_FILE)?,
        &read(&args.cert_chain, MAX_KEY_FILE)?,
    )
    .with_context(|| {
        format!("failed to use `{}` and `{}`", args.key.display(), args.cert_chain.display())
    })?;
    let registry = registry(&image, &args)?;
    let deadline = Instant::now() + LIMIT;
    let subject = subject(&registry, &image, &args, deadline).await?;
    let statement =
        statement::from_report(&report, image.name(), subject.digest).map_err(|error| {
            let cure = match error {
                FindingsError::Missing(SARIF_TIME) => {
                    ": SARIF seldom says when it was made, \
                     attach the scanner's JSON"
                }
                _ => "",
            };
            let failed = format!("failed to use `{}`{cure}", args.report.display());
            anyhow::Error::new(error).context(failed)
        })?;
    let attached = Attacher { registry, image, deadline }
        .attach(&statement, &subject, &key, args.format.into())
        .await?;
    announce(&args.image, &subject, &statement, &attached, args.output)?;
    Ok(ExitCode::SUCCESS)
}

fn registry(image: &Reference, args: &Args) -> anyhow::Result<Registry> {
    let credentials = match &args.username {
        Some(username) => {
            let mut password = String::new();
            std::io::stdin()
                .lock()
                .read_to_string(&mut password)
                .context("failed to read the password")?;
            let password = Secret::new(password.trim_end_matches(['\r', '\n']).to_owned());
            Credentials::Basic { username: username.clone(), password }
        }
        None => login::credentials(image, args.docker_config.as_deref())?,
    };
    let scheme = if args.plain_http { Scheme::Http } else { Scheme::Https };
    let trusted_realm_hosts = args.trusted_realm_host.clone();
    let host = HostConfig { scheme, credentials, trusted_realm_hosts, ..HostConfig::default() };
    let hosts = BTreeMap::from([(image.registry().to_owned(), host)]);
    Ok(Registry::new(RegistryConfig { hosts, ..RegistryConfig::default() })?)
}

/// The manifest to attach to: what the reference names, or one platform of it.
async fn subject(
    registry: &Registry,
    image: &Reference,
    args: &Args,
    deadline: Instant,
) -> anyhow::Result<Target> {
    let target = |fetched: &Fetched| Target::of(&fetched.bytes, &fetched.media_type);
    let found = registry.resolve(image, deadline).await;
    let found = found.map_err(|error| hinted(error.into(), image, args))?;
    let Document::Index(index) = referrers::parse(&found.bytes, &found.media_type)? else {
        anyhow::ensure!(
            args.platform.is_none(),
            "`{image}` is an image of one platform; leave out `--platform`"
        );
        return Ok(target(&found));
    };
    let entries = || index.manifests.iter().filter_map(|e| Some((e.runnable_platform()?, e)));
    // A scanner looks at one platform of an image, and its report must not speak for the others.
    let Some(platform) = &args.platform else {
        let known: Vec<_> = entries().map(|(p, _)| p.to_string()).collect();
        anyhow::ensure!(
            args.all_platforms,
            "`{image}` has several platforms: name the one that the report is about with \
             `--platform`, {}; or say `--all-platforms`",
            known.join(" or ")
        );
        return Ok(target(&found));
    };
    let Some((_, entry)) = entries().find(|(p, _)| p == platform) else {
        let known: Vec<_> = entries().map(|(p, _)| p.to_string()).collect();
        anyhow::bail!("`{image}` has no platform `{platform}`, but {}", known.join(", "));
    };
    Ok(target(&registry.manifest(image, entry.digest, deadline).await?))
}

/// Says what to do where TLS is spoken to a registry that speaks plain HTTP.
fn hinted(error: anyhow::Error, image: &Reference, args: &Args) -> anyhow::Error {
    let is_plain = |cause: &(dyn Error + 'static)| cause.to_string().contains("InvalidContentType");
    if args.plain_http || !error.chain().any(is_plain) {
        return error;
    }
    let host = image.registry();
    error.context(format!(
        "`{host}` does not speak TLS: if plain HTTP is meant, say `--plain-http` (for the service, `scheme: http`)"
    ))
}

/// What was pushed.
struct Attached {
    report: Digest,
    signature: Digest,
}

struct Attacher {
    registry: Registry,
    image: Reference,
    deadline: Instant,
}

impl Attacher {
    async fn attach(
        &self,
        statement: &Statement,
        subject: &Target,
        key: &SigningKey,
        format: sign::Format,
    ) -> anyhow::Result<Attached> {
        let now = OffsetDateTime::now_utc();
        let progress = ProgressBar::new(STEPS).with_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let report = report_manifest(
            &statement.bytes,
            statement.predicate_type,
            subject,
            &statement.scanner.name,
            statement.scanned_at,
        )?;
        let target = Target::of(&report, OCI_MANIFEST);
        // Signed before anything is pushed: a key that cannot sign leaves nothing behind.
        let signed = sign::Target {
            media_type: target.media_type.clone(),
            digest: target.digest,
            size: target.size as u64,
        };
        let envelope = key.sign(format, &signed, now, None)?;
        let signature = signature_manifest(
            &Target::of(&envelope, format.media_type()),
            &target,
            &key.thumbprints(),
            now,
        )?;
        self.blob(&progress, "config", EMPTY_CONFIG.to_vec()).await?;
        self.blob(&progress, "findings", statement.bytes.clone()).await?;
        let report = self.artifact(&progress, "findings manifest", report).await?;
        self.blob(&progress, "signature", envelope).await?;
        let signature = self.artifact(&progress, "signature manifest", signature).await?;
        progress.finish_and_clear();
        Ok(Attached { report, signature })
    }

    async fn blob(&self, progress: &ProgressBar, what: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        progress.set_message(format!("pushing the {what}"));
        self.registry
            .push_blob(&self.image, Bytes::from(bytes), self.deadline)
            .await
            .with_context(|| format!("failed to push the {what}"))?;
        progress.inc(1);
        Ok(())
    }

    async fn artifact(
        &self,
        progress: &ProgressBar,
        what: &str,
        bytes: Vec<u8>,
    ) -> anyhow::Result<Digest> {
        progress.set_message(format!("pushing the {what}"));
        let (digest, _) = self
            .registry
            .attach(&self.image, Bytes::from(bytes), self.deadline)
            .await
            .with_context(|| format!("failed to push the {what}"))?;
        progress.inc(1);
        Ok(digest)
    }
}

fn announce(
    image: &str,
    subject: &Target,
    statement: &Statement,
    attached: &Attached,
    output: Output,
) -> std::io::Result<()> {
    let Attached { report, signature } = attached;
    match output {
        Output::Json => render::json_document(&json!({
            "image": image,
            "subject": subject.digest,
            "report": report,
            "signature": signature,
            "findings": statement.findings,
            "scanner": statement.scanner.name,
        })),
        Output::Table => {
            let counted = match statement.findings {
                1 => "1 finding".to_owned(),
                count => format!("{count} findings"),
            };
            render::write(&format!(
                "attached {} of {} to {image}\nsubject    {}\nreport     {report}\nsignature  {signature}\n",
                counted, statement.scanner.name, subject.digest
            ))
        }
    }
}
