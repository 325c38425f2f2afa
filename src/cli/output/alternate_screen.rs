//! The whole terminal for one text that is drawn again and again, as watch(1) does.

use crate::cli::output;
use crate::cli::output::text::strip_control_characters;

/// Switches to the alternate screen and turns line wrapping off.
const ENTER_ALTERNATE_SCREEN: &str = "\x1b[?1049h\x1b[?7l";
const LEAVE_ALTERNATE_SCREEN: &str = "\x1b[?7h\x1b[?1049l";

/// The terminal's alternate screen. Dropping it restores the main screen.
#[derive(Debug)]
pub(crate) struct AlternateScreen(());

impl AlternateScreen {
    /// Switches to the alternate screen.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn open() -> anyhow::Result<Self> {
        output::write_parts([ENTER_ALTERNATE_SCREEN.as_bytes()])?;
        Ok(Self(()))
    }

    /// Replaces the text on the screen. Lines beyond the terminal's height are cut, except the last.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn draw(&mut self, text: &str) -> anyhow::Result<()> {
        output::write_parts([render_frame(text).as_bytes()])
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        // A closed terminal needs no restoring.
        let _ = output::write_parts([LEAVE_ALTERNATE_SCREEN.as_bytes()]);
    }
}

/// Returns a text as escape sequences. Each line names its row; a terminal draws a line beyond its last row into that row.
/// So nothing scrolls, the beginning stays, and the last line is visible at any height.
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
    fn each_line_names_its_row_and_text_cannot_move_the_cursor() {
        assert_eq!(
            render_frame("a\n\nb\u{1b}[2J\n"),
            "\x1b[1;1Ha\x1b[K\x1b[2;1H\x1b[K\x1b[3;1Hb?[2J\x1b[K\x1b[J"
        );
    }
}
