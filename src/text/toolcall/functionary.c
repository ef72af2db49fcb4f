/* functionary.c - MeetKai's Functionary: v3.1 <function=NAME>{...}</function>; v3.2 >>>NAME\n{...}, where text goes to `all`. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_functionary = {
    .name = "functionary-v3.1",
    .form = QN_FORM_NAMED,
    .sign = {"<function=", ">{", "</function>"},
    .begin = "<function=",
    .mid = ">",
    .end = "</function>",
    .written = {.lead = "", .first = "<function=", .mid = ">", .between = "</function><function=", .last = "</function>"},
};

const qn_dialect qn__dialect_functionary_recipient = {
    .name = "functionary-v3.2",
    .form = QN_FORM_RECIPIENT,
    .sign = {">>>", "\n{", NULL},
    .begin = ">>>",
    .mid = "\n",
    .written = {.lead = "", .first = ">>>", .mid = "\n", .between = ">>>", .last = ""},
};
