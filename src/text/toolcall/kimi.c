/* kimi.c - Moonshot's Kimi K2: what names a call, functions.NAME:INDEX, is its id as well. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_kimi = {
    .name = "kimi-k2",
    .form = QN_FORM_NAMED,
    .sign = {"<|tool_calls_section_begin|>", "<|tool_call_argument_begin|>", NULL},
    .open = "<|tool_calls_section_begin|>",
    .begin = "<|tool_call_begin|>",
    .mid = "<|tool_call_argument_begin|>",
    .end = "<|tool_call_end|>",
    .close = "<|tool_calls_section_end|>",
    .id = QN_ID_KIMI,
    .index_after = ":",
    .written = {.lead = "",
                .first = "<|tool_calls_section_begin|><|tool_call_begin|>functions.",
                .mid = ":\x01<|tool_call_argument_begin|>",
                .between = "<|tool_call_end|><|tool_call_begin|>functions.",
                .last = "<|tool_call_end|><|tool_calls_section_end|>"},
};
