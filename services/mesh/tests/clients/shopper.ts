// Somebody who shops with the generated clients, over whatever transport.
import { Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";

import { ProductService } from "./gen/mercat/catalog/v1/products_pb.js";
import { AuthService } from "./gen/mercat/identity/v1/auth_pb.js";
import { OrderService, OrderStatus } from "./gen/mercat/orders/v1/orders_pb.js";
import { CartService } from "./gen/mercat/storefront/v1/cart_pb.js";
import { CheckoutService } from "./gen/mercat/storefront/v1/checkout_pb.js";

const requestId = () => globalThis.crypto.randomUUID();

/** What was bought. */
export interface Bought {
  order_id: string;
  number: string;
  status: string;
  total: number;
}

/** How a watch went: what was seen, and the code of the error that ended it. */
export interface Watched {
  seen: string[];
  error: string | undefined;
}

export class Shopper {
  readonly #transport: Transport;
  #token = "";

  constructor(connect: (interceptors: Interceptor[]) => Transport) {
    this.#transport = connect([
      (next) => (request) => {
        if (this.#token) request.header.set("authorization", `Bearer ${this.#token}`);
        return next(request);
      },
    ]);
  }

  async signIn(): Promise<void> {
    const auth = createClient(AuthService, this.#transport);
    const guest = await auth.issueGuestToken({ requestId: requestId() });
    this.#token = guest.tokens!.accessToken;
  }

  /** The titles of the first products. */
  async titles(pageSize: number): Promise<string[]> {
    const products = createClient(ProductService, this.#transport);
    const listed = await products.listProducts({ pageSize });
    return listed.products.map((product) => product.title);
  }

  async buy(): Promise<Bought> {
    const products = createClient(ProductService, this.#transport);
    const listed = await products.listProducts({ pageSize: 1 });
    const product = await products.getProduct({ productId: listed.products[0]!.productId });

    const carts = createClient(CartService, this.#transport);
    const cart = await carts.createCart({ requestId: requestId() });
    const sku = product.variants[0]!.sku;
    await carts.addLine({ requestId: requestId(), cartId: cart.cartId, sku, quantity: 1 });

    const checkouts = createClient(CheckoutService, this.#transport);
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

    const stale = { requestId: requestId(), checkoutId, quoteHash: "stale" };
    const refusal = await checkouts.completeCheckout(stale).catch((error: unknown) => error);
    if (!(refusal instanceof ConnectError) || refusal.code !== Code.FailedPrecondition) {
      throw new Error(`a stale quote is not refused: ${refusal}`);
    }
    const agreed = { requestId: requestId(), checkoutId, quoteHash: quote.quoteHash };
    const { outcome } = await checkouts.completeCheckout(agreed);
    if (outcome.case !== "order") throw new Error(`no order: ${outcome.case}`);
    const order = await createClient(OrderService, this.#transport).getOrder({ orderId: outcome.value.orderId });
    return {
      order_id: order.orderId,
      number: order.number,
      status: OrderStatus[order.status]!,
      total: Number(order.totals!.total!.minorUnits),
    };
  }

  /** Follows an order for as long as it is given. */
  async watch(orderId: string, timeoutMs: number): Promise<Watched> {
    const orders = createClient(OrderService, this.#transport);
    const watched: Watched = { seen: [], error: undefined };
    try {
      for await (const order of orders.watchOrder({ orderId }, { timeoutMs })) {
        watched.seen.push(order.number);
      }
    } catch (error) {
      watched.error = Code[ConnectError.from(error).code];
    }
    return watched;
  }
}
