//! A question that is answered in, the room of its texts for the next one out.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::decide::Context;

use crate::check::Question;

/// The most bytes of texts in a context whose room is used again.
const MAX_SPARE: usize = 16 * 1024;

thread_local! {
    /// An empty context of this thread with room for texts: that of the question before.
    static SPARE: Cell<Option<Arc<Context>>> = const { Cell::new(None) };
}

/// An empty context.
pub(super) fn context() -> Arc<Context> {
    SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// Takes back a question that is answered: the next one of this thread has the room of its texts.
pub(in crate::grpc) fn done(question: Question) {
    let mut context = question.context;
    // Whoever else has it keeps it.
    if Arc::get_mut(&mut context).is_some_and(empty) {
        // A thread that ends reads no more.
        let _ = SPARE.try_with(|spare| spare.set(Some(context)));
    }
}

/// Takes everything out of a context but the room, unless that is too much.
fn empty(context: &mut Context) -> bool {
    let Context {
        provider,
        account,
        region,
        cluster,
        namespace,
        namespace_labels,
        workload_kind,
        workload,
        pod,
        pod_labels,
        service_account,
        container,
        break_glass,
    } = context;
    *namespace_labels = BTreeMap::new();
    *pod_labels = BTreeMap::new();
    let texts = [
        provider,
        account,
        region,
        cluster,
        namespace,
        workload_kind,
        workload,
        pod,
        service_account,
        container,
        break_glass,
    ];
    let mut room = 0_usize;
    for text in texts {
        text.clear();
        room = room.saturating_add(text.capacity());
    }
    room <= MAX_SPARE
}

#[cfg(test)]
mod tests {
    use portcullis_core::image::Nodes;
    use portcullis_proto::v1;
    use prost::Message as _;

    use super::super::question;
    use super::*;
    use crate::caller::Caller;

    fn read(context: v1::Context) -> Question {
        let containers = vec![v1::Container { name: "c".to_owned(), image: "nginx".to_owned() }];
        let request =
            v1::CheckRequest { context: Some(context), containers, explain: false, purpose: 0 };
        question(&request.encode_to_vec()).unwrap().0
    }

    fn full(mark: &str) -> v1::Context {
        let text = |name: &str| format!("{name} {mark}");
        let pair = |name: &str| [(text(name), text("value"))].into();
        v1::Context {
            cluster: text("cluster"),
            cloud: Some(v1::Cloud {
                provider: text("provider"),
                account: text("account"),
                region: text("region"),
            }),
            namespace: text("namespace"),
            namespace_labels: pair("namespace label"),
            workload: Some(v1::Workload { kind: text("kind"), name: text("workload") }),
            pod: text("pod"),
            pod_labels: pair("pod label"),
            service_account: text("account"),
            break_glass: text("why"),
            platforms: vec!["linux/amd64".to_owned()],
        }
    }

    #[test]
    fn nothing_of_a_question_is_in_the_next() {
        let first = Context::clone(&read(full("first")).context);
        done(read(full("a longer mark")));
        assert_eq!(*read(v1::Context::default()).context, Context::default());
        done(read(full("a longer mark")));
        let again = read(full("first"));
        assert_eq!(*again.context, first);
        // Who keeps a context keeps it as it is.
        let kept = Arc::clone(&again.context);
        done(again);
        assert_ne!(*read(full("other")).context, first);
        assert_eq!(*kept, first);
    }

    #[test]
    fn room_for_texts_past_the_bound_is_given_back() {
        let spare = || SPARE.take().is_some();
        let of = |length: usize| Question {
            context: Arc::new(Context { pod: "x".repeat(length), ..Context::default() }),
            nodes: Nodes::default(),
            containers: Vec::new(),
            caller: Caller::default(),
            purpose: Default::default(),
        };
        done(of(MAX_SPARE));
        assert!(spare());
        done(of(MAX_SPARE + 1));
        assert!(!spare());
    }
}
