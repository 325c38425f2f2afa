//! The whole terminal for one text that is drawn again and again, as watch(1) does.

use crate::cli::output;
use crate::cli::output::table::strip_control_characters;

/// A page of its own, and no line that is too long goes on in the next row.
const ENTER_ALTERNATE_SCREEN: &str = "\x1b[?1049h\x1b[?7l";
const LEAVE_ALTERNATE_SCREEN: &str = "\x1b[?7h\x1b[?1049l";

/// The terminal, until it is dropped: then it shows again what it showed before.
#[derive(Debug)]
pub(crate) struct AlternateScreen(());

impl AlternateScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn open() -> anyhow::Result<Self> {
        output::write_parts([ENTER_ALTERNATE_SCREEN.as_bytes()])?;
        Ok(Self(()))
    }

    /// Draws a text over what was there; what the terminal has no room for is left out, but for the last line.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn draw(&mut self, text: &str) -> anyhow::Result<()> {
        output::write_parts([render_frame(text).as_bytes()])
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        let _ = output::write_parts([LEAVE_ALTERNATE_SCREEN.as_bytes()]);
    }
}

/// Returns a text as a terminal draws it. Each line names its row: one beyond the last row is drawn into that, so that
/// nothing scrolls, the beginning stays, and the last line is seen on a terminal of any height.
fn render_frame(text: &str) -> String {
    let rows = text.lines().enumerate();
    let mut frame: String = rows
        .map(|(row, line)| format!("\x1b[{};1H{}\x1b[K", row + 1, strip_control_characters(line)))
        .collect();
    frame.push_str("\x1b[J");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_goes_to_its_row_and_no_text_moves_the_cursor() {
        assert_eq!(
            render_frame("a\n\nb\u{1b}[2J\n"),
            "\x1b[1;1Ha\x1b[K\x1b[2;1H\x1b[K\x1b[3;1Hb?[2J\x1b[K\x1b[J"
        );
    }
}
