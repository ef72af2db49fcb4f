/* dialect.h - how a family of models writes reasoning and calls of tools: one row of constants per dialect.
 *
 * A call is written as
 *
 *     open [ begin NAME mid ARGUMENTS end   sep   begin NAME mid ARGUMENTS end ] close
 *
 * where ARGUMENTS is a JSON object (OBJECT, NAMED) or keys and values between tags (PARAMS). What stands in `qn_dialect` are
 * the markers without the white space around them: the parser takes any. How a template spells it to the byte, qn_written
 * says: the row's own spelling, or what the probe of a template saw. In it QN_ID_HERE stands where a call's id does. */
#ifndef QN_TEXT_TOOLCALL_DIALECT_H
#define QN_TEXT_TOOLCALL_DIALECT_H

#include "base/str.h"

#define QN_ID_HERE '\x01'

typedef enum qn_call_form {
    QN_FORM_OBJECT,   /* {"name": NAME, "arguments": {...}} between markers */
    QN_FORM_NAMED,    /* NAME marker {...} */
    QN_FORM_PARAMS,   /* NAME, then each argument between tags of its own */
    QN_FORM_CHANNELS, /* messages with headers: <|channel|>commentary to=functions.NAME<|message|>{...} */
    QN_FORM_TERSE,    /* NAME{key:value,...}: JSON but for bare keys and quotes of its own */
    QN_FORM_RECIPIENT /* >>>NAME\n{...} and >>>all\ntext */
} qn_call_form;

typedef enum qn_id_form {
    QN_ID_NONE,
    QN_ID_INDEX, /* 0, 1, ...: says nothing outside of its turn and is not handed on */
    QN_ID_KIMI,  /* functions.NAME:INDEX is the id */
    QN_ID_ALNUM9 /* nine letters and digits */
} qn_id_form;

/* The exact spelling, in pieces between what varies:
 *
 *   first NAME mid ARGUMENTS (between NAME mid ARGUMENTS)* last          ARGUMENTS of PARAMS: (key_open KEY key_close VALUE
 *                                                                                              value_close)*  */
typedef struct qn_written {
    const char *lead;    /* between text and the first call */
    const char *first, *mid, *last;
    const char *between; /* NULL: there is never a second call */
    const char *key_open, *key_close, *value_close;
    const char *key_close_json; /* PARAMS: when the value is no string; NULL: as for strings */
    const char *yes, *no, *null; /* PARAMS: how these values are written */
    bool compact;                /* arguments without spaces after ':' and ',' */
} qn_written;

typedef struct qn_dialect {
    const char *name;
    qn_call_form form;
    const char *sign[3];  /* a rendered call is of this dialect when these follow one another in it; ends with NULL */
    const char *open;     /* begins the calls; NULL when each call has its own opening only */
    const char *begin;    /* begins a call */
    const char *other;    /* what models write instead of open or begin at times; or NULL */
    const char *mid;      /* between name and arguments */
    const char *end;      /* ends a call */
    const char *end_more; /* may follow it and then belongs to it */
    const char *close;    /* ends the calls */
    bool array;           /* OBJECT: the calls are an array */
    bool bare;            /* no marker: a call can only be the whole text, and of a known name only */
    bool name_is_key;     /* OBJECT: {NAME: {...}} */
    const char *key_open, *key_mid, *key_close, *value_close; /* PARAMS; key_mid ends the key, key_close begins the value */
    bool lines;           /* PARAMS: a value stands between newlines of its own */
    bool typed;           /* PARAMS: a key says whether its value is a string */
    qn_id_form id;
    const char *index_after; /* QN_ID_INDEX, QN_ID_KIMI: what stands before the index */
    qn_written written;
} qn_dialect;

/* The i-th dialect; NULL past the end. Earlier ones are tried first. */
const qn_dialect *qn__dialect(size_t i);
const qn_dialect *qn__dialect_find(const char *name);
/* Which one `call`, a rendered call of `name`, is written in; NULL when none. */
const qn_dialect *qn__dialect_of(const char *call, size_t n, const char *name);

/* How reasoning is set apart from text. */
typedef struct qn_thinking {
    const char *open, *close;
    bool anywhere; /* the markers are control tokens: they count in the middle of text, too */
} qn_thinking;
enum { QN_MAX_THINKING = 10 };
/* The forms that a template's source mentions, and <think>, which always counts. Returns how many. */
size_t qn__thinking_of(const char *source, size_t n, qn_thinking out[QN_MAX_THINKING]);

extern const qn_dialect qn__dialect_hermes, qn__dialect_qwen3_coder, qn__dialect_seed, qn__dialect_llama3, qn__dialect_llama3_python,
    qn__dialect_mistral, qn__dialect_mistral_array, qn__dialect_deepseek, qn__dialect_deepseek_r1, qn__dialect_deepseek_dsml,
    qn__dialect_deepseek_v4, qn__dialect_cohere, qn__dialect_cohere_action, qn__dialect_harmony, qn__dialect_glm, qn__dialect_granite,
    qn__dialect_functionary, qn__dialect_functionary_recipient, qn__dialect_kimi, qn__dialect_minimax, qn__dialect_phi4,
    qn__dialect_apertus, qn__dialect_apriel, qn__dialect_gigachat, qn__dialect_gigachat_role, qn__dialect_firefunction,
    qn__dialect_json, qn__dialect_gemma;

#endif
