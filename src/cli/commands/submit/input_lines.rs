//! Reads a file line by line in a thread of its own: reading a file or standard input blocks.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::mpsc;

/// The longest line, in bytes: the default limit of a NATS message.
const MAX_LINE_BYTES: usize = 1 << 20;
/// How many lines are read ahead of their submission.
const READ_AHEAD_LINES: usize = 256;

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct InputLine {
    /// The line's number in the file, from 1.
    pub(in crate::cli) number: u64,
    /// The line's length in the file, in bytes, with its line break.
    pub(in crate::cli) length_bytes: u64,
    /// The text without surrounding white space; `None` when it is longer than [`MAX_LINE_BYTES`].
    pub(in crate::cli) body: Option<Bytes>,
}

/// The lines in the order of the file.
pub(in crate::cli) type InputLines = mpsc::Receiver<io::Result<InputLine>>;

/// Opens a file, or standard input for `-`, and returns its lines and its length in bytes, where it has one.
///
/// # Errors
/// When the file cannot be opened.
pub(in crate::cli) fn open_input(path: &Path) -> anyhow::Result<(InputLines, Option<u64>)> {
    let (sender, lines) = mpsc::channel(READ_AHEAD_LINES);
    if path == Path::new("-") {
        std::thread::spawn(move || read_lines(io::stdin().lock(), &sender));
        return Ok((lines, None));
    }
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let metadata = file.metadata().with_context(|| format!("opening {}", path.display()))?;
    std::thread::spawn(move || read_lines(BufReader::new(file), &sender));
    Ok((lines, metadata.is_file().then_some(metadata.len())))
}

fn read_lines(mut reader: impl BufRead, sender: &mpsc::Sender<io::Result<InputLine>>) {
    for number in 1.. {
        match read_line(&mut reader) {
            Ok(None) => return,
            Ok(Some((_, Some(body)))) if body.is_empty() => {}
            Ok(Some((length, body))) => {
                let line = InputLine {
                    number,
                    length_bytes: length,
                    body,
                };
                if sender.blocking_send(Ok(line)).is_err() {
                    return;
                }
            }
            Err(error) => {
                // The receiver may be gone, and then the error is of no use.
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
    }
}

/// Returns the length and the text of the next line; `None` at the end of the input. At most [`MAX_LINE_BYTES`] and one
/// chunk of a line are held in memory.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<(u64, Option<Bytes>)>> {
    let (mut text, mut length) = (Vec::new(), 0_u64);
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() && length == 0 {
            return Ok(None);
        }
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(chunk.len(), |end| end + 1);
        if text.len() <= MAX_LINE_BYTES {
            text.extend_from_slice(&chunk[..taken]);
        }
        let is_last = end.is_some() || chunk.is_empty();
        reader.consume(taken);
        length += taken as u64;
        if is_last {
            let body = text.trim_ascii();
            let fits = body.len() <= MAX_LINE_BYTES;
            return Ok(Some((length, fits.then(|| Bytes::copy_from_slice(body)))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_bounded() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let input = format!("{{\"a\":1}}\r\n\n  \n{long}\nlast");
        let (sender, mut lines) = mpsc::channel(READ_AHEAD_LINES);
        read_lines(BufReader::with_capacity(16, input.as_bytes()), &sender);
        drop(sender);
        let mut read = Vec::new();
        while let Ok(line) = lines.try_recv() {
            let line = line.unwrap();
            read.push((line.number, line.body));
        }
        let expected = [
            (1, Some(Bytes::from_static(b"{\"a\":1}"))),
            (4, None),
            (5, Some(Bytes::from_static(b"last"))),
        ];
        assert_eq!(read, expected);
    }
}
