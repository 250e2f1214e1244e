//! A decision in, the explanation of it out.

use portcullis_core::decide::{Condition, Context};
use portcullis_core::explain;
use portcullis_core::explain::{
    ExplainedCondition, ExplainedManifest, ExplainedReport, ExplainedRule, Explanation, Nearly,
    Remedy, Standing, Step,
};
use portcullis_core::findings::Finding;
use portcullis_core::policy::{Evaluation, Mismatch};
use portcullis_proto::v1;
use tonic::Status;

use super::{action, count, digest, platform, severity, timestamp};
use crate::check::{Answer, Decided};
use crate::grpc::status;

/// The most containers of one question that are explained: an explanation is long.
pub const MAX_EXPLAINED: usize = 8;

/// How much an answer is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What was decided.
    Plain,
    /// Also why.
    Explained,
}

/// There are `total` containers to explain, which is too many.
pub(super) fn too_many(total: usize) -> Status {
    let message = format!(
        "there are {total} `containers`, more than the {MAX_EXPLAINED} that `explain` allows"
    );
    status::invalid("containers", &message)
}

/// Why a decision is what it is. It may take long.
pub(super) fn explain(answer: &Answer, decided: &Decided) -> v1::Explanation {
    message(&explained(answer, decided))
}

fn explained(answer: &Answer, decided: &Decided) -> Explanation {
    let Decided { container, image, subjects, decision, .. } = decided;
    let mut context =
        Context { container: (**container).to_owned(), ..Context::clone(&answer.context) };
    if decision.break_glass.is_none() {
        // It lifted nothing, or what it lifted could not be recorded.
        context.break_glass.clear();
    }
    explain::explain(&answer.policy, image, subjects, &context, answer.evaluated_at)
}

fn message(explanation: &Explanation) -> v1::Explanation {
    let evaluation = match explanation.evaluation {
        Evaluation::FirstMatch => "firstMatch",
        Evaluation::DenyOverrides => "denyOverrides",
    };
    v1::Explanation {
        evaluation: evaluation.to_owned(),
        rules: explanation.rules.iter().map(rule).collect(),
        rules_total: count(explanation.rules_total),
        conditions: explanation.conditions.iter().map(condition).collect(),
        conditions_total: count(explanation.conditions_total),
        applied: explanation.applied.iter().map(ToString::to_string).collect(),
        nearly: explanation.nearly.iter().map(nearly).collect(),
        manifests: explanation.manifests.iter().map(manifest).collect(),
        break_glass: explanation.break_glass.as_str().to_owned(),
        break_glass_text: explanation.break_glass.to_string(),
        remedy: explanation.remedy.as_ref().map(remedy),
    }
}

fn rule(rule: &ExplainedRule) -> v1::ExplainedRule {
    v1::ExplainedRule {
        name: rule.name.to_string(),
        action: action(rule.action).into(),
        standing: rule.standing.as_str().to_owned(),
        reason: rule.standing.to_string(),
        mismatch: match &rule.standing {
            Standing::OutOfScope(mismatch) => Some(self::mismatch(mismatch)),
            _ => None,
        },
    }
}

fn mismatch(mismatch: &Mismatch) -> v1::Mismatch {
    v1::Mismatch {
        field: mismatch.field.clone(),
        operator: mismatch.operator.to_owned(),
        values: mismatch.values.clone(),
        values_total: count(mismatch.values_total),
        actual: mismatch.actual.clone(),
    }
}

fn condition(condition: &ExplainedCondition) -> v1::ExplainedCondition {
    let (subject, limit) = match &condition.condition {
        Condition::MaxAllowed { level, limit, .. } => (level.as_str().to_owned(), Some(*limit)),
        Condition::Forbidden { id } => (id.clone(), Some(0)),
        _ => (String::new(), None),
    };
    v1::ExplainedCondition {
        rule: condition.rule.to_string(),
        digest: digest(condition.subject),
        platform: platform(condition.platform.as_ref()),
        condition: condition.condition.as_str().to_owned(),
        subject,
        limit,
        count: count(condition.count),
        allowed: count(condition.allowed),
        exempt: count(condition.exempt),
        cleared: count(condition.cleared),
        outside: count(condition.outside),
        not_stated: count(condition.not_stated),
        action: action(condition.action).into(),
        met: condition.met,
        deciding: condition.deciding,
        finding: condition.finding.as_ref().map(finding),
    }
}

/// The names of a finding; what else is known of it is in the violation.
fn finding(finding: &Finding) -> v1::Finding {
    let stated = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
    v1::Finding {
        id: finding.id.to_string(),
        severity: severity(finding.severity).into(),
        package: stated(&finding.package),
        installed: stated(&finding.installed),
        fixed: finding.fixed.iter().map(ToString::to_string).collect(),
        ..v1::Finding::default()
    }
}

fn nearly(nearly: &Nearly) -> v1::NearExemption {
    v1::NearExemption {
        name: nearly.name.to_string(),
        owner: nearly.owner.clone(),
        rule: nearly.rule.to_string(),
        obstacle: nearly.obstacle.as_str().to_owned(),
        reason: nearly.obstacle.to_string(),
    }
}

fn manifest(manifest: &ExplainedManifest) -> v1::ExplainedManifest {
    v1::ExplainedManifest {
        digest: digest(manifest.subject),
        platform: platform(manifest.platform.as_ref()),
        status: manifest.status.to_owned(),
        decided: manifest.decided,
        reports: manifest.reports.iter().map(report).collect(),
    }
}

fn report(report: &ExplainedReport) -> v1::ExplainedReport {
    v1::ExplainedReport {
        digest: report.digest.to_string(),
        scanner: report.scanner.clone(),
        signer: report.signer.clone(),
        scanned_at: Some(timestamp(report.scanned_at)),
        findings: count(report.findings),
    }
}

fn remedy(remedy: &Remedy) -> v1::Remedy {
    v1::Remedy {
        steps: remedy.steps.iter().map(step).collect(),
        action: remedy.action.map_or(v1::Action::Unspecified, action).into(),
        exemptions: count(remedy.exemptions),
        complete: remedy.complete,
    }
}

fn step(step: &Step) -> v1::RemedyStep {
    let text = step.to_string();
    match step {
        Step::Upgrade { package, installed, fixed, cures, ids } => v1::RemedyStep {
            kind: "upgrade".to_owned(),
            text,
            packages: vec![package.clone()],
            installed: installed.clone(),
            fixed: fixed.clone(),
            ids: ids.clone(),
            findings: count(*cures),
            ..v1::RemedyStep::default()
        },
        Step::Exempt { id, packages, covers } => v1::RemedyStep {
            kind: "exempt".to_owned(),
            text,
            packages: packages.clone(),
            ids: vec![id.clone()],
            findings: count(*covers),
            ..v1::RemedyStep::default()
        },
        Step::Evidence { rule, condition, platform, .. } => v1::RemedyStep {
            kind: "evidence".to_owned(),
            text,
            rule: rule.to_string(),
            condition: (*condition).to_owned(),
            platform: super::platform(platform.as_ref()),
            ..v1::RemedyStep::default()
        },
    }
}

#[cfg(test)]
mod tests;
