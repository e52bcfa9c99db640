//! `lamp device run` beside a test: a light that goes on until it has said what
//! the test waits for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::delivery::PATIENCE;
use crate::device::unique;
use crate::lamp::lamp;

/// A light that lamp has created, with its keys in a directory of its own.
#[derive(Debug)]
pub struct Created {
    /// Its name.
    pub thing: String,
    /// Where its key is, and room for more.
    pub keys: PathBuf,
}

impl Created {
    /// Creates it, with these options.
    pub fn new(prefix: &str, options: &[&str]) -> Self {
        let (thing, keys) = (unique(prefix), std::env::temp_dir().join(unique("keys")));
        let created = lamp()
            .args(["device", "create", &thing, "--keys-dir"])
            .arg(&keys)
            .args(options)
            .output()
            .expect("lamp runs");
        assert!(created.status.success(), "{created:?}");
        Self { thing, keys }
    }

    /// Switches it on.
    pub fn run(&self, options: &[&str]) -> Running {
        Running::start(&self.thing, &self.keys, options)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.keys);
    }
}

/// A light that runs until it is stopped, or the test has ended; for a quarter of
/// an hour at most, should nobody come to that.
#[derive(Debug)]
pub struct Running {
    process: Child,
    log: PathBuf,
}

impl Running {
    /// Switches on the light whose keys are here.
    pub fn start(thing: &str, keys: &Path, options: &[&str]) -> Self {
        let log = std::env::temp_dir().join(unique("log"));
        let process = lamp()
            .args(["device", "run", "--thing", thing, "--output", "json"])
            .args([
                "--telemetry-every",
                "0.2",
                "--repeat-every",
                "2",
                "--for",
                "900",
            ])
            .args(options)
            .arg("--keys-dir")
            .arg(keys)
            .stdout(File::create(&log).expect("a log"))
            .spawn()
            .expect("lamp runs");
        Self { process, log }
    }

    /// What it has said so far, a JSON document a line.
    pub fn said(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The first line that is so, once it has said it.
    pub async fn says_what(&self, so: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let said = self.said();
            if let Some(line) = said.iter().find(|line| so(line)) {
                return line.clone();
            }
            assert!(started.elapsed() < PATIENCE, "{said:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The first line of an event, once there is one.
    pub async fn says(&self, event: &str) -> Value {
        self.says_what(|line| line["event"] == event).await
    }

    /// Waits until it has said an event so often.
    pub async fn repeats(&self, event: &str, times: usize) {
        let started = Instant::now();
        while of(&self.said(), event).len() < times {
            assert!(started.elapsed() < PATIENCE, "{:?}", self.said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks it to end (SIGTERM), and waits until it has; answers all that it has
    /// said.
    pub fn stop(mut self) -> Vec<Value> {
        let id = self.process.id().to_string();
        let asked = Command::new("kill").arg(&id).status();
        assert!(asked.expect("kill runs").success());
        self.process.wait().expect("it ends");
        self.said()
    }
}

impl Drop for Running {
    /// Switches it off, with no time for anything (SIGKILL).
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// What was said of an event.
pub fn of<'a>(said: &'a [Value], event: &str) -> Vec<&'a Value> {
    said.iter().filter(|line| line["event"] == event).collect()
}
