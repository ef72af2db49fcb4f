/* convert.c - the conversion from end to end; see convert_int.h for the way. Nothing is written before everything that can
 * be refused has been looked at, but for what the numbers themselves may hold. */
#include "model/convert.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "model/convert_int.h"

enum { MAX_NOTES = 1 << 30 };

/* Renaming the output over a shard would destroy what it was made of. */
static bool apart(qn__cv *c)
{
    for (size_t i = 0; i < c->n_files; i++)
        if (qn__same_file(qn__st_name(c->files[i]), c->o->out))
            return qn__cv_fail(c, QN_EINVAL, c->o->out, "is one of the inputs; name another output");
    return true;
}

static qn_status run(qn__cv *c)
{
    if (qn__cv_source_open(c) && apart(c) && qn__cv_config_open(c) && qn__cv_sizes(c) && qn__cv_plan(c)) {
        c->status = qn__gguf_create(c->o->out, &c->w, c->err);
        if (c->status == QN_OK && qn__cv_meta(c) && qn__cv_vocab(c) && qn__cv_write(c)) {
            c->status = qn__gguf_commit(c->w, c->err);
            c->w = NULL;
        }
    }
    qn__gguf_abort(c->w);
    return c->status;
}

qn_status qn__convert(const qn_convert_options *o, qn_convert_result *result, qn_err *err)
{
    qn_err here = {0};
    qn_convert_result made = {0};
    qn__cv c = {.o = o, .result = &made, .err = &here};
    if (!o->in || !o->in[0] || !o->out || !o->out[0])
        return qn__fail(err, QN_EINVAL, "convert", "both a checkpoint folder and an output file are needed");
    if ((unsigned)o->type > QN_CONVERT_Q8_0)
        return qn__fail(err, QN_EINVAL, "convert", "the type %d is none of the known ones", (int)o->type);
    qn__arena_init(&c.arena, MAX_NOTES);
    qn_status s = run(&c);
    if (s == QN_OK) {
        (void)snprintf(made.architecture, sizeof made.architecture, "%s", c.family->arch);
        if (result)
            *result = made;
    } else {
        (void)qn__fail(err, s, here.where, "%s", here.what);
    }
    qn__cv_source_close(&c);
    qn_free(c.outs);
    qn__arena_free(&c.arena);
    return s;
}
