//! A scenario in, its service, registry and echo running, and each phase carried out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;

use crate::Part;
use crate::clock;
use crate::front::Front;
use crate::generator::{Generator, Pace, Seen, Setup, Strictness, Until, Waiting};
use crate::library;
use crate::measure::{Interval, Measured};
use crate::process::{self, Addresses, Cores, Process, Usage};
use crate::progress::Progress;
use crate::questions::{Asked, Call, Pick, Questions};
use crate::registry::{Holdings, Registry};
use crate::scenario::{Load, Scenario};
use crate::segments::Asks as _;
use crate::world::World;

/// How many questions say how long an answer is.
const PROBES: u64 = 200;
/// How long answers are waited for after the last question.
const GRACE: Duration = Duration::from_secs(5);
/// How long preparing may take.
const PREPARE: Duration = Duration::from_secs(3_600);
/// The deadline of a question that prepares.
const PATIENCE: Duration = Duration::from_secs(30);

/// How services are begun and pinned.
pub(crate) struct Options {
    /// What is measured.
    pub(crate) under_test: UnderTest,
    /// This program, for the echo.
    pub(crate) own: PathBuf,
    /// Cores of the service and the echo.
    pub(crate) server_cores: Option<Cores>,
    /// Cores of the harness and the registry.
    pub(crate) client_cores: Option<Cores>,
    /// Where the registry listens.
    pub(crate) registry: SocketAddr,
    /// Where to write the configuration for whoever begins what runs already.
    pub(crate) write_config: Option<PathBuf>,
}

/// What is measured.
pub(crate) enum UnderTest {
    /// This `portcullis`, begun for each scenario.
    Program(PathBuf),
    /// What listens there already: it is configured by whoever began it.
    Running(SocketAddr),
    /// Something in this process, which is given the configuration.
    Within(Box<crate::Begin>),
}

/// A service that runs.
enum Service {
    Program(Process, Addresses),
    Running(Addresses),
    Within(Addresses, Box<dyn std::any::Any + Send + Sync>),
}

impl Service {
    const fn addresses(&self) -> Addresses {
        match self {
            Self::Program(_, addresses) | Self::Running(addresses) | Self::Within(addresses, _) => {
                *addresses
            }
        }
    }
}

/// A place for a replica.
struct Replica {
    service: Option<Service>,
    address: Option<SocketAddr>,
}

/// All that a scenario needs, running.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    /// It ends before the services that it asks.
    front: Option<Front>,
    registry: Registry,
    world: World,
    /// They may be restarted while they are asked.
    replicas: Mutex<Vec<Replica>>,
    echo: Option<(Process, SocketAddr)>,
    reply: usize,
}

/// What came of one load.
pub(crate) struct Outcome {
    pub(crate) measured: Measured,
    pub(crate) seen: Seen,
}

impl<'a> Bench<'a> {
    /// Begins the registry and the service.
    pub(crate) fn start(options: &'a Options, scenario: &Scenario) -> anyhow::Result<Self> {
        let crate::scenario::Holds { digests, findings, seed } = scenario.registry;
        let holdings = Holdings { images: digests, findings, seed };
        let cores = options.client_cores.as_ref();
        if let Some(cores) = cores {
            cores.hold_thread().with_context(|| {
                format!("failed to go to the cores {cores}: has this machine such?")
            })?;
        }
        let registry = Registry::start(options.registry, holdings, cores)?;
        let count = scenario.service.replicas;
        let world = World::new(&registry, &scenario.service.config, count)?;
        let replicas = (0..count).map(|_| Replica { service: None, address: None }).collect();
        let replicas = Mutex::new(replicas);
        let mut bench =
            Self { options, registry, world, replicas, front: None, echo: None, reply: 0 };
        let has_shim = scenario.shim.is_some();
        for replica in 0..count {
            bench.begin_on(replica, has_shim)?;
        }
        if let Some(shim) = &scenario.shim {
            let cores = options.server_cores.as_ref();
            let services = bench.addresses();
            bench.front = Some(Front::start(&options.under_test, cores, shim, &services)?);
        }
        Ok(bench)
    }

    /// The shim before the service, if there is one.
    pub(crate) const fn front(&self) -> Option<&Front> {
        self.front.as_ref()
    }

    /// How many replicas there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.replicas.lock().len()).unwrap_or(u32::MAX)
    }

    /// Begins a replica, and gives how long it took to say that it listens.
    pub(crate) fn begin(&self, replica: u32) -> anyhow::Result<Duration> {
        self.begin_on(replica, self.front.is_some())
    }

    /// The same. Behind a shim it is not the service that is measured, and it has the harness's cores.
    fn begin_on(&self, replica: u32, has_shim: bool) -> anyhow::Result<Duration> {
        let began = clock::now();
        let config = self.world.config(replica);
        let service = match &self.options.under_test {
            UnderTest::Program(program) => {
                let log = self.world.log(replica);
                let Options { server_cores, client_cores, .. } = self.options;
                let cores = if has_shim { client_cores } else { server_cores }.as_ref();
                let (process, addresses) =
                    process::begin(Part::Service, program, &config, &log, cores)?;
                Service::Program(process, addresses)
            }
            UnderTest::Running(grpc) => {
                if let Some(folder) = &self.options.write_config {
                    World::write(folder, &self.registry, "", *grpc)?;
                }
                process::wait_for(*grpc)?;
                Service::Running(Addresses { address: *grpc, admin: None })
            }
            UnderTest::Within(begin) => {
                let (addresses, held) = begin(Part::Service, &config)?;
                Service::Within(addresses, held)
            }
        };
        if let Some(place) = self.replicas.lock().get_mut(at(replica)) {
            place.address = Some(service.addresses().address);
            place.service = Some(service);
        }
        Ok(Duration::from_nanos(clock::now().saturating_sub(began)))
    }

    /// Stops a replica as an orchestrator does.
    pub(crate) fn end(&self, replica: u32) -> anyhow::Result<()> {
        let service = self.replicas.lock().get_mut(at(replica)).and_then(|r| r.service.take());
        match service {
            Some(Service::Program(process, _)) => process.stop(),
            Some(Service::Running(_)) => {
                anyhow::bail!("what runs already cannot be stopped: give --serve, not --target")
            }
            Some(Service::Within(_, held)) => {
                drop(held);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The last line of the shim's log or the first replica's, if it has one.
    pub(crate) fn last_word(&self) -> Option<String> {
        if let Some(front) = &self.front {
            return front.last_word();
        }
        let said = std::fs::read_to_string(self.world.log(0)).ok()?;
        said.lines().last().map(ToOwned::to_owned)
    }

    /// Where the replicas listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.lock().iter().filter_map(|replica| replica.address).collect()
    }

    /// What the shim takes of the machine, or the replicas together: of a service that runs elsewhere it is not
    /// known.
    pub(crate) fn usage(&self) -> anyhow::Result<Option<Usage>> {
        if let Some(front) = &self.front {
            return front.usage().map(Some);
        }
        let mut all = Usage::default();
        for replica in self.replicas.lock().iter() {
            let usage = match &replica.service {
                Some(Service::Program(process, _)) => process::usage(process.id())?,
                Some(Service::Within(..)) => process::usage(std::process::id())?,
                Some(Service::Running(_)) | None => return Ok(None),
            };
            all.resident += usage.resident;
            all.peak += usage.peak;
            all.cpu_s += usage.cpu_s;
        }
        Ok(Some(all))
    }

    /// Asks each replica about each of the first `images` once; each must be verified.
    pub(crate) fn warm(&self, images: u32, progress: &mut dyn Progress) -> anyhow::Result<()> {
        self.addresses()
            .into_iter()
            .try_for_each(|replica| self.warm_one(replica, images, progress))
    }

    fn warm_one(
        &self,
        replica: SocketAddr,
        images: u32,
        progress: &mut dyn Progress,
    ) -> anyhow::Result<()> {
        let load = Load {
            connections: 4,
            in_flight: 32,
            images: Some((0, images)),
            pick: Pick::InTurn,
            read: true,
            timeout: Some(crate::scenario::Span(PATIENCE)),
            ..Load::default()
        };
        let (call, waiting) = (load.call, Waiting::Sleeps);
        let mut generator = self.connect(vec![replica], &load, call, Strictness::Read, waiting)?;
        let until = Until::Questions(u64::from(images), PREPARE);
        let pace = Pace::Closed(load.in_flight);
        let measured = generator.run(pace, until, &mut |part| progress.part(part))?;
        let seen = generator.seen();
        let verified = seen.evidence.get("verified").copied().unwrap_or_default();
        anyhow::ensure!(
            verified == u64::from(images),
            "of {images} images {verified} are verified: {:?}; not answered: {:?}",
            seen.evidence,
            measured.tally.failures().collect::<Vec<_>>()
        );
        Ok(())
    }

    /// The echo, begun where it is not running, with replies as long as the service's.
    pub(crate) fn echo(&mut self) -> anyhow::Result<SocketAddr> {
        if let Some((_, address)) = &self.echo {
            return Ok(*address);
        }
        self.reply = self.reply_length()?;
        let cores = self.options.server_cores.as_ref();
        let (process, address) = process::echo(&self.options.own, self.reply, None, cores)?;
        self.echo = Some((process, address));
        Ok(address)
    }

    /// An echo that speaks HTTPS with the shim's certificate, with replies of so many bytes; it is begun in place of
    /// one with others.
    pub(crate) fn https_echo(&mut self, reply: usize) -> anyhow::Result<(u32, SocketAddr)> {
        let front = self.front.as_ref().context("there is no shim")?;
        let cores = self.options.server_cores.as_ref();
        let begun = process::echo(&self.options.own, reply, Some(front.folder()), cores)?;
        self.reply = reply;
        let (process, address) = self.echo.insert(begun);
        Ok((process.id(), *address))
    }

    /// The length of the echo's replies, in bytes; 0 where there is none.
    pub(crate) const fn echo_reply(&self) -> usize {
        self.reply
    }

    fn reply_length(&self) -> anyhow::Result<usize> {
        let load = Load { connections: 1, in_flight: 8, ..Load::default() };
        let mut generator = self.generator(&load, Call::Check, Strictness::Count)?;
        let until = Until::Questions(PROBES, GRACE);
        let measured = generator.run(Pace::Closed(8), until, &mut |_| {})?;
        let answers = measured.tally.of("answered").max(1);
        Ok(usize::try_from(measured.bytes / answers)?)
    }

    /// Connections for a load. To the echo they are as many, with messages as long.
    pub(crate) fn generator(
        &self,
        load: &Load,
        call: Call,
        strictness: Strictness,
    ) -> anyhow::Result<Generator> {
        self.generator_that(load, call, strictness, Waiting::Spins)
    }

    fn generator_that(
        &self,
        load: &Load,
        call: Call,
        strictness: Strictness,
        waiting: Waiting,
    ) -> anyhow::Result<Generator> {
        let targets = match (call, &self.echo) {
            (Call::Echo, Some((_, address))) => vec![*address],
            (Call::Echo, None) => anyhow::bail!("the echo is not running"),
            _ => self.addresses(),
        };
        self.connect(targets, load, call, strictness, waiting)
    }

    fn connect(
        &self,
        targets: Vec<SocketAddr>,
        load: &Load,
        call: Call,
        strictness: Strictness,
        waiting: Waiting,
    ) -> anyhow::Result<Generator> {
        let questions = self.questions(load, call);
        let setup = Setup {
            targets,
            connections: load.connections,
            timeout: load.timeout.map(|span| span.0),
            strictness,
            waiting,
            grace: GRACE,
        };
        Generator::connect(setup, questions)
    }

    /// What a load asks.
    pub(crate) fn questions(&self, load: &Load, call: Call) -> Questions {
        let (from, count) = load.range(self.registry.images().count());
        Questions::new(Asked {
            call,
            images: std::sync::Arc::clone(self.registry.images()),
            from,
            count,
            pick: load.pick,
            containers: load.containers,
            by_tag: load.by_tag,
            clusters: load.clusters,
            seed: u64::from(from) + 1,
        })
    }

    /// Carries out a load at `pace`.
    pub(crate) fn carry_out(
        &self,
        load: &Load,
        pace: Pace,
        waiting: Waiting,
        watch: &mut dyn FnMut(&Interval),
    ) -> anyhow::Result<Outcome> {
        if let Some(library) = load.library {
            let questions = self.questions(load, load.call);
            let (targets, timeout) = (self.addresses(), load.timeout.map(|span| span.0));
            let measured =
                library::run(library, &targets, timeout, questions, (pace, until(load)), watch)?;
            return Ok(Outcome { measured, seen: Seen::default() });
        }
        let strictness = if load.read { Strictness::Read } else { Strictness::Count };
        let mut generator = self.generator_that(load, load.call, strictness, waiting)?;
        let measured = generator.run(pace, until(load), watch)?;
        Ok(Outcome { measured, seen: generator.seen().clone() })
    }
}

fn at(replica: u32) -> usize {
    usize::try_from(replica).unwrap_or(usize::MAX)
}

/// When a load ends.
pub(crate) fn until(load: &Load) -> Until {
    let length = load.duration.0;
    load.questions.map_or(Until::Time(length), |count| Until::Questions(count, length))
}
