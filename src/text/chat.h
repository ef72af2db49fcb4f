/* chat.h - a conversation to a prompt: JSON in, the template's bytes out.
 *
 * Owns the canonical form of a conversation before rendering: call arguments given as a JSON string become objects (and
 * text again where the template fails with objects), `tools` and `documents` default to none. A message without content
 * stays without: templates ask whether it is defined. */
#ifndef QN_TEXT_CHAT_H
#define QN_TEXT_CHAT_H

#include "text/jinja.h"

typedef struct qn_chat_input {
    const char *messages_json; /* array, or object with "messages" and optionally "tools" and other variables */
    const char *tools_json;    /* or NULL */
    const qn_var *vars;        /* win over everything below */
    size_t n_vars;
    const char *bos, *eos, *unk, *pad; /* token texts, NULL: variable not set */
    bool add_generation_prompt;
    int64_t now;
} qn_chat_input;

qn_status qn__chat_render(const qn_jinja *t, const qn_chat_input *in, char **out, size_t *n, qn_err *err);
/* "YYYY-MM-DD" -> 12:00 UTC of that day. */
qn_status qn__chat_date(const char *date, int64_t *now, qn_err *err);

#endif
