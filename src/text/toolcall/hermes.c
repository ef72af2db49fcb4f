/* hermes.c - <tool_call>{"name": ..., "arguments": {...}}</tool_call>: Hermes 2 and 3, Qwen2.5, Qwen3, and many after them. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_hermes = {
    .name = "hermes",
    .form = QN_FORM_OBJECT,
    .sign = {"<tool_call>", "{", "</tool_call>"},
    .begin = "<tool_call>",
    .end = "</tool_call>",
    .written = {.lead = "\n",
                .first = "<tool_call>\n{\"name\": \"",
                .mid = "\", \"arguments\": ",
                .between = "}\n</tool_call>\n<tool_call>\n{\"name\": \"",
                .last = "}\n</tool_call>"},
};
