// Swagger UI fills in the example of every parameter. An optional one is better left empty: with the examples of
// `cursor` and `createdBefore` a list is empty, and with that of `Idempotency-Key` every order is the first one again.
const startOptionalParametersEmpty = () => ({
  statePlugins: { spec: { wrapSelectors: {
    parameterWithMetaByIdentity: (original) => (_state, ...which) => {
      const parameter = original(...which);
      return parameter.get("required") ? parameter : parameter.delete("example").deleteIn(["schema", "example"]);
    },
  } } },
});

SwaggerUIBundle({
  url: "/openapi.yaml", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  tryItOutEnabled: true, displayRequestDuration: true, defaultModelsExpandDepth: 0,
  plugins: [startOptionalParametersEmpty],
});
