/* loop.h - does it go round in circles? Repeated calls of tools over a conversation, repeated blocks of text, cycles of tokens.
 *
 * Pure: who asks decides what a loop means (a header, a metric, a stop). Three views of one question, "is the end of this sequence
 * periodic":
 *
 *   calls    one symbol per assistant turn with calls: what was called and what came back        A B A B     period 2, count 2
 *   text     one symbol per block of the output (between empty lines), and per turn's text       A A A       period 1, count 3
 *   tokens   the output's tokens                                                                 x y z x y z...
 */
#ifndef QN_TEXT_LOOP_H
#define QN_TEXT_LOOP_H

#include <jansson.h>

#include "quern.h"

typedef enum qn_loop_kind { QN_LOOP_NONE, QN_LOOP_CALLS, QN_LOOP_TEXT, QN_LOOP_TOKENS } qn_loop_kind;

typedef struct qn_loop {
    qn_loop_kind kind;
    uint32_t period; /* symbols after which it repeats */
    uint32_t count;  /* how often the period stands there, in full */
    bool near;       /* equal but for numbers, case and white space */
} qn_loop;

/* "calls", "text", "tokens"; "" for none. Static. */
const char *qn__loop_name(qn_loop_kind k);

/* ---- a conversation ---- */

/* OpenAI's messages. What follows the last user message is looked at: asked again, a call may well be repeated. A loop of calls needs
 * equal results: the same call that gives something else is a poll. From three times on with period 1, twice with a longer one
 * (text: three times in any case). *out is QN_LOOP_NONE when there is none. Errors: QN_ENOMEM. */
qn_status qn__loop_conversation(const json_t *messages, qn_loop *out, qn_err *err);

/* ---- an output, as it comes ---- */

typedef struct qn_loop_watch qn_loop_watch;

typedef struct qn_loop_limits {
    uint32_t window;       /* the longest period of tokens that is found; 0: 1,024 */
    uint32_t token_count;  /* a cycle of tokens: so many full periods at least; 0: 6 */
    uint32_t token_length; /* and so many tokens in all; 0: 192 */
    uint32_t block_count;  /* the same blocks of text in a row; 0: 3 */
} qn_loop_limits;

qn_status qn__loop_open(const qn_loop_limits *l, qn_loop_watch **out, qn_err *err);
void qn__loop_close(qn_loop_watch *w);
/* Constant time per token, amortised; no allocation. */
void qn__loop_tokens(qn_loop_watch *w, const int32_t *tokens, size_t n);
/* Split anywhere. */
void qn__loop_text(qn_loop_watch *w, const char *text, size_t n);
/* The loop that the output is in now. */
qn_loop qn__loop_now(const qn_loop_watch *w);

#endif
