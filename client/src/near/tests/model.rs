//! A replica that changes, messages that come when they come, and a cache that must never lie: what it
//! gives once all is heard is what the replica would say.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::bounds::numbered;
use super::*;

const IMAGES: u8 = 3;
const SPACES: u8 = 2;

#[derive(Debug, Clone)]
enum Step {
    /// Something else is known of a digest.
    Digest(u8),
    /// Another policy, which reads the namespace or does not.
    Policy(bool),
    /// Another trust: all may be another, under the same policy.
    Trust,
    /// A question is sent.
    Ask(u8, u8),
    /// The replica answers the oldest question that it has not answered.
    Answer,
    /// The oldest answer arrives.
    Arrive,
    /// The oldest message arrives.
    Hear,
    /// The call to `Watch` breaks; what was under way is lost.
    Break,
    /// Time goes by.
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..IMAGES).prop_map(Step::Digest),
        1 => any::<bool>().prop_map(Step::Policy),
        1 => Just(Step::Trust),
        6 => (0..IMAGES, 0..SPACES).prop_map(|(image, space)| Step::Ask(image, space)),
        6 => Just(Step::Answer),
        6 => Just(Step::Arrive),
        4 => Just(Step::Hear),
        1 => Just(Step::Break),
        1 => (0..20_u8).prop_map(Step::Wait),
    ]
}

/// A replica as the contract has it.
struct Replica {
    versions: [u64; IMAGES as usize],
    trust: u64,
    policy: u64,
    reads_namespace: bool,
    /// Everything that was told, in order; a position is an index.
    told: Vec<v1::WatchResponse>,
}

impl Replica {
    fn new() -> Self {
        let mut replica = Self {
            versions: [0; 3],
            trust: 0,
            policy: 0,
            reads_namespace: false,
            told: Vec::new(),
        };
        replica.tell(&[], true);
        replica
    }

    fn tell(&mut self, digests: &[u8], resync: bool) {
        let revision = format!("r{}", self.policy);
        let position = vec![u8::try_from(self.told.len()).unwrap(); 16];
        self.told.push(v1::WatchResponse { position, resync, ..news(&revision, digests) });
    }

    /// The answer now: its action's number stands for all that was read.
    fn answer(&self, image: u8, space: u8) -> v1::CheckResponse {
        let vary: &[&str] = if self.reads_namespace { &["namespace"] } else { &[] };
        let mut response = v1::CheckResponse::clone(&super::response(vary, &[image]));
        response.policy_revision = format!("r{}", self.policy);
        let read = if self.reads_namespace { space } else { 0 };
        let version = self.versions[usize::from(image)];
        response.decisions[0].message = format!("{version} {} {read}", self.trust);
        response
    }
}

fn ask(image: u8, space: u8) -> v1::CheckRequest {
    let mut request = numbered(usize::from(image));
    request.context.as_mut().unwrap().namespace = space.to_string();
    request
}

type Asked = (Option<Ticket>, u8, u8);

fn run(steps: &[Step]) {
    let near = NearCache::new(1 << 20);
    let (mut now, mut replica) = (Instant::now(), Replica::new());
    let (mut asked, mut answered) = (VecDeque::<Asked>::new(), VecDeque::new());
    let mut heard = 0;
    for step in steps {
        match step {
            Step::Digest(image) => {
                replica.versions[usize::from(*image)] += 1;
                replica.tell(&[*image], false);
            }
            Step::Policy(reads_namespace) => {
                replica.policy += 1;
                replica.reads_namespace = *reads_namespace;
                replica.tell(&[], true);
            }
            Step::Trust => {
                replica.trust += 1;
                replica.tell(&[], true);
            }
            Step::Ask(image, space) => {
                asked.push_back((near.ticket(REPLICA, now), *image, *space));
            }
            Step::Answer => {
                if let Some((ticket, image, space)) = asked.pop_front() {
                    answered.push_back((ticket, image, space, replica.answer(image, space)));
                }
            }
            Step::Arrive => {
                if let Some((Some(ticket), image, space, answer)) = answered.pop_front() {
                    near.keep(&ticket, &ask(image, space), &Arc::new(answer), now);
                }
            }
            Step::Hear => {
                if let Some(message) = replica.told.get(heard) {
                    near.heard(REPLICA, message, now);
                    heard += 1;
                }
            }
            Step::Break => {
                near.lost(REPLICA);
                let from = near.position(REPLICA);
                heard = from.first().map_or(0, |at| usize::from(*at) + 1);
            }
            Step::Wait(seconds) => now += SECOND * u32::from(*seconds),
        }
        if heard == replica.told.len() {
            check(&near, &replica, now);
        }
    }
    while let Some(message) = replica.told.get(heard) {
        near.heard(REPLICA, message, now);
        heard += 1;
    }
    check(&near, &replica, now);
}

fn check(near: &NearCache, replica: &Replica, now: Instant) {
    for (image, space) in (0..IMAGES).flat_map(|image| (0..SPACES).map(move |s| (image, s))) {
        if let Some(found) = near.find(&ask(image, space), now) {
            assert_eq!(*found, replica.answer(image, space));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_the_replica_would_say(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        run(&steps);
    }
}
