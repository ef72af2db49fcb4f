/* models.h - the models that are served: names, loading on demand, memory.
 *
 * A model is loaded when it is first asked for and stays until its memory is needed for another; one that is in use is never
 * closed. Two that ask for the same model at once wait for one load; a load that does not fit waits until those in use are free,
 * and not for ever.
 *
 * Steady work of one model must not keep another out: when somebody has waited for memory for patience_s, the models that are to
 * give way take nothing new. Their running work ends as it would, new requests wait in turn. The other is loaded, and then the same
 * holds the other way round. So that not all time goes into loading, a model serves for as long as its loading took before it has
 * to give way (if nobody uses it, half a second is enough). Among those who wait for memory, who came first is first. Where work goes on
 * and on, those who wait for the model that does it are let in after half of wait_s all the same. */
#ifndef QN_SERVICES_API_MODELS_H
#define QN_SERVICES_API_MODELS_H

#include <jansson.h>

#include "base/thread.h"
#include "quern.h"
#include "services/http/server.h"

typedef struct api_form api_form;

typedef enum api_model_state { API_MODEL_IDLE, API_MODEL_LOADING, API_MODEL_READY, API_MODEL_CLOSING } api_model_state;

typedef struct api_model {
    char *name;  /* what clients call it */
    char *alias; /* another name, or NULL */
    char *path;  /* NULL: the one in the library */
    int64_t modified; /* Unix time of the file */
    uint64_t file_bytes;
    api_model_state state;
    int users;
    uint64_t last_used; /* count of uses of all */
    double ready_at, idle_since; /* qn__now(): loaded; last used */
    double load_s;      /* what loading it took */
    double closed_at;   /* it takes nothing new since then; 0: it does */
    bool gives_way;     /* chosen, by the first who waits for memory */
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
    double patience_s; /* waited so long for memory: those that have it take nothing new. 0: 5; INFINITY: never */
} api_models_options;

/* On the stack of one who waits. */
typedef struct api_waiter {
    struct api_waiter *next;
    api_model *one;
    double since;
    bool let_in; /* holds it */
} api_waiter;

typedef struct api_models {
    api_models_options o;
    qn_lock lock;
    qn_cond changed;
    api_model *list;
    size_t n;
    uint64_t uses;
    uint64_t memory_used;
    api_waiter *waiting; /* by arrival */
    bool room;     /* for the first, when those that were chosen are gone */
    bool evicting; /* they are being closed */
    bool closing;  /* nothing is loaded any more */
    bool guessing; /* one is being loaded of which nobody knows yet what it needs: until then there is no room for more */
} api_models;

qn_status api_models_open(const api_models_options *o, api_models *out, qn_err *err);
/* Nothing is loaded any more: those who wait for it are refused. */
void api_models_stop(api_models *m);
void api_models_close(api_models *m);
/* The model of that name; NULL when none is. With one model every name means it. NULL name: the default. */
api_model *api_model_find(api_models *m, const char *name);
/* Load it if need be and hold it. Waits; not for a network thread. On a worker x is the request that it is for, else NULL. Errors: those of
 * opening a model, QN_EBUSY (waited for too long), QN_ECANCELLED (the client went). */
qn_status api_model_hold(api_models *m, api_model *one, http_exchange *x, qn_err *err);
/* Hold it if it is ready; does not count as use. */
bool api_model_hold_ready(api_models *m, api_model *one);
void api_forms_drop(api_model *m); /* forms.c */
void api_model_release(api_models *m, api_model *one);

#endif
