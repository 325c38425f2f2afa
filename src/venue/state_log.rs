//! The state log: one line for each command, written before its answer leaves.
//!
//! A line is the first 16 hexadecimal digits of the SHA-256 of its JSON, a space, the JSON and a line break. A kill in the
//! middle of a write leaves a last line that is incomplete: it was never answered, and is cut off at the next start. Any
//! other damage stops the start, because what follows it was answered.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::venue::command::Command;
use crate::venue::exchange::snapshot::Snapshot;
use crate::venue::exchange::state::Exchange;
use crate::venue::settings::SyncPolicy;

/// The log's file in the data directory.
const FILE: &str = "venue.log";
/// The file that a compaction writes.
const NEW_FILE: &str = "venue.log.new";
/// The file whose lock keeps a second venue out of the directory.
const LOCK_FILE: &str = "venue.lock";
/// The bytes of the checksum, in hexadecimal digits.
const CHECKSUM_DIGITS: usize = 16;
/// The commands after which the log is written again as one snapshot.
pub const MAX_COMMANDS: usize = 100_000;
/// The greatest line, in bytes: a snapshot of the most orders and trades.
const MAX_LINE_BYTES: u64 = 4 * 1_024 * 1_024 * 1_024;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    /// The state so far; only as the first record.
    Snapshot(Box<Snapshot>),
    /// A command and its time, in milliseconds since 1970.
    Command(u64, Box<Command>),
}

/// Why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateLogError {
    /// The file system refuses.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// Another process has the directory.
    #[error("{0} is in use by another venue")]
    InUse(PathBuf),
    /// A line before the last one is damaged.
    #[error("{0}, line {1}: {2}; the lines after it were answered, so the venue does not start without them")]
    Damaged(PathBuf, usize, &'static str),
    /// A record cannot be encoded.
    #[error("encoding a record: {0}")]
    Encoding(#[from] serde_json::Error),
}

/// The open log.
#[derive(Debug)]
pub struct StateLog {
    directory: PathBuf,
    file: File,
    sync: SyncPolicy,
    commands: usize,
    /// Held until the process ends.
    _lock: File,
}

impl StateLog {
    /// Opens the log of a directory, which is created if it is missing, and returns the state that its commands make.
    ///
    /// # Errors
    /// When the directory is in use, or a file cannot be read, or is damaged before its last line.
    pub fn open(directory: &Path, sync: SyncPolicy) -> Result<(Self, Exchange), StateLogError> {
        let in_file = |path: &Path| {
            let path = path.to_owned();
            move |error| StateLogError::File(path, error)
        };
        std::fs::create_dir_all(directory).map_err(in_file(directory))?;
        let lock_path = directory.join(LOCK_FILE);
        let lock = File::create(&lock_path).map_err(in_file(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateLogError::InUse(directory.to_owned())),
            Err(TryLockError::Error(error)) => return Err(StateLogError::File(lock_path, error)),
        }
        let path = directory.join(FILE);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(in_file(&path))?;
        let (exchange, commands, length) = replay(&path, &file)?;
        file.set_len(length).map_err(in_file(&path))?;
        file.seek(SeekFrom::End(0)).map_err(in_file(&path))?;
        let log = Self {
            directory: directory.to_owned(),
            file,
            sync,
            commands,
            _lock: lock,
        };
        Ok((log, exchange))
    }

    /// Appends a command that was applied. With so many commands in the log, it is written again as one snapshot.
    ///
    /// # Errors
    /// When the file cannot be written. The log is not to be used any more then.
    pub fn append(&mut self, time: u64, command: &Command, exchange: &Exchange) -> Result<(), StateLogError> {
        if self.commands >= MAX_COMMANDS {
            return self.compact(exchange);
        }
        self.write(&Record::Command(time, Box::new(command.clone())))?;
        self.commands += 1;
        Ok(())
    }

    /// Writes the log again as one snapshot. A kill at any point leaves the old file or the new one.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn compact(&mut self, exchange: &Exchange) -> Result<(), StateLogError> {
        let new_path = self.directory.join(NEW_FILE);
        let path = self.directory.join(FILE);
        let line = encode(&Record::Snapshot(Box::new(exchange.snapshot())))?;
        let written = File::create(&new_path).and_then(|mut file| {
            file.write_all(&line)?;
            file.sync_all()?;
            std::fs::rename(&new_path, &path)?;
            File::open(&self.directory)?.sync_all()?;
            Ok(file)
        });
        self.file = written.map_err(|error| StateLogError::File(path, error))?;
        self.commands = 0;
        Ok(())
    }

    /// Returns the number of commands after the snapshot.
    #[cfg(test)]
    pub fn commands(&self) -> usize {
        self.commands
    }

    fn write(&mut self, record: &Record) -> Result<(), StateLogError> {
        let line = encode(record)?;
        let mut written = self.file.write_all(&line);
        if self.sync == SyncPolicy::Disk {
            written = written.and_then(|()| self.file.sync_data());
        }
        written.map_err(|error| StateLogError::File(self.directory.join(FILE), error))
    }
}

fn encode(record: &Record) -> Result<Vec<u8>, StateLogError> {
    let json = serde_json::to_vec(record)?;
    let mut line = checksum(&json).into_bytes();
    line.push(b' ');
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

fn checksum(json: &[u8]) -> String {
    let digest = Sha256::digest(json);
    let bytes = digest.iter().take(CHECKSUM_DIGITS / 2);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the state of a log, the number of its commands, and its length up to the last complete line.
fn replay(path: &Path, file: &File) -> Result<(Exchange, usize, u64), StateLogError> {
    let mut reader = BufReader::new(file);
    let (mut exchange, mut commands, mut length) = (Exchange::default(), 0, 0_u64);
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        let read = read.map_err(|error| StateLogError::File(path.to_owned(), error))?;
        if !line.ends_with(b"\n") {
            break;
        }
        let damaged = |why| StateLogError::Damaged(path.to_owned(), number, why);
        match decode(&line) {
            None => {
                // A complete line is the last thing that a write adds, so that only a crash of the machine damages one.
                return Err(damaged("the line is damaged"));
            }
            Some(Record::Snapshot(snapshot)) if number == 1 => exchange = Exchange::from_snapshot(*snapshot),
            Some(Record::Snapshot(_)) => return Err(damaged("a snapshot is not the first record")),
            Some(Record::Command(time, command)) => {
                let applied = exchange.apply(time, &command);
                applied.map_err(|_| damaged("the command does not fit the state before it"))?;
                commands += 1;
            }
        }
        length += u64::try_from(read).unwrap_or(u64::MAX);
    }
    Ok((exchange, commands, length))
}

fn decode(line: &[u8]) -> Option<Record> {
    let (sum, rest) = line.split_at_checked(CHECKSUM_DIGITS)?;
    let json = rest.strip_prefix(b" ")?.strip_suffix(b"\n")?;
    let is_whole = checksum(json).as_bytes() == sum;
    is_whole.then(|| serde_json::from_slice(json).ok()).flatten()
}

#[cfg(test)]
#[path = "state_log_tests.rs"]
mod tests;
