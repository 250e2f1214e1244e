//! What is asked for as advice: answered as ever, recorded nowhere.

use portcullis_proto::v1;

use crate::world::*;

/// [`DENY`], and break-glass everywhere.
const PERMITTING: &str = "spec:\n  breakGlass:\n    - name: on-call\n";

#[cfg(test)]
fn asked(image: &str, why: &str, purpose: v1::Purpose) -> v1::CheckRequest {
    let context = v1::Context { break_glass: why.to_owned(), ..v1::Context::default() };
    let purpose = purpose.into();
    v1::CheckRequest { context: Some(context), purpose, ..question(image) }
}

#[tokio::test]
async fn t068_advice_has_the_same_answer_and_no_event_and_is_marked_and_counted() {
    let mut site = Site::new().await;
    let path = site.path("events.jsonl");
    site.config.events = Some(path.clone());
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let mut advice = [v1::CheckResponse::default(), v1::CheckResponse::default()];
    // The first is waited for, the second is known.
    for answer in &mut advice {
        *answer = world.try_ask(asked(&image.name, "", v1::Purpose::Advice)).await.unwrap();
        assert!(answer.advice);
    }
    let admission = world.try_ask(asked(&image.name, "", v1::Purpose::Admission)).await.unwrap();
    assert!(!admission.advice);
    assert_eq!(admission.decisions, advice[1].decisions);
    let counted = |name: &str| format!("portcullis_{name}_total{{action=\"deny\"}}");
    let [advised, decided] = ["advised_decisions", "decisions"].map(counted);
    assert!((world.metric(&advised).await - 2.0).abs() < f64::EPSILON);
    assert!((world.metric(&decided).await - 1.0).abs() < f64::EPSILON);
    // A word of a later version is an admission.
    let later = v1::CheckRequest { purpose: 9, ..question(&image.name) };
    assert!(!world.try_ask(later).await.unwrap().advice);
    let _site = world.stop().await;
    assert_eq!(lines(&path).len(), 2);
}

#[tokio::test]
async fn t068_a_justification_lifts_nothing_in_advice_and_is_not_recorded() {
    let mut site = Site::new().await;
    site.write_rules(&DENY.replace("spec:\n", PERMITTING));
    let path = site.path("events.jsonl");
    site.config.events = Some(path.clone());
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let ask = |purpose| world.try_ask(asked(&image.name, "outage 4711", purpose));
    let advice = ask(v1::Purpose::Advice).await.unwrap();
    assert_eq!(advice.action(), Action::Deny, "{advice:?}");
    assert_eq!(advice.decisions[0].break_glass, None);
    let admission = ask(v1::Purpose::Admission).await.unwrap();
    assert_eq!(admission.action(), Action::Audit, "{admission:?}");
    let _site = world.stop().await;
    assert_eq!(lines(&path).len(), 1);
}
