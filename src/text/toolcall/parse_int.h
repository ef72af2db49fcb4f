/* parse_int.h - what the files of the parser share.
 *
 *   in.data:  | consumed ... | at: read, but what it is cannot be told yet ... n |
 *
 * Each step looks at what is pending from its beginning, and either consumes some of it or asks for more. What is pending is at most
 * as long as a marker could be, or the head of a call (whose end is in sight: MAX_HEAD), or white space at a border.
 *
 *            ┌────────── reasoning ──────────┐
 *   start -> text ── a marker ──> head ──> arguments | (key ── value)* ──> tail ──> after ──> head | text
 *                 └─ not a call after all: text      └─ malformed: the rest is text, without CALL_END */
#ifndef QN_TEXT_TOOLCALL_PARSE_INT_H
#define QN_TEXT_TOOLCALL_PARSE_INT_H

#include "text/toolcall/json_scan.h"
#include "text/toolcall/parse.h"

enum { MAX_HEAD = 65536, MAX_TOKEN = 512, MAX_BLANK = 256, MAX_MARKS = 40 };

typedef enum { S_TEXT, S_REASON, S_HEAD, S_ARGS, S_TAIL, S_AFTER, S_KEY, S_VALUE, S_TERSE, S_CHANNEL, S_BODY } parse_state;
typedef enum { M_THINK, M_CALL, M_DROP } mark_kind;
typedef enum { STEP_MORE, STEP_AGAIN } parse_step;

typedef struct parse_mark {
    char text[96];
    uint8_t n;
    mark_kind kind;
    bool anywhere;
    uint8_t think, lead; /* bytes of `text` that stand before the marker itself */
} parse_mark;

struct qn_parse {
    const qn_calls *calls;
    const qn_dialect *d; /* also without calls: of channels, the form of reasoning is the dialect's */
    qn_thinking thinking[QN_MAX_THINKING];
    size_t n_thinking;
    parse_mark marks[MAX_MARKS];
    size_t n_marks;
    qn_part_fn *part;
    void *arg;
    qn_buf in;
    size_t at;
    unsigned char held[4]; /* a character that is not complete */
    uint8_t n_held;
    parse_state state;
    bool blank;  /* nothing but white space since the last border */
    bool after;  /* and that border was the end of reasoning or of a call: line breaks behind it are not text */
    bool spoken; /* there has been text or a call */
    bool failed; /* out of memory */
    /* reasoning */
    const char *think_close;
    bool think_begun;
    /* the call being read */
    int32_t call;
    const qn_tool *tool;
    qn_buf raw, name, id, value, keys;
    qn_buf skipped; /* white space before its opening: text again, should it be no call */
    qn_json_scan scan;
    bool opened, object_closed, in_section, streaming, has_id;
    unsigned types;
    size_t head_tried; /* how much of the head was there when it was last tried */
    /* channels */
    bool body_text, body_reason;
};

/* A place in what is pending; `more` when the end was reached before it could be told. */
typedef struct cursor {
    const char *p;
    size_t i, n;
    bool more;
} cursor;

cursor qn__cursor(const qn_parse *p);
void qn__cur_space(cursor *c);
/* The pieces of s, with any white space before each. */
bool qn__cur_lit(cursor *c, const char *s);
/* These bytes, here. */
bool qn__cur_exact(cursor *c, const char *s);
/* A JSON string; out without its quotes, escapes as they are. */
bool qn__cur_string(cursor *c, qn_slice *out);
bool qn__cur_value(cursor *c, qn_slice *out);

void qn__parse_take(qn_parse *p, size_t n, bool raw);
void qn__parse_skip(qn_parse *p, size_t n); /* take, and remember in `skipped` */
void qn__parse_emit(qn_parse *p, qn_part_kind kind, const char *text, size_t n);
void qn__parse_begin_call(qn_parse *p);
void qn__parse_end_call(qn_parse *p);
void qn__parse_to_text(qn_parse *p, bool after);
void qn__parse_json_string(qn_buf *b, const char *p, size_t n); /* escaped, without quotes */
/* JSON goes to out; control characters inside its strings are escaped. */
void qn__parse_json_clean(qn_json_scan *scan, qn_buf *out, const char *s, size_t n);
bool qn__parse_name_ok(const char *p, size_t n);

parse_step qn__parse_head(qn_parse *p, bool final);
parse_step qn__parse_args(qn_parse *p, bool final);
parse_step qn__parse_tail(qn_parse *p, bool final);
parse_step qn__parse_after(qn_parse *p, bool final);
parse_step qn__parse_key(qn_parse *p, bool final);
parse_step qn__parse_value(qn_parse *p, bool final);
parse_step qn__parse_channel(qn_parse *p, bool final);
parse_step qn__parse_body(qn_parse *p, bool final);
parse_step qn__parse_terse(qn_parse *p, bool final);
void qn__parse_terse_begin(qn_parse *p);
bool qn__parse_terse_head(const qn_parse *p, cursor *c, qn_slice *name);
/* Text without quotes as the JSON value that it spells, of one of p->types; else as a string. */
void qn__parse_loose_value(qn_parse *p, qn_slice text, qn_buf *out);
/* PARAMS: the head behind its opening. */
bool qn__parse_params_head(qn_parse *p, cursor *c, qn_slice *name);

#endif
