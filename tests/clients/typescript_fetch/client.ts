// The scenario with the client of openapi-generator's `typescript-fetch`.

import {
  ActionName,
  CasesApi,
  Configuration,
  ErrorResponseFromJSON,
  EventFromJSON,
  EventType,
  OrdersApi,
  ResponseError,
  WebhooksApi,
} from "./generated/index.ts";
import { Refused, run, type OrdersClient } from "./scenario.ts";

/** An error answer is thrown with the raw response; the generated reader gives it its type. */
async function refusals<Answer>(call: Promise<Answer>): Promise<Answer> {
  try {
    return await call;
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    throw new Refused(ErrorResponseFromJSON(await error.response.json()));
  }
}

function connect(url: string, key: string): OrdersClient {
  const configuration = new Configuration({ basePath: url, apiKey: key });
  const cases = new CasesApi(configuration);
  const orders = new OrdersApi(configuration);
  const webhooks = new WebhooksApi(configuration);
  return {
    async createCase(firstName, lastName) {
      const newCase = { patient: { firstName, lastName } };
      return (await refusals(cases.createCase({ newCase }))).data._case.id;
    },
    async placeOrder(caseId, order, idempotencyKey) {
      const caseAction = { action: ActionName.PlaceOrder, order };
      return (await refusals(cases.performCaseAction({ caseId, caseAction, idempotencyKey }))).data.order.id;
    },
    async orderStatus(orderId) {
      return (await refusals(orders.getOrder({ orderId }))).data.order;
    },
    async documents(orderId) {
      return (await refusals(orders.listOrderDocuments({ orderId }))).data.documents;
    },
    async download(orderId, documentId) {
      return refusals(orders.downloadDocument({ orderId, documentId }));
    },
    async orderPage(caseId, limit, cursor) {
      const page = (await refusals(orders.listOrders({ caseId, limit, cursor }))).data;
      return { ids: page.orders.map((order) => order.id), nextCursor: page.nextCursor };
    },
    async createWebhook(url) {
      const newWebhook = { url, events: new Set([EventType.OrderStatusChanged]) };
      const created = (await refusals(webhooks.createWebhook({ newWebhook }))).data;
      return { id: created.webhook.id, secret: created.secret };
    },
    async deleteWebhook(webhookId) {
      await refusals(webhooks.deleteWebhook({ webhookId }));
    },
    readEvent(event) {
      const { type, data } = EventFromJSON(event);
      return { type, orderId: data.orderId, status: data.status };
    },
  };
}

await run(connect);
