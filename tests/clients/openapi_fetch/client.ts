// The scenario with the types of openapi-typescript and the client openapi-fetch.

import createClient from "openapi-fetch";

import type { components, paths } from "./generated/orders-api.d.ts";
import { Refused, run, type DocumentedOrder, type OrdersClient } from "./scenario.ts";

type ErrorResponse = components["schemas"]["ErrorResponse"];
type Event = components["schemas"]["Event"];

/** A call answers `data` or `error`, each of the type that the contract gives it. */
function accept<Data>(answer: { data?: Data; error?: ErrorResponse }): Data {
  if (answer.error !== undefined) throw new Refused(answer.error);
  return answer.data as Data;
}

function connect(url: string, key: string): OrdersClient {
  const client = createClient<paths>({ baseUrl: url, headers: { "cv-api-key": key } });
  return {
    async createCase(firstName, lastName) {
      const body = { patient: { firstName, lastName } };
      return accept(await client.POST("/cases", { body })).data.case.id;
    },
    async placeOrder(caseId, order: DocumentedOrder, idempotencyKey) {
      const answer = await client.POST("/cases/{caseId}", {
        params: { path: { caseId }, header: { "Idempotency-Key": idempotencyKey } },
        body: { action: "PLACE_ORDER", order },
      });
      return accept(answer).data.order.id;
    },
    async orderStatus(orderId) {
      return accept(await client.GET("/orders/{orderId}", { params: { path: { orderId } } })).data.order;
    },
    async documents(orderId) {
      return accept(await client.GET("/orders/{orderId}/documents", { params: { path: { orderId } } })).data.documents;
    },
    async download(orderId, documentId) {
      const answer = await client.GET("/orders/{orderId}/documents/{documentId}", {
        params: { path: { orderId, documentId } },
        parseAs: "blob",
      });
      return accept(answer);
    },
    async orderPage(caseId, limit, cursor) {
      const page = accept(await client.GET("/orders", { params: { query: { caseId, limit, cursor } } })).data;
      return { ids: page.orders.map((order) => order.id), nextCursor: page.nextCursor };
    },
    async createWebhook(url) {
      const created = accept(await client.POST("/webhooks", { body: { url, events: ["ORDER_STATUS_CHANGED"] } })).data;
      return { id: created.webhook.id, secret: created.secret };
    },
    async deleteWebhook(webhookId) {
      accept(await client.DELETE("/webhooks/{webhookId}", { params: { path: { webhookId } } }));
    },
    readEvent(event) {
      const { type, data } = event as Event;
      return { type, orderId: data.orderId, status: data.status };
    },
  };
}

await run(connect);
