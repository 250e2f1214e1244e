//! `portcullis serve`: it runs until it is told to stop, or says in one message why it cannot.

use std::net::TcpListener;

use tempfile::TempDir;

use super::world::{FREE_PORTS, Service, World, write};

/// A folder with a configuration that cannot be used.
struct Bad(TempDir);

impl Bad {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        write(self.0.path(), name, content);
        self
    }

    /// The service does not start with `config`, and says all of `words`.
    #[track_caller]
    fn complains_of(&self, config: impl AsRef<[u8]>, words: &[&str]) {
        let config = write(self.0.path(), "portcullis.yaml", config);
        match Service::start(&config) {
            Ok(_) => panic!("it started"),
            Err(ran) => ran.complains_of(words),
        }
    }
}

#[track_caller]
fn refused(more: &str, words: &[&str]) {
    Bad::new().complains_of(format!("{FREE_PORTS}{more}\n"), words);
}

#[test]
fn sigterm_and_sigint_end_it_with_0() {
    let world = World::new();
    for signal in ["TERM", "INT"] {
        let service = world.serve();
        service.check(world.image("critical"), &[]).ends_with(2);
        let ended = service.end(signal).ends_with(0);
        assert!(ended.stderr.contains("\"message\":\"stopping\""), "{ended:#?}");
        assert!(ended.stderr.contains("\"message\":\"decision\""), "{ended:#?}");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn threads_that_search_stand_back_behind_those_that_serve() {
    let world = World::new();
    world.configure("limits: {workers: 3}\n");
    let service = world.serve();
    service.check(world.image("clean"), &[]).ends_with(0);
    let threads = service.threads();
    let nice = |start: &str| {
        let named = threads.iter().filter(|(name, _)| name.starts_with(start));
        named.map(|(_, nice)| *nice).collect::<Vec<_>>()
    };
    assert_eq!(nice("serve-"), [0; 3], "{threads:?}");
    let searching = nice("tokio");
    assert!(!searching.is_empty() && searching.iter().all(|nice| *nice == 10), "{threads:?}");
}

#[test]
fn events_are_written_when_it_ends() {
    let world = World::new();
    let path = world.write("events.jsonl", "");
    let config = std::fs::read_to_string(path.with_file_name("portcullis.yaml")).unwrap();
    world.write("portcullis.yaml", config + "events: events.jsonl\n");
    let service = world.serve();
    service.check(world.image("clean"), &["--cluster", "c", "--workload", "Pod/p"]).ends_with(0);
    service.end("TERM").ends_with(0);
    // The report that it names stands before it.
    let lines = std::fs::read_to_string(path).unwrap();
    let event: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(event["action"], "allow");
    assert_eq!((&event["cluster"], &event["workload"]), (&"c".into(), &"p".into()));
}

#[test]
fn a_bad_configuration_is_named_with_its_line() {
    let bad = |config: &str, words: &[&str]| Bad::new().complains_of(config, words);
    bad("listen: nonsense\n", &["portcullis.yaml` is not a configuration", "line 1, column 9"]);
    bad("admin: 127.0.0.1:0\nbudgt: 1s\n", &["line 2, column 1", "`budgt`", "budget"]);
    bad("budget: 5 parsecs\n", &["line 1, column 9", "`5 parsecs`", "ms, s, m, h, d"]);
    bad("budget: 0s\n", &["`0s` is not a duration"]);
    bad("maxInFlight: 0\n", &["`maxInFlight`", "at least 1"]);
    bad("traces: {sampleRatio: 2.0}\n", &["`traces.sampleRatio`", "0.0 to 1.0"]);
    bad("log: {filter: \"=,=\"}\n", &["`=,=` is not a log filter", "`info`"]);
    Bad::new().complains_of(b"\xff\xfe\x00", &["is not a configuration", "UTF-8"]);
    Bad::new()
        .complains_of(vec![b'#'; 1024 * 1024 + 1], &["1048577 bytes long", "1048576 allowed"]);
}

#[test]
fn an_address_that_others_reach_is_refused_with_the_cure() {
    let words = ["`listen` is 0.0.0.0:7443", "without TLS", "or use 127.0.0.1"];
    Bad::new().complains_of("listen: 0.0.0.0:7443\n", &words);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (field, other) in [("listen", "admin"), ("admin", "listen")] {
        let config = format!("{field}: {address}\n{other}: 127.0.0.1:0\n");
        Bad::new().complains_of(config, &["failed to listen on", &address, "in use"]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ran = Service::start(&folder.path().join("none.yaml")).err().unwrap();
    ran.complains_of(&["failed to read", "none.yaml`", "No such file"]);
    refused("rules: [none.yaml]", &["failed to read", "none.yaml`", "No such file"]);
    refused("trust: {policy: none.json}", &["none.json`", "No such file"]);
    refused("events: none/events.jsonl", &["event file", "none/events.jsonl`"]);
    let registry = "registries: [{host: \"localhost:1\", username: u, passwordFile: none}]";
    refused(registry, &["failed to read", "none`", "No such file"]);
}

#[test]
fn bad_rules_are_named_with_line_and_column() {
    let rules = "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  rules:\n    - name: a\n      \
                 actoin: deny\n      maxAllowed: {critical: 0}\n";
    Bad::new().with("rules.yaml", rules).complains_of(
        format!("{FREE_PORTS}rules: [rules.yaml]\n"),
        &["rules.yaml:6:7: unknown field `actoin`", "did you mean `action`?"],
    );
}

/// A trust policy of one statement at this level, from store `ca:x`.
fn trust_policy(level: &str) -> String {
    format!(
        r#"{{"version": "1.0", "trustPolicies": [{{"name": "all", "registryScopes": ["*"],
            "signatureVerification": {{"level": "{level}"}},
            "trustStores": ["ca:x"], "trustedIdentities": ["*"]}}]}}"#
    )
}

#[test]
fn bad_trust_is_named() {
    let config = format!("{FREE_PORTS}trust: {{policy: trust.json, store: store}}\n");
    let bad = |policy: &str, words: &[&str]| {
        Bad::new().with("trust.json", policy).complains_of(&config, words);
    };
    bad("{\"version\": ", &["trust.json`", "line 1 column 12"]);
    bad(&trust_policy("strikt"), &["trust.json`", "statement `all`", "`strikt`", "`strict`"]);
    bad(&trust_policy("strict"), &["trust.json`", "`ca:x` has no certificate"]);
    Bad::new()
        .with("trust.json", trust_policy("strict"))
        .with("store/x509/ca/x/root.pem", "not a certificate")
        .complains_of(&config, &["trust.json`", "`root.pem` of trust store `ca:x`"]);
}

#[test]
fn a_bad_registry_is_named() {
    refused("registries: [{host: team}]", &["`registries` names `team`"]);
    let twice = "registries: [{host: docker.io}, {host: index.docker.io}]";
    refused(twice, &["`registries` names `docker.io` twice"]);
    refused("registries: [{host: \"h:1\", username: u}]", &["`username` and `passwordFile`"]);
    Bad::new().with("ca.pem", "not a certificate").complains_of(
        format!("{FREE_PORTS}registries: [{{host: \"h:1\", caFile: ca.pem}}]\n"),
        &["certificate authorities of `h:1`", "no certificate"],
    );
}
