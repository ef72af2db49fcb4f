/* replay.h - calls as they were sampled.
 *
 * A client sends its history back with arguments parsed and written again: other spaces, other escapes. Rendered from that, the
 * prompt parts from what the model wrote, and from there on nothing in the cache is found. So what a call's message became, and
 * what it looks like rendered, are kept under the call's id:
 *
 *   id ──> canonical: ...rendered from what the client sends back...   exact: ...what was sampled...
 *
 * and when the rendered prompt holds the canonical text, the exact one takes its place. Only text that the conversation holds is
 * replaced, by text that says the same: nothing of another conversation can come in. When the table has forgotten, the canonical
 * text stays. Bounded in bytes; the oldest go first. */
#ifndef QN_SERVICES_API_REPLAY_H
#define QN_SERVICES_API_REPLAY_H

#include "services/api/ask.h"

typedef struct api_replay_entry {
    struct api_replay_entry *newer, *older;
    char *id;
    char *canonical, *exact;
    size_t n_canonical, n_exact;
} api_replay_entry;

typedef struct api_replay {
    qn_lock lock;
    api_replay_entry *newest, *oldest;
    size_t bytes, limit;
    uint64_t kept, used;
} api_replay;

void api_replay_open(api_replay *r, size_t limit);
void api_replay_close(api_replay *r);
/* Put what is known into a->rendered; `canon` are its messages. */
qn_status api_replay_apply(api_ask *a, const json_t *canon, qn_err *err);
/* An ask has ended: keep its calls. */
void api_replay_learn(api_ask *a);

#endif
