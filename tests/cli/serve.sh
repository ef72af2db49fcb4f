#!/bin/sh
# quern serve: begins, answers, refuses, ends when told; with curl.
. "$(dirname "$0")/common"

command -v curl >/dev/null 2>&1 || { echo "skipped: curl is not installed (scripts/deps)"; exit 77; }
pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null; done; rm -rf "$T"' EXIT

# start ARGS...: a server on a free port; leaves $pid and $url
start() {
  what="quern serve $*"
  : >"$T/serve.err"
  "$Q" serve --port 0 "$@" >"$T/serve.out" 2>"$T/serve.err" </dev/null &
  pid=$!
  pids="$pids $pid"
  for i in $(seq 200); do
    url=$(sed -n 's/^quern serves on \(http[^ ]*\).*/\1/p' "$T/serve.err" | head -n 1)
    [ -z "$url" ] || return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  wrong "the server did not begin"; cat "$T/serve.err"; finish
}
stop() { what="quern serve, stopped"; kill "$pid"; wait "$pid"; rc=$?; : >"$T/err"; want_rc 0; }
# get PATH CURL-ARGS...: leaves the body in $T/out, the status in $code
get() {
  path=$1; shift
  what="curl $path $*"
  code=$(curl -s -m 60 -o "$T/out" -D "$T/head" -w '%{http_code}' "$@" "$url$path") || code="$code, curl: $?"
  : >"$T/err"
}
want_code() { [ "$code" = "$1" ] || wrong "status $code, expected $1"; }
want_head() { grep -qiE "$1" "$T/head" || wrong "no header like $1"; }
no_head() { ! grep -qiE "$1" "$T/head" || wrong "a header like $1"; }

# ---- what it answers
start
get /health; want_code 200; want_out '"ok"'; want_head '^x-request-id: [0-9]+'
planted want_code 201
planted want_head '^x-nothing'
get /v1/models; want_code 200; want_out '"seedling"'
get /models; want_code 200; want_out '"seedling"'
get /v1/models/seedling; want_code 200
get /v1/models/other; want_code 404; want_out 'model_not_found'
get /nothing; want_code 404; want_out '"error"'
get /health -I; want_code 200
get /health -X DELETE; want_code 405; want_head '^allow: GET'
get /v1/chat/completions -X OPTIONS; want_code 204; want_head '^allow: POST'; no_head '^access-control'
hello='{"messages":[{"role":"user","content":"Write a Python function that returns the sum of a list."}],"temperature":0,"max_tokens":60'
get /v1/chat/completions -d "$hello}"; want_code 200; want_out '"object":"chat.completion"'; want_out 'def sum_list'
get /chat/completions -d "$hello,\"stream\":true}"; want_code 200; want_out '^data: \[DONE\]'; want_out '"role":"assistant"'
want_head '^content-type: text/event-stream'
get /v1/embeddings -d '{"input":"hello"}'; want_code 200; want_out '"embedding":\[-?0'
get /metrics; want_code 200; want_out '^quern_generated_tokens_total [1-9]'; want_out '^quern_running\{model="seedling"\} 0'
get /v1/requests; want_code 200; want_out '"data":\[\]'

# ---- what it refuses
get /v1/chat/completions -d "$hello,\"max_tokens\":60}"; want_code 400; want_out 'duplicate'
long=$(printf '%3000s' | sed 's/ / word/g')
get /v1/completions -d "{\"prompt\":\"$long\"}"; want_code 400
want_out 'context_length_exceeded'; want_out 'exceeds the available context size of 2048 tokens'; want_out '"n_ctx":2048'
get /v1/models -H 'Host: evil.example'; want_code 403
get /v1/models -H 'Host: localhost:1'; want_code 200
get /v1/models -H 'Host: [::1]:80'; want_code 200
get /v1/models -H 'Host: 1.2.3.4.evil.example'; want_code 403
get /v1/models -H 'Origin: https://evil.example'; want_code 403; no_head '^access-control'
get /v1/models -H 'Origin: null'; want_code 403
get /v1/models -H "Origin: $url"; want_code 200
get /v1/chat/completions -H 'Origin: https://evil.example' -H 'Content-Type: text/plain' -d "$hello}"; want_code 403
head -c 40000 /dev/zero | tr '\0' a >"$T/big"
get /v1/models -H "X-Long: $(cat "$T/big")"; want_code 431
stop
want "the log is not JSON lines" sh -c "! grep -v '^{.*}\$' '$T/serve.err' | grep -v '^quern serves' | grep -q ."
want "the prompt is in the log" sh -c "! grep -q 'sum of a list' '$T/serve.err'"
want "no answer in the log" grep -q '"event":"answer".*"finish":\["stop"\]' "$T/serve.err"

# ---- keys, pages that may ask, a body that is too large, the log of prompts, two ports
printf '# keys\nfirst key\n\n zweiter \n' >"$T/keys"
start --api-key-file "$T/keys" --allow-origin https://good.example --body-limit 1 --log-prompts --ollama --ollama-port 0 --allow-host me.example
get /health; want_code 200
get /v1/models; want_code 401; want_head '^www-authenticate: bearer'
get /v1/models -H 'Authorization: Bearer zweiter'; want_code 200
get /v1/models -H 'Authorization: Bearer  first key'; want_code 200
get /v1/models -H 'x-api-key: zweiter'; want_code 200
for k in '' zweite zweiter2 '# keys'; do get /v1/models -H "x-api-key: $k"; want_code 401; done
get /v1/models -H 'Authorization: Basic zweiter'; want_code 401
get /v1/models -H 'Host: me.example:8080' -H 'x-api-key: zweiter'; want_code 200
get /v1/models -X OPTIONS -H 'Origin: https://good.example' -H 'Access-Control-Request-Headers: x-a'; want_code 204
want_head '^access-control-allow-origin: https://good.example'; want_head '^access-control-allow-headers: x-a'
get /v1/models -H 'Origin: https://good.example.evil' -H 'x-api-key: zweiter'; want_code 403
head -c 2000000 /dev/zero | tr '\0' ' ' >"$T/large"
get /v1/chat/completions -H 'x-api-key: zweiter' --data-binary @"$T/large"; want_code 413; want_out 'too large'
get /v1/chat/completions -H 'x-api-key: zweiter' --data-binary @"$T/large" -H 'Expect:'; want_code 413
get /v1/chat/completions -H 'x-api-key: zweiter' --data-binary @"$T/large" -H 'Expect:' -H 'Transfer-Encoding: chunked'; want_code 413
get /v1/chat/completions -H 'x-api-key: zweiter' -d "$hello}"; want_code 200
main=$url
url=$(sed -n 's/^and for clients of Ollama on //p' "$T/serve.err"); get /health; want_code 200; url=$main
stop
want "the prompt is not in the log" grep -q 'sum of a list' "$T/serve.err"
want "a key is in the log" sh -c "! grep -q -e 'first key' -e zweiter '$T/serve.err'"

# ---- draining: a running answer may end; the second signal cuts it off
start --log "$T/log"
curl -s -N -m 60 "$url/v1/completions" -d '{"prompt":"x","max_tokens":1500,"ignore_eos":true,"temperature":1,"seed":1,"stream":true}' >"$T/stream" &
reader=$!
sleep 0.5
stop
wait "$reader"; rc=$?; what="a stream while the server drains"; want_rc 0
want "its end is missing" grep -q '^data: \[DONE\]' "$T/stream"
want "the log is not in its file" grep -q '"event":"stopping"' "$T/log"

# ---- a client that goes is noticed at once
start
for i in 1 2 3; do
  timeout 0.3 curl -s -N "$url/v1/completions" -d '{"prompt":"x","max_tokens":2000,"ignore_eos":true,"temperature":1,"stream":true}' >"$T/gone"
  timeout 0.3 curl -s "$url/v1/completions" -d '{"prompt":"x","max_tokens":2000,"n":4,"ignore_eos":true,"temperature":1}' >"$T/gone"
done
sleep 0.5
get /v1/requests; want_out '"data":\[\]'
stop

# ---- TLS
if command -v openssl >/dev/null 2>&1; then
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/key.pem" -out "$T/cert.pem" -days 2 -subj /CN=localhost >/dev/null 2>&1
  start --tls-cert "$T/cert.pem" --tls-key "$T/key.pem"
  case $url in https://*) ;; *) wrong "not announced as https: $url" ;; esac
  get /v1/chat/completions -k -d "$hello,\"stream\":true}"; want_code 200; want_out '^data: \[DONE\]'
  stop
  run serve --port 0 --tls-cert "$T/key.pem" --tls-key "$T/cert.pem"; want_rc 1; want_sentence
fi

# ---- wrong use
run serve --host 0.0.0.0 --port 0; want_rc 1; want_sentence; want_err 'insecure'
run serve --host example.org --port 0 --api-key x; want_rc 1; want_sentence; want_err 'address'
run serve --api-key '' --port 0; want_rc 1; want_sentence
run serve --api-key-file "$T/none" --port 0; want_rc 1; want_sentence
run serve --tls-cert x --port 0; want_rc 2; want_sentence
run serve --memory 12Q; want_rc 2; want_sentence; want_err "'12Q'"
run serve "$T/none.gguf" --port 0; want_rc 1; want_sentence; want_err 'none.gguf'
start
busy=${url##*:}
run serve --port "$busy"; want_rc 1; want_sentence; want_err 'in use'
stop
finish
