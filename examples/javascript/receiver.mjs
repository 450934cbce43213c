// A receiver of the events that waba-gateway forwards to a vendor's own back end.
//
// Run (Node 18 or newer, standard library only):
//
//   SIGNING_SECRET=whsec_... PORT=8082 node examples/javascript/receiver.mjs
//
// SIGNING_SECRET is the vendor's: the gateway shows it once, when the vendor is made, and
// POST /api/admin/vendors/VENDOR/signing-secret makes a new one. HOST is 127.0.0.1 unless set.
//
// Connect it:
//
//   curl -X PUT "$GATEWAY/api/admin/vendors/VENDOR" -H "Authorization: Bearer $ADMIN_KEY" \
//     -H "Content-Type: application/json" -d '{"forwardUrl":"https://shop.example.com/events"}'
//
// A private address, like this machine's own, must be allowed at the gateway: ALLOW_TARGETS=127.0.0.1

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const BODY_BYTES_MAX = 4 * 1024 * 1024;
// A request signed longer ago than this may be one that somebody recorded and sends again.
const TOLERANCE_SECONDS = 5 * 60;
// As many ids are remembered. Yours belong into your database, in the transaction that keeps the
// event: the gateway asks again for 24 hours.
const SEEN_MAX = 10_000;

const seen = new Set();

function isNew(id) {
  if (seen.has(id)) return false;
  seen.add(id);
  // A set keeps the order in which it was filled.
  if (seen.size > SEEN_MAX) seen.delete(seen.values().next().value);
  return true;
}

// Whatever takes time is done here, after the answer.
function work(event) {
  const ids = Object.entries(event.data ?? {}).filter(([name]) => name.endsWith("Id"));
  console.log(event.type, ...ids.map(([name, id]) => `${name}=${id}`));
}

// whsec_ and base64, or any other text, whose bytes are the key.
function keyOf(secret) {
  return secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
}

// Whether the gateway sent this, and lately: https://www.standardwebhooks.com
function isProven(key, headers, body) {
  const id = headers["webhook-id"] ?? "";
  const timestamp = headers["webhook-timestamp"] ?? "";
  if (!/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) return false;
  const hmac = createHmac("sha256", key).update(`${id}.${timestamp}.`, "latin1").update(body);
  const wanted = Buffer.from(`v1,${hmac.digest("base64")}`);
  // There are several while a secret is being replaced.
  return (headers["webhook-signature"] ?? "").split(" ").some((it) => {
    const given = Buffer.from(it);
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

// The whole body, or null when it is too large. Node sees to it that it is as long as it says.
async function bodyOf(request) {
  if (!(Number(request.headers["content-length"]) <= BODY_BYTES_MAX)) return null;
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

const key = keyOf(process.env.SIGNING_SECRET ?? "");
if (key.length === 0) throw new Error("SIGNING_SECRET is not set");

const server = createServer(async (request, response) => {
  try {
    const body = await bodyOf(request);
    if (body === null) return response.writeHead(413, { connection: "close" }).end();
    if (!isProven(key, request.headers, body)) return response.writeHead(401).end();
    const event = JSON.parse(body);
    response.writeHead(204).end();
    // An event whose 204 was lost comes again, under the same id.
    if (isNew(request.headers["webhook-id"])) setImmediate(work, event);
  } catch {
    // Not what the gateway sends. It is not logged: it may hold what a customer wrote.
    response.writeHead(400).end();
  }
});
const host = process.env.HOST ?? "127.0.0.1";
server.listen(Number(process.env.PORT ?? 8082), host, () => {
  console.log(`listening on http://${host}:${server.address().port}`);
});
