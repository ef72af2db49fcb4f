#!/bin/sh
# quern inspect and quern ledger: the report in its forms, what is kept, looking back; a server seen from outside.
. "$(dirname "$0")/common"
L=$T/ledger.db

run inspect --ctx 256 -n 16 -r 2 --depths 2 --ledger "$L" --html "$T/a.html" --markdown "$T/a.md"
want_rc 0; no_err; want_out '^Inspection of embedded'; want_out 'first touch and repacking'; want_out 'No longer fits beyond'
want "no page" grep -q '^<!doctype html>' "$T/a.html"
want "the page is not ended" grep -q '^</html>' "$T/a.html"
want "no Markdown" grep -q '^# Inspection of embedded' "$T/a.md"
planted want "no such thing" grep -q 'nothing like it' "$T/a.md"
run inspect --ctx 256 -n 16 -r 1 --no-depths --ledger "$L" --json; want_rc 0; no_err; want_out '"kind": "inspect"'; want_out '"gaps_ns"'
# energy of GPUs: by a library that stands in for that of their driver
QUERN_NVML= && export QUERN_NVML
run inspect --ctx 256 -n 16 -r 1 --no-depths --ledger "$L" --json; want_rc 0; want_out '"figure": "energy of GPUs \(NVML\)"'
if command -v cc >/dev/null 2>&1; then
  cat >"$T/nvml.c" <<'E'
static unsigned long long used;
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **p) { (void)i; *p = &used; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *p, unsigned long long *e) { (void)p; *e = used += 4000; return 0; }
E
  cc -shared -fPIC -o "$T/nvml.so" "$T/nvml.c" && QUERN_NVML=$T/nvml.so
  run inspect --ctx 256 -n 16 -r 1 --no-depths --ledger "$L" --json; want_rc 0; want_out '"source": "NVML"'; want_out '"what": "2 GPUs, '
  planted want_out 'energy of GPUs \(NVML\)'
  run inspect --ctx 256 -n 16 -r 1 --no-depths --ledger "$L"; want_rc 0; want_out '^Energy by NVML: [0-9.e+]+ J per token \(2 GPUs'
else
  echo "skipped: cc is not there: no library to stand in for NVML"
fi
QUERN_NVML=
run inspect --ctx 256 -p 250 --ledger "$L"; want_rc 1; want_sentence; want_err 250; want_err 256
run inspect --depths 3 --no-depths; want_rc 2; want_sentence
run inspect --html "$T/x" --markdown "$T/x"; want_rc 2; want_sentence; want_err 'same file'
run inspect --endpoint http://127.0.0.1:1/v1; want_rc 2; want_sentence; want_err '--model'
run inspect embedded --endpoint http://127.0.0.1:1/v1 --model m; want_rc 2; want_sentence
run inspect --model m; want_rc 2; want_sentence; want_err 'belongs to --endpoint'
run inspect --endpoint http://127.0.0.1:1/v1 --model m --ledger "$L"; want_rc 1; want_sentence; want_err 'no answer'
run inspect nowhere.gguf --ledger "$L"; want_rc 1; want_sentence; want_err nowhere

run ledger ls --ledger "$L"; want_rc 0; no_err; want_out '^ +1  inspect .* finished .*embedded'; want_out 'not finished'
run ledger show 1 --ledger "$L"; want_rc 0; no_err; want_out '^Inspection of embedded'
run ledger show 2 --ledger "$L" --json; want_rc 0; want_out '"kind": ?"inspect"'
run ledger show 1 --samples --ledger "$L"; want_rc 0; want_out '"item":"cold"'
run ledger page 1 --ledger "$L" --html "$T/b.html"; want_rc 0; no_out; want_same "$T/a.html" "$T/b.html"
run ledger show 2 --ledger "$L" --json; cp "$T/out" "$T/r.json"
run ledger page "$T/r.json" --html "$T/d.html"; want_rc 0; no_out; want "no page of a file" grep -q '^</html>' "$T/d.html"
echo '{"kind":"nothing"}' >"$T/r.json"; run ledger page "$T/r.json" --html "$T/e.html"; want_rc 1; want_sentence; want_err nothing
want "half a page" [ ! -e "$T/e.html" ]
run ledger page 1 --ledger "$L"; want_rc 2; want_sentence; want_err '--html'
run ledger page 1 --ledger "$L" --html "$T/no/such/b.html"; want_rc 1; want_sentence
run ledger rm 1 --ledger "$L"; want_rc 0; no_out
run ledger show 1 --ledger "$L"; want_rc 1; want_sentence; want_err 'no run 1'
run ledger shwo 1; want_rc 2; want_err 'did you mean show'
for v in '' 0 -1 x 1x; do run ledger show "$v" --ledger "$L"; want_rc 2; want_sentence; done
run ledger show --ledger "$L"; want_rc 2; want_sentence
echo no database >"$T/not"; run ledger ls --ledger "$T/not"; want_rc 1; want_sentence

"$Q" serve --port 0 --quiet >"$T/serve.out" 2>"$T/serve.err" </dev/null &
pid=$!
trap 'kill "$pid" 2>/dev/null; rm -rf "$T"' EXIT
url=
for i in $(seq 200); do
  url=$(sed -n 's/^quern serves on //p' "$T/serve.err")
  [ -z "$url" ] || break
  sleep 0.1
done
run inspect --endpoint "$url/v1" --model embedded -p 64 -n 24 -r 2 --ledger "$L" --html "$T/c.html"
want_rc 0; no_err; want_out 'Seen from outside'; want_out 'a server does not tell it'
finish
