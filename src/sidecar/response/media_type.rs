//! The media types of responses.

/// JSON. The media type of requests, too.
pub(in crate::sidecar) const APPLICATION_JSON: &str = "application/json";
/// A problem document (RFC 9457).
pub(in crate::sidecar) const PROBLEM_JSON: &str = "application/problem+json";
/// Server-sent events.
pub(in crate::sidecar) const TEXT_EVENT_STREAM: &str = "text/event-stream";
/// An HTML page.
pub(in crate::sidecar) const TEXT_HTML: &str = "text/html; charset=utf-8";

/// Returns the media type of a file by the end of its name.
pub(in crate::sidecar) fn media_type_of_file(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some((_, "png")) => "image/png",
        _ => "application/octet-stream",
    }
}
