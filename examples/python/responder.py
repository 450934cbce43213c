"""A responder for waba-gateway, dialect bot: offers a menu and answers what is chosen of it.

Run (Python 3, standard library only):

    SIGNING_SECRET=whsec_... PORT=8081 python3 examples/python/responder.py

SIGNING_SECRET is the vendor's: the gateway shows it once, when the vendor is made, and
POST /api/admin/vendors/VENDOR/signing-secret makes a new one. HOST is 127.0.0.1 unless set.

Connect it:

    curl -X PUT "$GATEWAY/api/admin/vendors/VENDOR" -H "Authorization: Bearer $ADMIN_KEY" \\
      -H "Content-Type: application/json" \\
      -d '{"responders":[{"kind":"responseApi","dialect":"bot","url":"https://bot.example.com/"}]}'

A private address, like this machine's own, must be allowed at the gateway: ALLOW_TARGETS=127.0.0.1
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 4 * 1024 * 1024
# A request signed longer ago than this may be one that somebody recorded and sends again.
TOLERANCE_SECONDS = 5 * 60

MENU = {
    "message": "Bonjour ! Que voulez-vous savoir ?",
    "type": "buttons",
    "buttons": [
        {"id": "hours", "title": "Horaires"},
        {"id": "delivery", "title": "Livraison"},
        {"id": "human", "title": "Parler à quelqu'un"},
    ],
    "intent": "menu",
}


def answer(question):
    """What to say, or None for silence."""
    option = question.get("optionId")
    if option == "hours":
        return {"message": "Nous sommes ouverts de 8 h à 19 h.", "intent": "hours"}
    if option == "delivery":
        return {"message": "Nous livrons à Dakar en 24 h.", "intent": "delivery"}
    if option == "human":
        # The gateway sends this and then leaves the conversation to a human.
        return {"message": "Un conseiller vous répond bientôt.", "requiresHuman": True}
    if question.get("type") == "text":
        return MENU
    return None


def key_of(secret):
    """whsec_ and base64, or any other text, whose bytes are the key."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret[len("whsec_") :], validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def is_proven(key, headers, body):
    """Whether the gateway sent this, and lately: https://www.standardwebhooks.com"""
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{message_id}.{timestamp}.".encode("latin-1") + body
    wanted = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    # There are several while a secret is being replaced.
    given = headers.get("webhook-signature", "").encode("latin-1").split()
    return any(hmac.compare_digest(it, wanted) for it in given)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            return self.reply(413)
        body = self.rfile.read(int(length))
        if not is_proven(self.server.key, self.headers, body):
            return self.reply(401)
        try:
            said = answer(json.loads(body))
        except ValueError:
            return self.reply(400)
        if said is None:
            return self.reply(204)
        return self.reply(200, json.dumps(said).encode())

    def reply(self, status, body=b""):
        self.send_response(status)
        if status != 204:
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Requests hold what customers write: they are not logged."""


def main():
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8081")))
    server = ThreadingHTTPServer(address, Handler)
    server.key = key_of(os.environ["SIGNING_SECRET"])
    print(f"listening on http://{address[0]}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
