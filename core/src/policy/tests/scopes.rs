//! Which containers a rule is about.

use super::*;
use crate::decide::Context;

#[track_caller]
fn covers(scope: &str, image: &str, ctx: &Context, expected: bool) {
    let policy = good(&scoped(scope));
    let image: Reference = image.parse().unwrap();
    let covered = policy.rules()[0].scope.covers(&Target::new(&image, ctx));
    assert_eq!(covered, expected, "{scope} of {image} in {ctx:?}");
}

fn ctx() -> Context {
    let labels = |text: &str| {
        text.split(',')
            .map(|l| l.split_once('=').unwrap())
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    };
    Context {
        provider: "azure".to_owned(),
        account: "sub-1".to_owned(),
        region: "westeurope".to_owned(),
        cluster: "prod-eu".to_owned(),
        namespace: "shop".to_owned(),
        namespace_labels: labels("env=prod,team=blue"),
        workload_kind: "Deployment".to_owned(),
        workload: "web".to_owned(),
        pod: "web-7".to_owned(),
        pod_labels: labels("app=web"),
        service_account: "web-sa".to_owned(),
        container: "main".to_owned(),
        ..Context::default()
    }
}

#[test]
fn matchers_look_at_every_field() {
    for (field, value) in [
        ("cluster", "prod-eu"),
        ("namespace", "shop"),
        ("workload", "Deployment/web"),
        ("pod", "web-7"),
        ("serviceAccount", "web-sa"),
        ("container", "main"),
        ("image", "nginx"),
        ("registry", "docker.io"),
        ("repository", "nginx"),
    ] {
        for (operator, hit) in [
            ("equals", true),
            ("notEquals", false),
            ("startsWith", true),
            ("contains", true),
            ("endsWith", !matches!(field, "image")),
        ] {
            let scope = format!(
                "{{match: [{{field: {field}, operator: {operator}, values: [reg.io/x, {value}]}}]}}"
            );
            let scope =
                if field == "registry" { scope.replace("reg.io/x", "reg.io") } else { scope };
            covers(&scope, "nginx", &ctx(), hit);
        }
    }
}

#[test]
fn a_matcher_for_a_workload_is_about_its_replica_sets_and_pods_too() {
    let with = |operator: &str, value: &str| {
        format!("{{match: [{{field: workload, operator: {operator}, values: [{value}, x]}}]}}")
    };
    let of = |kind: &str, workload: &str, pod: &str| Context {
        workload_kind: kind.to_owned(),
        workload: workload.to_owned(),
        pod: pod.to_owned(),
        ..Context::default()
    };
    let pod = "web-6d4b75cb6d-hx2k4";
    for (ctx, hit) in [
        (of("Deployment", "web", ""), true),
        (of("ReplicaSet", "web-6d4b75cb6d", ""), true),
        (of("Pod", pod, ""), true),
        (of("Pod", pod, pod), true),
        (of("", "", pod), true),
        (of("ReplicaSet", "web-api", ""), false),
        (of("StatefulSet", "web", ""), false),
        (of("DaemonSet", "web-6d4b75cb6d", pod), false),
        (of("", "", "web"), false),
        (Context::default(), false),
    ] {
        for operator in ["equals", "startsWith", "contains", "endsWith"] {
            covers(&with(operator, "Deployment/web"), "nginx", &ctx, hit);
        }
        covers(&with("notEquals", "Deployment/web"), "nginx", &ctx, !hit);
    }
    // Its own name stays.
    covers(&with("equals", "ReplicaSet/web-7"), "nginx", &of("ReplicaSet", "web-7", ""), true);
    let labelled = |hash: &str| Context {
        pod_labels: [("pod-template-hash".to_owned(), hash.to_owned())].into(),
        ..of("ReplicaSet", "web-6d4b75cb6d", "")
    };
    covers(&with("equals", "Deployment/web"), "nginx", &labelled("6d4b75cb6d"), true);
    covers(&with("equals", "Deployment/web"), "nginx", &labelled("5c689d88bb"), false);
}

#[test]
fn what_a_workload_belongs_to_is_told_to_vary() {
    let scope = "{match: [{field: workload, operator: equals, values: [Deployment/web]}]}";
    assert_eq!(good(&scoped(scope)).vary(), [Field::Workload, Field::Pod, Field::PodLabels]);
}

#[test]
fn values_are_ored_and_matchers_anded() {
    let both = |ns: &str, pod: &str| {
        format!(
            "{{match: [{{field: namespace, operator: equals, values: [a, {ns}]}}, \
             {{field: pod, operator: startsWith, values: [b, {pod}]}}]}}"
        )
    };
    covers(&both("shop", "web"), "nginx", &ctx(), true);
    covers(&both("shop", "c"), "nginx", &ctx(), false);
    covers(&both("c", "web"), "nginx", &ctx(), false);
    covers("{}", "nginx", &Context::default(), true);
    covers("{match: []}", "nginx", &Context::default(), true);
}

#[test]
fn registries_and_paths_cannot_be_spoofed() {
    let starts = |field: &str, value: &str| {
        format!("{{match: [{{field: {field}, operator: startsWith, values: [{value}]}}]}}")
    };
    for field in ["image", "repository"] {
        covers(&starts(field, "reg.io/team"), "reg.io/team/x", &ctx(), true);
        covers(&starts(field, "reg.io/team"), "reg.io/team-evil/x", &ctx(), false);
        covers(&starts(field, "docker.io/"), "docker.io.evil.com/nginx", &ctx(), false);
        covers(&starts(field, "index.docker.io"), "nginx", &ctx(), true);
    }
    covers(&starts("registry", "docker.io"), "docker.io.evil.com/nginx", &ctx(), false);
    covers(&starts("registry", "registry-1.docker.io"), "nginx", &ctx(), true);
}

#[test]
fn a_digest_does_not_carry_an_image_past_a_rule_for_its_tag() {
    let hex = "0".repeat(64);
    let pinned = format!("nginx:1.27@sha256:{hex}");
    let equals = |op: &str, value: &str| {
        format!("{{match: [{{field: image, operator: {op}, values: [\"{value}\"]}}]}}")
    };
    covers(&equals("equals", "nginx:1.27"), &pinned, &ctx(), true);
    covers(&equals("equals", &format!("nginx@sha256:{hex}")), &pinned, &ctx(), true);
    covers(&equals("endsWith", ":1.27"), &pinned, &ctx(), true);
}

#[test]
fn a_free_tag_beside_a_digest_does_not_take_an_image_out_of_scope() {
    let hex = "0".repeat(64);
    let all_but = |value: &str| {
        format!("{{match: [{{field: image, operator: notEquals, values: [\"{value}\"]}}]}}")
    };
    let digest = format!("nginx@sha256:{hex}");
    let pinned = format!("nginx:exempt@sha256:{hex}");
    covers(&all_but("nginx:exempt"), "nginx:exempt", &ctx(), false);
    covers(&all_but("nginx:exempt"), &digest, &ctx(), true);
    // The digest says what runs, and the tag beside it can be any.
    covers(&all_but("nginx:exempt"), &pinned, &ctx(), true);
    covers(&all_but(&digest), &pinned, &ctx(), false);
    covers(&all_but(&pinned), &pinned, &ctx(), false);
    covers(&all_but(&pinned), &digest, &ctx(), true);
}

#[test]
fn the_cloud_is_matched() {
    let cloud = "{cloud: {provider: [aws, azure], account: [sub-1], region: [westeurope]}}";
    covers(cloud, "nginx", &ctx(), true);
    covers(cloud, "nginx", &Context { account: "sub-2".to_owned(), ..ctx() }, false);
    covers(cloud, "nginx", &Context { provider: String::new(), ..ctx() }, false);
}

#[test]
fn labels_are_selected_as_kubernetes_does() {
    let with =
        |expression: &str| format!("{{namespaceLabels: {{matchExpressions: [{expression}]}}}}");
    for (expression, hit) in [
        ("{key: env, operator: In, values: [dev, prod]}", true),
        ("{key: env, operator: In, values: [dev]}", false),
        ("{key: none, operator: In, values: [dev]}", false),
        ("{key: env, operator: NotIn, values: [dev]}", true),
        ("{key: env, operator: NotIn, values: [prod]}", false),
        ("{key: none, operator: NotIn, values: [prod]}", true),
        ("{key: env, operator: Exists}", true),
        ("{key: none, operator: Exists}", false),
        ("{key: none, operator: DoesNotExist}", true),
        ("{key: env, operator: DoesNotExist}", false),
    ] {
        covers(&with(expression), "nginx", &ctx(), hit);
    }
    covers("{podLabels: {matchLabels: {app: web}}}", "nginx", &ctx(), true);
    covers("{podLabels: {matchLabels: {app: web, env: prod}}}", "nginx", &ctx(), false);
    covers("{podLabels: {}}", "nginx", &ctx(), true);
    bad(
        &scoped("{podLabels: {matchExpressions: [{key: a, operator: In}]}}"),
        &[(5, 79, "needs `values`")],
    );
    bad(
        &scoped("{podLabels: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}"),
        &[(5, 79, "takes no `values`")],
    );
}

#[test]
fn values_that_match_all_or_nothing_by_accident_are_refused() {
    bad(&scoped("{match: [{field: pod, operator: equals, values: []}]}"), &[(5, 95, "is empty")]);
    bad(
        &scoped("{match: [{field: pod, operator: contains, values: ['']}]}"),
        &[(5, 98, "is empty")],
    );
    bad(
        &scoped("{match: [{field: pod, operator: equals, values: ['a ']}]}"),
        &[(5, 96, "white space")],
    );
    bad(&scoped("{cloud: {account: [012345678901]}}"), &[(5, 66, "write it in quotes")]);
    bad(
        &scoped("{match: [{field: repository, operator: equals, values: ['a:v1']}]}"),
        &[(5, 103, "without tag")],
    );
}

#[test]
fn the_end_of_a_name_is_matched_at_its_boundaries() {
    let ends = |field: &str, value: &str| {
        format!("{{match: [{{field: {field}, operator: endsWith, values: ['{value}']}}]}}")
    };
    for (field, value, image, expected) in [
        ("registry", "azurecr.io", "x.azurecr.io/a/b", true),
        ("registry", "azurecr.io", "azurecr.io/a/b", true),
        ("registry", "azurecr.io", "evilazurecr.io/a/b", false),
        ("registry", "azurecr.io", "evil-azurecr.io/a/b", false),
        ("registry", "azurecr.io", "azurecr.io.evil.com/a/b", false),
        ("registry", "-docker.pkg.dev", "us-docker.pkg.dev/a/b", true),
        ("repository", "app", "reg.io/team/app", true),
        ("repository", "app", "reg.io/team/evilapp", false),
        ("image", "v1", "reg.io/team/app:v1", true),
        ("image", "v1", "reg.io/team/app:xv1", false),
    ] {
        covers(&ends(field, value), image, &ctx(), expected);
    }
}

#[test]
fn break_glass_is_not_permitted_by_the_tag_beside_a_digest() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let lifts = |matcher: &str, image: &str| {
        let entry = format!(
            "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  breakGlass:\n  - {{name: b, scope: {{match: [{matcher}]}}}}\n  rules: \
             [{{name: r, action: deny, maxAllowed: {{high: 0}}}}]\n"
        );
        let policy = good(&entry);
        let image = image.parse().unwrap();
        policy.break_glass()[0].lifts("r", &Target::new(&image, &Context::default()))
    };
    let pinned = format!("reg.io/app@{digest}");
    let both = format!("reg.io/app:debug@{digest}");
    for (operator, value) in [
        ("equals", "reg.io/app:debug"),
        ("startsWith", "reg.io/app:debug"),
        ("contains", "app:debug"),
        ("endsWith", "app:debug"),
    ] {
        let matcher = format!("{{field: image, operator: {operator}, values: ['{value}']}}");
        assert!(lifts(&matcher, "reg.io/app:debug"), "{operator}");
        assert!(!lifts(&matcher, &both), "{operator}");
        assert!(!lifts(&matcher, &pinned), "{operator}");
    }
    for value in [&pinned, &both] {
        let matcher = format!("{{field: image, operator: equals, values: ['{value}']}}");
        assert!(lifts(&matcher, &both), "{value}");
    }
    let matcher = "{field: image, operator: startsWith, values: [reg.io/app]}";
    assert!(lifts(matcher, &both));
}
