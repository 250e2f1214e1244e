//! Questions and a pace in, through the client library, measured answers out.
//!
//! It costs more than the generator and knows more: several replicas, one retry on another, what may be
//! kept. So it is for what callers see when replicas come and go, not for what one service can give.
//! Its timers are exact to a millisecond.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use portcullis_client::{Client, ClientError, Config, NearCacheConfig};
use portcullis_proto::v1;
use prost::Message as _;
use tokio::task::JoinSet;

use crate::clock;
use crate::generator::{PART, Pace, Until};
use crate::measure::{Interval, Measured, Outcome, Recorder};
use crate::pace::Schedule;
use crate::questions::Questions;

/// The most questions under way.
pub(crate) const MAX_UNDER_WAY: usize = 20_000;
/// How long a question may take where the scenario does not say.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What the library is told to do beside asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Library {
    /// Nothing.
    Plain,
    /// To keep answers as long as they may be kept.
    NearCache,
}

/// Asks at `pace`, `until` its end.
///
/// # Errors
/// When a question cannot be made, or more than [`MAX_UNDER_WAY`] are not answered.
pub(crate) fn run(
    library: Library,
    targets: &[SocketAddr],
    timeout: Option<Duration>,
    questions: Questions,
    (pace, until): (Pace, Until),
    watch: &mut dyn FnMut(&Interval),
) -> anyhow::Result<Measured> {
    let mut config = Config::new(targets.iter().map(|target| format!("http://{target}")));
    config.timeout = timeout.unwrap_or(TIMEOUT);
    config.near_cache = (library == Library::NearCache).then(NearCacheConfig::default);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::start(&config)?;
        let (most, length) = match until {
            Until::Time(length) => (u64::MAX, length),
            Until::Questions(count, length) => (count, length),
        };
        let began = clock::now();
        let ends = began + clock::nanos(length);
        let recorder = Arc::new(Mutex::new(Recorder::new(began, ends, PART)?));
        let asking =
            Asking { client, questions, recorder, ends, left: most, tasks: JoinSet::new() };
        asking.carry_out(pace, watch).await
    })
}

struct Asking {
    client: Client,
    questions: Questions,
    recorder: Arc<Mutex<Recorder>>,
    ends: u64,
    left: u64,
    tasks: JoinSet<()>,
}

impl Asking {
    async fn carry_out(
        mut self,
        pace: Pace,
        watch: &mut dyn FnMut(&Interval),
    ) -> anyhow::Result<Measured> {
        match pace {
            Pace::Open(rate, arrivals) => {
                let mut schedule = Schedule::new(rate, arrivals, clock::now(), 1);
                while self.left > 0 && schedule.next() <= self.ends {
                    let due = schedule.next();
                    schedule.step();
                    let early = due.saturating_sub(clock::now());
                    if early > 0 {
                        tokio::time::sleep(Duration::from_nanos(early)).await;
                    }
                    self.ask(due)?;
                    self.settle(watch);
                }
            }
            Pace::Closed(under_way) => {
                while self.left > 0 && clock::now() < self.ends {
                    while self.tasks.len() < under_way && self.left > 0 {
                        self.ask(clock::now())?;
                    }
                    self.tasks.join_next().await;
                    self.settle(watch);
                }
            }
        }
        while self.tasks.join_next().await.is_some() {}
        let recorder = Arc::into_inner(self.recorder).context("a question is still under way")?;
        Ok(recorder.into_inner().end(clock::now(), self.ends))
    }

    /// Takes what has ended, and shows a part that is over.
    fn settle(&mut self, watch: &mut dyn FnMut(&Interval)) {
        while self.tasks.try_join_next().is_some() {}
        if let Some(part) = self.recorder.lock().tick(clock::now()) {
            watch(part);
        }
    }

    fn ask(&mut self, due: u64) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.tasks.len() < MAX_UNDER_WAY,
            "more than {MAX_UNDER_WAY} questions have no answer yet: ask for less"
        );
        self.left -= 1;
        let mut message = Vec::new();
        self.questions.write(1, &mut message);
        let request = v1::CheckRequest::decode(message.as_slice())?;
        let (client, recorder) = (self.client.clone(), Arc::clone(&self.recorder));
        self.tasks.spawn(async move {
            let outcome = outcome(&client.check(request).await);
            recorder.lock().record(due, clock::now(), outcome);
        });
        Ok(())
    }
}

fn outcome(answer: &Result<v1::CheckResponse, ClientError>) -> Outcome {
    match answer {
        Ok(answer) => Outcome::Answered(u32::try_from(answer.decisions.len()).unwrap_or(u32::MAX)),
        Err(ClientError::NoAnswer(status)) => {
            Outcome::Refused(u16::try_from(i32::from(status.code())).unwrap_or(u16::MAX))
        }
        Err(_) => Outcome::Lost,
    }
}
