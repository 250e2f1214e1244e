//! The tree in, a list of what it breaks of its own rules out.
//!
//! These are the invariants that `ARCHITECTURE.md` marks with ⚙, and those of form that no lint holds.
//! They need the Rust toolchain alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest source file, in lines.
const MAX_LINES: usize = 400;

/// Files that are longer, and why they are not cut.
const LONG: [(&str, &str); 0] = [];

/// Releases below which a package has a published fault that concerns us (RustSec, hyper#3528).
const FLOORS: [(&str, [u64; 3]); 5] = [
    ("h2", [0, 4, 16]),
    ("hyper", [1, 5, 1]),
    ("rustls", [0, 23, 18]),
    ("rustls-webpki", [0, 103, 13]),
    ("tonic", [0, 12, 3]),
];

/// What `core` must not be able to reach, not even through others.
const IO_CRATES: [&str; 6] = ["tokio", "hyper", "tonic", "reqwest", "mio", "socket2"];

/// The modules of `server` that meet the outside.
const ADAPTERS: [&str; 5] = ["grpc", "registry", "rules", "events", "admin"];

/// Who may name more than one adapter: the wiring, and the file that has a section for each.
const NAMES_ADAPTERS: [&str; 3] = ["server/src/app.rs", "server/src/app/", "server/src/config.rs"];

const PROTOBUF: [&str; 9] = [
    "portcullis_proto",
    "prost",
    "prost_types",
    "tonic",
    "tonic_prost",
    "tonic_health",
    "tonic_reflection",
    "tonic_types",
    "protox",
];

/// The rim where protobuf is spoken: the service, the client, the command that shows answers.
const SPEAKS_PROTOBUF: [&str; 10] = [
    "proto/",
    "client/",
    "cli/src/",
    "loadtest/src/",
    "shim/src/ask.rs",
    "shim/src/known",
    "shim/src/reports",
    "server/src/grpc",
    "server/src/app",
    // Calls are counted by the names that the contract gives them.
    "server/src/metrics/calls.rs",
];

/// What spans are made of in the end; others make `tracing`'s.
const OPENTELEMETRY: [&str; 4] =
    ["opentelemetry", "opentelemetry_otlp", "opentelemetry_sdk", "tracing_opentelemetry"];

const SPEAKS_TO_REGISTRIES: [&str; 2] = ["server/src/registry/", "server/src/registry.rs"];

#[test]
fn core_cannot_do_io() {
    let tree = ["tree", "-p", "portcullis-core", "-e", "normal", "--prefix", "none"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(tree).args(["--locked", "--offline"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = tree.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert!(names.contains("portcullis-core") && names.len() > 10, "not a tree: {tree}");
    check_none(IO_CRATES.iter().filter(|name| names.contains(*name)));
}

#[test]
fn every_crate_takes_its_lints_and_versions_from_the_workspace() {
    let manifests = manifests();
    assert!(manifests.len() >= 6, "{manifests:?}");
    // `fuzz` is a workspace of its own.
    for manifest in manifests.iter().filter(|manifest| !manifest.starts_with("fuzz/")) {
        let text = read(manifest);
        check_none(own_settings(&text).into_iter().map(|line| format!("{manifest}: {line}")));
    }
}

#[test]
fn every_source_file_is_compiled() {
    let roots = crate_roots();
    let (mut reached, mut open) = (BTreeSet::new(), roots.clone());
    while let Some(file) = open.pop() {
        if root().join(&file).is_file() && reached.insert(file.clone()) {
            open.extend(modules(&file, &roots));
        }
    }
    let files = files_ending(".rs");
    assert!(files.len() > 100, "{files:?}");
    check_none(files.iter().filter(|file| !reached.contains(*file)));
}

#[test]
fn no_file_is_named_mod() {
    check_none(files_ending("/mod.rs"));
}

#[test]
fn only_the_rim_knows_protobuf() {
    check_none(strangers(&PROTOBUF, &SPEAKS_PROTOBUF));
}

#[test]
fn only_one_crate_knows_opentelemetry() {
    check_none(strangers(&OPENTELEMETRY, &["telemetry/src/"]));
}

#[test]
fn only_the_registry_client_speaks_http_to_others() {
    check_none(strangers(&["reqwest"], &SPEAKS_TO_REGISTRIES));
}

#[test]
fn no_adapter_of_the_server_names_another() {
    let wiring = adapters("server/src/app/stack.rs");
    assert!(wiring.len() > 1, "the wiring names {wiring:?}");
    let files = files_ending(".rs");
    let held = |file: &&String| {
        let excused = NAMES_ADAPTERS.iter().any(|start| file.starts_with(start));
        file.starts_with("server/src/") && !excused
    };
    let named = files.iter().filter(held).map(|file| (file, adapters(file)));
    check_none(named.filter(|(_, adapters)| adapters.len() > 1));
}

#[test]
fn no_source_file_is_too_long() {
    let lines = |file: &str| read(file).lines().count();
    let files = files_ending(".rs");
    let long: Vec<_> = files.iter().filter(|file| lines(file) > MAX_LINES).collect();
    let excused = LONG.map(|(file, _)| file);
    check_none(long.iter().filter(|file| !excused.contains(&file.as_str())));
    let stale = excused.iter().filter(|file| !long.iter().any(|l| l == *file));
    check_none(stale.map(|file| format!("{file} needs no excuse any more")));
}

#[test]
fn no_locked_package_is_below_its_floor() {
    let lock = read("Cargo.lock");
    let packages: Vec<_> = lock.split("[[package]]").filter_map(name_and_version).collect();
    for (name, floor) in FLOORS {
        let mut locked = packages.iter().filter(|(n, _)| *n == name).peekable();
        assert!(locked.peek().is_some(), "`{name}` is not in Cargo.lock: drop its floor");
        check_none(locked.filter(|(_, version)| numbers(version) < floor));
    }
}

#[test]
fn every_link_in_a_document_leads_somewhere() {
    let documents = files_ending(".md");
    assert!(documents.len() > 5, "{documents:?}");
    for document in documents {
        let text = read(&document);
        let path = root().join(&document);
        let folder = path.parent().unwrap();
        let dead = links(&text).into_iter().filter(|link| !folder.join(link).exists());
        check_none(dead.map(|link| format!("{document}: {link}")));
    }
}

#[cfg(test)]
#[track_caller]
fn check_none<T: std::fmt::Debug>(faults: impl IntoIterator<Item = T>) {
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[cfg(test)]
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[cfg(test)]
fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The files of the project whose path ends so, relative to the root: those that git lists or would
/// add, or outside a git checkout those in the tree.
#[cfg(test)]
fn files_ending(end: &str) -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let listed = git.output().ok().filter(|o| o.status.success()).map(|o| o.stdout);
    let listed = String::from_utf8(listed.unwrap_or_default()).unwrap();
    let mut files: Vec<_> = listed.lines().map(str::to_owned).collect();
    if files.is_empty() {
        walk(root(), &mut files);
    }
    files.retain(|file| file.ends_with(end) && root().join(file).is_file());
    files
}

#[cfg(test)]
fn walk(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // Cargo puts this file into the folder that it builds into.
        let built = name == "target" || path.join("CACHEDIR.TAG").exists();
        if path.is_file() {
            files.push(relative(&path));
        } else if !built && !name.starts_with('.') {
            walk(&path, files);
        }
    }
}

#[cfg(test)]
fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

/// The manifests of the crates.
#[cfg(test)]
fn manifests() -> Vec<String> {
    files_ending("/Cargo.toml")
}

/// What a manifest sets by itself: a version, or lints.
#[cfg(test)]
fn own_settings(manifest: &str) -> Vec<&str> {
    let (mut section, mut lints, mut own) = ("", false, Vec::new());
    for line in manifest.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            // `[dependencies.name]` would hide from what follows.
            own.extend(section.contains("dependencies.").then_some(line));
        } else if section == "lints" {
            lints = line == "workspace = true";
        } else if section.ends_with("dependencies") {
            let (name, value) = line.split_once('=').unwrap();
            let shared = name.trim().ends_with(".workspace") || value.contains("workspace = true");
            own.extend((!shared).then_some(line));
        }
    }
    own.extend((!lints).then_some("it has no `[lints] workspace = true`"));
    own
}

/// The files where the compiler begins: by cargo's names, or by `path` in a manifest.
#[cfg(test)]
fn crate_roots() -> Vec<String> {
    let mut roots = Vec::new();
    for manifest in manifests() {
        let folder = manifest.strip_suffix("Cargo.toml").unwrap();
        roots.extend(["src/lib.rs", "src/main.rs", "build.rs"].map(|r| format!("{folder}{r}")));
        let text = read(&manifest);
        let named = text.lines().filter_map(|l| l.strip_prefix("path = \"")?.strip_suffix('"'));
        roots.extend(named.map(|path| format!("{folder}{path}")));
        for targets in ["src/bin", "tests", "benches", "examples"] {
            let entries = fs::read_dir(root().join(folder).join(targets)).into_iter().flatten();
            let files = entries.map(|entry| relative(&entry.unwrap().path()));
            roots.extend(files.filter(|file| file.ends_with(".rs")));
        }
    }
    roots
}

/// The files that the `mod name;` lines of a file mean.
#[cfg(test)]
fn modules(file: &str, roots: &[String]) -> Vec<String> {
    let path = Path::new(file);
    let beside = path.parent().unwrap();
    let is_root = roots.iter().any(|root| root == file);
    let below = if is_root { beside.to_owned() } else { path.with_extension("") };
    let (mut found, mut elsewhere) = (Vec::<PathBuf>::new(), None);
    for line in read(file).lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"") {
            elsewhere = Some(beside.join(path.strip_suffix("\"]").unwrap()));
        } else if let Some(name) = declared(line) {
            let usual = || below.join(format!("{name}.rs"));
            found.push(elsewhere.take().unwrap_or_else(usual));
        }
    }
    found.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
}

/// `pub(crate) mod name;` declares `name`.
#[cfg(test)]
fn declared(line: &str) -> Option<&str> {
    let (visibility, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
    let visible = visibility.is_empty() || visibility.starts_with("pub");
    (visible && words(name).eq([name])).then_some(name)
}

/// The text without its line comments.
#[cfg(test)]
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Sources, their tests left out, that use one of `forbidden` and do not begin like one of `allowed`.
#[cfg(test)]
fn strangers(forbidden: &[&str], allowed: &[&str]) -> Vec<String> {
    let uses = |file: &String| words(&code(&read(file))).any(|word| forbidden.contains(&word));
    let is_source = |file: &String| file.contains("/src/") && !file.contains("/tests");
    let users = files_ending(".rs").into_iter().filter(is_source).filter(uses);
    let (known, strangers): (Vec<_>, _) =
        users.partition(|file| allowed.iter().any(|start| file.starts_with(start)));
    assert!(!known.is_empty(), "nobody uses {forbidden:?}");
    strangers
}

/// The adapters that a file of the server names, with the one that it belongs to.
#[cfg(test)]
fn adapters(file: &str) -> BTreeSet<&'static str> {
    let inner = file.strip_prefix("server/src/").unwrap();
    // In the outermost modules `super` is the crate.
    let prefixes: &[&str] =
        if inner.contains('/') { &["crate::"] } else { &["crate::", "super::"] };
    let code = code(&read(file));
    let mut named: BTreeSet<_> = inner.split(['/', '.']).take(1).collect();
    for path in prefixes.iter().flat_map(|prefix| code.split(prefix).skip(1)) {
        match path.strip_prefix('{').and_then(|group| group.split_once(';')) {
            Some((group, _)) => named.extend(words(group)),
            None => named.extend(words(path).next()),
        }
    }
    ADAPTERS.into_iter().filter(|adapter| named.contains(adapter)).collect()
}

#[cfg(test)]
fn name_and_version(package: &str) -> Option<(&str, &str)> {
    let field = |key: &str| package.split_once(key)?.1.split('"').next();
    Some((field("name = \"")?, field("version = \"")?))
}

/// `1.2.3-rc.1` is 1, 2, 3.
#[cfg(test)]
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// The files that a document links to: without code blocks, anchors and other sites.
#[cfg(test)]
fn links(document: &str) -> Vec<&str> {
    let text = document.split("```").step_by(2);
    let links = text.flat_map(|t| t.split("](").skip(1)).filter_map(|l| l.split(')').next());
    let files = links.filter(|link| !link.contains("://") && !link.starts_with("mailto:"));
    files.filter_map(|link| link.split('#').next()).filter(|file| !file.is_empty()).collect()
}
