/* model.h - what a qn_model holds. Private to the engine floor. */
#ifndef QN_ENGINE_MODEL_H
#define QN_ENGINE_MODEL_H

#include "engine/tree.h"
#include "formats/gguf.h"
#include "model/decoder.h"
#include "text/jinja.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

/* Opening succeeds where a part that is not always needed is broken: a template that does not parse must not prevent `show`
 * or raw generation, a vocabulary that does not load must not prevent logits. Such a part is NULL and its error is kept for
 * whoever asks for it.
 *
 *                 g    tokenizer            template              decoder
 *   HEADER        yes  -                    -                     -
 *   VOCAB         yes  yes                  yes, or its error     -
 *   FULL          yes  yes, or its error    yes, or its error     yes
 */
struct qn_model {
    qn_gguf *g;
    qn_tokenizer *tokenizer;
    qn_err tokenizer_err;
    qn_jinja *template;  /* NULL with template_err.code 0: the file has none */
    qn_err template_err;
    qn_decoder *decoder;
    qn_open how;
    char *file, *architecture, *name;
    qn_model_info info;
};

/* A terminated copy fit for a terminal: malformed UTF-8 and control characters become '?'. NULL when out of memory. */
char *qn__printable(qn_slice s);
/* The file's chat template; p NULL when there is none. */
qn_slice qn__model_template(const qn_model *m);

/* What tells this file from others: see fingerprint.c. */
qn_name qn__model_fingerprint(const qn_model *m);

/* grammar.c: what a text of that kind describes, built into ir. -1: failed, for which err says why if the IR does not. */
qn_node qn__grammar_source(qn_ir *ir, qn_grammar_kind kind, const char *text, size_t n, qn_err *err);

#endif
