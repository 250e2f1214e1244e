//! What was known of images and what is known now, as a table or as JSON.

use std::io::{self, IsTerminal as _};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use portcullis_proto::v1;
use serde_json::{Value, json};

use super::tree::Ink;
use super::{age, json_document, json_evidence, status_word, time_text, write};
use crate::args::Output;

/// Writes what came of refreshing.
pub(crate) fn refreshed(answers: &[v1::RefreshResponse], output: Output) -> io::Result<()> {
    match output {
        Output::Json => {
            let images: Vec<_> = answers.iter().map(json_image).collect();
            json_document(&json!({"images": images}))
        }
        Output::Table => {
            let (terminal, ink) = (io::stdout().is_terminal(), Ink::of_output());
            write(&format!("{}\n", table(answers, terminal, ink)))
        }
    }
}

fn json_image(answer: &v1::RefreshResponse) -> Value {
    let manifest = |manifest: &v1::RefreshedManifest| {
        json!({
            "outcome": manifest.outcome,
            "before": manifest.before.as_ref().map(json_evidence),
            "after": manifest.after.as_ref().map(json_evidence),
        })
    };
    json!({
        "image": answer.image,
        "refreshed_at": time_text(answer.refreshed_at.as_ref()),
        "manifests": answer.manifests.iter().map(manifest).collect::<Vec<_>>(),
    })
}

fn table(answers: &[v1::RefreshResponse], terminal: bool, ink: Ink) -> Table {
    let mut table = Table::new();
    if terminal {
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_style(presets::ASCII_FULL_CONDENSED);
    }
    table.set_header(["IMAGE", "PLATFORM", "OUTCOME", "BEFORE", "NOW"]);
    for answer in answers {
        for manifest in &answer.manifests {
            let platform = manifest.after.as_ref().map_or("", |after| after.platform.as_str());
            let outcome = Cell::new(&manifest.outcome);
            let outcome = match (ink, manifest.outcome.as_str()) {
                (Ink::Colour, "changed") => outcome.fg(Color::Yellow),
                (Ink::Colour, "failed") => outcome.fg(Color::Red),
                _ => outcome,
            };
            table.add_row([
                Cell::new(&answer.image),
                Cell::new(platform),
                outcome,
                Cell::new(told(manifest.before.as_ref())),
                Cell::new(told(manifest.after.as_ref())),
            ]);
        }
    }
    table
}

/// The status, and of each report which it is, what it found, and how old it is.
fn told(evidence: Option<&v1::Evidence>) -> String {
    let Some(evidence) = evidence else { return "nothing".to_owned() };
    let mut text = status_word(evidence.status());
    if !evidence.detail.is_empty() {
        text.push_str(&format!(": {}", evidence.detail));
    }
    for report in &evidence.reports {
        let digest = report.digest.strip_prefix("sha256:").unwrap_or(&report.digest);
        let digest: String = digest.chars().take(12).collect();
        let counts = report.counts.unwrap_or_default();
        let scanned = report.scanned_at.as_ref().map(age).unwrap_or_default();
        text.push_str(&format!(
            "\n{digest} {}: {} critical, {} high, scanned {scanned}",
            report.scanner, counts.critical, counts.high
        ));
    }
    text
}
