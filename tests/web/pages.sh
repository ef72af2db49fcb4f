#!/bin/sh
# Pages of every kind of report in headless Chromium (pages.mjs says what is looked at). Reports: tests/web/*.json, and a fresh
# inspection. SHOTS=DIR keeps pictures of every view.
. "$(dirname "$0")/../cli/common"

here=$(cd "$(dirname "$0")" && pwd)
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || { echo "skipped: chromium is not installed (scripts/deps --web)"; exit 77; }
command -v node >/dev/null 2>&1 || { echo "skipped: node is not installed (scripts/deps --web)"; exit 77; }
look() { timeout 280 node "$here/pages.mjs" "$chromium" "$@" >"$T/said" 2>&1; }

run inspect --ctx 256 -n 48 -r 2 --depths 3 --ledger "$T/ledger.db" --html "$T/inspect-now.html"; want_rc 0
for r in "$here"/*.json; do
  name=${r##*/}
  run ledger page "$r" --html "$T/${name%.json}.html"; want_rc 0
done
what="pages"; : >"$T/err"
look "$T"/*.html || { wrong "a page is not good"; cat "$T/said"; }
cat "$T/said"

# What it must find: each fault in a page of its own, and by what is said of it.
page() { printf '<!doctype html><html lang=en><head><title>t</title></head><body style="background:#fff;color:#111"><h1>t</h1>%s</body></html>\n' "$2" >"$T/bad-$1.html"; }
page console '<script>console.log(1)</script>'
page wide '<p style="width:500px">x</p>'
page faint '<p style="color:#aaa">x</p>'
page small '<p style="font-size:8px">x</p>'
page fetch '<img src="other.png" alt="">'
page light '<p>always light</p>'
page drawing '<svg role="img"></svg>'
SHOTS= look "$T"/bad-*.html && wrong "planted faults were not found"
what="planted faults"
found() { grep -q "^bad-$1.html: $2" "$T/said" || wrong "$1 was not found"; }
found console 'console.log'; found wide '360: is [0-9]* wide in 360'; found faint '360: contrast 2'; found small '360: 8 px'
found fetch 'fetches file:.*other.png'; found light '360-dark: the page is light'; found drawing '360: a drawing has no name'
finish
