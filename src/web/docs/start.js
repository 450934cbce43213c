"use strict";

// Addresses are relative: the gateway may be under a path of a reverse proxy.
SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#document",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  // Nothing is kept in the browser, and nothing is asked of others.
  persistAuthorization: false,
  validatorUrl: null,
});
