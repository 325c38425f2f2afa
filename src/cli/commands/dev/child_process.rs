//! Child processes: started bound to this process, terminated, and the ends of their logs.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::cli::commands::dev::program_path;
use crate::config::private_files::append_to_private_file;

/// The most bytes that are read from the end of a log.
const TAIL_BYTES: u64 = 8_192;
/// The most lines of a log that are shown.
const TAIL_LINES: usize = 15;

/// The shell's command that starts a program whose files only their owner may read, and to which a limit on their length is
/// an error, as a full disk is, and no signal.
const WITH_PRIVATE_FILES: [&str; 3] = ["-c", "umask 077; trap '' XFSZ; exec \"$@\"", "sh"];

/// Starts programs that exit with this process, even if it is killed.
#[derive(Debug, Clone)]
pub(crate) struct ChildBinder {
    setpriv: Option<PathBuf>,
}

impl ChildBinder {
    /// Finds the `setpriv` of util-linux, which can set a child's parent-death signal (others, such as BusyBox', cannot).
    pub(crate) async fn detect() -> Self {
        let Some(setpriv) = program_path::find_on_path("setpriv") else {
            return Self { setpriv: None };
        };
        let attempt = Command::new(&setpriv)
            .args(["--pdeathsig", "TERM", "--", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let works = attempt.await.is_ok_and(|status| status.success());
        if !works {
            tracing::debug!(
                "setpriv cannot bind children to this process: they continue to run if it is killed with SIGKILL"
            );
        }
        Self {
            setpriv: works.then_some(setpriv),
        }
    }

    /// Returns a command that starts the program in a process group of its own, so that Ctrl-C does not reach it. A child
    /// that the main thread starts gets SIGTERM when this process exits: the kernel watches the thread that started it.
    pub(crate) fn bound_command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(WITH_PRIVATE_FILES);
        if let Some(setpriv) = &self.setpriv {
            command.arg(setpriv).args(["--pdeathsig", "TERM", "--"]);
        }
        command.arg(program).process_group(0).kill_on_drop(true);
        command
    }
}

/// Sends SIGTERM to processes, by the shell's built-in `kill`: a small system may have no program of this name.
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

/// Waits until a process that got SIGTERM has exited, and kills it after `limit`.
pub(crate) async fn wait_or_kill(name: &str, child: &mut Child, limit: Duration) {
    if timeout(limit, child.wait()).await.is_err() {
        tracing::warn!(child = name, "the process did not exit within {limit:?} and is killed");
        if let Err(error) = child.kill().await {
            tracing::error!(%error, child = name, "the process could not be killed");
        }
    }
}

/// Opens a child's log for appending and returns two handles: for its output and its errors.
///
/// # Errors
/// When the file cannot be opened.
pub(crate) fn open_log(path: &Path) -> anyhow::Result<(Stdio, Stdio)> {
    let open = || append_to_private_file(path).with_context(|| format!("opening {}", path.display()));
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
    fn tail_is_the_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<String> = (1..=40).map(|number| number.to_string()).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let tail = read_tail(file.path());
        assert!(tail.starts_with("\n  26\n") && tail.ends_with("\n  40"), "{tail}");
    }

    #[tokio::test]
    async fn bound_child_keeps_its_process_id_and_exits_on_sigterm() {
        let binder = ChildBinder::detect().await;
        let mut child = binder.bound_command(Path::new("sleep")).arg("60").spawn().unwrap();
        let id = child.id().unwrap();
        send_sigterm(&[id]).await;
        wait_or_kill("sleep", &mut child, Duration::from_secs(10)).await;
        assert_eq!(child.id(), None);
    }
}
