// Renders the document of the gateway that serves this page. Nobody else is asked:
// neither a validator nor a font, and the page's policy would not let it.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reader",
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  filter: true,
  validatorUrl: null,
  onComplete: () => {
    document.title = `${document.querySelector(".info .title")?.firstChild?.textContent ?? "API"} reference`;
  },
});
