/* json.c - the fallback, for templates that do not write calls: the whole message is {"name": ..., "arguments": {...}}, which is what
 * models that were told nothing else tend to write. It is a call only if it names a tool that there is. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_json = {
    .name = "json",
    .form = QN_FORM_OBJECT,
    .sign = {"{\"name\": \"", "\"arguments\": ", NULL},
    .bare = true,
    .other = "<tool_call>",
    .written = {.lead = "", .first = "{\"name\": \"", .mid = "\", \"arguments\": ", .between = NULL, .last = "}"},
};
