/* arrays.c - families that write an array (or one object) of their own between markers: Apertus, Apriel, GigaChat, Firefunction. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_apertus = {
    .name = "apertus",
    .form = QN_FORM_OBJECT,
    .sign = {"<|tools_prefix|>", "[{\"", "<|tools_suffix|>"},
    .open = "<|tools_prefix|>",
    .close = "<|tools_suffix|>",
    .array = true,
    .name_is_key = true,
    .written = {.lead = "",
                .first = "<|tools_prefix|>[{\"",
                .mid = "\": ",
                .between = "}, {\"",
                .last = "}]<|tools_suffix|>"},
};

const qn_dialect qn__dialect_apriel = {
    .name = "apriel",
    .form = QN_FORM_OBJECT,
    .sign = {"<tool_calls>", "[{\"name\"", "</tool_calls>"},
    .open = "<tool_calls>",
    .close = "</tool_calls>",
    .array = true,
    .id = QN_ID_ALNUM9,
    .written = {.lead = "\n",
                .first = "<tool_calls>[{\"name\": \"",
                .mid = "\", \"arguments\": ",
                .between = ", \"id\": \"\x01\"}, {\"name\": \"",
                .last = ", \"id\": \"\x01\"}]</tool_calls>"},
};

const qn_dialect qn__dialect_gigachat = {
    .name = "gigachat",
    .form = QN_FORM_OBJECT,
    .sign = {"<|function_call|>", "{\"name\"", NULL},
    .begin = "<|function_call|>",
    .written = {.lead = "",
                .first = "<|function_call|>{\"name\": \"",
                .mid = "\", \"arguments\": ",
                .between = NULL,
                .last = "}"},
};

const qn_dialect qn__dialect_gigachat_role = {
    .name = "gigachat3",
    .form = QN_FORM_OBJECT,
    .sign = {"function call<|role_sep|>", "{\"name\"", NULL},
    .begin = "<|message_sep|>\n\nfunction call<|role_sep|>",
    .written = {.lead = "",
                .first = "<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"",
                .mid = "\", \"arguments\": ",
                .between = NULL,
                .last = "}"},
};

const qn_dialect qn__dialect_firefunction = {
    .name = "firefunction",
    .form = QN_FORM_OBJECT,
    .sign = {"functools[", "{\"name\"", NULL},
    .open = "functools",
    .array = true,
    .written = {.lead = " ",
                .first = "functools[{\"name\": \"",
                .mid = "\", \"arguments\": ",
                .between = "}, {\"name\": \"",
                .last = "}]"},
};
