//! A seed and a number in, an image's manifest, its digest and its name out.
//!
//! Nothing of an image is kept but its digest: the manifest is written anew when it is asked for.

use std::fmt::Write as _;

use portcullis_core::image::Digest;

/// The most images.
pub(crate) const MAX_IMAGES: u32 = 1_000_000;
/// Images of one repository, as versions of one application.
pub(crate) const OF_REPOSITORY: u32 = 16;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The images of a registry.
pub(crate) struct Images {
    host: String,
    seed: u64,
    digests: Vec<[u8; 32]>,
    /// The first half of each digest's first 16 bytes, sorted, and the image that it is of.
    by_digest: Vec<(u64, u32)>,
}

impl Images {
    /// `count` images, at most [`MAX_IMAGES`], of the registry `host`.
    pub(crate) fn new(host: &str, count: u32, seed: u64) -> Self {
        let count = count.min(MAX_IMAGES);
        let digest = |index| *Digest::of(manifest(seed, index).as_bytes()).as_bytes();
        let digests: Vec<_> = (0..count).map(digest).collect();
        let mut by_digest: Vec<_> = digests.iter().map(start).zip(0..count).collect();
        by_digest.sort_unstable();
        Self { host: host.to_owned(), seed, digests, by_digest }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.digests.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn digest(&self, index: u32) -> Option<Digest> {
        let at = usize::try_from(index).ok()?;
        Some(Digest::from_bytes(*self.digests.get(at)?))
    }

    /// The image with a digest.
    pub(crate) fn find(&self, digest: Digest) -> Option<u32> {
        let start = start(digest.as_bytes());
        let first = self.by_digest.partition_point(|(known, _)| *known < start);
        let alike = self.by_digest.get(first..)?.iter().take_while(|(known, _)| *known == start);
        alike.map(|(_, index)| *index).find(|index| self.digest(*index) == Some(digest))
    }

    /// The manifest of an image.
    pub(crate) fn manifest(&self, index: u32) -> String {
        manifest(self.seed, index)
    }

    /// Writes the image's name as a pod would have it.
    pub(crate) fn write(&self, index: u32, by_tag: bool, out: &mut Vec<u8>) {
        self.write_repository(index, out);
        if by_tag {
            out.extend_from_slice(b":v");
            write_number(index, out);
            return;
        }
        out.extend_from_slice(b"@sha256:");
        let digest = usize::try_from(index).ok().and_then(|at| self.digests.get(at));
        for byte in digest.into_iter().flatten() {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
    }

    /// Writes the registry and the repository of an image.
    pub(crate) fn write_repository(&self, index: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.host.as_bytes());
        out.push(b'/');
        write_repository(index, out);
    }

    /// The image's name as a pod would have it.
    pub(crate) fn reference(&self, index: u32, by_tag: bool) -> String {
        let mut name = Vec::new();
        self.write(index, by_tag, &mut name);
        String::from_utf8_lossy(&name).into_owned()
    }
}

/// The image of a tag such as `v17`, if it belongs to this repository.
pub(crate) fn of_tag(repository: &str, tag: &str) -> Option<u32> {
    let index = tag.strip_prefix('v')?.parse().ok()?;
    (self::repository(index) == repository).then_some(index)
}

/// The repository of an image.
pub(crate) fn repository(index: u32) -> String {
    let mut name = Vec::new();
    write_repository(index, &mut name);
    String::from_utf8_lossy(&name).into_owned()
}

fn write_repository(index: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"load/app-");
    write_number(index / OF_REPOSITORY, out);
}

fn write_number(mut number: u32, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b'0' + u8::try_from(number % 10).unwrap_or_default());
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

fn start(digest: &[u8; 32]) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// An image with one layer. Config and layer are named and never fetched: nobody asks for them who
/// only wants to know what is attached.
fn manifest(seed: u64, index: u32) -> String {
    let mut manifest = String::with_capacity(512);
    let config = Digest::of(format!("config {seed} {index}").as_bytes());
    let layer = Digest::of(format!("layer {seed} {index}").as_bytes());
    // Writing to a `String` cannot fail.
    let _ = write!(
        manifest,
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":1024}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{layer}","size":31457280}}]}}"#
    );
    manifest
}

#[cfg(test)]
mod tests {
    use portcullis_core::image::Reference;

    use super::*;

    #[test]
    fn names_lead_to_the_image() {
        let images = Images::new("127.0.0.1:5000", 100, 1);
        for index in [0, 15, 16, 99] {
            let name: Reference = images.reference(index, false).parse().unwrap();
            assert_eq!(name.repository(), repository(index));
            let digest = name.digest().unwrap();
            assert_eq!(images.find(digest), Some(index));
            assert_eq!(Digest::of(images.manifest(index).as_bytes()), digest);
            let tagged: Reference = images.reference(index, true).parse().unwrap();
            assert_eq!(of_tag(tagged.repository(), tagged.tag().unwrap()), Some(index));
        }
        assert_eq!(images.find(Digest::of(b"other")), None);
        assert_eq!(of_tag("load/app-0", "v16"), None);
        assert_eq!(of_tag("load/app-0", "latest"), None);
    }

    #[test]
    fn the_seed_makes_the_images() {
        let digest = |seed, index| Images::new("r.io", 3, seed).digest(index);
        assert_eq!(digest(1, 2), digest(1, 2));
        assert_ne!(digest(1, 2), digest(2, 2));
        assert_ne!(digest(1, 2), digest(1, 1));
        assert_eq!(digest(1, 3), None);
    }

    #[test]
    fn there_are_no_more_images_than_the_bound() {
        // Past the bound there are as many as at it; one at the bound takes a second to make.
        let images = Images { by_digest: Vec::new(), ..Images::new("r.io", 10, 1) };
        assert_eq!(images.count(), 10);
        assert_eq!(Images::new("r.io", MAX_IMAGES + 1, 1).count(), MAX_IMAGES);
    }
}
