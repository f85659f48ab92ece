//! A developer's machine: a folder for tokens, the binary, and a browser that is scripted. It knows no scenario.
//!
//! A program that still runs when its test ends is killed, and nothing waits without a deadline.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;
use testkit::{Answer, SampleCaller};

use crate::folder::Folder;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Desk {
    folder: Folder,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Desk {
    pub fn new() -> Self {
        Desk {
            folder: Folder::new(),
        }
    }

    /// Where tokens are kept by default.
    pub fn credentials(&self) -> PathBuf {
        self.folder.join("lightkeeper/credentials.json")
    }

    pub fn kept(&self) -> Value {
        std::fs::read(self.credentials())
            .map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap())
    }

    /// Writes a file of this machine, and gives its place.
    pub fn write(&self, name: &str, text: &str) -> String {
        let place = self.folder.join(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, text).unwrap();
        place.display().to_string()
    }

    /// Changes the kept login of a gateway.
    pub fn change(&self, gateway: &str, change: impl FnOnce(&mut Value)) {
        let mut kept = self.kept();
        change(&mut kept["gateways"][gateway]);
        std::fs::write(self.credentials(), kept.to_string()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lightkeeper"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path());
        for name in [
            "LIGHTKEEPER_GATEWAY",
            "LIGHTKEEPER_CREDENTIALS",
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "SSLKEYLOGFILE",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[])
    }

    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let output = self
            .command(arguments)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Ended {
            status: output.status.code().expect("ended by a signal"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn start(&self, arguments: &[&str]) -> Program {
        self.start_with(arguments, &[])
    }

    pub fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
        let mut child = self
            .command(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Lines::follow(child.stdout.take().unwrap());
        let err = Lines::follow(child.stderr.take().unwrap());
        Program { child, out, err }
    }

    /// The same at a terminal, where the answer is typed at once.
    #[cfg(target_os = "linux")]
    pub fn start_at_terminal(&self, arguments: &[&str], typed: &str) -> (Program, Terminal) {
        use rustix::fs::{Mode, OFlags};
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&own).unwrap();
        unlockpt(&own).unwrap();
        let name = ptsname(&own, Vec::new()).unwrap();
        let other = || {
            rustix::fs::open(
                name.as_c_str(),
                OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        let mut child = self
            .command(arguments)
            .stdin(Stdio::from(other().unwrap()))
            .stderr(Stdio::from(other().unwrap()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut own = std::fs::File::from(own);
        let err = Lines::follow(own.try_clone().unwrap());
        own.write_all(typed.as_bytes()).unwrap();
        let out = Lines::follow(child.stdout.take().unwrap());
        (Program { child, out, err }, Terminal(own))
    }

    /// Logs a sample person in through the scripted browser.
    pub async fn log_in(&self, gateway: &str, person: &str) {
        self.log_in_with(gateway, person, &[]).await;
    }

    pub async fn log_in_with(&self, gateway: &str, person: &str, more: &[&str]) {
        let arguments: Vec<&str> = ["login", "--no-browser", "--gateway", gateway]
            .iter()
            .chain(more)
            .copied()
            .collect();
        let program = self.start(&arguments);
        let back = sign_in(&program, person).await;
        let page = visit(&back).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let ended = program.end();
        assert_eq!(ended.status, 0, "{ended:?}");
    }
}

/// Opens the login page that the program printed, picks a person, and gives the address that the browser is sent to.
pub async fn sign_in(program: &Program, person: &str) -> String {
    let page = program
        .err
        .wait(|line| line.contains("/authorize?"))
        .trim()
        .to_owned();
    let answer = visit(&format!("{page}&user={person}")).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap()
}

pub async fn visit(url: &str) -> Answer {
    let uri: http::Uri = url.parse().unwrap();
    let base = format!(
        "{}://{}",
        uri.scheme_str().unwrap(),
        uri.authority().unwrap()
    );
    SampleCaller::new(&base)
        .get(uri.path_and_query().unwrap().as_str())
        .await
        .unwrap()
}

pub async fn post_form(base: &str, path: &str, form: &str) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    SampleCaller::new(base)
        .send(Method::POST, path, &headers, form.as_bytes().to_vec())
        .await
        .unwrap()
}

/// The user's side of a terminal: the program's ends with it.
#[cfg(target_os = "linux")]
pub struct Terminal(#[expect(dead_code, reason = "it is kept open")] std::fs::File);

/// A run in the background.
pub struct Program {
    child: Child,
    pub out: Lines,
    pub err: Lines,
}

#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Heard>, Condvar)>);

/// Lines, and whether there will be more.
type Heard = (Vec<String>, bool);

impl Lines {
    fn follow(stream: impl Read + Send + 'static) -> Self {
        let lines = Lines::default();
        let shared = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                shared.0.0.lock().unwrap().0.push(line);
                shared.0.1.notify_all();
            }
            shared.0.0.lock().unwrap().1 = true;
            shared.0.1.notify_all();
        });
        lines
    }

    /// The first line that is wanted.
    pub fn wait(&self, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        let mut printed = self.0.0.lock().unwrap();
        loop {
            if let Some(line) = printed.0.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !printed.1,
                "a line was not printed:\n{}",
                printed.0.join("\n")
            );
            printed = self.0.1.wait_timeout(printed, left).unwrap().0;
        }
    }

    fn whole(&self) -> String {
        let printed = self.0.0.lock().unwrap();
        let (printed, late) = self
            .0
            .1
            .wait_timeout_while(printed, PATIENCE, |printed| !printed.1)
            .unwrap();
        assert!(
            !late.timed_out(),
            "the program has not ended:\n{}",
            printed.0.join("\n")
        );
        printed.0.join("\n")
    }
}

impl Program {
    pub fn end(mut self) -> Ended {
        let (out, err) = (self.out.whole(), self.err.whole());
        let status = self
            .child
            .wait()
            .unwrap()
            .code()
            .expect("ended by a signal");
        Ended { status, out, err }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        assert!(
            Command::new("kill")
                .args(["-INT", &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
