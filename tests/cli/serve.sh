#!/bin/sh
# quern serve: begins, answers, ends when told; with curl.
. "$(dirname "$0")/common"

command -v curl >/dev/null 2>&1 || { echo "skipped: curl is not installed (scripts/deps)"; exit 77; }

# start ARGS...: a server on a free port; leaves $pid and $url
start() {
  what="quern serve $*"
  "$Q" serve --port 0 "$@" >"$T/serve.out" 2>"$T/serve.err" </dev/null &
  pid=$!
  for i in $(seq 100); do
    url=$(sed -n 's/^quern serves on \(http[^ ]*\).*/\1/p' "$T/serve.err" | head -n 1)
    [ -z "$url" ] || return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  wrong "the server did not begin"; cat "$T/serve.err"; finish
}
stop() { kill "$pid"; wait "$pid"; rc=$?; want_rc 0; }
# get PATH CURL-ARGS...: leaves the body in $T/out, the status in $code
get() {
  path=$1; shift
  what="curl $path $*"
  code=$(curl -s -m 60 -o "$T/out" -D "$T/head" -w '%{http_code}' "$@" "$url$path") || code=000
  : >"$T/err"
}
want_code() { [ "$code" = "$1" ] || wrong "status $code, expected $1"; }

start
get /health; want_code 200; want_out '"ok"'
planted want_code 201
get /v1/models; want_code 200; want_out '"seedling"'
get /models; want_code 200; want_out '"seedling"'
get /nothing; want_code 404; want_out '"error"'
get /health -X DELETE; want_code 405; want "no Allow header" grep -qi '^allow: GET' "$T/head"
hello='{"messages":[{"role":"user","content":"Write a Python function that returns the sum of a list."}],"temperature":0,"max_tokens":60'
get /v1/chat/completions -d "$hello}"; want_code 200; want_out '"object":"chat.completion"'; want_out 'def sum_list'
get /chat/completions -d "$hello,\"stream\":true}"; want_code 200; want_out '^data: \[DONE\]'; want_out '"role":"assistant"'
want "no event stream" grep -qi '^content-type: text/event-stream' "$T/head"
stop
finish
