#!/bin/sh
# The chat at a pseudo-terminal: editing, commands, several lines, Ctrl-C, history, the terminal's state afterwards.
. "$(dirname "$0")/common"
command -v expect >/dev/null || { echo "skipped: expect is not installed"; exit 77; }
XDG_STATE_HOME=$T/state HOME=$T TERM=xterm
export Q T XDG_STATE_HOME HOME TERM
what="the chat"
: >"$T/err"
timeout 120 expect -f "$(dirname "$0")/chat.exp" >"$T/log" 2>&1 || { wrong "$(tail -n 3 "$T/log")"; cat -v "$T/log"; }
# The planted fault: a dialogue that waits for what is never said must fail.
if PLANTED=1 timeout 60 expect -f "$(dirname "$0")/chat.exp" >/dev/null 2>&1; then wrong "the planted fault was not found"; fi
want "no history was kept" grep -q Hello "$T/state/quern/history"
want "others may read the history" [ "$(stat -c %a "$T/state/quern/history")" = 600 ]
if command -v jq >/dev/null; then
  want "the saved conversation is not what was said" jq -e '.messages[0].role == "system" and (.messages[1].content == "first\nsecond") and (.messages | length) == 3' "$T/talk.json" >/dev/null
  want "a saved conversation does not render" "$Q" render embedded --messages "$T/talk.json" >/dev/null
fi
finish
