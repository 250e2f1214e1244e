//! Arguments in, what the command said and its exit status out.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command with these arguments, in an environment that says nothing about it.
pub(crate) fn portcullis<A: AsRef<OsStr>>(arguments: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env_remove("PORTCULLIS_SERVER").env_remove("PORTCULLIS_CONFIG");
    for file in ["CA", "CERT", "KEY", "SERVER_NAME"] {
        command.env_remove(format!("PORTCULLIS_TLS_{file}"));
    }
    command.env_remove("PORTCULLIS_SHIM_CONFIG");
    // Where nobody keeps a password.
    command.env("DOCKER_CONFIG", "/nonexistent");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the command to its end.
#[track_caller]
pub(crate) fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Ran {
    Ran::of(portcullis(arguments).output().unwrap())
}

/// Runs the command to its end, where programs are looked for in `folder` alone.
#[track_caller]
pub(crate) fn run_with_programs<A: AsRef<OsStr>>(folder: &Path, arguments: &[A]) -> Ran {
    Ran::of(portcullis(arguments).env("PATH", folder).output().unwrap())
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// It failed: exit status 1, nothing on standard output, and an error that says all of `words`,
    /// once each, and shows no one our types.
    #[track_caller]
    pub(crate) fn complains_of(&self, words: &[&str]) {
        assert_eq!(self.status, Some(1), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        assert!(self.stderr.starts_with("error: "), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in {self:#?}");
        }
        for ours in ["panicked", "Error {", "Error(", "Some(", "::"] {
            assert!(!self.stderr.contains(ours), "`{ours}` is in {self:#?}");
        }
        let lines: Vec<_> = self.stderr.lines().collect();
        let told = |line: &&str| line.rsplit_once(": ").map_or(*line, |(_, end)| end).to_owned();
        let repeated = lines.windows(2).find(|pair| told(&pair[0]) == told(&pair[1]));
        assert!(repeated.is_none(), "{repeated:?} says it twice: {self:#?}");
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}
