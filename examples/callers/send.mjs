// Sends a message through waba-gateway and shows what becomes of it.
//
// Run (Node 18 or newer, no packages):
//
//     BASE=http://127.0.0.1:9002 KEY=wgk_... VENDOR=vendor_001 \
//       node examples/callers/send.mjs +221705550001 'Bonjour' order-1042
//
// The third argument is your own id for what you send (an order's, an appointment's): the same id is
// sent once, however often you run this. Exit code: 0 sent, 1 not sent, 2 called wrongly.

import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const { BASE = "http://127.0.0.1:9002", KEY, VENDOR } = process.env;
const TRIES = 6;
const UNDER_WAY = ["queued", "sending", "unknown_yet"];
const SENT = ["accepted", "sent", "delivered", "read", "played"];

/** Asks again where that is safe: nothing was kept, or it is the same request by its id. */
async function call(method, path, body, headers = {}) {
  for (let left = TRIES - 1; ; left--) {
    let answer;
    try {
      answer = await fetch(`${BASE}/api/v1/vendors/${VENDOR}${path}`, {
        method,
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", ...headers },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(30_000),
      });
    } catch (error) {
      if (left === 0) throw new Error(`the gateway cannot be reached: ${error.cause ?? error}`);
      await sleep(1_000);
      continue;
    }
    const found = await answer.json();
    if (answer.ok) return found;
    if (![429, 503].includes(answer.status) || left === 0) {
      throw new Error(`${answer.status}: ${found.error}`);
    }
    await sleep(1_000 * Number(answer.headers.get("retry-after") ?? 1));
  }
}

async function main([to, text, ownId]) {
  const body = { to, type: "text", text };
  const { messageId } = await call("POST", "/messages", body, { "idempotency-key": ownId });
  console.log("kept as", messageId);

  let journey;
  for (let n = 0; n < 60; n++) {
    journey = await call("GET", `/messages/${messageId}`);
    if (!UNDER_WAY.includes(journey.status)) break;
    await sleep(1_000);
  }

  for (const { at, step } of journey.steps) console.log(at, step);
  console.log("status:", journey.status);
  return SENT.includes(journey.status) ? 0 : 1;
}

if (process.argv.length !== 5 || !KEY || !VENDOR) {
  console.error("BASE=… KEY=… VENDOR=… node send.mjs TO TEXT OWN_ID");
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
