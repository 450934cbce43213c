#!/usr/bin/env bash
# Sends a message through waba-gateway and shows what becomes of it.
#
# Run (bash, curl; python3 reads the JSON):
#
#     BASE=http://127.0.0.1:9002 KEY=wgk_... VENDOR=vendor_001 examples/callers/send.sh +221705550001 'Bonjour' order-1042
#
# The third argument is your own id for what you send (an order's, an appointment's): the same id is sent once, however
# often you run this. Exit code: 0 sent, 1 not sent, 2 called wrongly, 22 refused by the gateway.
set -euo pipefail

if [ $# -ne 3 ] || [ -z "${KEY:-}" ] || [ -z "${VENDOR:-}" ]; then
  sed -n '2,9p' "$0" | cut -c 3- >&2
  exit 2
fi
own=${BASE:-http://127.0.0.1:9002}/api/v1/vendors/$VENDOR

# 429 and 503 say when to try again, and curl waits for that.
call() {
  curl -sS --fail --max-time 30 --retry 5 --retry-connrefused \
    -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' "$@"
}

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

body=$(python3 -c 'import json, sys; print(json.dumps({"to": sys.argv[1], "type": "text", "text": sys.argv[2]}))' "$1" "$2")
id=$(call -X POST "$own/messages" -H "Idempotency-Key: $3" -d "$body" | field messageId)
echo "kept as $id"

for _ in $(seq 60); do
  journey=$(call "$own/messages/$id")
  status=$(field status <<<"$journey")
  case $status in queued | sending | unknown_yet) sleep 1 ;; *) break ;; esac
done

python3 -c 'import json, sys
for step in json.load(sys.stdin)["steps"]: print(step["at"], step["step"])' <<<"$journey"
echo "status: $status"
case $status in accepted | sent | delivered | read | played) ;; *) exit 1 ;; esac
