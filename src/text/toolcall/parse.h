/* parse.h - takes a model's output apart as it streams: reasoning, text, calls with their arguments as JSON text. */
#ifndef QN_TEXT_TOOLCALL_PARSE_H
#define QN_TEXT_TOOLCALL_PARSE_H

#include "text/toolcall/calls.h"

typedef struct qn_parse qn_parse;
typedef void qn_part_fn(void *arg, const qn_part *p);

/* calls (NULL: only reasoning is told apart) must outlive it; the strings of `thinking`, too. `prompt`: whether it begins inside its
 * reasoning, and inside which header, is seen from its end. */
qn_status qn__parse_open(const qn_calls *calls, const qn_dialect *dialect, const qn_thinking *thinking, size_t n_thinking,
                         const char *prompt, size_t n_prompt, qn_parse **out, qn_err *err);
void qn__parse_close(qn_parse *p);
qn_status qn__parse_put(qn_parse *p, const char *text, size_t n, qn_part_fn *part, void *arg, qn_err *err);
qn_status qn__parse_end(qn_parse *p, qn_part_fn *part, void *arg, qn_err *err);
/* Which of `thinking` the end of a prompt opened; -1: none. */
int qn__thinking_open_in(const qn_thinking *thinking, size_t n, const char *prompt, size_t n_prompt);

#endif
