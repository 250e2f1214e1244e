//! A command in, a child process on its own cores out, with what it takes of the machine.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Part;
use crate::clock::{self, SECOND};

/// How long a service may take to begin.
const START: u64 = 60 * SECOND;
/// How long it may take to end.
const STOP: u64 = 30 * SECOND;
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// The most of a log that is looked through for the address.
const MAX_LOG: u64 = 1024 * 1024;
/// Ticks of the system's clock for processes in a second (`USER_HZ`, the same on all Linux).
const TICKS: f64 = 100.0;

/// Processor cores, such as `0` or `0,1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores(Vec<usize>);

/// Why a text does not name cores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name cores: expected numbers with commas between, such as `0,1`")]
pub(crate) struct CoresError(String);

impl std::str::FromStr for Cores {
    type Err = CoresError;

    fn from_str(text: &str) -> Result<Self, CoresError> {
        let number = |text: &str| text.parse().ok().filter(|core| *core < CpuSet::MAX_CPU);
        let cores: Option<Vec<_>> = text.split(',').map(number).collect();
        cores.map(Self).ok_or_else(|| CoresError(text.to_owned()))
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl Cores {
    fn set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|core| set.set(*core));
        set
    }

    /// Keeps the thread that calls it, and what it begins, on these cores.
    ///
    /// # Errors
    /// When the machine has none of them.
    pub(crate) fn hold_thread(&self) -> io::Result<()> {
        Ok(sched_setaffinity(None, &self.set())?)
    }
}

/// A process that ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    /// Begins `command` on `cores`: a child has the cores of the thread that begins it.
    pub(crate) fn spawn(
        name: &'static str,
        command: &mut Command,
        cores: Option<&Cores>,
    ) -> anyhow::Result<Self> {
        let before = sched_getaffinity(None).context("failed to ask for this thread's cores")?;
        if let Some(cores) = cores {
            cores.hold_thread().with_context(|| {
                format!("failed to go to the cores {cores}: has this machine such?")
            })?;
        }
        let child = command.spawn();
        sched_setaffinity(None, &before).context("failed to go back to this thread's cores")?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = child.with_context(|| format!("failed to run `{program}`"))?;
        Ok(Self { child, name })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line that it writes to standard output, which must be a pipe.
    pub(crate) fn first_line(&mut self) -> anyhow::Result<String> {
        let out = self.child.stdout.take().context("standard output is not a pipe")?;
        let mut line = String::new();
        BufReader::new(out.take(1_024)).read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the {} ended without a word", self.name);
        Ok(line.trim().to_owned())
    }

    fn check_running(&mut self, log: &Path) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let said = fs::read_to_string(log).unwrap_or_default();
        let last: Vec<_> = said.lines().rev().take(5).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        anyhow::bail!("the {} ended with {status}: {}", self.name, last.join("; "))
    }

    /// Asks it to end, and waits until it does.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.context("a process has no id")?, Signal::TERM)?;
        let give_up = clock::now() + STOP;
        while self.child.try_wait()?.is_none() {
            anyhow::ensure!(clock::now() < give_up, "the {} does not end", self.name);
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// For questions: gRPC, or reviews.
    pub address: SocketAddr,
    /// For `/metrics` and `/readyz`, where that is known.
    pub admin: Option<SocketAddr>,
}

/// Begins a part of `portcullis` and waits until it says where it listens; its log goes to `log`.
pub(crate) fn begin(
    part: Part,
    program: &Path,
    config: &Path,
    log: &Path,
    cores: Option<&Cores>,
) -> anyhow::Result<(Process, Addresses)> {
    let file = File::create(log).with_context(|| format!("failed to write `{}`", log.display()))?;
    let mut command = Command::new(program);
    command.arg(part.command()).arg("--config").arg(config);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut process = Process::spawn(part.name(), &mut command, cores)?;
    let give_up = clock::now() + START;
    loop {
        let mut said = String::new();
        // What is not yet whole is read whole the next time.
        let _ = File::open(log)?.take(MAX_LOG).read_to_string(&mut said);
        if let Some(addresses) = said.lines().find_map(listening) {
            return Ok((process, addresses));
        }
        process.check_running(log)?;
        let name = part.name();
        anyhow::ensure!(clock::now() < give_up, "the {name} does not say where it listens");
        std::thread::sleep(LOOK);
    }
}

/// Waits until somebody listens at an address.
pub(crate) fn wait_for(address: SocketAddr) -> anyhow::Result<()> {
    let give_up = clock::now() + START;
    while let Err(error) = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        if clock::now() > give_up {
            return Err(error).with_context(|| format!("nobody listens at {address}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The addresses in the log line that has them.
fn listening(line: &str) -> Option<Addresses> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    // The names are beside the message, or in an object of their own.
    let fields = line.get("fields").unwrap_or(&line);
    let address = |name| fields.get(name)?.as_str()?.parse().ok();
    (fields.get("message")?.as_str()? == "listening")
        .then(|| Some(Addresses { address: address("address")?, admin: address("admin") }))?
}

/// Begins the echo, this program again, with replies of so many bytes; over TLS where there is a folder with
/// a certificate.
pub(crate) fn echo(
    program: &Path,
    reply: usize,
    certificate: Option<&Path>,
    cores: Option<&Cores>,
) -> anyhow::Result<(Process, SocketAddr)> {
    let mut command = Command::new(program);
    command.args(["echo", "--listen", "127.0.0.1:0", "--reply-bytes"]).arg(reply.to_string());
    if let Some(folder) = certificate {
        command.arg("--https").arg(folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::spawn("echo", &mut command, cores)?;
    let line = process.first_line()?;
    let address = line.rsplit(' ').next().and_then(|address| address.parse().ok());
    Ok((process, address.with_context(|| format!("the echo said `{line}`"))?))
}

/// What a process takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Bytes of memory that are its own now.
    pub(crate) resident: u64,
    /// The most that there were so far.
    pub(crate) peak: u64,
    /// Seconds of a processor so far.
    pub(crate) cpu_s: f64,
}

/// What a process takes, as the system tells it.
pub(crate) fn usage(id: u32) -> anyhow::Result<Usage> {
    let folder = PathBuf::from(format!("/proc/{id}"));
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))
    };
    let status = read("status")?;
    let stat = read("stat")?;
    Ok(Usage {
        resident: kilobytes(&status, "VmRSS:") * 1_024,
        peak: kilobytes(&status, "VmHWM:") * 1_024,
        cpu_s: cpu(&stat).unwrap_or_default(),
    })
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// User and system time of `/proc/<id>/stat`: the 12th and 13th fields after the name, which is in
/// parentheses and may have any letters.
fn cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

/// The processor's name and how many cores there are, for reports.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} x {model}, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read() {
        assert_eq!("0,3".parse(), Ok(Cores(vec![0, 3])));
        for text in ["", "a", "0,", "-1", "1000000"] {
            assert_eq!(text.parse::<Cores>(), Err(CoresError(text.to_owned())));
        }
        let most = CpuSet::MAX_CPU.to_string();
        assert!(most.parse::<Cores>().is_err(), "{most}");
    }

    #[test]
    fn a_child_runs_on_its_cores_and_the_thread_stays_on_its_own() {
        let before = sched_getaffinity(None).unwrap();
        let mut command = Command::new("sh");
        let script = "grep Cpus_allowed_list /proc/self/status; sleep 60";
        command.args(["-c", script]).stdout(Stdio::piped());
        let cores = "0".parse().unwrap();
        let mut child = Process::spawn("test", &mut command, Some(&cores)).unwrap();
        assert_eq!(child.first_line().unwrap().split_whitespace().last(), Some("0"));
        assert_eq!(sched_getaffinity(None).unwrap(), before);
        assert!(usage(child.id()).unwrap().resident > 0);
        child.stop().unwrap();
    }

    #[test]
    fn the_log_says_where_a_service_listens() {
        let line = r#"{"level":"INFO","fields":{"message":"listening","address":"127.0.0.1:1","admin":"127.0.0.1:2"}}"#;
        let addresses = listening(line).unwrap();
        assert_eq!((addresses.address.port(), addresses.admin.unwrap().port()), (1, 2));
        let flat = r#"{"message":"listening","address":"127.0.0.1:1"}"#;
        assert_eq!(listening(flat).unwrap().admin, None);
        assert_eq!(listening(r#"{"message":"stopping","address":"127.0.0.1:1"}"#), None);
        assert_eq!(listening("listening"), None);
    }

    #[test]
    fn the_time_of_a_process_is_read_behind_any_name() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu(stat), Some(2.0));
        assert_eq!(cpu("12"), None);
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t 7 kB\n", "VmRSS:"), 7);
    }
}
