//! Publications that the server denies. The server drops the message and reports it aside, so that a request would only
//! run into its time limit.

use async_nats::{Event, ServerError};
use tokio::sync::broadcast;

/// The maximum number of denials that wait for one reader. Older ones are dropped: a request looks for its own only.
const CAPACITY: usize = 64;
/// How the server begins its report, in lower case; the subject follows in double quotes.
const REPORT_PREFIX: &str = "permissions violation for publish to \"";

/// The subjects of denied publications of one connection; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Denials(broadcast::Sender<String>);

/// The denials from the time on at which they were first watched.
#[derive(Debug)]
pub(super) struct DenialWatch(broadcast::Receiver<String>);

/// The subjects to which an exchange publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwaitedSubjects<'a> {
    /// Every subject: the connection serves one exchange alone.
    Any,
    /// One subject.
    One(&'a str),
    /// Subjects that begin with this text.
    Below(&'a str),
}

impl Default for Denials {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl Denials {
    /// Records an event of the connection if it reports a denial.
    pub(super) fn record(&self, event: &Event) {
        if let Event::ServerError(ServerError::Other(text)) = event
            && let Some(subject) = denied_subject(text)
        {
            // Without a request in flight nothing waits for it.
            let _ = self.0.send(subject.to_owned());
        }
    }

    /// Starts to watch. Call it before the message is sent.
    pub(super) fn watch(&self) -> DenialWatch {
        DenialWatch(self.0.subscribe())
    }
}

impl DenialWatch {
    /// Returns the subject of the next denied publication among those awaited.
    pub(super) async fn next(&mut self, awaited: AwaitedSubjects<'_>) -> String {
        loop {
            match self.0.recv().await {
                Ok(subject) if awaited.include(&subject) => return subject,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl AwaitedSubjects<'_> {
    fn include(self, subject: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(awaited) => subject == awaited,
            Self::Below(prefix) => subject.starts_with(prefix),
        }
    }
}

fn denied_subject(text: &str) -> Option<&str> {
    let start = text.get(..REPORT_PREFIX.len())?;
    if !start.eq_ignore_ascii_case(REPORT_PREFIX) {
        return None;
    }
    text[REPORT_PREFIX.len()..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_of_a_denied_publication_is_found() {
        for (text, subject) in [
            (
                r#"Permissions Violation for Publish to "router.state.set""#,
                Some("router.state.set"),
            ),
            (r#"permissions violation for publish to "a.b", account X"#, Some("a.b")),
            (r#"Permissions Violation for Subscription to "a.b""#, None),
            ("stale connection", None),
        ] {
            assert_eq!(denied_subject(text), subject, "{text}");
        }
    }
}
