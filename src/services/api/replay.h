/* replay.h - what was said here: answers as they were sampled, to the token.
 *
 * A client sends its history back as text, and not quite as it was: arguments of calls parsed and written again, with other spaces,
 * other escapes, 1 for 1.0; texts trimmed. Rendered from that, the prompt parts from what the model wrote. And even the very same
 * text may be cut into other tokens than those that were sampled, mostly at a high temperature. From there on nothing in the cache
 * would be found. So each answer that would not come back as it went out leaves an entry:
 *
 *   before: hash and length of the prompt that it answered, as history renders it
 *   canonical: what history makes of the answer ──> exact: what was sampled, and its tokens
 *   mark: the end of the turn, which follows both
 *   calls: id, arguments as they were sampled
 *
 *   rendered history   [ ...before... ][canonical]<mark> ...  [canonical]<mark> ... new
 *   prompt             [ ...........  ][ exact   ]<mark> ...  [ exact   ]<mark> ... new      tokens of [exact] as they were chosen
 *
 * An entry counts only where everything before it and its canonical text are there byte for byte, and its exact text is the same
 * reply (recall.c): nothing of another conversation can come in. When it is forgotten the canonical text stays: a little is computed
 * again, nothing else changes. Bounded in bytes and number; what was not used for longest goes first.
 *
 * With a directory each entry lies there as a file of its own, beside the pages that it belongs to, checksummed and read when the server
 * starts; two servers may share it. Nothing in a file is believed: its tokens must spell its text. */
#ifndef QN_SERVICES_API_REPLAY_H
#define QN_SERVICES_API_REPLAY_H

#include "base/dir.h"
#include "base/str.h"
#include "base/thread.h"
#include "services/api/models.h"

typedef struct api_ask api_ask;

/* The hash of a text: of a prompt as history renders it. */
typedef struct api_name {
    uint64_t v[2];
} api_name;

typedef struct api_said {
    struct api_said *newer, *older;
    uint64_t model;   /* whose tokens: api_replay_model */
    api_name before;
    uint64_t n_before;
    uint32_t n_canonical, n_mark, n_exact, n_tokens, n_calls;
    bool trusted;     /* made here, or its tokens were found to spell its text */
    size_t bytes;     /* of `body` */
    /* body: int32_t tokens[n_tokens], canonical and mark, exact, then for each call its id and its arguments, terminated */
    const int32_t *tokens;
    const char *canonical, *exact, *calls;
    char body[];
} api_said;

typedef struct api_replay {
    qn_lock lock;
    api_said *newest, *oldest;
    size_t n, bytes, limit;
    uint64_t kept, used, bad; /* entries made; places where one was used; files that were damaged */
    qn_dir *dir;              /* NULL: memory only */
    qn_lock learning;         /* held while an answer is being looked at */
    qn_lock queue;
    api_ask *pending;         /* answers that were given and not looked at yet; under queue */
} api_replay;

/* kv_disk: the directory in whose folder `replies` entries are kept; NULL: nowhere. Errors: QN_EIO, QN_ENOMEM. */
qn_status api_replay_open(api_replay *r, size_t limit, const char *kv_disk, qn_err *err);
void api_replay_close(api_replay *r);
uint64_t api_replay_model(const api_model *m);

/* What an entry is made of. */
typedef struct api_saying {
    uint64_t model;
    api_name before;
    uint64_t n_before;
    qn_slice canonical; /* with the mark behind it */
    size_t n_mark;
    qn_slice exact;
    const int32_t *tokens; /* NULL: they are not known */
    size_t n_tokens;
    qn_slice calls;     /* id, arguments, ..., each terminated */
    size_t n_calls;
} api_saying;
/* Keep it, in place of what was said there before. Too large, or no memory: forgotten at once. */
void api_replay_keep(api_replay *r, const api_saying *s);
/* Under r->lock: it was used just now; it is of no use. */
void api_replay_touch(api_replay *r, api_said *e);
void api_replay_drop(api_replay *r, api_said *e);

/* ---- recall.c ---- */

/* Before rendering: give calls of known ids the arguments that were sampled, where they are the same value. */
void api_recall_calls(api_ask *a, json_t *canon);
/* a->rendered is what history renders to: put what was said in its place, and remember the tokens of those places. */
qn_status api_recall(api_ask *a, qn_err *err);
/* The answers of an ask have ended; call before the client can know. */
void api_recall_later(api_ask *a);
/* Learn from it now, if nobody has; before it is freed. */
void api_recall_learn(api_ask *a);

#endif
