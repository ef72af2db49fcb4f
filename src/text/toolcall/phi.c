/* phi.c - Phi-4-mini: an array of objects between <|tool_call|> and <|/tool_call|>. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_phi4 = {
    .name = "phi4",
    .form = QN_FORM_OBJECT,
    .sign = {"<|tool_call|>", "[", "<|/tool_call|>"},
    .open = "<|tool_call|>",
    .close = "<|/tool_call|>",
    .array = true,
    .written = {.lead = "",
                .first = "<|tool_call|>[{\"name\": \"",
                .mid = "\", \"arguments\": ",
                .between = "}, {\"name\": \"",
                .last = "}]<|/tool_call|>"},
};
