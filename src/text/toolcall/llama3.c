/* llama3.c - Llama 3.1 to 3.3: the whole message is {"name": ..., "parameters": {...}}, or follows <|python_tag|>. Without a marker a
 * message is a call only if it begins so and names a tool that there is. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_llama3 = {
    .name = "llama3",
    .form = QN_FORM_OBJECT,
    .sign = {"{\"name\": \"", "\"parameters\": ", NULL},
    .bare = true,
    .other = "<|python_tag|>",
    .written = {.lead = "", .first = "{\"name\": \"", .mid = "\", \"parameters\": ", .between = NULL, .last = "}"},
};

const qn_dialect qn__dialect_llama3_python = {
    .name = "llama3-python-tag",
    .form = QN_FORM_OBJECT,
    .sign = {"<|python_tag|>", "{\"name\": \"", "\"parameters\": "},
    .begin = "<|python_tag|>",
    .written = {.lead = "",
                .first = "<|python_tag|>{\"name\": \"",
                .mid = "\", \"parameters\": ",
                .between = NULL,
                .last = "}"},
};
