// The scenario with the client of Orval.

import {
  createCase,
  createWebhook,
  deleteWebhook,
  downloadDocument,
  getOrder,
  listOrderDocuments,
  listOrders,
  performCaseAction,
  ActionName,
  EventType,
  type ErrorResponse,
  type Event,
} from "./generated/orders-api.ts";
import { Refused, run, type OrdersClient } from "./scenario.ts";

type Failure = { data: ErrorResponse; status: 400 | 401 | 403 | 404 | 408 | 409 | 413 | 415 | 429 | 500 | 503 };

function isFailure(answer: { status: number }): answer is Failure {
  return answer.status >= 400;
}

/** An answer is a union told apart by `status`. */
function accept<Answer extends { status: number }>(answer: Answer): Exclude<Answer, Failure> {
  if (isFailure(answer)) throw new Refused(answer.data);
  return answer as Exclude<Answer, Failure>;
}

function connect(url: string, key: string): OrdersClient {
  const options = { baseUrl: url, headers: { "cv-api-key": key } };
  return {
    async createCase(firstName, lastName) {
      const newCase = { patient: { firstName, lastName } };
      return accept(await createCase(newCase, {}, options)).data.data.case.id;
    },
    async placeOrder(caseId, order, idempotencyKey) {
      const action = { action: ActionName.PLACE_ORDER, order };
      const answer = await performCaseAction(caseId, action, {}, { "Idempotency-Key": idempotencyKey }, options);
      return accept(answer).data.data.order.id;
    },
    async orderStatus(orderId) {
      return accept(await getOrder(orderId, options)).data.data.order;
    },
    async documents(orderId) {
      return accept(await listOrderDocuments(orderId, options)).data.data.documents;
    },
    async download(orderId, documentId) {
      return accept(await downloadDocument(orderId, documentId, options)).data;
    },
    async orderPage(caseId, limit, cursor) {
      const page = accept(await listOrders({ caseId, limit, cursor }, options)).data.data;
      return { ids: page.orders.map((order) => order.id), nextCursor: page.nextCursor };
    },
    async createWebhook(url) {
      const webhook = { url, events: [EventType.ORDER_STATUS_CHANGED] };
      const created = accept(await createWebhook(webhook, options)).data.data;
      return { id: created.webhook.id, secret: created.secret };
    },
    async deleteWebhook(webhookId) {
      accept(await deleteWebhook(webhookId, options));
    },
    readEvent(event) {
      const { type, data } = event as Event;
      return { type, orderId: data.orderId, status: data.status };
    },
  };
}

await run(connect);
