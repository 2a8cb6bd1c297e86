import { defineConfig } from "orval";

export default defineConfig({
  orders: {
    input: "openapi.yaml",
    output: {
      target: "generated/orders-api.ts",
      client: "fetch",
      headers: true,
      override: { mutator: { path: "orders-fetch.ts", name: "ordersFetch" } },
    },
  },
});
