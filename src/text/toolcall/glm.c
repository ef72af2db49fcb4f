/* glm.c - GLM 4.5 and later: <tool_call>NAME, then <arg_key>KEY</arg_key><arg_value>VALUE</arg_value>, with or without newlines. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_glm = {
    .name = "glm",
    .form = QN_FORM_PARAMS,
    .sign = {"<tool_call>", "<arg_key>", "</arg_value>"},
    .begin = "<tool_call>",
    .mid = "",
    .end = "</tool_call>",
    .key_open = "<arg_key>",
    .key_mid = "</arg_key>",
    .key_close = "<arg_value>",
    .value_close = "</arg_value>",
    .written = {.lead = "\n",
                .first = "<tool_call>",
                .mid = "\n",
                .between = "</tool_call>\n<tool_call>",
                .last = "</tool_call>",
                .key_open = "<arg_key>",
                .key_close = "</arg_key>\n<arg_value>",
                .value_close = "</arg_value>\n",
                .yes = "true",
                .no = "false",
                .null = "null"},
};
