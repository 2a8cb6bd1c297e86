// What an integrator does with the Orders API, once, for every generated TypeScript client.
//
// A client's module adapts its generated code to OrdersClient and calls run. What is checked here is the service's side
// of the bargain; that the generated code has the types it should have is what tsc says of the adapters.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { Webhook, WebhookVerificationError } from "standardwebhooks";

import example from "./place-order.json" with { type: "json" };

const PATIENCE_MS = 60_000;
const ORDERS = 25;
const PAGE_SIZE = 10;

/** The documented order; it is assignable to each client's own type. */
export type DocumentedOrder = typeof example.order;

export interface ErrorAnswer {
  status: number;
  code: string;
  details?: { path: string; code: string }[];
}

/** The API answered an error; what the client's typed error says of it. */
export class Refused extends Error {
  constructor(readonly answer: ErrorAnswer) {
    super(`${answer.status} ${answer.code}`);
  }
}

export interface OrderEvent {
  type: string;
  orderId?: string;
  status?: string;
}

/** A generated client, as the scenario uses it. Every call throws Refused for an error answer. */
export interface OrdersClient {
  createCase(firstName: string, lastName: string): Promise<string>;
  placeOrder(caseId: string, order: DocumentedOrder, idempotencyKey: string): Promise<string>;
  orderStatus(orderId: string): Promise<{ status: string; documentStatus: string }>;
  documents(orderId: string): Promise<{ id: string; sha256: string }[]>;
  download(orderId: string, documentId: string): Promise<Blob>;
  orderPage(caseId: string, limit: number, cursor?: string): Promise<{ ids: string[]; nextCursor?: string }>;
  createWebhook(url: string): Promise<{ id: string; secret: string }>;
  deleteWebhook(webhookId: string): Promise<void>;
  /** The verified body of a message, read with the client's own model. */
  readEvent(event: unknown): OrderEvent;
}

interface Message {
  headers: Record<string, string>;
  body: string;
}

/** A webhook endpoint that keeps the raw messages. */
class Endpoint {
  readonly #messages: Message[] = [];
  readonly #server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    this.#messages.push({
      headers: request.headers as Record<string, string>,
      body: Buffer.concat(chunks).toString("utf8"),
    });
    response.writeHead(204).end();
  });

  async listen(): Promise<string> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/orders`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async next(): Promise<Message> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const message = this.#messages.shift();
      if (message) return message;
      assert.ok(Date.now() < deadline, "no message came in time");
      await sleep(50);
    }
  }
}

function setting(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}

/** The scenario, with `connect` to make a client of a base URL and an API key; throws where something is not so. */
export async function run(connect: (url: string, key: string) => OrdersClient): Promise<void> {
  const url = setting("ORDERS_API_URL");
  const client = connect(url, setting("ORDERS_API_KEY"));
  const endpoint = new Endpoint();
  const webhook = await client.createWebhook(await endpoint.listen());
  const caseId = await client.createCase("Ann", "Lee");
  const orderId = await client.placeOrder(caseId, example.order, randomUUID());
  await awaitCompleted(client, orderId);
  await receiveCompleted(client, endpoint, webhook.secret, orderId);
  await client.deleteWebhook(webhook.id);
  endpoint.close();
  await downloadDocuments(client, orderId);
  await pageThrough(client, caseId, orderId);
  await beRefused(client, connect(url, "not-a-key"), caseId);
  await expectRefusal(client.download(orderId, randomUUID()), 404, "not_found");
}

async function awaitCompleted(client: OrdersClient, orderId: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const { status, documentStatus } = await client.orderStatus(orderId);
    if (status === "COMPLETED" && documentStatus === "STORED") return;
    assert.ok(Date.now() < deadline, "the order was not completed in time");
    await sleep(200);
  }
}

/** Read verified messages up to the one that says that the order is complete. */
async function receiveCompleted(client: OrdersClient, endpoint: Endpoint, secret: string, orderId: string) {
  const verifier = new Webhook(secret);
  for (;;) {
    const { headers, body } = await endpoint.next();
    const event = client.readEvent(verifier.verify(body, headers));
    if (event.type !== "ORDER_STATUS_CHANGED" || event.orderId !== orderId || event.status !== "COMPLETED") continue;
    assert.throws(() => verifier.verify(body.replace("COMPLETED", "CANCELED"), headers), WebhookVerificationError);
    return;
  }
}

async function downloadDocuments(client: OrdersClient, orderId: string): Promise<void> {
  const documents = await client.documents(orderId);
  assert.ok(documents.length > 0, "a completed order has documents");
  for (const { id, sha256 } of documents) {
    const content = Buffer.from(await (await client.download(orderId, id)).arrayBuffer());
    assert.equal(content.subarray(0, 5).toString("latin1"), "%PDF-");
    assert.equal(createHash("sha256").update(content).digest("hex"), sha256);
  }
}

/** List the case's orders, newest first, in pages; none is missing and none comes twice. */
async function pageThrough(client: OrdersClient, caseId: string, firstId: string): Promise<void> {
  const placed = [firstId];
  while (placed.length < ORDERS) placed.push(await client.placeOrder(caseId, example.order, randomUUID()));
  const listed: string[] = [];
  let pages = 0;
  let cursor: string | undefined;
  do {
    const page = await client.orderPage(caseId, PAGE_SIZE, cursor);
    listed.push(...page.ids);
    cursor = page.nextCursor;
    pages += 1;
  } while (cursor !== undefined);
  assert.deepEqual(listed, placed.reverse());
  assert.equal(pages, Math.ceil(ORDERS / PAGE_SIZE));
}

async function beRefused(client: OrdersClient, stranger: OrdersClient, caseId: string): Promise<void> {
  const { order } = example;
  const prescriptionItems = order.prescriptionItems.map((item) => ({ ...item, drugId: "drug-unknown" }));
  const unknownDrug = client.placeOrder(caseId, { ...order, prescriptionItems }, randomUUID());
  await expectRefusal(unknownDrug, 400, "invalid_request", [
    { path: "/order/prescriptionItems/0/drugId", code: "unknown_drug" },
  ]);
  await expectRefusal(stranger.placeOrder(caseId, order, randomUUID()), 401, "invalid_api_key");
  await expectRefusal(client.placeOrder(randomUUID(), order, randomUUID()), 403, "case_forbidden");
  const key = randomUUID();
  assert.equal(await client.placeOrder(caseId, order, key), await client.placeOrder(caseId, order, key));
  const other = client.placeOrder(caseId, { ...order, diagnosis: "Migraine" }, key);
  await expectRefusal(other, 409, "idempotency_conflict");
}

/** The call has to be refused so, with these `path` and `code` of its details. */
async function expectRefusal(
  call: Promise<unknown>,
  status: number,
  code: string,
  details: { path: string; code: string }[] = [],
): Promise<void> {
  const { answer } = await call.then(
    () => assert.fail(`${status} ${code} was expected`),
    (error: unknown) => (error instanceof Refused ? error : Promise.reject(error)),
  );
  assert.deepEqual([answer.status, answer.code], [status, code]);
  assert.deepEqual(
    (answer.details ?? []).map((detail) => ({ path: detail.path, code: detail.code })),
    details,
  );
}
