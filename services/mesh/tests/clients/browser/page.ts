// What runs in the browser: the same shopper over gRPC-Web and over Connect, one
// after the other, and what became of it as JSON in the page.
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

import { Shopper, type Bought, type Watched } from "../shopper.js";

interface Told {
  titles: string[];
  bought: Bought;
  watched: Watched;
}

const baseUrl = new URLSearchParams(location.search).get("gateway")!;
const shoppers = {
  "grpc-web": new Shopper((interceptors) => createGrpcWebTransport({ baseUrl, interceptors })),
  "connect-json": new Shopper((interceptors) => createConnectTransport({ baseUrl, interceptors })),
  "connect-proto": new Shopper((interceptors) =>
    createConnectTransport({ baseUrl, interceptors, useBinaryFormat: true, useHttpGet: true }),
  ),
};

async function told(shopper: Shopper): Promise<Told> {
  await shopper.signIn();
  const titles = await shopper.titles(5);
  const bought = await shopper.buy();
  // The server ends the stream before the browser's own clock does: its deadline
  // is shorter by what the network may take.
  const watched = await shopper.watch(bought.order_id, 2_000);
  return { titles, bought, watched };
}

const page = document.querySelector("pre")!;
try {
  const all: Record<string, Told> = {};
  for (const [protocol, shopper] of Object.entries(shoppers)) all[protocol] = await told(shopper);
  page.textContent = JSON.stringify(all);
} catch (error) {
  page.textContent = JSON.stringify({ failed: String(error) });
}
page.id = "done";
