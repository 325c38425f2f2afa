//! The error in the body of a reply (`errors.md`).

use serde::Deserialize;

/// The most characters of the venue's text that are shown.
const MAX_SHOWN_CHARACTERS: usize = 200;

/// An error of the venue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VenueError {
    /// The code; the codes are universal.
    pub code: i32,
    /// The text; it varies.
    #[serde(default)]
    pub msg: String,
}

impl VenueError {
    /// Returns the error in a body, or `None` if it has none.
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Returns the code and the text, shortened and without control characters.
    pub fn shown(&self) -> String {
        let text: String = self
            .msg
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_SHOWN_CHARACTERS)
            .collect();
        format!("{} {text}", self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_from_json_only() {
        let read = |text: &str| VenueError::read(text.as_bytes()).map(|error| error.code);
        assert_eq!(read(r#"{"code":-1121,"msg":"Invalid symbol."}"#), Some(-1121));
        assert_eq!(
            read(r#"{"code":-2022,"msg":"x","data":{"cancelResult":"FAILURE"}}"#),
            Some(-2022)
        );
        assert_eq!(read(r#"{"code":-1000}"#), Some(-1000));
        for text in [
            "",
            "<html>403 Forbidden</html>",
            "{}",
            r#"{"code":"-1121"}"#,
            "[]",
            "null",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_shown_text_is_short_and_printable() {
        let error = VenueError {
            code: -1,
            msg: "a\u{1b}[31m\n".repeat(200),
        };
        let shown = error.shown();
        assert!(
            shown.chars().count() < 220 && !shown.contains(char::is_control),
            "{shown}"
        );
    }
}
