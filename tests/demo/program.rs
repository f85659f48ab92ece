//! Runs the binary: to its end, or in the background with its output followed.
//!
//! It knows nothing of what the program prints. A program that still runs when its test ends is killed, and
//! nothing waits without a deadline.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long something that should happen is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lightkeeper"));
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    // Those of the machine that runs the tests do not count.
    for name in ["https_proxy", "http_proxy", "all_proxy", "no_proxy"] {
        command
            .env_remove(name)
            .env_remove(name.to_ascii_uppercase());
    }
    command
}

/// A run that has ended.
pub struct Ended {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}:\n{}{}", self.out, self.err))
    }
}

pub fn run(arguments: &[&str]) -> Ended {
    run_in(Path::new("."), arguments)
}

/// The same within so much memory (KiB of address space), and within two minutes.
pub fn run_bounded(memory_kib: u64, arguments: &[&str]) -> Ended {
    let run = format!("ulimit -v {memory_kib} && exec timeout 120 \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &run])
        .arg(binary().get_program())
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended {
        status: output.status.code().expect("ended by a signal"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The same from another folder.
pub fn run_in(folder: &Path, arguments: &[&str]) -> Ended {
    let output = binary()
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    ended(output)
}

/// The same with these variables in the environment.
pub fn run_with(environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    ended(
        binary()
            .envs(environment.iter().copied())
            .args(arguments)
            .output()
            .unwrap(),
    )
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        status: output.status.code().expect("ended by a signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A run in the background.
pub struct Program {
    child: Mutex<Child>,
    out: Lines,
    err: Lines,
    /// How many lines of the log were looked at.
    looked: AtomicU64,
}

#[derive(Clone, Default)]
struct Lines(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn follow(stream: impl Read + Send + 'static) -> Self {
        let lines = Lines::default();
        let shared = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                shared.0.0.lock().unwrap().lines.push(line);
                shared.0.1.notify_all();
            }
            shared.0.0.lock().unwrap().ended = true;
            shared.0.1.notify_all();
        });
        lines
    }

    /// The first line from `from` on that is wanted, and its place.
    fn wait(&self, from: usize, wanted: impl Fn(&str) -> bool) -> (usize, String) {
        let until = Instant::now() + PATIENCE;
        let mut printed = self.0.0.lock().unwrap();
        loop {
            let found = printed
                .lines
                .iter()
                .enumerate()
                .skip(from)
                .find(|(_, line)| wanted(line));
            if let Some((at, line)) = found {
                return (at, line.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            let over = left.is_zero() || printed.ended;
            assert!(
                !over,
                "a line was not printed in time:\n{}",
                printed.lines.join("\n")
            );
            printed = self.0.1.wait_timeout(printed, left).unwrap().0;
        }
    }

    /// The end of its output is the end of the program.
    fn wait_for_end(&self, patience: Duration) {
        let printed = self.0.0.lock().unwrap();
        let (printed, late) = self
            .0
            .1
            .wait_timeout_while(printed, patience, |printed| !printed.ended)
            .unwrap();
        assert!(
            !late.timed_out(),
            "the program has not ended in time:\n{}",
            printed.lines.join("\n")
        );
    }
}

impl Program {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// The same with these variables in the environment.
    pub fn start_in(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = binary();
        command.envs(environment.iter().copied()).args(arguments);
        Self::follow(command)
    }

    /// The same within limits, as the shell's `ulimit` sets them.
    pub fn start_within(limits: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let run = format!("ulimit {limits} && exec \"$0\" \"$@\"");
        command
            .args(["-c", &run])
            .arg(binary().get_program())
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        Self::follow(command)
    }

    fn follow(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Lines::follow(child.stdout.take().unwrap());
        let err = Lines::follow(child.stderr.take().unwrap());
        Program {
            child: Mutex::new(child),
            out,
            err,
            looked: AtomicU64::new(0),
        }
    }

    /// The rest of the line on standard output that starts so.
    pub fn first_line(&self, start: &str) -> String {
        self.out.wait(0, |line| line.starts_with(start)).1[start.len()..].to_owned()
    }

    /// All lines of the log so far.
    pub fn log(&self) -> String {
        self.err.0.0.lock().unwrap().lines.join("\n")
    }

    /// A JSON line of the log that is wanted, wherever it stands.
    pub fn any_log_line(&self, wanted: impl Fn(&Value) -> bool) {
        self.err.wait(0, |line| {
            serde_json::from_str::<Value>(line).is_ok_and(|line| wanted(&line))
        });
    }

    /// The next JSON line of the log that is wanted, after the one found last.
    pub fn log_line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let parse = |line: &str| serde_json::from_str::<Value>(line).ok();
        let from = usize::try_from(self.looked.load(Ordering::SeqCst)).unwrap();
        let (at, line) = self
            .err
            .wait(from, |line| parse(line).is_some_and(|line| wanted(&line)));
        self.looked.store(at as u64 + 1, Ordering::SeqCst);
        parse(&line).unwrap()
    }

    /// What the system says of its limit of this name: soft and hard.
    pub fn limit(&self, name: &str) -> (String, String) {
        let id = self.child.lock().unwrap().id();
        let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        let mut values = line.split_whitespace().map(str::to_owned);
        (values.next().unwrap(), values.next().unwrap())
    }

    /// Lets its files grow again, as far as the hard limit has it.
    pub fn allow_growth(&self) {
        let id = self.child.lock().unwrap().id().to_string();
        let set = Command::new("prlimit")
            .args(["--pid", &id, "--fsize=unlimited"])
            .status();
        assert!(set.unwrap().success());
    }

    /// `HUP`, `INT` or `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The exit status, once it has ended.
    pub fn status(&self, patience: Duration) -> i32 {
        self.err.wait_for_end(patience);
        let status = self.child.lock().unwrap().wait().unwrap();
        status.code().expect("ended by a signal")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // It has ended already where the test went well.
        let _ = child.kill();
        let _ = child.wait();
    }
}
