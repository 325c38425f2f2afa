//! The OpenAPI document and the documentation page.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rest_fixture::{Rest, RestResponse};

async fn document(rest: &Rest) -> Value {
    let response = rest.get("/openapi.json").await;
    assert_eq!(
        (response.status, response.header("content-type")),
        (200, "application/json")
    );
    serde_json::from_str(&response.text).unwrap()
}

/// Returns the URLs in the `href` and `src` attributes of a page.
fn addresses(page: &str) -> Vec<&str> {
    let of = |attribute: &'static str| page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
    of("href=\"").chain(of("src=\"")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_match_the_openapi_document() {
    let rest = Rest::start().await;
    let document = document(&rest).await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 13, "{paths:?}");
    for (path, item) in paths {
        let one = path.replace(['{', '}'], "");
        let response = rest.send("OPTIONS", &one, "", &[]).await;
        assert_eq!(response.status, 204, "{path}: {response:?}");
        let served: BTreeSet<&str> = response
            .header("allow")
            .split(',')
            .filter(|method| *method != "HEAD")
            .collect();
        let documented: BTreeSet<String> = item
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
            .collect();
        assert_eq!(served, documented.iter().map(String::as_str).collect(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docs_page_loads_only_files_of_the_sidecar() {
    let rest = Rest::start().await;
    let page = rest.get("/docs").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert_has_content_security_policy(&page);
    let addresses = addresses(&page.text);
    assert_eq!(addresses.len(), 5, "{addresses:?}");
    assert!(
        !page.text.contains("://"),
        "the page requests another host: {}",
        page.text
    );
    // An inline script would need a looser content security policy.
    assert!(
        !page.text.contains("<script>") && !page.text.contains("style="),
        "{}",
        page.text
    );
    for address in addresses {
        let response = rest.get(&format!("/{address}")).await;
        assert_eq!(response.status, 200, "{address}");
        assert_has_content_security_policy(&response);
        let media_type = match address.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("png") => "image/png",
            _ => "application/json",
        };
        assert_eq!(response.header("content-type"), media_type, "{address}");
    }
    for file in ["nothing.js", "swagger-initializer.js", "..%2Fpage.html", "%ff"] {
        let response = rest.get(&format!("/docs/{file}")).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (404, "not_found"),
            "{file}"
        );
    }
}

fn assert_has_content_security_policy(response: &RestResponse) {
    let policy = response.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert_eq!(response.header("x-content-type-options"), "nosniff");
}
