"""Sends a message through waba-gateway and shows what becomes of it.

Run (Python 3, standard library only):

    BASE=http://127.0.0.1:9002 KEY=wgk_... VENDOR=vendor_001 \\
      python3 examples/callers/send.py +221705550001 'Bonjour' order-1042

The third argument is your own id for what you send (an order's, an appointment's): the same id is
sent once, however often you run this. Exit code: 0 sent, 1 not sent, 2 called wrongly.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

TRIES = 6
UNDER_WAY = {"queued", "sending", "unknown_yet"}
SENT = {"accepted", "sent", "delivered", "read", "played"}


class Gateway:
    def __init__(self, base, key, vendor):
        self.own = f"{base}/api/v1/vendors/{vendor}"
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(self, method, path, body=None, **headers):
        """Asks again where that is safe: nothing was kept, or it is the same request by its id."""
        data = None if body is None else json.dumps(body).encode()
        headers = self.headers | {name.replace("_", "-"): it for name, it in headers.items()}
        request = urllib.request.Request(self.own + path, data, headers, method=method)
        for left in reversed(range(TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503) or not left:
                    sys.exit(f"{error.code}: {json.load(error)['error']}")
                time.sleep(int(error.headers.get("retry-after", "1")))
            except OSError as error:
                if not left:
                    sys.exit(f"the gateway cannot be reached: {error}")
                time.sleep(1)

    def send(self, to, text, own_id):
        body = {"to": to, "type": "text", "text": text}
        return self.call("POST", "/messages", body, Idempotency_Key=own_id)["messageId"]

    def journey(self, message_id):
        return self.call("GET", f"/messages/{message_id}")


def main():
    if len(sys.argv) != 4 or not {"KEY", "VENDOR"} <= os.environ.keys():
        print(__doc__, file=sys.stderr)
        return 2
    base = os.environ.get("BASE", "http://127.0.0.1:9002")
    gateway = Gateway(base, os.environ["KEY"], os.environ["VENDOR"])
    message_id = gateway.send(*sys.argv[1:])
    print("kept as", message_id, flush=True)

    for _ in range(60):
        journey = gateway.journey(message_id)
        if journey["status"] not in UNDER_WAY:
            break
        time.sleep(1)

    for step in journey["steps"]:
        print(step["at"], step["step"])
    print("status:", journey["status"])
    return 0 if journey["status"] in SENT else 1


if __name__ == "__main__":
    sys.exit(main())
