// Buys something over gRPC-Web with a client that protoc-gen-es generated.
//
// usage: tsx purchase.ts http://GATEWAY   (after `buf generate`)
//
// Prints the order as one line of JSON. Nothing here is ours but the contracts.
import { createGrpcWebTransport } from "@connectrpc/connect-node";

import { Shopper } from "./shopper.js";

const baseUrl = process.argv[2]!;
const shopper = new Shopper((interceptors) =>
  createGrpcWebTransport({ baseUrl, httpVersion: "1.1", interceptors }),
);
await shopper.signIn();
console.log(JSON.stringify(await shopper.buy()));
