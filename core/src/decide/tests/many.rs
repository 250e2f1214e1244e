//! Many images of one repository, of which some are told apart by their digests alone.

use super::*;

/// What is decided about two images with the same findings, of which the first is the `meant` one.
#[track_caller]
fn check(rules: impl Fn(Digest) -> String, meant: Action, other: Action) {
    let repository: Reference = "reg.io/app:v1".parse().unwrap();
    let digests = [Digest::of(b"meant"), Digest::of(b"other")];
    let (policy, ctx) = (policy(&rules(digests[0])), Context::default());
    let many = Many::new(&policy, &repository, &ctx, &ctx.container, NOW);
    // In both orders, and again.
    for place in [0, 1, 0, 1, 1, 0] {
        let of_image = Subject { digest: Some(digests[place]), ..subject("", found("h")) };
        let decision = many.decide(digests[place], std::slice::from_ref(&of_image));
        assert_eq!(decision.action, [meant, other][place], "{decision:?}");
        let alone = decide(&policy, &repository.at(digests[place]), &[of_image], &ctx, NOW);
        assert_eq!(decision, alone);
    }
}

const RULE: &str = "name: r, action: deny, maxAllowed: {high: 0}";

#[test]
fn a_scope_that_names_a_digest_is_about_no_other_of_its_repository() {
    let scoped = |operator: &'static str, value: fn(Digest) -> String| {
        move |digest| {
            let value = value(digest);
            format!(
                "{{{RULE}, scope: {{match: [{{field: image, operator: {operator}, values: ['{value}']}}]}}}}"
            )
        }
    };
    check(scoped("equals", |digest| format!("reg.io/app@{digest}")), Deny, Allow);
    check(scoped("notEquals", |digest| format!("reg.io/app@{digest}")), Allow, Deny);
    check(scoped("endsWith", |digest| digest.to_string()), Deny, Allow);
    check(scoped("contains", |digest| digest.hex()), Deny, Allow);
    // Another rule that is about all has no part in it.
    let both = |digest| {
        format!(
            "{{name: all, maxAllowed: {{high: 0}}}}, {}",
            scoped("contains", |d| d.hex())(digest)
        )
    };
    check(both, Deny, Audit);
}

#[test]
fn a_pattern_of_a_digest_fits_no_other_of_its_repository() {
    let with =
        |field: &'static str| move |digest| format!("{{{RULE}, {field}: ['reg.io/app@{digest}']}}");
    check(with("allowedImages"), Allow, Deny);
    let trusted =
        |digest| format!("{{name: r, action: deny, trustedImages: ['reg.io/app@{digest}']}}");
    check(trusted, Allow, Deny);
}

#[test]
fn an_exemption_of_a_digest_exempts_no_other_of_its_repository() {
    let exempt = |digest| {
        format!(
            "{{{RULE}, exemptions: [{{name: e, owner: o, reason: why, \
             match: [{{field: image, operator: equals, values: ['{digest}']}}]}}]}}"
        )
    };
    check(exempt, Allow, Deny);
}
