/* harmony.c - gpt-oss: messages with channels. Reasoning is the channel `analysis`, an answer `final`, a call a message to
 * functions.NAME; the recipient stands before or behind the channel. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_harmony = {
    .name = "harmony",
    .form = QN_FORM_CHANNELS,
    .sign = {"to=functions.", "<|message|>", NULL},
    .begin = "to=functions.",
    .mid = "<|message|>",
    .end = "<|call|>",
    .written = {.lead = "",
                .first = " to=functions.",
                .mid = "<|channel|>commentary json<|message|>",
                .between = NULL,
                .last = ""},
};
