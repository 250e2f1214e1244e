//! The commands against a service in TLS.

use portcullis_testkit::keys::Issued;

use super::command::{Ran, portcullis, run};
use super::world::{Service, World};

const TLS: &str = "\
tls: {certificateFile: service.crt, keyFile: service.key, clientCaFile: ca.crt}
clusters: [{name: prod, identities: ['spiffe://it/prod']}]
operators: [{identities: [ops.example], role: writer}]
";

fn put(world: &World, name: &str, pair: &Issued) {
    world.write(&format!("{name}.crt"), &pair.chain_pem);
    world.write(&format!("{name}.key"), &pair.key_pem);
}

/// A world with a service in TLS, and pairs for who asks it.
pub(crate) fn secure() -> (World, Service) {
    let world = World::new();
    let tls = |name: &str| world.authority.tls(&[name]).unwrap();
    world.write("ca.crt", world.authority.root_pem());
    put(&world, "service", &tls("127.0.0.1"));
    put(&world, "prod", &tls("spiffe://it/prod"));
    put(&world, "ops", &tls("ops.example"));
    world.configure(TLS);
    let service = world.serve();
    (world, service)
}

pub(crate) fn url(service: &Service) -> String {
    service.url().replace("http://", "https://")
}

/// The command asks with the pair of this name.
#[track_caller]
fn ask(world: &World, service: &Service, pair: &str, command: &[&str]) -> Ran {
    let [ca, cert, key] =
        ["ca.crt".to_owned(), format!("{pair}.crt"), format!("{pair}.key")].map(|f| world.path(&f));
    let url = url(service);
    let files = [("--tls-ca", &ca), ("--tls-cert", &cert), ("--tls-key", &key)];
    let files = files.iter().flat_map(|(flag, file)| [*flag, file.to_str().unwrap()]);
    let more = ["--server", &url, "--timeout", "20000"].into_iter().chain(files);
    run(&command.iter().copied().chain(more).collect::<Vec<_>>())
}

#[test]
fn each_command_asks_in_tls_as_its_certificate_may() {
    let (world, service) = secure();
    let image = world.image("clean");
    ask(&world, &service, "prod", &["check", image]).ends_with(0);
    ask(&world, &service, "prod", &["check", world.image("critical")]).ends_with(2);
    ask(&world, &service, "prod", &["explain", image]).ends_with(0);
    ask(&world, &service, "ops", &["evidence", image]).ends_with(0);
    ask(&world, &service, "ops", &["refresh", image]).ends_with(0);
    ask(&world, &service, "ops", &["check", image, "--cluster", "test"]).ends_with(0);
    let elsewhere = ["check", image, "--cluster", "test"];
    ask(&world, &service, "prod", &elsewhere)
        .complains_of(&["`context.cluster` is `test`", "speaks for `prod`"]);
    ask(&world, &service, "prod", &["refresh", image]).complains_of(&["takes that of an operator"]);
}

#[test]
fn flags_can_come_from_the_environment_and_say_what_is_missing() {
    let (world, service) = secure();
    let (image, url) = (world.image("clean"), url(&service));
    let asks = |variables: &[(&str, &str)]| {
        let mut command = portcullis(&["check", image, "--timeout", "20000"]);
        command.env("PORTCULLIS_SERVER", &url);
        for (variable, file) in variables {
            let file = world.path(file);
            command.env(format!("PORTCULLIS_TLS_{variable}"), file);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (ca, cert, key) = (("CA", "ca.crt"), ("CERT", "prod.crt"), ("KEY", "prod.key"));
    assert_eq!(asks(&[ca, cert, key]).0, Some(0));
    let refused = |variables: &[(&str, &str)], word: &str| {
        let (status, stderr) = asks(variables);
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains(word), "{stderr}");
    };
    refused(&[], "(`--tls-ca`)");
    refused(&[ca], "(`--tls-cert`, `--tls-key`)");
    refused(&[ca, cert], "--tls-key");
    refused(&[ca, cert, ("KEY", "service.key")], "does not go with the certificate");
    refused(&[("CA", "none.crt")], "none.crt");
    run(&["check", image, "--tls-ca", world.path("ca.crt").to_str().unwrap()])
        .complains_of(&["`http://127.0.0.1:7443` is asked in plain text", "write `https://`"]);
}

#[test]
fn a_service_whose_certificate_cannot_be_used_does_not_start() {
    let world = World::new();
    let tls = |name: &str| world.authority.tls(&[name]).unwrap();
    world.write("ca.crt", world.authority.root_pem());
    put(&world, "service", &tls("127.0.0.1"));
    world.write("service.key", tls("127.0.0.1").key_pem);
    world.configure(TLS);
    match Service::start(&world.path("portcullis.yaml")) {
        Ok(_) => panic!("it started"),
        Err(ran) => ran.complains_of(&["failed to set up TLS", "service.key", "does not go with"]),
    }
}
