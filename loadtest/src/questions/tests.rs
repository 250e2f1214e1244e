//! Questions as the service would read them.

use super::*;
use crate::measure::Outcome;

fn questions(call: Call, pick: Pick, containers: u32, by_tag: bool) -> Questions {
    let images = Arc::new(Images::new("127.0.0.1:5000", 100, 1));
    let (from, count, clusters, seed) = (10, 20, 3, 7);
    Questions::new(Asked { call, images, from, count, pick, containers, by_tag, clusters, seed })
}

#[test]
fn a_question_is_what_the_contract_has() {
    let mut questions = questions(Call::Check, Pick::InTurn, 3, false);
    let images = Images::new("127.0.0.1:5000", 100, 1);
    let mut message = Vec::new();
    questions.write(1, &mut message);
    let request = v1::CheckRequest::decode(message.as_slice()).unwrap();
    assert_eq!(request.encode_to_vec(), message, "as the library would write it");
    let context = request.context.unwrap();
    assert!(context.cluster.starts_with("cluster-"), "{context:?}");
    assert_eq!(context.workload.unwrap().kind, "Deployment");
    let asked: Vec<_> = request.containers.into_iter().map(|c| c.image).collect();
    let expected: Vec<_> = (10..13).map(|index| images.reference(index, false)).collect();
    assert_eq!(asked, expected);
    assert_eq!(questions.checks(), 3);
    for _ in 0..6 {
        questions.write(1, &mut message);
    }
    let request = v1::CheckRequest::decode(message.as_slice()).unwrap();
    assert_eq!(request.containers[1].image, images.reference(29, false));
    assert_eq!(request.containers[2].image, images.reference(10, false), "again from the first");
}

#[test]
fn a_question_in_a_stream_has_an_id() {
    let mut questions = questions(Call::CheckStream, Pick::Zipf(1.0), 1, true);
    let mut message = Vec::new();
    questions.write(300, &mut message);
    let request = v1::CheckStreamRequest::decode(message.as_slice()).unwrap();
    assert_eq!(request.id, 300);
    let image = &request.check.unwrap().containers[0].image;
    assert!(image.rsplit_once(':').unwrap().1.starts_with('v'), "{image} is by tag");
}

#[test]
fn an_echo_is_as_long_as_the_question() {
    let mut check = questions(Call::Check, Pick::InTurn, 1, false);
    let mut echo = questions(Call::Echo, Pick::InTurn, 1, false);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    check.write(1, &mut one);
    echo.write(1, &mut other);
    assert_eq!(one.len(), other.len());
    let echo = crate::echo::EchoMessage::decode(other.as_slice()).unwrap();
    assert_eq!(echo.encoded_len(), one.len());
}

/// The messages of the contract that are written by hand here.
#[derive(Clone, PartialEq, prost::Message)]
struct Bulk {
    #[prost(message, optional, tag = "1")]
    context: Option<v1::Context>,
    #[prost(message, repeated, tag = "3")]
    images: Vec<BulkImages>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BulkImages {
    #[prost(string, tag = "1")]
    repository: String,
    #[prost(bytes = "vec", tag = "2")]
    digests: Vec<u8>,
}

#[test]
fn a_question_in_bulk_is_about_images_in_their_repositories() {
    let mut questions = questions(Call::BulkCheck, Pick::Zipf(1.0), 50, false);
    let images = Images::new("127.0.0.1:5000", 100, 1);
    let mut message = Vec::new();
    questions.write(1, &mut message);
    let bulk = Bulk::decode(message.as_slice()).unwrap();
    assert!(bulk.context.unwrap().cluster.starts_with("cluster-"));
    let mut count = 0;
    for BulkImages { repository, digests } in bulk.images {
        for digest in digests.as_chunks::<32>().0 {
            let digest = portcullis_core::image::Digest::from_bytes(*digest);
            let index = images.find(digest).unwrap();
            assert!((10..30).contains(&index), "{index} is asked about");
            let expected = format!("127.0.0.1:5000/{}", crate::image::repository(index));
            assert_eq!(repository, expected);
            count += 1;
        }
    }
    assert_eq!((count, questions.checks()), (50, 50));
}

#[test]
fn answers_in_bulk_are_read() {
    // actions 1 3, an unknown list, statuses 1 6, a name, a number.
    let message = [0x0a, 2, 1, 3, 0x12, 1, 0, 0x22, 2, 1, 6, 0x2a, 1, b'r', 0x48, 7];
    assert_eq!(read_bulk_answer(&message), Some((vec![1, 3], vec![1, 6])));
    assert_eq!(read_bulk_answer(&[0x0a, 3, 1]), None);
    assert_eq!(read_bulk_answer(&[0x0d, 0, 0, 0, 0]), None);
}

#[test]
fn answers_in_a_stream_are_read() {
    use v1::check_stream_response::Result;
    let answer = |result| v1::CheckStreamResponse { id: 70_000, result }.encode_to_vec();
    let decision = answer(Some(Result::Check(v1::CheckResponse::default())));
    assert_eq!(read_stream_answer(&decision), Some((70_000, 0)));
    let error = v1::CheckError { code: 8, message: "full".to_owned() };
    assert_eq!(read_stream_answer(&answer(Some(Result::Error(error)))), Some((70_000, 8)));
    assert_eq!(read_stream_answer(&answer(None)), None);
    assert_eq!(read_stream_answer(&decision[..decision.len() - 1]), None);
    assert_eq!(read_stream_answer(&[0x80; 11]), None);
}

#[test]
fn a_review_is_of_a_pod_with_so_many_images_that_the_shim_reads() {
    let images = Arc::new(Images::new("127.0.0.1:5000", 40, 1));
    let asked = Asked {
        call: Call::Review,
        images: Arc::clone(&images),
        from: 10,
        count: 15,
        pick: Pick::InTurn,
        containers: 5,
        by_tag: false,
        clusters: 1,
        seed: 1,
    };
    let (mut questions, mut body) = (Questions::new(asked), Vec::new());
    let mut read = |id| {
        questions.write(id, &mut body);
        let review = portcullis_shim::review::read(&body, &Default::default()).unwrap();
        let portcullis_shim::review::Asked::Images(question) = review.asked else {
            panic!("nothing is asked: {}", String::from_utf8_lossy(&body))
        };
        let names: Vec<_> = question.images.into_iter().map(|image| image.image).collect();
        (review.uid, question.context.workload.name, names)
    };
    let expected = |from: u32| -> Vec<String> {
        (from..from + 5).map(|at| images.reference(at, false)).collect()
    };
    let (uid, name, names) = read(7);
    assert_eq!((&*uid, &*name, names), (&*review::uid(7), "service-0-7d4b9c6f5", expected(10)));
    assert_eq!(read(8).2, expected(15));
    assert_eq!(read(9).2, expected(20));
    // After the last application comes the first one again, as another pod.
    let (uid, _, names) = read(10);
    assert_eq!((uid, names), (review::uid(10), expected(10)));
}

#[test]
fn only_a_decision_about_the_same_review_is_an_answer() {
    let answer = |uid: &str, allowed: bool, decision: &str| {
        format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{{"uid":"{uid}","allowed":{allowed},"auditAnnotations":{{"decision":"{decision}","source":"near_cache"}}}}}}"#
        )
    };
    let check = |allowed, decision, expected| {
        let read = read_answer(7, answer(&review::uid(7), allowed, decision).as_bytes());
        assert_eq!(read.map(|said| said.source), expected, "{decision}");
    };
    check(true, "allow", Ok("near_cache".to_owned()));
    check(true, "audit", Ok("near_cache".to_owned()));
    check(false, "deny", Ok("near_cache".to_owned()));
    check(true, "deny", Err(Outcome::Wrong));
    check(false, "allow", Err(Outcome::Wrong));
    check(true, "skipped", Err(Outcome::Wrong));
    check(true, "unknown", Err(Outcome::Undecided));
    let other = read_answer(7, answer(&review::uid(8), true, "allow").as_bytes());
    assert_eq!(other.map(|said| said.source), Err(Outcome::Wrong));
    assert_eq!(read_answer(7, b"{}").map(|said| said.source), Err(Outcome::Wrong));
}
