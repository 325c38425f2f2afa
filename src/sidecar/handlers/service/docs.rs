//! `GET /openapi.json`, `GET /docs` and its files.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::openapi::document::build_document;
use crate::sidecar::response::json::APPLICATION_JSON;
use crate::sidecar::response::problem::ProblemResponse;
use crate::sidecar::router::operations;

pub(in crate::sidecar) const TEXT_HTML: &str = "text/html; charset=utf-8";
const PAGE_HTML: &str = include_str!("../docs/page.html");
/// What of the page is its own.
const PAGE_SCRIPT: (&str, &str) = ("page.js", include_str!("../docs/page.js"));
/// What of it comes from Swagger UI, which is built into the program.
const SWAGGER_UI_FILES: &[&str] = &["swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"];
/// The page takes scripts and data from this sidecar alone; Swagger UI writes styles into its elements.
const PAGE_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// A newer program may bring newer files.
const FILE_CACHE_POLICY: HeaderValue = HeaderValue::from_static("private, max-age=3600");

/// The document does not change while the process runs.
static OPENAPI_DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    // A value of JSON is JSON: writing it does not fail.
    serde_json::to_vec(&build_document(&operations()))
        .unwrap_or_default()
        .into()
});

/// Tells the OpenAPI document.
pub(in crate::sidecar) async fn get_openapi() -> Response {
    response_with_media_type(APPLICATION_JSON, OPENAPI_DOCUMENT.clone())
}

/// Shows the document.
pub(in crate::sidecar) async fn get_docs() -> Response {
    response_with_media_type(TEXT_HTML, Bytes::from_static(PAGE_HTML.as_bytes()))
}

/// Gives a file of the page.
pub(in crate::sidecar) async fn get_docs_file(
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ProblemResponse> {
    let name = path.map(|Path(name)| name).unwrap_or_default();
    let found = page_file_response(&name).ok_or_else(|| {
        let detail = format!("there is no file {:?}", quoted(&name));
        Fault::new(FaultCode::NotFound, detail)
    })?;
    Ok(found)
}

/// Returns the names of the page's files.
pub(in crate::sidecar) fn page_file_names() -> Vec<&'static str> {
    [&[PAGE_SCRIPT.0], SWAGGER_UI_FILES].concat()
}

/// Returns the media type of a file by its name.
pub(in crate::sidecar) fn file_media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "png")) => "image/png",
        _ => "application/octet-stream",
    }
}

fn page_file_response(name: &str) -> Option<Response> {
    let body = if name == PAGE_SCRIPT.0 {
        Bytes::from_static(PAGE_SCRIPT.1.as_bytes())
    } else {
        let name = SWAGGER_UI_FILES.iter().find(|known| **known == name)?;
        // Its own page would need a configuration; the files do not.
        let file = utoipa_swagger_ui::serve(name, Arc::default()).ok()??;
        Bytes::copy_from_slice(&file.bytes)
    };
    let mut response = response_with_media_type(file_media_type(name), body);
    response.headers_mut().insert(CACHE_CONTROL, FILE_CACHE_POLICY);
    Some(response)
}

fn response_with_media_type(media_type: &'static str, body: Bytes) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, PAGE_SECURITY_POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
