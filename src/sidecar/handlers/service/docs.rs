//! `GET /openapi.json`, `GET /docs` and its files.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::response::media_type::{APPLICATION_JSON, TEXT_HTML, media_type_of_file};
use crate::sidecar::response::problem::ProblemResponse;

const PAGE_HTML: &str = include_str!("docs/page.html");
/// The page's own script.
const PAGE_SCRIPT: (&str, &str) = ("page.js", include_str!("docs/page.js"));
/// The page's files of Swagger UI, which is part of the binary.
const SWAGGER_UI_FILES: &[&str] = &["swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"];
/// The page loads scripts and data from this sidecar only. Swagger UI sets styles on its elements.
const PAGE_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// Limited to an hour, since a newer binary may have newer files.
const FILE_CACHE_POLICY: HeaderValue = HeaderValue::from_static("private, max-age=3600");

/// Returns the OpenAPI document.
pub(in crate::sidecar) async fn get_openapi(State(context): State<Arc<SidecarContext>>) -> Response {
    response_with_media_type(APPLICATION_JSON, context.openapi_document.clone())
}

/// Returns the documentation page.
pub(in crate::sidecar) async fn get_docs() -> Response {
    response_with_media_type(TEXT_HTML, Bytes::from_static(PAGE_HTML.as_bytes()))
}

/// Returns a file of the documentation page.
pub(in crate::sidecar) async fn get_docs_file(PathSegment(name): PathSegment) -> Result<Response, ProblemResponse> {
    let response = page_file_response(&name).ok_or_else(|| {
        let detail = format!("no such file: {:?}", quoted(&name));
        Fault::new(FaultCode::NotFound, detail)
    })?;
    Ok(response)
}

/// Returns the names of the page's files.
pub(in crate::sidecar) fn page_file_names() -> Vec<&'static str> {
    [&[PAGE_SCRIPT.0], SWAGGER_UI_FILES].concat()
}

fn page_file_response(name: &str) -> Option<Response> {
    let body = if name == PAGE_SCRIPT.0 {
        Bytes::from_static(PAGE_SCRIPT.1.as_bytes())
    } else {
        let name = SWAGGER_UI_FILES.iter().find(|known| **known == name)?;
        // Only the page of Swagger UI needs a configuration; its files do not.
        let file = utoipa_swagger_ui::serve(name, Arc::default()).ok()??;
        Bytes::copy_from_slice(&file.bytes)
    };
    let mut response = response_with_media_type(media_type_of_file(name), body);
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
