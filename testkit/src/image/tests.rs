//! Images: whole, readable, and different where they should be.

use portcullis_core::referrers::{self, Document};

use super::*;

fn document(registry: &Registry, digest: Digest) -> Document {
    let content = registry.manifest("demo/app", digest).unwrap();
    referrers::parse(&content.bytes, &content.media_type).unwrap()
}

#[tokio::test]
async fn an_image_has_all_its_parts() {
    let registry = Registry::start().await.unwrap();
    let platform: Platform = "linux/arm/v7".parse().unwrap();
    let digest = platform_image(&registry, "demo/app", "v1", &platform, "seed").unwrap();
    assert_eq!(registry.tagged("demo/app", "v1"), Some(digest));
    let manifest = registry.manifest("demo/app", digest).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
        let bytes = registry.blob("demo/app", digest).unwrap();
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    };
    let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
    assert_eq!(config["architecture"], "arm");
    assert_eq!(config["variant"], "v7");
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    let layer = blob(&manifest["layers"][0]);
    assert!(layer.windows(4).any(|window| window == b"seed"));
}

#[tokio::test]
async fn images_differ_by_seed_and_platform() {
    let registry = Registry::start().await.unwrap();
    let one = image(&registry, "demo/app", "", "one").unwrap();
    assert_eq!(image(&registry, "demo/app", "", "one").unwrap(), one);
    assert_ne!(image(&registry, "demo/app", "", "two").unwrap(), one);
    let arm = "linux/arm64".parse().unwrap();
    assert_ne!(platform_image(&registry, "demo/app", "", &arm, "one").unwrap(), one);
}

#[tokio::test]
async fn an_index_lists_its_platforms() {
    let registry = Registry::start().await.unwrap();
    let platforms: Vec<(Platform, Digest)> = ["linux/amd64", "linux/arm64"]
        .into_iter()
        .map(|text| {
            let platform = text.parse().unwrap();
            let digest = platform_image(&registry, "demo/app", "", &platform, "x").unwrap();
            (platform, digest)
        })
        .collect();
    let digest = index(&registry, "demo/app", "multi", &platforms).unwrap();
    let Document::Index(list) = document(&registry, digest) else {
        panic!("not an index");
    };
    let listed: Vec<_> =
        list.manifests.iter().map(|d| (d.runnable_platform().unwrap(), d.digest)).collect();
    assert_eq!(listed, platforms);
    let absent = [("linux/amd64".parse().unwrap(), Digest::of(b"absent"))];
    let error = index(&registry, "demo/app", "multi", &absent).unwrap_err();
    assert!(matches!(error, TestkitError::Absent { .. }));
}

#[test]
fn an_archive_is_as_tar_writes_it() {
    let archive = tar("etc/motd", b"hello\n");
    assert_eq!(archive.len(), 4 * BLOCK);
    let field = |from: usize, to: usize| std::str::from_utf8(&archive[from..to]).unwrap();
    assert_eq!(field(0, 9), "etc/motd\0");
    assert_eq!(field(124, 136), "00000000006\0");
    assert_eq!(field(156, 157), "0");
    assert_eq!(field(257, 265), "ustar\x0000");
    let sum: u32 = archive[..BLOCK]
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    assert_eq!(field(148, 156), format!("{sum:06o}\0 "));
    assert_eq!(&archive[BLOCK..BLOCK + 6], b"hello\n");
}
