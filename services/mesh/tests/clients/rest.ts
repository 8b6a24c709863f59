// Buys something over REST with a client whose types come from /openapi.json.
//
// usage: tsx rest.ts http://GATEWAY   (after `openapi-typescript http://GATEWAY/openapi.json -o gen/rest.ts`)
//
// Prints the order as one line of JSON. Nothing here is ours but the document.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import createClient from "openapi-fetch";

import type { paths } from "./gen/rest.js";

const [baseUrl] = process.argv.slice(2);
const client = createClient<paths, "application/json">({ baseUrl });
const requestId = () => randomUUID();

function done<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  assert.ok(answer.data !== undefined, `${answer.response.status}: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

// What is refused says why, in a form that has a type.
const login = { email: `${requestId()}@example.com`, password: "correct horse battery staple" };
const unknown = await client.POST("/v1/auth:login", { body: login });
assert.equal(unknown.response.status, 401);
assert.equal(unknown.error?.error.reason, "INVALID_CREDENTIALS");
const { user } = done(await client.POST("/v1/auth:register", { body: { ...login, requestId: requestId() } }));
assert.equal(user?.email, login.email);
const session = done(await client.POST("/v1/auth:login", { body: login }));
client.use({
  onRequest({ request }) {
    request.headers.set("authorization", `Bearer ${session.tokens!.accessToken}`);
  },
});

const listed = done(await client.GET("/v1/products", { params: { query: { pageSize: 1 } } }));
const productId = listed.products![0]!.productId!;
const product = done(await client.GET("/v1/products/{productId}", { params: { path: { productId } } }));

const cart = done(await client.POST("/v1/carts", { body: { requestId: requestId() } }));
const cartId = cart.cartId!;
const sku = product.variants![0]!.sku!;
done(
  await client.POST("/v1/carts/{cartId}/lines", {
    params: { path: { cartId } },
    body: { requestId: requestId(), sku, quantity: 1 },
  }),
);

const { checkoutId } = done(await client.POST("/v1/checkouts", { body: { requestId: requestId(), cartId } }));
const params = { path: { checkoutId: checkoutId! } };
done(
  await client.PUT("/v1/checkouts/{checkoutId}/contact", {
    params,
    body: { requestId: requestId(), email: "ana@example.com" },
  }),
);
const shippingAddress = {
  recipient: "Ana Puig",
  addressLines: ["Carrer de la Força 12"],
  locality: "Girona",
  regionCode: "ES",
};
done(
  await client.PUT("/v1/checkouts/{checkoutId}/addresses", {
    params,
    body: { requestId: requestId(), shippingAddress },
  }),
);
done(
  await client.PUT("/v1/checkouts/{checkoutId}/shippingOption", {
    params,
    body: { requestId: requestId(), code: "standard" },
  }),
);
// What the document demands, the compiler demands.
// @ts-expect-error the method of payment is missing
const incomplete = await client.PUT("/v1/checkouts/{checkoutId}/paymentMethod", { params, body: {} });
assert.equal(incomplete.response.status, 400);
const quote = done(
  await client.PUT("/v1/checkouts/{checkoutId}/paymentMethod", {
    params,
    body: { requestId: requestId(), paymentMethod: "pm_card_ok" },
  }),
);

const stale = await client.POST("/v1/checkouts/{checkoutId}:complete", {
  params,
  body: { requestId: requestId(), quoteHash: "stale" },
});
assert.equal(stale.response.status, 400);
assert.equal(stale.error?.error.status, "FAILED_PRECONDITION");
const bought = done(
  await client.POST("/v1/checkouts/{checkoutId}:complete", {
    params,
    body: { requestId: requestId(), quoteHash: quote.quoteHash! },
  }),
);
const orderId = bought.order!.orderId!;
const order = done(await client.GET("/v1/orders/{orderId}", { params: { path: { orderId } } }));
console.log(
  JSON.stringify({
    order_id: order.orderId,
    number: order.number,
    status: order.status,
    total: Number(order.totals!.total!.minorUnits),
  }),
);
