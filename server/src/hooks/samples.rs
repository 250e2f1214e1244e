//! What each source is documented to send, or was seen to send, and what is read of it.

use serde_json::{Value, json};

use super::dialect::Dialect;
use super::news::*;

const HEX: &str = "36c7dcc0aeac2ff6aea5d2a8aae2e2f2ee6e0bb3c3c4b2bf4bc8d1a9b2ee2b3a";

fn digest() -> String {
    format!("sha256:{HEX}")
}

/// Kind, `host/repository`, tag, whether the digest is there, subject.
type Seen = (Kind, String, Option<String>, bool, Subject);

#[track_caller]
fn read(dialect: Dialect, ce_type: Option<&str>, body: &Value) -> (Vec<Seen>, usize) {
    match dialect.parse(ce_type, body.to_string().as_bytes()).unwrap() {
        Delivery::News { news, ignored } => {
            let seen = |news: News| {
                let host = news.registry.as_deref().unwrap_or("-");
                let place = format!("{host}/{}", news.repository);
                (news.kind, place, news.tag, news.digest.is_some(), news.subject)
            };
            (news.into_iter().map(seen).collect(), ignored)
        }
        Delivery::Handshake(code) => panic!("a handshake: {code}"),
    }
}

/// One event, with a digest.
#[track_caller]
fn check(dialect: Dialect, body: &Value, kind: Kind, place: &str, tag: Option<&str>) {
    check_in(dialect, None, body, kind, place, tag);
}

#[track_caller]
fn check_in(
    dialect: Dialect,
    ce_type: Option<&str>,
    body: &Value,
    kind: Kind,
    place: &str,
    tag: Option<&str>,
) {
    let (seen, ignored) = read(dialect, ce_type, body);
    let [(seen_kind, seen_place, seen_tag, has_digest, _)] = seen.as_slice() else {
        panic!("not one event: {seen:?}")
    };
    let expected = (kind, place, tag, true, 0);
    assert_eq!(
        (*seen_kind, seen_place.as_str(), seen_tag.as_deref(), *has_digest, ignored),
        expected
    );
}

#[track_caller]
fn is_ignored(dialect: Dialect, ce_type: Option<&str>, body: &Value) {
    let (seen, ignored) = read(dialect, ce_type, body);
    assert!(seen.is_empty() && ignored == 1, "{seen:?}, {ignored}");
}

fn acr(action: &str) -> Value {
    json!({
        "id": "cb8c3971-9adc-488b-bdd8-43cbb4974ff5", "timestamp": "2017-11-17T16:52:01.343145347Z",
        "action": action,
        "target": {
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 524,
            "digest": digest(), "length": 524, "repository": "hello-world", "tag": "v1",
        },
        "request": {
            "id": "3cbb6949-7549-4fa1-86cd-a6d5451dffc7", "host": "myregistry.azurecr.io",
            "method": "PUT", "useragent": "docker/17.09.0-ce",
        },
    })
}

#[test]
fn acr_webhooks() {
    let place = "myregistry.azurecr.io/hello-world";
    check(Dialect::Acr, &acr("push"), Kind::Pushed, place, Some("v1"));
    check(Dialect::Acr, &acr("delete"), Kind::Deleted, place, Some("v1"));
    for action in ["ping", "quarantine", "chart_push"] {
        is_ignored(Dialect::Acr, None, &acr(action));
    }
}

fn event_grid(kind: &str) -> Value {
    json!({
        "id": "831e1650-001e-001b-66ab-eeb76e069631", "topic": "/subscriptions/x", "subject": "aci:v1",
        "eventType": kind, "eventTime": "2018-04-25T21:39:47.6549614Z",
        "data": acr("push"), "dataVersion": "1.0", "metadataVersion": "1",
    })
}

#[test]
fn event_grid_in_both_schemas() {
    let place = "myregistry.azurecr.io/hello-world";
    let pushed = "Microsoft.ContainerRegistry.ImagePushed";
    check(Dialect::EventGrid, &json!([event_grid(pushed)]), Kind::Pushed, place, Some("v1"));
    let cloud_event = json!({
        "specversion": "1.0", "id": "831e1650", "source": "/subscriptions/x", "subject": "aci:v1",
        "type": "Microsoft.ContainerRegistry.ImageDeleted", "time": "2018-04-25T21:39:47Z",
        "data": acr("delete"),
    });
    check(Dialect::EventGrid, &cloud_event, Kind::Deleted, place, Some("v1"));
    check(Dialect::EventGrid, &json!([cloud_event]), Kind::Deleted, place, Some("v1"));
    let mixed = json!([event_grid(pushed), event_grid("Microsoft.ContainerRegistry.ChartPushed")]);
    let (seen, ignored) = read(Dialect::EventGrid, None, &mixed);
    assert_eq!((seen.len(), ignored), (1, 1));
}

#[test]
fn event_grid_is_answered_with_its_code() {
    let event = |code: &str| {
        json!([{
            "id": "2d1781af-3a4c", "topic": "/subscriptions/x", "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": code, "validationUrl": "https://rp-eastus2.eventgrid.azure.net/x"},
            "eventTime": "2018-01-25T22:12:19.4556811Z", "metadataVersion": "1", "dataVersion": "1",
        }])
        .to_string()
    };
    let parse = |code: &str| Dialect::EventGrid.parse(None, event(code).as_bytes());
    assert_eq!(parse("512d38b6").unwrap(), Delivery::Handshake("512d38b6".to_owned()));
    let bound = super::event_grid::MAX_CODE;
    assert!(parse(&"x".repeat(bound)).is_ok() && parse(&"x".repeat(bound + 1)).is_err());
}

fn bridge(detail_type: &str, detail: &Value) -> Value {
    json!({
        "version": "0", "id": "13cde686-328b-6117-af20-0e5566167482", "detail-type": detail_type,
        "source": "aws.ecr", "account": "123456789012", "time": "2019-11-16T01:54:34Z",
        "region": "us-west-2", "resources": [], "detail": detail,
    })
}

#[test]
fn ecr_and_inspector_through_event_bridge() {
    let place = "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/app";
    let action = |result: &str, action: &str| {
        bridge(
            "ECR Image Action",
            &json!({
                "result": result, "repository-name": "team/app", "image-digest": digest(),
                "action-type": action, "image-tag": "latest",
            }),
        )
    };
    check(Dialect::Ecr, &action("SUCCESS", "PUSH"), Kind::Pushed, place, Some("latest"));
    check(Dialect::Ecr, &action("SUCCESS", "DELETE"), Kind::Deleted, place, Some("latest"));
    is_ignored(Dialect::Ecr, None, &action("FAILURE", "PUSH"));
    let scan = bridge(
        "ECR Image Scan",
        &json!({
            "scan-status": "COMPLETE", "repository-name": "team/app", "image-digest": digest(),
            "finding-severity-counts": {"CRITICAL": 10, "MEDIUM": 9}, "image-tags": [],
        }),
    );
    check(Dialect::Ecr, &scan, Kind::Scanned, place, None);
    let arn = "arn:aws:ecr:us-west-2:123456789012:repository/team/app";
    let inspector = bridge(
        "Inspector2 Scan",
        &json!({
            "scan-status": "INITIAL_SCAN_COMPLETE", "repository-name": arn,
            "finding-severity-counts": {"CRITICAL": 7, "HIGH": 61, "TOTAL": 158},
            "image-digest": digest(), "image-tags": ["latest"], "version": "1.0",
        }),
    );
    check(Dialect::Ecr, &inspector, Kind::Scanned, place, Some("latest"));
    let image =
        json!({"repositoryName": "team/app", "imageHash": digest(), "imageTags": ["latest"]});
    let finding = bridge(
        "Inspector2 Finding",
        &json!({"status": "CLOSED", "resources": [
            {"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": image}},
        ]}),
    );
    check(Dialect::Ecr, &finding, Kind::Scanned, place, None);
    is_ignored(Dialect::Ecr, None, &bridge("ECR Pull Through Cache Action", &json!({})));
    let mut china = scan;
    china["region"] = json!("cn-north-1");
    let place = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app";
    check(Dialect::Ecr, &china, Kind::Scanned, place, None);
}

fn push(data: &Value) -> Value {
    use base64::Engine as _;
    let data = base64::prelude::BASE64_STANDARD.encode(data.to_string());
    json!({
        "message": {
            "data": data, "attributes": {}, "messageId": "136969346945", "publishTime": "2014-10-02T15:01:23Z",
        },
        "subscription": "projects/myproject/subscriptions/mysubscription",
    })
}

#[test]
fn google_pub_sub_pushes() {
    let place = "us-east1-docker.pkg.dev/my-project/my-repo/hello-world";
    let inserted = json!({
        "action": "INSERT", "digest": format!("{place}@{}", digest()), "tag": format!("{place}:1.1"),
    });
    check(Dialect::GooglePubsub, &push(&inserted), Kind::Pushed, place, Some("1.1"));
    // Where the subscription unwraps.
    check(Dialect::GooglePubsub, &inserted, Kind::Pushed, place, Some("1.1"));
    let untagged = json!({"action": "DELETE", "digest": format!("{place}@{}", digest())});
    check(Dialect::GooglePubsub, &push(&untagged), Kind::Deleted, place, None);
    let tag = json!({"action": "DELETE", "tag": format!("{place}:1.1")});
    let (seen, _) = read(Dialect::GooglePubsub, None, &push(&tag));
    let expected =
        (Kind::Deleted, place.to_owned(), Some("1.1".to_owned()), false, Subject::Unsaid);
    assert_eq!(seen, [expected]);
    let occurrence = json!({
        "name": "projects/p/occurrences/1", "kind": "DISCOVERY", "notificationTime": "2026-11-01T00:00:00Z",
    });
    is_ignored(Dialect::GooglePubsub, None, &push(&occurrence));
    let mut told = occurrence;
    told["resourceUri"] = json!(format!("https://{place}@{}", digest()));
    check(Dialect::GooglePubsub, &push(&told), Kind::Scanned, place, None);
}

#[test]
fn distribution_envelopes() {
    let event = |action: &str, media_type: &str| {
        json!({
            "id": "320678d8-ca14-430f-8bb6-4ca139cd83f7", "timestamp": "2016-03-09T14:44:26.402973972-08:00",
            "action": action,
            "target": {
                "mediaType": media_type, "size": 708, "digest": digest(), "length": 708,
                "repository": "hello-world", "url": "http://192.168.100.227:5000/v2/x", "tag": "latest",
            },
            "request": {"id": "6df24a34", "addr": "192.168.64.11:42961", "host": "reg.io:5000", "method": "PUT"},
            "actor": {}, "source": {"addr": "xtal.local:5000", "instanceID": "a53db899"},
        })
    };
    let manifest = "application/vnd.docker.distribution.manifest.v2+json";
    let body = json!({"events": [
        event("push", "application/octet-stream"), event("pull", manifest), event("push", manifest),
    ]});
    let (seen, ignored) = read(Dialect::Distribution, None, &body);
    assert_eq!(ignored, 2);
    let place = "reg.io:5000/hello-world".to_owned();
    assert_eq!(seen, [(Kind::Pushed, place, Some("latest".to_owned()), true, Subject::Unsaid)]);
    let index = event("push", "application/vnd.oci.image.index.v1+json");
    let (seen, _) = read(Dialect::Distribution, None, &json!({"events": [index]}));
    assert_eq!(seen[0].4, Subject::Nothing);
    let deleted = json!({"events": [{
        "action": "delete", "target": {"digest": digest(), "repository": "hello-world"},
        "request": {"host": "reg.io:5000"},
    }]});
    check(Dialect::Distribution, &deleted, Kind::Deleted, "reg.io:5000/hello-world", None);
}

fn harbor(kind: &str, tag: &str) -> Value {
    json!({
        "type": kind, "occur_at": 1_680_502_375, "operator": "auto",
        "event_data": {
            "resources": [{
                "digest": digest(), "tag": tag,
                "resource_url": format!("harbor.dev/library/debian@{}", digest()),
                "scan_overview": {"application/vnd.security.vulnerability.report; version=1.1": {
                    "report_id": "c9a3", "scan_status": "Success", "severity": "High", "complete_percent": 100,
                }},
            }],
            "repository": {
                "date_created": 1_680_502_370, "name": "debian", "namespace": "library",
                "repo_full_name": "library/debian", "repo_type": "private",
            },
        },
    })
}

#[test]
fn harbor_in_both_forms() {
    let place = "harbor.dev/library/debian";
    check(Dialect::Harbor, &harbor("PUSH_ARTIFACT", "12"), Kind::Pushed, place, Some("12"));
    // Where there is no tag it names the digest.
    let untagged = harbor("SCANNING_COMPLETED", &digest());
    check(Dialect::Harbor, &untagged, Kind::Scanned, place, None);
    is_ignored(Dialect::Harbor, None, &harbor("PULL_ARTIFACT", "12"));
    let data = harbor("", "12")["event_data"].clone();
    let event = json!({
        "specversion": "1.0", "id": "66dd5b25", "requestid": "7a9e", "operator": "auto",
        "source": "/projects/1/webhook/policies/1", "type": "harbor.scan.completed",
        "datacontenttype": "application/json", "time": "2023-04-03T06:12:55Z", "data": data,
    });
    check(Dialect::Harbor, &event, Kind::Scanned, place, Some("12"));
    let binary = Some("harbor.artifact.deleted");
    check_in(Dialect::Harbor, binary, &data, Kind::Deleted, place, Some("12"));
    is_ignored(Dialect::Harbor, Some("harbor.quota.exceeded"), &data);
}

#[test]
fn zot_events() {
    let subject = format!("sha256:{}", "1".repeat(64));
    let data = |manifest: &str| {
        json!({
            "name": "team/app", "reference": "v1", "digest": digest(),
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "manifest": manifest,
        })
    };
    let report = json!({"schemaVersion": 2, "subject": {"digest": subject, "size": 1}}).to_string();
    let binary = Some("zotregistry.image.updated");
    for (manifest, expected) in [
        (report.as_str(), Subject::Told(subject.parse().unwrap())),
        (r#"{"schemaVersion":2}"#, Subject::Nothing),
        (r#"{"subject":{"digest":"sha512:x"}}"#, Subject::Unsaid),
        ("no JSON", Subject::Unsaid),
    ] {
        let (seen, _) = read(Dialect::Zot, binary, &data(manifest));
        let tag = Some("v1".to_owned());
        assert_eq!(seen, [(Kind::Pushed, "-/team/app".to_owned(), tag, true, expected)]);
    }
    let structured = |kind: &str| {
        json!({
            "specversion": "1.0", "id": "1", "source": "zotregistry.dev", "type": kind,
            "datacontenttype": "application/json", "data": data("{}"),
        })
    };
    let scanned = structured("zotregistry.image.scanned");
    check(Dialect::Zot, &scanned, Kind::Scanned, "-/team/app", Some("v1"));
    let deleted = structured("zotregistry.image.deleted");
    check(Dialect::Zot, &deleted, Kind::Deleted, "-/team/app", Some("v1"));
    is_ignored(Dialect::Zot, None, &structured("zotregistry.repository.created"));
}

#[test]
fn quay_names_tags_alone() {
    let event = |extra: Value| {
        let mut body = json!({
            "name": "repository", "repository": "mynamespace/repository", "namespace": "mynamespace",
            "docker_url": "quay.io/mynamespace/repository",
            "homepage": "https://quay.io/repository/mynamespace/repository",
        });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let seen = |body: &Value| {
        let (seen, _) = read(Dialect::Quay, None, body);
        seen.into_iter()
            .map(|(kind, place, tag, ..)| (kind, place, tag.unwrap()))
            .collect::<Vec<_>>()
    };
    let place = "quay.io/mynamespace/repository".to_owned();
    let expected = |kind| vec![(kind, place.clone(), "latest".to_owned())];
    assert_eq!(seen(&event(json!({"updated_tags": ["latest"]}))), expected(Kind::Pushed));
    assert_eq!(seen(&event(json!({"updated_tags": {"latest": "9a3"}}))), expected(Kind::Pushed));
    let found = event(json!({
        "tags": ["latest"], "vulnerability": {"id": "CVE-1", "priority": "Critical", "has_fix": true},
    }));
    assert_eq!(seen(&found), expected(Kind::Scanned));
    is_ignored(Dialect::Quay, None, &event(json!({"build_id": "1"})));
}

#[test]
fn what_is_no_event_is_refused() {
    for dialect in Dialect::ALL {
        for body in ["", "{", "null", "1", "\"x\"", "{}", "[1]", "<html></html>"] {
            assert!(dialect.parse(None, body.as_bytes()).is_err(), "{dialect:?} {body}");
        }
        let twice = br#"{"action":"push","action":"push"}"#;
        assert!(matches!(dialect.parse(None, twice), Err(NewsError::Json(_))), "{dialect:?}");
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(matches!(dialect.parse(None, deep.as_bytes()), Err(NewsError::Json(_))));
    }
    let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
    assert!(matches!(Dialect::Acr.parse(None, many.as_bytes()), Err(NewsError::Json(_))));
}

#[test]
fn events_in_one_body_have_a_bound() {
    let event = json!({"action": "pull"});
    let parse = |count: usize| {
        let body = json!({"events": vec![event.clone(); count]}).to_string();
        Dialect::Distribution.parse(None, body.as_bytes()).is_ok()
    };
    assert!(parse(MAX_EVENTS) && !parse(MAX_EVENTS + 1));
    let parse = |count: usize| {
        let body = json!(vec![json!({"eventType": "x"}); count]).to_string();
        Dialect::EventGrid.parse(None, body.as_bytes()).is_ok()
    };
    assert!(parse(MAX_EVENTS) && !parse(MAX_EVENTS + 1));
    let parse = |tags: Value| {
        let body = json!({"repository": "a/b", "docker_url": "quay.io/a/b", "updated_tags": tags});
        Dialect::Quay.parse(None, body.to_string().as_bytes()).is_ok()
    };
    let tags = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    assert!(parse(json!(tags(MAX_EVENTS))) && !parse(json!(tags(MAX_EVENTS + 1))));
    let object = |count: usize| {
        let tags = tags(count).into_iter().map(|tag| (tag, json!("x")));
        Value::Object(tags.collect())
    };
    assert!(parse(object(MAX_EVENTS)) && !parse(object(MAX_EVENTS + 1)));
}
