// The scenario with the client of @hey-api/openapi-ts, which checks requests and answers with Zod.

import {
  createCase,
  createWebhook,
  deleteWebhook,
  downloadDocument,
  getOrder,
  listOrderDocuments,
  listOrders,
  performCaseAction,
  type ErrorResponse,
} from "./generated/index.ts";
import { createClient } from "./generated/client/index.ts";
import { zEvent } from "./generated/zod.gen.ts";
import { Refused, run, type OrdersClient } from "./scenario.ts";

/** A call answers `data` or `error`; the error is the contract's unless the client itself failed. */
function accept<Data>(answer: { data?: Data; error?: ErrorResponse; response?: Response }): Data {
  if (answer.error === undefined) return answer.data as Data;
  if (answer.response === undefined || answer.response.ok) throw answer.error;
  throw new Refused(answer.error);
}

function connect(url: string, key: string): OrdersClient {
  const client = createClient({ baseUrl: url, auth: key });
  return {
    async createCase(firstName, lastName) {
      const body = { patient: { firstName, lastName } };
      return accept(await createCase({ client, body })).data.case.id;
    },
    async placeOrder(caseId, order, idempotencyKey) {
      const answer = await performCaseAction({
        client,
        path: { caseId },
        headers: { "Idempotency-Key": idempotencyKey },
        body: { action: "PLACE_ORDER", order },
      });
      return accept(answer).data.order.id;
    },
    async orderStatus(orderId) {
      return accept(await getOrder({ client, path: { orderId } })).data.order;
    },
    async documents(orderId) {
      return accept(await listOrderDocuments({ client, path: { orderId } })).data.documents;
    },
    async download(orderId, documentId) {
      return accept(await downloadDocument({ client, path: { orderId, documentId } }));
    },
    async orderPage(caseId, limit, cursor) {
      const page = accept(await listOrders({ client, query: { caseId, limit, cursor } })).data;
      return { ids: page.orders.map((order) => order.id), nextCursor: page.nextCursor };
    },
    async createWebhook(url) {
      const created = accept(await createWebhook({ client, body: { url, events: ["ORDER_STATUS_CHANGED"] } })).data;
      return { id: created.webhook.id, secret: created.secret };
    },
    async deleteWebhook(webhookId) {
      accept(await deleteWebhook({ client, path: { webhookId } }));
    },
    readEvent(event) {
      const { type, data } = zEvent.parse(event);
      return { type, orderId: data.orderId, status: data.status };
    },
  };
}

await run(connect);
