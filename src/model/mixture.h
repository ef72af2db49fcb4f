/* mixture.h - which type each tensor of a model gets in a file named Q4_K_M, Q8_0, ... */
#ifndef QN_MODEL_MIXTURE_H
#define QN_MODEL_MIXTURE_H

#include "formats/gguf.h"

typedef struct qn_mixture qn_mixture;

typedef struct qn_planned {
    const qn_gguf_tensor *tensor; /* into the file */
    qn_type type;
    bool fallback; /* the mixture's own type does not divide this tensor's rows */
} qn_planned;

/* In either case of letters; NULL when there is none. */
const qn_mixture *qn__mixture_find(const char *name);
/* The k-th name, NULL from the end on. */
const char *qn__mixture_name(size_t k);
/* general.file_type of such files. */
uint32_t qn__mixture_file_type(const qn_mixture *m);

/* All tensors of g in the order in which files of this kind hold them (those outside layers by name, then layer by
 * layer by name), each with its type; released with qn_free. Tensors that are not to be quantised keep theirs.
 * `weighted`: there is an importance matrix. Errors: QN_EFORMAT (the architecture's numbers are missing or absurd),
 * QN_ENOMEM. */
qn_status qn__mixture_plan(const qn_mixture *m, const qn_gguf *g, bool weighted, qn_planned **out, qn_err *err);

/* What the rules ask about a model. */
typedef struct qn_mixture_model {
    int64_t layers, experts, shared; /* shared: query heads per key-value head */
    bool tied;                       /* token_embd is the output matrix too */
    bool weighted;                   /* there is an importance matrix */
    bool seventy;                    /* the 70B of 80 layers, whose values are an eighth of its queries */
} qn_mixture_model;

/* The same for tensors that are in no file yet: plan[i].tensor says name, dims and the type in case it stays; the plan
 * is sorted and each tensor's type set. */
void qn__mixture_assign(const qn_mixture *m, const qn_mixture_model *model, qn_planned *plan, size_t n);

#endif
