// Buys something over gRPC-Web with a client that protoc-gen-es generated.
//
// usage: node purchase.mjs http://GATEWAY   (after `buf generate`)
//
// Prints the order as one line of JSON. Nothing here is ours but the contracts.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-node";

import { ProductService } from "./gen/mercat/catalog/v1/products_pb.js";
import { AuthService } from "./gen/mercat/identity/v1/auth_pb.js";
import { OrderService, OrderStatus } from "./gen/mercat/orders/v1/orders_pb.js";
import { CartService } from "./gen/mercat/storefront/v1/cart_pb.js";
import { CheckoutService } from "./gen/mercat/storefront/v1/checkout_pb.js";

const [baseUrl] = process.argv.slice(2);
const requestId = () => randomUUID();
let token = "";
const authorize = (next) => (request) => {
  if (token) request.header.set("authorization", `Bearer ${token}`);
  return next(request);
};
const transport = createGrpcWebTransport({ baseUrl, httpVersion: "1.1", interceptors: [authorize] });

const guest = await createClient(AuthService, transport).issueGuestToken({ requestId: requestId() });
token = guest.tokens.accessToken;

const products = createClient(ProductService, transport);
const listed = await products.listProducts({ pageSize: 1 });
const product = await products.getProduct({ productId: listed.products[0].productId });

const carts = createClient(CartService, transport);
const cart = await carts.createCart({ requestId: requestId() });
await carts.addLine({ requestId: requestId(), cartId: cart.cartId, sku: product.variants[0].sku, quantity: 1 });

const checkouts = createClient(CheckoutService, transport);
const { checkoutId } = await checkouts.startCheckout({ requestId: requestId(), cartId: cart.cartId });
await checkouts.setContact({ requestId: requestId(), checkoutId, email: "ana@example.com" });
await checkouts.setAddresses({
  requestId: requestId(),
  checkoutId,
  shippingAddress: {
    recipient: "Ana Puig",
    addressLines: ["Carrer de la Força 12"],
    locality: "Girona",
    regionCode: "ES",
  },
});
await checkouts.setShippingOption({ requestId: requestId(), checkoutId, code: "standard" });
const quote = await checkouts.setPaymentMethod({ requestId: requestId(), checkoutId, paymentMethod: "pm_card_ok" });

await assert.rejects(
  checkouts.completeCheckout({ requestId: requestId(), checkoutId, quoteHash: "stale" }),
  (refusal) => refusal instanceof ConnectError && refusal.code === Code.FailedPrecondition,
);
const bought = await checkouts.completeCheckout({ requestId: requestId(), checkoutId, quoteHash: quote.quoteHash });
assert.equal(bought.outcome.case, "order");
const order = await createClient(OrderService, transport).getOrder({ orderId: bought.outcome.value.orderId });
console.log(
  JSON.stringify({
    order_id: order.orderId,
    number: order.number,
    status: OrderStatus[order.status],
    total: Number(order.totals.total.minorUnits),
  }),
);
