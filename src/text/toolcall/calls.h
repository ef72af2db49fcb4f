/* calls.h - the tools that a conversation offers, and how a model of its family calls them. Read-only once open. */
#ifndef QN_TEXT_TOOLCALL_CALLS_H
#define QN_TEXT_TOOLCALL_CALLS_H

#include <jansson.h>

#include "base/mem.h"
#include "text/chat.h"
#include "text/grammar.h"
#include "text/toolcall/dialect.h"

typedef struct qn_tool {
    const char *name;
    const json_t *schema; /* of the arguments; NULL: an object of anything */
} qn_tool;

typedef struct qn_calls {
    const qn_dialect *dialect;
    qn_written written;
    bool seen;  /* written comes from a template */
    bool answer; /* text is an answer of a given form: once begun, nothing in it is a marker */
    bool exact; /* output is held to `written` by a grammar: white space is what it says */
    qn_tool *tools;
    size_t n_tools;
    json_t *json; /* what the tools borrow from */
    qn_arena arena;
} qn_calls;

/* From OpenAI's array of {"type":"function","function":{...}}; {"name", "parameters"} alone is taken, too. Errors: QN_EFORMAT (where is
 * a JSON path), QN_ELIMIT, QN_ENOMEM. The dialect is still to be set. */
qn_status qn__calls_open(const char *tools_json, qn_calls **out, qn_err *err);
void qn__calls_close(qn_calls *c);
const qn_tool *qn__calls_find(const qn_calls *c, const char *name, size_t n);

/* Find the dialect that a template writes calls in, and how it spells it: a conversation with calls of made-up names is rendered and
 * looked at. A template that writes none is looked through for markers; without any, plain JSON. `name` not NULL: that dialect,
 * whatever the template writes. in: the tokens' texts and the date. Errors: QN_EUNSUPPORTED (no dialect of that name), QN_ENOMEM. */
typedef struct qn_probe {
    const qn_jinja *template; /* may be NULL */
    const char *source;       /* its text, or NULL */
    size_t n_source;
    qn_chat_input in; /* bos, eos, unk, pad, now, vars */
} qn_probe;
qn_status qn__calls_detect(qn_calls *c, const qn_probe *p, const char *name, qn_err *err);

/* What output has to match so that each call in it parses and conforms. Builds into `ir`, root and all; t may be NULL. */
typedef struct qn_calls_want {
    bool required;            /* a call, not text */
    bool single;              /* one at most */
    const char *only;         /* this tool; NULL: any */
    const qn_thinking *thinking;
    size_t n_thinking;
    qn_node answer;           /* has_answer: what text must be, instead of any */
    bool has_answer;
    int inside;               /* the prompt ends inside thinking[inside]; -1: it does not */
} qn_calls_want;
qn_status qn__calls_grammar(const qn_calls *c, const qn_calls_want *want, const qn_tokenizer *t, qn_ir *ir, qn_err *err);

/* Which types of value the schema lets an argument have: what text without quotes is to become. */
enum {
    QN_TYPE_STRING = 1, QN_TYPE_NUMBER = 2, QN_TYPE_BOOLEAN = 4, QN_TYPE_NULL = 8, QN_TYPE_ARRAY = 16, QN_TYPE_OBJECT = 32,
    QN_TYPE_ANY = 63
};
/* *known: the schema names this argument. */
unsigned qn__tool_types(const qn_tool *t, const char *key, size_t n, bool *known);
unsigned qn__tool_schema_types(const json_t *root, const json_t *s);
/* Does the schema let in arguments that it does not name? */
bool qn__tool_open_ended(const qn_tool *t);

#endif
