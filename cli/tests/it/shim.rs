//! A pod in, what a cluster does with it out: the webhook and the service as they are run.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::command::portcullis;
use super::world::{Service, World};

/// A shim before the service at `url`, with these lines more in its configuration, and a client that trusts it.
pub(crate) fn shim(world: &World, url: &str, more: &str) -> (Service, Client) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    world.write("shim/tls.crt", &certificate);
    world.write("shim/tls.key", key.serialize_pem());
    let shim = Service::shim(&configured(world, url, more));
    let root = Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
    (shim, client)
}

fn configured(world: &World, url: &str, more: &str) -> PathBuf {
    let tls = match url.strip_prefix("https://") {
        Some(_) => ", tls: {caFile: ../ca.crt, certificateFile: ../prod.crt, keyFile: ../prod.key}",
        None => "",
    };
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nlog: {{format: json}}\n\
         tls: {{certificateFile: tls.crt, keyFile: tls.key}}\nservice: {{servers: [\"{url}\"]{tls}}}\n\
         timeout: 20s\n{more}"
    );
    world.write("shim/shim.yaml", text)
}

/// The answer to the review of a pod with one image.
pub(crate) fn review(
    runtime: &Runtime,
    shim: &Service,
    client: &Client,
    path: &str,
    image: &str,
) -> Value {
    traced_review(runtime, shim, client, (path, image), None)
}

/// The same, which may come in a trace.
pub(crate) fn traced_review(
    runtime: &Runtime,
    shim: &Service,
    client: &Client,
    (path, image): (&str, &str),
    traceparent: Option<&str>,
) -> Value {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": image}]},
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u1", "operation": "CREATE", "namespace": "shop", "name": "web",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {}, "object": pod,
        },
    });
    let port = shim.address().rsplit_once(':').unwrap().1;
    let url = format!("https://localhost:{port}{path}");
    let text = runtime.block_on(async {
        let mut post = client.post(url).body(review.to_string());
        if let Some(traceparent) = traceparent {
            post = post.header("traceparent", traceparent);
        }
        let sent = post.send().await.unwrap();
        sent.text().await.unwrap()
    });
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(answer["response"]["uid"], "u1", "{answer}");
    answer["response"].clone()
}

#[test]
fn a_cluster_runs_what_is_clean_and_says_why_it_does_not_run_the_rest() {
    let world = World::new();
    let service = world.serve();
    let (shim, client) = shim(&world, &service.url(), "drain: 1ms\n");
    let runtime = Runtime::new().unwrap();
    let ask = |path: &str, name: &str| review(&runtime, &shim, &client, path, world.image(name));
    let clean = ask("/validate", "clean");
    assert_eq!(clean["allowed"], true, "{clean}");
    let bad = ask("/validate", "critical");
    assert_eq!(bad["allowed"], false, "{bad}");
    let message = bad["status"]["message"].as_str().unwrap();
    let said = service.check(world.image("critical"), &[]).ends_with(2);
    let first = message.lines().next().unwrap();
    assert!(message.contains("CVE-") && !first.is_empty(), "{message}: {said:?}");
    let pinned = ask("/mutate", "clean");
    assert_eq!((&pinned["allowed"], &pinned["patchType"]), (&json!(true), &json!("JSONPatch")));
    assert_eq!(shim.end("TERM").status, Some(0));
}

#[test]
fn a_shim_speaks_for_the_cluster_of_its_certificate() {
    let (world, service) = super::tls::secure();
    let runtime = Runtime::new().unwrap();
    let (prod, client) = shim(&world, &super::tls::url(&service), "drain: 1ms\n");
    let good = review(&runtime, &prod, &client, "/validate", world.image("clean"));
    assert_eq!(good["auditAnnotations"]["source"], "service", "{good}");
    let bad = review(&runtime, &prod, &client, "/validate", world.image("critical"));
    assert_eq!(bad["allowed"], false, "{bad}");
    assert_eq!(prod.end("TERM").status, Some(0));
    // Of another cluster it may not speak, whatever it says of itself.
    let more = "context: {cluster: test}\nfailPolicy: {default: deny}\n";
    let (test, client) = shim(&world, &super::tls::url(&service), more);
    let refused = review(&runtime, &test, &client, "/validate", world.image("clean"));
    assert_eq!(refused["allowed"], false, "{refused}");
    assert_eq!(refused["auditAnnotations"]["cause"], "forbidden", "{refused}");
}

#[test]
fn a_configuration_that_cannot_be_used_is_named() {
    let world = World::new();
    let run = |more: &str| {
        let path = configured(&world, "http://127.0.0.1:1", more);
        let output = portcullis(&["shim", "--config", path.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = run("exemptLabels: {}\n");
    assert!(text.contains("exemptLabels") && text.contains("shim.yaml"), "{text}");
    let text = run("traces: {sampleRatio: 2}\n");
    assert!(text.contains("`traces.sampleRatio`") && text.contains("0.0 to 1.0"), "{text}");
    // There is no TLS to a collector.
    let text = run("traces: {otlpEndpoint: \"https://collector:4317\"}\n");
    assert!(text.contains("https://collector:4317"), "{text}");
    let text = run("");
    assert!(text.contains("tls.crt"), "{text}");
}
