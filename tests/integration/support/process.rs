//! Processes that a test starts, signals and outlives.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::poll::eventually;

/// How long the output of an ended process is still read when its pipes do not close.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// How long the kernel may take to stop every thread of a process.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

/// The top of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `make setup` puts nats-server.
pub fn tools_directory() -> PathBuf {
    repository().join(".tools/bin")
}

/// A child process. Dropping it kills and reaps it, with every process it has started itself.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    /// Children of a process that was killed alone: nothing else stops them.
    orphans: Vec<u32>,
}

impl Process {
    /// Starts `command`; messages call it `name`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> std::io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self {
            name: name.to_owned(),
            child,
            ended: None,
            orphans: Vec::new(),
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status of the process, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("reading a child's status");
        }
        self.ended
    }

    /// Kills the process at once (SIGKILL) and reaps it. Its children keep running until the drop.
    pub fn kill9(&mut self) {
        if self.ended().is_none() {
            self.orphans.extend(descendants(self.id()));
            self.child.kill().expect("killing a child");
            self.ended = Some(self.child.wait().expect("reaping a child"));
        }
    }

    /// Asks the process to end (SIGTERM) and returns its exit status.
    ///
    /// # Panics
    /// When it has not ended within `deadline`.
    pub async fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(deadline).await
    }

    /// Waits for the process to end and returns its exit status.
    ///
    /// # Panics
    /// When it has not ended within `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {} (process {})", self.name, self.id());
        eventually(deadline, what, async || self.ended()).await
    }

    /// Freezes the process (SIGSTOP): its connections stay open and silent. It does nothing more once this returns.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pause(&mut self) {
        self.signal("STOP");
        // The signal is only queued: on a busy machine, threads keep running for a while.
        let begin = Instant::now();
        loop {
            assert!(self.ended().is_none(), "{} has ended and cannot be paused", self.name);
            if is_frozen(self.id()) {
                break;
            }
            assert!(
                begin.elapsed() < FREEZE_TIMEOUT,
                "{} is not frozen after {FREEZE_TIMEOUT:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Resumes a frozen process (SIGCONT).
    pub fn resume(&mut self) {
        self.signal("CONT");
    }

    /// Lets the process make none of its files longer than this; `None` lifts the limit.
    ///
    /// # Panics
    /// When `prlimit` of util-linux is not installed, or the process has ended.
    pub fn limit_files(&mut self, bytes: Option<u64>) {
        let most = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let limited = Command::new("prlimit")
            .args(["--pid", &self.id().to_string(), &format!("--fsize={most}:unlimited")])
            .status()
            .expect("running prlimit of util-linux");
        assert!(limited.success(), "limiting the files of {}", self.name);
    }

    /// Sends a signal by its name without "SIG"; a process that has ended gets none.
    pub fn signal(&mut self, signal: &str) {
        if self.ended().is_none() {
            assert!(
                send_signal(signal, &[self.id()]),
                "sending SIG{signal} to {}",
                self.name
            );
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.orphans);
        if matches!(self.child.try_wait(), Ok(None)) {
            left.extend(descendants(self.id()));
            // A failure means that it has just ended.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if !left.is_empty() {
            send_signal("KILL", &left);
        }
    }
}

/// Sends a signal to processes. The shell's own `kill` does it: a small system has no other, and `libc` would need
/// `unsafe`.
fn send_signal(signal: &str, processes: &[u32]) -> bool {
    let ids: Vec<String> = processes.iter().map(ToString::to_string).collect();
    let script = format!("kill -s {signal} {}", ids.join(" "));
    Command::new("sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether every thread of a process is stopped.
fn is_frozen(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let mut states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // The state follows the program's name, which is in parentheses and may itself contain some.
    states.all(|state| {
        state
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('T'))
    })
}

/// The running descendants of `process`.
fn descendants(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let threads = std::fs::read_dir(format!("/proc/{parent}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let children: Vec<u32> = lists.flat_map(|list| numbers(&list)).collect();
        found.extend(children);
        next += 1;
    }
    found.split_off(1)
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// The built `order-router`, with its output captured.
#[derive(Debug)]
pub struct RouterProcess {
    process: Process,
    stdout: Captured,
    stderr: Captured,
    /// The data directory, unless a setting names another.
    _data: tempfile::TempDir,
}

impl RouterProcess {
    /// Starts `order-router` with these arguments and environment variables. None of the caller's own `ORDER_ROUTER_…`
    /// variables reach it; the nats-server of `make setup` comes first on its search path, and its data directory is a new
    /// one unless another is named.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start<'a>(args: &[&str], environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-router"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ORDER_ROUTER_") {
                command.env_remove(name);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let data = tempfile::tempdir().expect("a temporary directory");
        command
            .args(args)
            .env("ORDER_ROUTER_DATA_DIR", data.path())
            .env("PATH", format!("{}:{path}", tools_directory().display()))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = format!("order-router {}", args.join(" "));
        let mut process = Process::spawn(&name, &mut command).expect("starting order-router");
        let stdout = Captured::read(process.child.stdout.take().expect("a pipe"));
        let stderr = Captured::read(process.child.stderr.take().expect("a pipe"));
        Self {
            process,
            stdout,
            stderr,
            _data: data,
        }
    }

    /// Returns the line on standard output that begins with "ready".
    ///
    /// # Panics
    /// When the process ends before, or prints none within `deadline`; the message shows its standard error.
    pub async fn wait_ready(&mut self, deadline: Duration) -> String {
        let (name, stderr) = (self.process.name.clone(), self.stderr.clone());
        let mut ended = None;
        let ready = eventually(deadline, format!("the ready line of {name}"), async || {
            if let Some(line) = self.stdout.line_that_starts_with("ready") {
                return Some(Ok(line));
            }
            // The threads may have more to read of an ended process; a child that keeps running keeps the pipes
            // open.
            let status = self.process.ended()?;
            let (status, since) = *ended.get_or_insert((status, Instant::now()));
            let is_read = self.stdout.finished() && self.stderr.finished();
            (is_read || since.elapsed() > OUTPUT_GRACE).then_some(Err(status))
        });
        // Shown by the test runner only if the test fails.
        let shown = ShowOnPanic(&stderr);
        let outcome = ready.await;
        std::mem::forget(shown);
        outcome.unwrap_or_else(|ended| panic!("{name} ended ({ended:?}) before it was ready:\n{}", stderr.text()))
    }

    /// What the process has printed on standard output so far.
    pub fn stdout_text(&self) -> String {
        self.stdout.text()
    }

    /// What the process has printed on standard error so far: its log.
    pub fn stderr_text(&self) -> String {
        self.stderr.text()
    }

    /// Whether its output is closed and read to its end.
    pub fn is_read(&self) -> bool {
        self.stdout.finished() && self.stderr.finished()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The process itself: [`Process::pause`], [`Process::signal`], [`Process::wait`].
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// See [`Process::kill9`].
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// See [`Process::terminate`].
    pub async fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.process.terminate(deadline).await
    }
}

/// Prints a log when a deadline panics.
struct ShowOnPanic<'a>(&'a Captured);

impl Drop for ShowOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("standard error of the process awaited:\n{}", self.0.text());
        }
    }
}

/// Text that a thread reads from a pipe, so that the process never blocks on its output.
#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<(String, bool)>>);

impl Captured {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let captured = Self::default();
        let filled = captured.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                filled.0.lock().unwrap().0.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
            filled.0.lock().unwrap().1 = true;
        });
        captured
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().0.clone()
    }

    /// Whether the pipe is closed and read to its end.
    fn finished(&self) -> bool {
        self.0.lock().unwrap().1
    }

    /// Returns a complete line; a line that is still being written does not count.
    fn line_that_starts_with(&self, beginning: &str) -> Option<String> {
        let text = self.text();
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines
            .find(|line| line.starts_with(beginning))
            .map(|line| line.trim_end().to_owned())
    }
}
