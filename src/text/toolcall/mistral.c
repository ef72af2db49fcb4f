/* mistral.c - [TOOL_CALLS], in both forms: an array of objects (Nemo, Small 2409) and NAME[ARGS]{...}, with an id between in some
 * releases (Small 3.2), without in others (Devstral, Ministral). */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_mistral = {
    .name = "mistral",
    .form = QN_FORM_NAMED,
    .sign = {"[TOOL_CALLS]", "[ARGS]", NULL},
    .begin = "[TOOL_CALLS]",
    .mid = "[ARGS]",
    .id = QN_ID_ALNUM9,
    .written = {.lead = "", .first = "[TOOL_CALLS]", .mid = "[ARGS]", .between = "[TOOL_CALLS]", .last = ""},
};

const qn_dialect qn__dialect_mistral_array = {
    .name = "mistral-array",
    .form = QN_FORM_OBJECT,
    .sign = {"[TOOL_CALLS]", "{\"name\":", NULL},
    .open = "[TOOL_CALLS]",
    .array = true,
    .id = QN_ID_ALNUM9,
    .written = {.lead = "",
                .first = "[TOOL_CALLS][{\"name\": \"",
                .mid = "\", \"arguments\": ",
                .between = ", \"id\": \"\x01\"}, {\"name\": \"",
                .last = ", \"id\": \"\x01\"}]"},
};
