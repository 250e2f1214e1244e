//! A policy, a repository and where its images would run in, a decision about each of them out.

use std::sync::Arc;

use time::OffsetDateTime;

use super::scoped::Scoped;
use super::weigh::Weighed;
use super::{Action, Context, Decision, decided, weighed};
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
        let target = self.target(digest);
        decided(self.weighed(&target, subjects), self.policy, &target, self.ctx)
    }

    /// What [`Self::decide`] decides, for whoever asks no more: it costs less.
    #[must_use]
    pub fn verdict(&self, digest: Digest, subjects: &[Subject]) -> Verdict {
        let target = self.target(digest);
        let weighed = self.weighed(&target, subjects);
        if self.ctx.break_glass.is_empty() {
            let Weighed { action, rule, changes_at, .. } = weighed;
            return Verdict { action, rule, changes_at };
        }
        let Decision { action, rule, changes_at, .. } =
            decided(weighed, self.policy, &target, self.ctx);
        Verdict { action, rule, changes_at }
    }

    fn target(&self, digest: Digest) -> Target<'a> {
        Target::of(Meant::at(self.repository, digest), self.ctx, self.container)
    }

    fn weighed(&self, target: &Target<'_>, subjects: &[Subject]) -> Weighed {
        weighed(self.policy, target, self.scoped.as_ref(), subjects, self.now)
    }
}

/// The most important of a [`Decision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is to be done.
    pub action: Action,
    /// The rule that decided; `None` where nothing was violated.
    pub rule: Option<Arc<str>>,
    /// The next instant at which the clock alone could change the answer: it holds before that.
    pub changes_at: Option<OffsetDateTime>,
}
