// Shops in headless Chromium, from a page of another origin.
//
// usage: tsx browser/run.ts http://GATEWAY   (after `buf generate`)
//
// Prints what the page told as one line of JSON. Chromium is Debian's, found
// under /usr/bin or where CHROMIUM says.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const gateway = process.argv[2]!;
const bundled = await build({
  entryPoints: [new URL("page.ts", import.meta.url).pathname],
  bundle: true,
  format: "esm",
  write: false,
});
const server = createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
  response.end(isScript ? bundled.outputFiles[0]!.text : '<pre></pre><script type="module" src="/page.js"></script>');
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.error(message.text()));
  page.on("pageerror", (error) => console.error(error));
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/?gateway=${encodeURIComponent(gateway)}`);
  const done = page.locator("#done");
  await done.waitFor({ timeout: 60_000 });
  console.log(await done.textContent());
} finally {
  await browser.close();
  server.close();
}
