//! A policy, a repository and where its images would run in, a decision about each of them out.

use time::OffsetDateTime;

use super::scoped::Scoped;
use super::{Context, Decision, decide_target};
use crate::evidence::Subject;
use crate::image::{Digest, Meant, Reference};
use crate::policy::{Policy, Target};

/// Decides about many images of one repository in one context at one time, each as
/// [`super::decide_container`] does.
///
/// What they have in common is found out once: the rules in scope, where no scope of the policy looks at more of
/// an image than its repository. Nothing else is shared.
#[derive(Debug)]
pub struct Many<'a> {
    policy: &'a Policy,
    repository: &'a Reference,
    ctx: &'a Context,
    container: &'a str,
    now: OffsetDateTime,
    /// `None` where the rules in scope can differ from image to image.
    scoped: Option<Scoped<'a>>,
}

impl<'a> Many<'a> {
    /// Of the repository that `repository` is in, whatever tag or digest it names. The name of a container in
    /// `ctx` is not looked at, but `container`.
    #[must_use]
    pub fn new(
        policy: &'a Policy,
        repository: &'a Reference,
        ctx: &'a Context,
        container: &'a str,
        now: OffsetDateTime,
    ) -> Self {
        let target = Target::of(repository, ctx, container);
        let scoped = (!policy.scopes_read_image()).then(|| Scoped::new(policy, &target));
        Self { policy, repository, ctx, container, now, scoped }
    }

    /// Decides whether the image of `digest`, whose manifests are `subjects`, may run: the same as is decided
    /// about [`Reference::at`] alone.
    #[must_use]
    pub fn decide(&self, digest: Digest, subjects: &[Subject]) -> Decision {
        let Self { policy, repository, ctx, container, now, scoped } = self;
        let target = Target::of(Meant::at(repository, digest), ctx, container);
        decide_target(policy, &target, scoped.as_ref(), subjects, ctx, *now)
    }
}
