/* models.h - the models that are served: names, loading on demand, memory.
 *
 * A model is loaded when it is first asked for and stays until its memory is needed for another; one that is in use is never
 * closed. Two that ask for the same model at once wait for one load; a load that does not fit waits until those in use are free,
 * and not for ever. */
#ifndef QN_SERVICES_API_MODELS_H
#define QN_SERVICES_API_MODELS_H

#include <jansson.h>

#include "base/thread.h"
#include "quern.h"

typedef struct api_form api_form;

typedef enum api_model_state { API_MODEL_IDLE, API_MODEL_LOADING, API_MODEL_READY } api_model_state;

typedef struct api_model {
    char *name;  /* what clients call it */
    char *alias; /* another name, or NULL */
    char *path;  /* NULL: the one in the library */
    int64_t modified; /* Unix time of the file */
    uint64_t file_bytes;
    api_model_state state;
    int users;
    uint64_t last_used; /* count of uses of all */
    uint64_t loads;
    /* READY; read by holders, and by others under lock: */
    qn_model *model;
    qn_engine *engine;
    qn_scheduler *scheduler;
    qn_model_info info;
    qn_engine_info engine_info;
    json_t *report;  /* qn_model_report */
    int32_t fim_pre, fim_suf, fim_mid; /* tokens around a gap; -1: none */
    uint64_t memory; /* what it is taken to need */
    qn_lock forms_lock;
    api_form *forms; /* forms.c: tools and grammars that were used last */
    qn_lock cache_lock;
    qn_cache_stats cache; /* as it was when an answer ended last */
} api_model;

typedef struct api_models_options {
    const char *const *paths; /* first: the default */
    size_t n_paths;
    qn_engine_options engine;
    qn_scheduler_options scheduler;
    uint64_t memory;  /* budget of all together; 0: none */
    double wait_s;    /* for memory, or for a load; 0: 120 */
} api_models_options;

typedef struct api_models {
    api_models_options o;
    qn_lock lock;
    qn_cond changed;
    api_model *list;
    size_t n;
    uint64_t uses;
    uint64_t memory_used;
    bool closing;
} api_models;

qn_status api_models_open(const api_models_options *o, api_models *out, qn_err *err);
/* Nothing is loaded any more: those who wait for it are refused. */
void api_models_stop(api_models *m);
void api_models_close(api_models *m);
/* The model of that name; NULL when none is. With one model every name means it. NULL name: the default. */
api_model *api_model_find(api_models *m, const char *name);
/* Load it if need be and hold it. Waits; not for a network thread. */
qn_status api_model_hold(api_models *m, api_model *one, qn_err *err);
/* Hold it if it is ready; does not count as use. */
bool api_model_hold_ready(api_models *m, api_model *one);
void api_forms_drop(api_model *m); /* forms.c */
void api_model_release(api_models *m, api_model *one);

#endif
