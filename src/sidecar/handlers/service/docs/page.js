// Shows the document of the sidecar that serves this page. The URL is relative, so that the page also works behind a proxy
// that adds a path prefix.
SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#document",
    deepLinking: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
});
