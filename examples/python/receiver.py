"""A receiver of the events that waba-gateway forwards to a vendor's own back end.

Run (Python 3, standard library only):

    SIGNING_SECRET=whsec_... PORT=8082 python3 examples/python/receiver.py

SIGNING_SECRET is the vendor's: the gateway shows it once, when the vendor is made, and
POST /api/admin/vendors/VENDOR/signing-secret makes a new one. HOST is 127.0.0.1 unless set.

Connect it:

    curl -X PUT "$GATEWAY/api/admin/vendors/VENDOR" -H "Authorization: Bearer $ADMIN_KEY" \\
      -H "Content-Type: application/json" -d '{"forwardUrl":"https://shop.example.com/events"}'

A private address, like this machine's own, must be allowed at the gateway: ALLOW_TARGETS=127.0.0.1
"""

import base64
import binascii
import collections
import hashlib
import hmac
import json
import os
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 4 * 1024 * 1024
# A request signed longer ago than this may be one that somebody recorded and sends again.
TOLERANCE_SECONDS = 5 * 60
# As many ids are remembered. Yours belong into your database, in the transaction that keeps the
# event: the gateway asks again for 24 hours.
SEEN_MAX = 10_000


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


class Seen:
    """The ids that were seen lately."""

    def __init__(self):
        self.ids = collections.OrderedDict()
        self.lock = threading.Lock()

    def is_new(self, message_id):
        with self.lock:
            if message_id in self.ids:
                return False
            self.ids[message_id] = True
            if len(self.ids) > SEEN_MAX:
                self.ids.popitem(last=False)
            return True


def work(events):
    """Whatever takes time is done here, after the answer."""
    while True:
        event = events.get()
        ids = [f"{name}={it}" for name, it in event.get("data", {}).items() if name.endswith("Id")]
        print(event.get("type"), *ids, flush=True)


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
            event = json.loads(body)
        except ValueError:
            return self.reply(400)
        # An event whose 204 was lost comes again, under the same id.
        if self.server.seen.is_new(self.headers["webhook-id"]):
            self.server.events.put(event)
        return self.reply(204)

    def reply(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        """Requests hold what customers write: they are not logged."""


def main():
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8082")))
    server = ThreadingHTTPServer(address, Handler)
    server.key = key_of(os.environ["SIGNING_SECRET"])
    server.seen, server.events = Seen(), queue.Queue()
    threading.Thread(target=work, args=(server.events,), daemon=True).start()
    print(f"listening on http://{address[0]}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
