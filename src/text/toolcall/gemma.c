/* gemma.c - Gemma 4: <|tool_call>call:NAME{key:<|"|>text<|"|>,other:[1,2]}<tool_call|>. Keys are bare and in order of the alphabet;
 * strings stand between tokens of their own, as they are. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_gemma = {
    .name = "gemma4",
    .form = QN_FORM_TERSE,
    .sign = {"<|tool_call>", "call:", "<tool_call|>"},
    .begin = "<|tool_call>",
    .mid = "{",
    .end = "<tool_call|>",
    .close = "<|tool_response>", /* where the results would begin */
    .written = {.lead = "",
                .first = "<|tool_call>call:",
                .mid = "",
                .between = "<tool_call|><|tool_call>call:",
                .last = "<tool_call|>",
                .yes = "true",
                .no = "false",
                .null = "None",
                .compact = true},
};
