// Shows the document of the sidecar that serves this page. The address is relative: the page also works behind a proxy
// that puts a path of its own in front.
SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#document",
    deepLinking: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
});
