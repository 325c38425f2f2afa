//! A child process of a run: started, killed, paused, and found ready.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Returns the command that starts a program bound to this process: it exits with it.
pub type BoundCommand = Arc<dyn Fn(&Path) -> Command + Send + Sync>;

/// The time between two looks at a process that is awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long the kernel may take to stop every thread of a process.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the kernel may take to end a killed process.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sending a signal may take.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A process with its log files.
#[derive(Debug)]
pub(in crate::chaos) struct ChildProcess {
    name: String,
    child: Child,
    /// Its standard output of this start.
    output: PathBuf,
}

impl ChildProcess {
    /// Starts a command. Its errors are appended to `NAME.log` in the directory, its output is written to `NAME.out`.
    ///
    /// # Errors
    /// When a file cannot be opened or the program cannot be started.
    pub(in crate::chaos) fn start(name: &str, mut command: Command, directory: &Path) -> anyhow::Result<Self> {
        let output = directory.join(format!("{name}.out"));
        let log = directory.join(format!("{name}.log"));
        let errors = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let errors = errors.with_context(|| format!("opening {}", log.display()))?;
        let written = std::fs::File::create(&output).with_context(|| format!("creating {}", output.display()))?;
        command.stdin(Stdio::null()).stdout(written).stderr(errors);
        let child = command.kill_on_drop(true).spawn();
        Ok(Self {
            name: name.to_owned(),
            child: child.with_context(|| format!("starting {name}"))?,
            output,
        })
    }

    /// Returns its process id; `None` once it has ended.
    pub(in crate::chaos) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Reports whether it runs.
    pub(in crate::chaos) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it at once (SIGKILL).
    ///
    /// # Errors
    /// When it does not end.
    pub(in crate::chaos) async fn kill(&mut self) -> anyhow::Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        let killed = timeout(KILL_TIMEOUT, self.child.kill()).await;
        let killed = killed.with_context(|| format!("{} does not end after SIGKILL", self.name))?;
        killed.with_context(|| format!("killing {}", self.name))
    }

    /// Asks it to end (SIGTERM), and kills it where it has not ended within the limit.
    ///
    /// # Errors
    /// When it cannot be signalled or does not end.
    pub(in crate::chaos) async fn terminate(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.signal("TERM").await?;
        if timeout(limit, self.child.wait()).await.is_err() {
            self.kill().await?;
        }
        Ok(())
    }

    /// Stops all of its threads (SIGSTOP): its connections stay open and silent.
    ///
    /// # Errors
    /// When it has ended or is not stopped in time.
    pub(in crate::chaos) async fn pause(&mut self) -> anyhow::Result<()> {
        self.signal("STOP").await?;
        let end = Instant::now() + PAUSE_TIMEOUT;
        // The signal is queued: threads may run on for a while.
        while !self.id().is_some_and(is_stopped) {
            if !self.is_running() || Instant::now() >= end {
                bail!("{} has ended or is not stopped in time", self.name);
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Continues a stopped process (SIGCONT).
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub(in crate::chaos) async fn resume(&mut self) -> anyhow::Result<()> {
        self.signal("CONT").await
    }

    /// Returns what it has printed since its start.
    pub(in crate::chaos) fn output_text(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Returns what it has printed that begins with `beginning`, once it has printed that line whole.
    ///
    /// # Errors
    /// When it ends before, or does not print it within the limit.
    pub(in crate::chaos) async fn wait_for_line(&mut self, beginning: &str, limit: Duration) -> anyhow::Result<String> {
        let end = Instant::now() + limit;
        loop {
            let is_running = self.is_running();
            let text = self.output_text();
            let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(line) = lines.find(|line| line.starts_with(beginning)) {
                return Ok(line.trim_end().to_owned());
            }
            if !is_running {
                bail!("{} ended before it was ready", self.name);
            }
            if Instant::now() >= end {
                bail!("{} was not ready within {limit:?}", self.name);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Sends a signal, by the shell's own `kill`: a small system may have no other.
    async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.id().with_context(|| format!("{} has ended", self.name))?;
        let script = format!("kill -s {name} {id}");
        let sent = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
        let sent = timeout(SIGNAL_TIMEOUT, sent).await.context("sending a signal")??;
        if !sent.success() {
            bail!("SIG{name} could not be sent to {}", self.name);
        }
        Ok(())
    }
}

/// Reports whether every thread of a process is stopped.
fn is_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let mut states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // The state follows the program's name, which is in brackets and may contain some.
    states.all(|state| state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
}

/// Returns the last lines of a process' log, indented.
pub(in crate::chaos) fn log_tail(directory: &Path, name: &str) -> String {
    const MAX_LINES: usize = 15;
    let text = std::fs::read(directory.join(format!("{name}.log"))).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.len().saturating_sub(MAX_LINES);
    let tail = lines.get(begin..).unwrap_or_default();
    tail.iter().map(|line| format!("\n  {line}")).collect()
}
