/* minimax.c - MiniMax-M2: <invoke name="NAME"><parameter name="KEY">VALUE</parameter></invoke> inside <minimax:tool_call>. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_minimax = {
    .name = "minimax-m2",
    .form = QN_FORM_PARAMS,
    .sign = {"<minimax:tool_call>", "<invoke name=\"", "</invoke>"},
    .open = "<minimax:tool_call>",
    .begin = "<invoke name=\"",
    .mid = "\">",
    .end = "</invoke>",
    .close = "</minimax:tool_call>",
    .key_open = "<parameter name=\"",
    .key_mid = "\">",
    .value_close = "</parameter>",
    .written = {.lead = "\n",
                .first = "<minimax:tool_call>\n<invoke name=\"",
                .mid = "\">\n",
                .between = "</invoke>\n<invoke name=\"",
                .last = "</invoke>\n</minimax:tool_call>",
                .key_open = "<parameter name=\"",
                .key_close = "\">",
                .value_close = "</parameter>\n",
                .yes = "true",
                .no = "false",
                .null = "null"},
};
