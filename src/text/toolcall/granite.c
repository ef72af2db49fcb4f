/* granite.c - IBM Granite 3: <|tool_call|> and an array of objects. (Granite 4 writes as Hermes does.) */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_granite = {
    .name = "granite",
    .form = QN_FORM_OBJECT,
    .sign = {"<|tool_call|>", "[", "\"arguments\""},
    .open = "<|tool_call|>",
    .other = "<tool_call>",
    .array = true,
    .written = {.lead = "",
                .first = "<|tool_call|>[{\"name\": \"",
                .mid = "\", \"arguments\": ",
                .between = "}, {\"name\": \"",
                .last = "}]"},
};
