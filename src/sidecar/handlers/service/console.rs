//! `GET /` and the files of the console: a page for people, which uses this API like any client.
//!
//! `make console` builds the files from `console/`. They are part of the repository and of the binary.

use axum::http::HeaderName;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::response::media_type::{TEXT_HTML, media_type_of_file};
use crate::sidecar::response::problem::ProblemResponse;

/// Returns a built file of the console.
macro_rules! built_file {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/console/dist/", $name))
    };
}

const PAGE: &[u8] = built_file!("index.html");
/// The files that the page loads, by name.
const FILES: &[(&str, &[u8])] = &[
    ("console.js", built_file!("console/console.js")),
    ("console.css", built_file!("console/console.css")),
    ("icon.svg", built_file!("console/icon.svg")),
];
/// The page loads from this sidecar only, has no inline script or style, is in no frame, and makes no markup from text.
const SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);
/// A newer binary has newer files under the same names.
const CACHE_POLICY: HeaderValue = HeaderValue::from_static("no-cache");
/// Pages of other origins get no handle of this one.
const OPENER_POLICY: (HeaderName, HeaderValue) = (
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderValue::from_static("same-origin"),
);

/// Returns the page.
pub(in crate::sidecar) async fn get_console() -> Response {
    file_response(TEXT_HTML, PAGE)
}

/// Returns a file of the page.
pub(in crate::sidecar) async fn get_console_file(PathSegment(name): PathSegment) -> Result<Response, ProblemResponse> {
    let file = FILES.iter().find(|(known, _)| *known == name);
    let (known, body) = file.ok_or_else(|| {
        let detail = format!("no such file: {:?}", quoted(&name));
        Fault::new(FaultCode::NotFound, detail)
    })?;
    Ok(file_response(media_type_of_file(known), body))
}

/// Returns the names of the page's files.
pub(in crate::sidecar) fn console_file_names() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

fn file_response(media_type: &'static str, body: &'static [u8]) -> Response {
    let mut response = Bytes::from_static(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, SECURITY_POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, CACHE_POLICY);
    headers.insert(OPENER_POLICY.0, OPENER_POLICY.1);
    response
}
