// A responder for waba-gateway, dialect bot: offers a menu and answers what is chosen of it.
//
// Run (Node 18 or newer, standard library only):
//
//   SIGNING_SECRET=whsec_... PORT=8081 node examples/javascript/responder.mjs
//
// SIGNING_SECRET is the vendor's: the gateway shows it once, when the vendor is made, and
// POST /api/admin/vendors/VENDOR/signing-secret makes a new one. HOST is 127.0.0.1 unless set.
//
// Connect it:
//
//   curl -X PUT "$GATEWAY/api/admin/vendors/VENDOR" -H "Authorization: Bearer $ADMIN_KEY" \
//     -H "Content-Type: application/json" \
//     -d '{"responders":[{"kind":"responseApi","dialect":"bot","url":"https://bot.example.com/"}]}'
//
// A private address, like this machine's own, must be allowed at the gateway: ALLOW_TARGETS=127.0.0.1

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const BODY_BYTES_MAX = 4 * 1024 * 1024;
// A request signed longer ago than this may be one that somebody recorded and sends again.
const TOLERANCE_SECONDS = 5 * 60;

const MENU = {
  message: "Bonjour ! Que voulez-vous savoir ?",
  type: "buttons",
  buttons: [
    { id: "hours", title: "Horaires" },
    { id: "delivery", title: "Livraison" },
    { id: "human", title: "Parler à quelqu'un" },
  ],
  intent: "menu",
};

// What to say, or null for silence.
function answer(question) {
  switch (question.optionId) {
    case "hours":
      return { message: "Nous sommes ouverts de 8 h à 19 h.", intent: "hours" };
    case "delivery":
      return { message: "Nous livrons à Dakar en 24 h.", intent: "delivery" };
    case "human":
      // The gateway sends this and then leaves the conversation to a human.
      return { message: "Un conseiller vous répond bientôt.", requiresHuman: true };
    default:
      return question.type === "text" ? MENU : null;
  }
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
    const said = answer(JSON.parse(body));
    if (said === null) return response.writeHead(204).end();
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(said));
  } catch {
    // Not what the gateway sends. It is not logged: it may hold what a customer wrote.
    response.writeHead(400).end();
  }
});
const host = process.env.HOST ?? "127.0.0.1";
server.listen(Number(process.env.PORT ?? 8081), host, () => {
  console.log(`listening on http://${host}:${server.address().port}`);
});
