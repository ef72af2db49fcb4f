/* subject.h - whom a probe asks: a model in this process, a server somewhere, or (in tests) a script whose faults are known. */
#ifndef QN_SERVICES_PROBE_SUBJECT_H
#define QN_SERVICES_PROBE_SUBJECT_H

#include "base/str.h"

typedef struct qn_question {
    const char *messages_json; /* a chat; or */
    const char *prompt;        /* text to go on with, */
    const char *suffix;        /* up to this one: fill in the middle; NULL: just on */
    const char *tools_json;    /* offered in a chat, or NULL. Messages may hold tool_calls and results, as OpenAI writes them */
    qn_tool_choice tool_choice;
    const char *tool_name;     /* QN_TOOLS_NAMED */
    bool unconstrained;        /* calls are not held to their schemas, where the subject could */
    const char *schema_json;   /* what the text must conform to (JSON Schema), or NULL. Not together with tools */
    const char *id;            /* for scripted subjects: what is asked */
    float temperature, top_p;  /* 0: greedy; top_p 0 counts as 1 */
    uint64_t seed;
    int32_t max_tokens;
    double deadline_s;         /* from asking on; 0: none */
    const char *const *stop;
    size_t n_stop;
} qn_question;

typedef struct qn_answer {
    qn_err err;             /* code QN_OK: there is an answer */
    qn_buf text, reasoning;
    char *calls_json;       /* [{"name","arguments"}], arguments as text; NULL: none */
    qn_buf raw;             /* with tools: the output as it was sampled, markers and all; empty where a server does not tell */
    bool malformed;         /* a call began and cannot be read: cut off, or its arguments are no JSON. It is not among the calls */
    qn_end_reason reason;
    int32_t prompt_tokens, cached_tokens, generated_tokens; /* -1: not known */
    double first_s, total_s; /* from asking to the first token and to the end */
    double *token_s;         /* when each piece of text came; n_token_s of them */
    size_t n_token_s, cap_token_s;
} qn_answer;

typedef struct qn_subject qn_subject;
struct qn_subject {
    /* Answer n questions; they may be worked on together, which changes nothing in the answers. a[n] is zeroed before; what it gets is
     * freed by qn__answer_free. False: keep_on said no; answers may be missing. */
    bool (*ask)(qn_subject *s, const qn_question *q, size_t n, qn_answer *a);
    void (*close)(qn_subject *s);
    /* How many tokens the subject's own tokenizer makes of text[n] (no BOS, control tokens as text); -1: it cannot be known. NULL: never. */
    int64_t (*count)(qn_subject *s, const char *text, size_t n);
    char name[128], fingerprint[64];
    bool chats;              /* it has a chat template (or is a chat endpoint) */
    int32_t n_ctx;           /* 0: not known */
    size_t at_once;          /* questions that are best asked together */
    bool (*keep_on)(void *arg);
    void *arg;
};

void qn__answer_free(qn_answer *a);
/* What a model is called in reports, and what tells it from others. */
typedef struct qn_model_names {
    char name[128], fingerprint[64];
} qn_model_names;
qn_status qn__model_names(const qn_model *m, qn_model_names *out, qn_err *err);
/* What must stay before it: n_threads, n_ctx of the engine as in qn_engine_options; cpu may be NULL. */
qn_status qn__subject_local(const char *path, const qn_engine_options *o, qn_subject **out, qn_err *err);
/* An OpenAI-compatible server: url is its base ("http://127.0.0.1:8080/v1"), model the name it knows, key NULL or what it wants as
 * bearer. Nothing is sent before the first question. */
qn_status qn__subject_remote(const char *url, const char *model, const char *key, qn_subject **out, qn_err *err);
void qn__subject_close(qn_subject *s);

#endif
