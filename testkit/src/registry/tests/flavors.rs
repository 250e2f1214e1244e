//! Each registry that people use, as far as it is not like the specification.

use reqwest::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};

use super::*;

fn credentials() -> Credentials {
    Credentials { username: "robot".to_owned(), password: "canary-secret".to_owned() }
}

#[tokio::test]
async fn lists_differ_by_registry() {
    for flavor in FLAVORS {
        let world = world().await;
        world.registry.set_flavor(flavor);
        let image = world.image();
        for number in 0..3 {
            world.artifact(image, "a/b", number);
        }
        world.registry.set_page_size(2);
        let path = |subject: Digest| format!("/v2/demo/app/referrers/{subject}?artifactType=a/b");
        let list = world.get(&path(image)).await;
        let unknown = world.get(&path(Digest::of(b"absent"))).await;
        let (status, filter) = (list.status().as_u16(), header(&list, "oci-filters-applied"));
        let (has_next, total) = (header(&list, "link").is_some(), header(&list, "x-total-count"));
        let (unknown_status, unknown) = (unknown.status().as_u16(), unknown.text().await.unwrap());
        let filtered = Some("artifactType");
        let (expected, next, absent) = match flavor {
            Flavor::Specification | Flavor::Acr => ((200, filtered), true, 200),
            Flavor::Zot => ((200, filtered), false, 200),
            Flavor::Ecr | Flavor::Gar | Flavor::Artifactory => ((200, None), true, 200),
            Flavor::Harbor => ((200, Some("a/b")), true, 200),
            Flavor::Quay => ((200, None), false, 404),
            Flavor::Ghcr => ((303, None), false, 303),
            Flavor::Distribution | Flavor::DockerHub | Flavor::GitLab => ((404, None), false, 404),
        };
        assert_eq!((status, filter), expected, "{flavor:?}");
        assert_eq!((has_next, unknown_status), (next, absent), "{flavor:?}");
        assert_eq!(total, (flavor == Flavor::Harbor).then_some("3"), "{flavor:?}");
        assert_eq!(unknown == "{}", flavor == Flavor::Harbor, "{flavor:?}");
        assert_eq!(unknown.contains("MANIFEST_UNKNOWN"), flavor == Flavor::Quay, "{flavor:?}");
        let tag = format!("/v2/demo/app/manifests/{}", image.fallback_tag());
        let under_tag = world.get(&tag).await;
        let is_itself = header(&under_tag, "docker-content-digest") == Some(&image.to_string());
        assert_eq!(is_itself, flavor == Flavor::GitLab, "{flavor:?}");
        let is_listed = matches!(flavor, Flavor::Distribution | Flavor::DockerHub | Flavor::Ghcr);
        assert_eq!(under_tag.status() == StatusCode::OK && !is_itself, is_listed, "{flavor:?}");
    }
}

#[tokio::test]
async fn tokens_differ_by_registry() {
    for (flavor, path, service, members) in [
        (Flavor::Specification, "/token", None, 3),
        (Flavor::DockerHub, "/token", Some("registry.docker.io"), 3),
        (Flavor::Ghcr, "/token", Some("ghcr.io"), 1),
        (Flavor::GitLab, "/jwt/auth", Some("container_registry"), 1),
        (Flavor::Harbor, "/service/token", Some("harbor-registry"), 3),
        (Flavor::Quay, "/v2/auth", None, 1),
        (Flavor::Acr, "/oauth2/token", None, 1),
        (Flavor::Gar, "/v2/token", None, 3),
    ] {
        let world = world().await;
        world.registry.set_flavor(flavor);
        world.registry.set_auth(Auth::AnonymousBearer);
        let host = world.registry.host();
        let service = service.unwrap_or(host);
        let refused = world.get("/v2/demo/app/manifests/v1").await;
        let realm = format!("Bearer realm=\"http://{host}{path}\",service=\"{service}\"");
        assert!(header(&refused, WWW_AUTHENTICATE.as_str()).unwrap().starts_with(&realm));
        let scope = "repository:demo/app:pull";
        let token = world.json(&format!("{path}?service={service}&scope={scope}")).await;
        assert_eq!(token.as_object().unwrap().len(), members, "{flavor:?}");
        assert_eq!(token.get("access_token").is_some(), members == 3 || flavor == Flavor::Acr);
    }
}

#[tokio::test]
async fn amazon_refuses_parameters_and_what_has_expired_in_its_own_way() {
    let world = world().await;
    world.image();
    world.registry.set_flavor(Flavor::Ecr);
    world.registry.set_auth(Auth::Basic(credentials()));
    let path = "/v2/demo/app/manifests/v1";
    let challenged = world.get(path).await;
    let challenge = header(&challenged, WWW_AUTHENTICATE.as_str()).unwrap();
    assert!(challenge.ends_with("service=\"ecr.amazonaws.com\""), "{challenge}");
    let good = || world.ask(Method::GET, path).basic_auth("robot", Some("canary-secret"));
    assert_eq!(good().send().await.unwrap().status(), StatusCode::OK);
    let with_parameter = good().header(ACCEPT, "application/json;q=0.5").send().await.unwrap();
    assert_eq!(with_parameter.status(), StatusCode::METHOD_NOT_ALLOWED);
    let expired = world.ask(Method::GET, path).header(AUTHORIZATION, "Basic eDp5");
    assert_eq!(expired.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}
