/* jinja.h - a Jinja2 interpreter for chat templates.
 *
 * What: the subset of Jinja2 3.1 that chat templates use, with the settings of the transformers library: trim_blocks,
 * lstrip_blocks, loop controls (break, continue), the `generation` block, `tojson` without ASCII escapes or HTML
 * escapes, raise_exception(), strftime_now(). Autoescape is off. Refuses: anything that takes more than the given
 * steps, depth or memory: templates come with models, and models come from strangers. No access to files, environment
 * or anything else but the variables given. Reference: the Jinja2 template designer documentation; Python's
 * str/list/dict methods where templates call them. */
#ifndef QN_TEXT_JINJA_H
#define QN_TEXT_JINJA_H

#include <jansson.h>

#include "base/str.h"

typedef struct qn_jinja qn_jinja;

typedef struct qn_jinja_limits {
    uint64_t steps; /* expression and statement evaluations; 0: 20,000,000 */
    uint32_t depth; /* nesting of syntax, calls and values; 0: 200 */
    size_t memory;  /* bytes held by one rendering, output included; 0: 256 MiB */
} qn_jinja_limits;

/* Parse. Errors: QN_EFORMAT with the line; QN_ELIMIT; QN_ENOMEM. The text is copied. The template may be rendered from
 * several threads at once. */
qn_status qn__jinja_parse(const char *text, size_t n, const qn_jinja_limits *limits, qn_jinja **out, qn_err *err);
void qn__jinja_free(qn_jinja *t);

/* Render with the members of `vars` (a JSON object; key order is dict order) as the global variables. `now`: seconds
 * since the epoch, UTC, for strftime_now. *out is terminated and from qn__alloc. Errors: QN_ERAISED (`what` is the
 * template's own message), QN_EFORMAT (type errors, undefined calls; where = "template line N"), QN_ELIMIT, QN_ENOMEM.
 */
qn_status qn__jinja_render(const qn_jinja *t, const json_t *vars, int64_t now, char **out, size_t *n, qn_err *err);

#endif
