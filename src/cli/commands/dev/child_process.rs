//! Child processes: started bound to our life, asked to end, and their last words.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::cli::commands::dev::program_path;

/// How much of the end of a log is looked at.
const TAIL_BYTES: u64 = 8_192;
/// How many lines of a log are shown.
const TAIL_LINES: usize = 15;

/// Starts programs so that they end when we do, also when we are killed.
#[derive(Debug, Clone)]
pub(crate) struct ChildBinder {
    setpriv: Option<PathBuf>,
}

impl ChildBinder {
    /// Looks for what binds a child's life to ours: `setpriv` of util-linux (others, such as BusyBox', cannot).
    pub(crate) async fn detect() -> Self {
        let Some(setpriv) = program_path::find_on_path("setpriv") else {
            return Self { setpriv: None };
        };
        let tried = Command::new(&setpriv)
            .args(["--pdeathsig", "TERM", "--", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let works = tried.await.is_ok_and(|status| status.success());
        if !works {
            tracing::debug!("setpriv cannot bind children to this process: kill it with -9, and they go on");
        }
        Self {
            setpriv: works.then_some(setpriv),
        }
    }

    /// Returns a command that starts the program in a process group of its own, so that Ctrl-C does not reach it. Started
    /// from the main thread it gets SIGTERM when this process ends: the kernel watches the thread that started it.
    pub(crate) fn bound_command(&self, program: &Path) -> Command {
        let mut command = match &self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "TERM", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.process_group(0).kill_on_drop(true);
        command
    }
}

/// Asks processes to end (SIGTERM). The shell's own `kill` does it: a small system has no other program for it.
pub(crate) async fn send_sigterm(processes: &[u32]) {
    if processes.is_empty() {
        return;
    }
    let ids: Vec<String> = processes.iter().map(ToString::to_string).collect();
    let script = format!("kill -s TERM {}", ids.join(" "));
    let sent = Command::new("sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .status()
        .await;
    if let Err(error) = sent {
        tracing::error!(%error, "SIGTERM could not be sent");
    }
}

/// Waits for the end of a process that was asked to end, and kills it when it takes too long.
pub(crate) async fn wait_or_kill(name: &str, child: &mut Child, limit: Duration) {
    if timeout(limit, child.wait()).await.is_err() {
        tracing::warn!(child = name, "did not end within {limit:?} and is killed");
        if let Err(error) = child.kill().await {
            tracing::error!(%error, child = name, "could not be killed");
        }
    }
}

/// Opens a child's log for it to write on, twice: for its output and its errors.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn open_log(path: &Path) -> anyhow::Result<(Stdio, Stdio)> {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    let open = || open().with_context(|| format!("opening {}", path.display()));
    Ok((open()?.into(), open()?.into()))
}

/// Returns the last lines of a log, indented.
pub(crate) fn read_tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut text = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.len().saturating_sub(TAIL_LINES);
    lines[begin..].iter().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<String> = (1..=40).map(|number| number.to_string()).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let tail = read_tail(file.path());
        assert!(tail.starts_with("\n  26\n") && tail.ends_with("\n  40"), "{tail}");
    }

    #[tokio::test]
    async fn a_bound_child_keeps_its_process_id_and_ends_when_asked() {
        let binder = ChildBinder::detect().await;
        let mut child = binder.bound_command(Path::new("sleep")).arg("60").spawn().unwrap();
        let id = child.id().unwrap();
        send_sigterm(&[id]).await;
        wait_or_kill("sleep", &mut child, Duration::from_secs(10)).await;
        assert_eq!(child.id(), None);
    }
}
