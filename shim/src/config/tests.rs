use super::*;
use std::error::Error as _;

use portcullis_telemetry::LogFormat;

const LEAST: &str = "\
tls: {certificateFile: tls.crt, keyFile: tls.key}
service: {servers: [\"http://portcullis:7443\"]}
";

fn read(more: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shim.yaml");
    fs::write(&path, format!("{LEAST}{more}")).unwrap();
    Config::read_in(&path, &folder.path().join("namespace"))
}

#[track_caller]
fn refused(more: &str, words: &[&str]) {
    let error = read(more).unwrap_err();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let text = format!("{error}: {cause}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn the_least_configuration_is_complete() {
    let config = read("").unwrap();
    assert_eq!(config.listen, "0.0.0.0:8443".parse().unwrap());
    assert!(config.admin.ip().is_loopback());
    let pair = config.tls.pair.unwrap();
    assert!(pair.certificate.ends_with("tls.crt") && pair.certificate.is_absolute());
    assert_eq!(config.exempt, BTreeSet::from(["kube-system".to_owned()]));
    assert_eq!(config.fail.of("any"), FailPolicy::Allow);
    assert_eq!(config.timeout, Duration::from_millis(2_500));
    assert!(!config.known.tags && config.known.file.is_none());
}

#[test]
fn logs_and_traces_are_configured_as_the_services_are() {
    let least = read("").unwrap().telemetry;
    assert_eq!((least.format, least.filter.as_str()), (LogFormat::Text, "info"));
    assert_eq!((least.otlp_endpoint, least.max_per_second), (None, 50));
    let config = read(
        "log: {format: json, filter: debug, maxPerSecond: 7}\n\
         traces: {otlpEndpoint: \"http://collector:4317\", sampleRatio: 0.5}\n",
    );
    let all = config.unwrap().telemetry;
    assert_eq!((all.format, all.filter.as_str()), (LogFormat::Json, "debug"));
    assert_eq!(all.otlp_endpoint.as_deref(), Some("http://collector:4317"));
    assert_eq!((all.max_per_second, all.sample_ratio), (7, 0.5));
    for ratio in ["-0.1", "1.1", ".nan"] {
        let traces = format!("traces: {{sampleRatio: {ratio}}}\n");
        refused(&traces, &["`traces.sampleRatio`", "0.0 to 1.0"]);
    }
    // There are no registries here to tell of it.
    refused("traces: {propagateToRegistries: true}\n", &["unknown field", "line 3"]);
}

#[test]
fn an_address_to_listen_on_is_no_name() {
    refused("listen: localhost:8443\n", &["`listen`", "`localhost:8443`", "IP address"]);
}

#[test]
fn an_unknown_field_is_named_with_its_place() {
    refused("exemptLabels: {a: b}\n", &["unknown field", "exemptLabels", "line 3"]);
    refused("failPolicy: {default: maybe}\n", &["maybe", "line 3"]);
    refused("timeout: 3\n", &["`3` is not a duration"]);
    refused("timeout: 31s\n", &["`timeout`", "at most 30s"]);
    refused("limits: {reviews: 0}\n", &["`limits.reviews`", "at least 1"]);
}

#[test]
fn t063_t064_namespaces_are_exempt_by_their_exact_names_alone() {
    let config = read("namespace: portcullis\nexemptNamespaces: [calico-system]\n").unwrap();
    let names: Vec<_> = config.exempt.iter().map(String::as_str).collect();
    assert_eq!(names, ["calico-system", "kube-system", "portcullis"]);
    for name in ["kube-*", "", "Kube", "-a", "a-", "a/b", &"a".repeat(64)] {
        refused(
            &format!("exemptNamespaces: [\"{name}\"]\n"),
            &["`exemptNamespaces`", "exact name"],
        );
    }
    assert!(read(&format!("exemptNamespaces: [\"{}\"]\n", "a".repeat(63))).is_ok());
}

#[test]
fn the_own_namespace_is_what_kubernetes_says_unless_it_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let (path, account) = (folder.path().join("shim.yaml"), folder.path().join("namespace"));
    let read = |more: &str, said: &str| {
        fs::write(&path, format!("{LEAST}{more}")).unwrap();
        fs::write(&account, said).unwrap();
        Config::read_in(&path, &account)
    };
    let config = read("", "gate\n").unwrap();
    assert_eq!(config.namespace.as_deref(), Some("gate"));
    assert!(config.exempt.contains("gate"));
    let config = read("namespace: other\n", "gate").unwrap();
    assert!(config.exempt.contains("other") && !config.exempt.contains("gate"));
    for wrong in ["", "Gate", &*"a".repeat(64), &*"a".repeat(1_000)] {
        assert!(read("", wrong).is_err(), "{wrong}");
    }
    fs::remove_file(&account).unwrap();
    fs::create_dir(&account).unwrap();
    assert!(matches!(Config::read_in(&path, &account), Err(ConfigError::Read { .. })));
    assert_eq!(Config::read_in(&path, &folder.path().join("none")).unwrap().namespace, None);
}

#[test]
fn platforms_are_those_that_the_service_takes() {
    let with = |platforms: &[&str]| format!("context: {{platforms: [{}]}}\n", platforms.join(", "));
    assert!(read(&with(&["linux/amd64", "linux/arm/v7", "windows/amd64"])).is_ok());
    for wrong in ["amd64", "linux/", "/amd64", "linux/arm/v7/x", "linux/am-d64", "linux//v7"] {
        refused(&with(&[wrong]), &["`context.platforms`", wrong]);
    }
    refused(&with(&[&format!("linux/{}", "a".repeat(33))]), &["`context.platforms`"]);
    assert!(read(&with(&["linux/amd64"; MAX_PLATFORMS])).is_ok());
    refused(&with(&["linux/amd64"; MAX_PLATFORMS + 1]), &["`context.platforms`", "at most 16"]);
}

#[test]
fn namespaces_are_refused_one_past_their_bound() {
    let names = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("n{n}")).collect();
        format!("exemptNamespaces: [{}]\n", names.join(", "))
    };
    assert!(read(&names(MAX_NAMESPACES)).is_ok());
    refused(&names(MAX_NAMESPACES + 1), &["`exemptNamespaces`", "more than"]);
}

#[test]
fn a_namespace_has_the_fail_policy_that_names_it() {
    let config = read("failPolicy: {default: allow, namespaces: {payments: deny}}\n").unwrap();
    assert_eq!(config.fail.of("payments"), FailPolicy::Deny);
    assert_eq!(config.fail.of("payments-evil"), FailPolicy::Allow);
    refused("failPolicy: deny\n", &["`failPolicy` has fields", "configuration.md"]);
    refused("failPolicy: {namespaces: {\"pay*\": deny}}\n", &["`failPolicy.namespaces`", "pay*"]);
}

#[test]
fn the_service_is_asked_over_tls_by_a_whole_pair() {
    let read = |tls: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shim.yaml");
        let service = format!("service: {{servers: [\"https://a\"], tls: {{{tls}}}}}\n");
        let own = "tls: {certificateFile: tls.crt, keyFile: tls.key}\n";
        fs::write(&path, format!("{own}{service}")).unwrap();
        Config::read(&path).map(|config| config.service.tls.unwrap())
    };
    let both = read("caFile: ca.crt, certificateFile: a.crt, keyFile: a.key").unwrap();
    assert!(both.authorities.ends_with("ca.crt") && both.pair.unwrap().1.ends_with("a.key"));
    assert!(read("caFile: ca.crt, serverName: portcullis").unwrap().pair.is_none());
    for half in ["certificateFile: a.crt", "keyFile: a.key"] {
        let refused = read(&format!("caFile: ca.crt, {half}"));
        assert!(matches!(refused, Err(ConfigError::HalfPair)), "{half}");
    }
}

#[test]
fn what_is_last_known_belongs_to_a_cluster() {
    refused("lastKnown: {file: known}\n", &["`lastKnown.file` needs `context.cluster`"]);
    assert!(read("lastKnown: {file: known}\ncontext: {cluster: east}\n").is_ok());
    refused("lastKnown: {maxBytes: 67108865}\n", &["`lastKnown.maxBytes`"]);
    assert!(read("lastKnown: {maxBytes: 67108864}\n").is_ok());
}

#[test]
fn a_configuration_is_refused_one_byte_past_its_bound() {
    let fill = |length: usize| format!("#{}\n", "x".repeat(length - LEAST.len() - 2));
    assert!(read(&fill(MAX_CONFIG)).is_ok());
    refused(&fill(MAX_CONFIG + 1), &["longer than"]);
}

#[test]
fn reports_belong_to_a_cluster_and_have_a_bound() {
    refused("reports: {file: reports}\n", &["`reports.file` needs `context.cluster`"]);
    assert!(read("reports: {file: reports}\ncontext: {cluster: east}\n").is_ok());
    refused("reports: {maxBytes: 67108865}\n", &["`reports.maxBytes`", "at most 67108864"]);
    assert!(read("reports: {maxBytes: 67108864}\n").is_ok());
}

/// A configuration whose `tls` is this.
fn with_tls(tls: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shim.yaml");
    let service = "service: {servers: [\"http://portcullis:7443\"]}";
    fs::write(&path, format!("tls: {tls}\n{service}\nnamespace: gate\n")).unwrap();
    Config::read_in(&path, &folder.path().join("namespace"))
}

#[test]
fn a_certificate_is_from_files_or_from_ourselves() {
    let own = "secret: own, names: [shim.gate.svc], validatingWebhooks: [gate]";
    let config = with_tls(&format!("{{self: {{{own}}}}}")).unwrap();
    let renewal = config.tls.renewal.unwrap();
    assert_eq!(config.tls.pair, None);
    assert_eq!((renewal.api.host.as_str(), renewal.api.port), ("kubernetes.default.svc", 443));
    assert!(renewal.api.token.ends_with("serviceaccount/token"));
    assert_eq!(renewal.secret.to_string(), "Secret `gate/own`");
    assert_eq!(renewal.terms.certificate_life, Duration::from_hours(30 * 24));
    let long = "certificateLife: 10s, authorityLife: 30s, apiServer: 'https://[::1]:6443/'";
    let renewal = with_tls(&format!("{{self: {{{own}, {long}}}}}")).unwrap().tls.renewal.unwrap();
    assert_eq!((renewal.api.host.as_str(), renewal.api.port), ("::1", 6443));
    let names = |count| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>().join(", ");
    let named = |names: &str| {
        format!("{{self: {{secret: own, names: [{names}], validatingWebhooks: [gate]}}}}")
    };
    with_tls(&named(&names(MAX_OWN_NAMES))).unwrap();
    for (tls, word) in [
        ("{}".to_owned(), "either `certificateFile` and `keyFile`, or `self`"),
        ("{certificateFile: a}".to_owned(), "either"),
        (format!("{{certificateFile: a, keyFile: b, self: {{{own}}}}}"), "either"),
        ("{self: {secret: own, names: [a]}}".to_owned(), "`validatingWebhooks`"),
        (named(""), "`names`"),
        (named(&names(MAX_OWN_NAMES + 1)), "at most 16 names"),
        (named("'../a'"), "`tls.self.names` has `../a`"),
        (named(&"a".repeat(64)), "cannot be a name"),
        ("{self: {secret: 'a/b', names: [a], validatingWebhooks: [b]}}".to_owned(), "`a/b`"),
        (format!("{{self: {{{own}, certificateLife: 9s}}}}"), "at least 10s"),
        (format!("{{self: {{{own}, authorityLife: 89d}}}}"), "three times"),
        (format!("{{self: {{{own}, apiServer: 'http://a'}}}}"), "`http://a`"),
        (format!("{{self: {{{own}, apiServer: 'https://a/b'}}}}"), "`https://a/b`"),
    ] {
        let text = with_tls(&tls).unwrap_err().to_string();
        assert!(text.contains(word), "{tls}: {text}");
    }
}
