/* grammar_until.c - text up to a stop: the automaton of all UTF-8 texts in which none of some strings occurs (Aho and
 * Corasick's, crossed with the one that accepts UTF-8). */
#include "text/grammar_int.h"

enum { STOP_BYTES_MAX = 4096 };

/* States of a character that is being read: CHAR_NONE between characters, MORE1..3 that many continuation bytes to come, the
 * rest after a lead byte whose second byte is restricted. */
enum { CHAR_NONE, MORE1, MORE2, MORE3, AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4, CHAR_STATES };

/* -1: not UTF-8 */
static int utf8_step(int s, unsigned b)
{
    bool more = b >= 0x80 && b <= 0xBF;
    switch (s) {
    case CHAR_NONE:
        if (b < 0x80)
            return CHAR_NONE;
        if (b < 0xC2 || b > 0xF4)
            return -1;
        if (b < 0xE0)
            return MORE1;
        if (b < 0xF0)
            return b == 0xE0 ? AFTER_E0 : b == 0xED ? AFTER_ED : MORE2;
        return b == 0xF0 ? AFTER_F0 : b == 0xF4 ? AFTER_F4 : MORE3;
    case MORE1: return more ? CHAR_NONE : -1;
    case MORE2: return more ? MORE1 : -1;
    case MORE3: return more ? MORE2 : -1;
    case AFTER_E0: return more && b >= 0xA0 ? MORE1 : -1;
    case AFTER_ED: return more && b <= 0x9F ? MORE1 : -1;
    case AFTER_F0: return more && b >= 0x90 ? MORE2 : -1;
    default: return more && b <= 0x8F ? MORE2 : -1;
    }
}

typedef struct stops {
    int32_t (*next)[256]; /* -1 while it is a tree, then complete */
    int32_t *fail;
    bool *hit;
    size_t n;
} stops;

static void add_stop(stops *s, const char *text)
{
    int32_t at = 0;
    for (; *text; text++) {
        int32_t *to = &s->next[at][(unsigned char)*text];
        if (*to < 0)
            *to = (int32_t)s->n++;
        at = *to;
    }
    s->hit[at] = true;
}

/* Breadth first: where a failed match goes on. queue: [n] */
static void complete(stops *s, int32_t *queue)
{
    size_t head = 0, tail = 0;
    for (int b = 0; b < 256; b++) {
        int32_t *to = &s->next[0][b];
        if (*to < 0)
            *to = 0;
        else {
            s->fail[*to] = 0;
            queue[tail++] = *to;
        }
    }
    while (head < tail) {
        int32_t at = queue[head++];
        s->hit[at] |= s->hit[s->fail[at]];
        for (int b = 0; b < 256; b++) {
            int32_t *to = &s->next[at][b], other = s->next[s->fail[at]][b];
            if (*to < 0)
                *to = other;
            else {
                s->fail[*to] = other;
                queue[tail++] = *to;
            }
        }
    }
}

/* States are (node, character state), numbered as they are met. */
static bool cross(const stops *s, int32_t *id, int32_t *todo, qn_fa *f)
{
    size_t n = 1;
    memset(id, -1, s->n * CHAR_STATES * sizeof *id);
    id[0] = 0;
    todo[0] = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t at = todo[i] / CHAR_STATES, c = todo[i] % CHAR_STATES;
        size_t first = f->n_edges;
        for (unsigned b = 0; b < 256; b++) {
            int32_t to = s->next[at][b];
            int u = utf8_step(c, b);
            if (u < 0 || s->hit[to])
                continue;
            int32_t key = to * CHAR_STATES + u;
            if (id[key] < 0) {
                id[key] = (int32_t)n;
                todo[n++] = key;
            }
            qn_range *last = f->n_edges > first ? &f->edges[f->n_edges - 1] : NULL;
            if (last && last->to == id[key] && last->hi + 1 == b) {
                last->hi = b;
                continue;
            }
            if (!qn__grow((void **)&f->edges, &f->cap_edges, f->n_edges + 1, sizeof *f->edges))
                return false;
            f->edges[f->n_edges++] = (qn_range){b, b, id[key]};
        }
        if (!qn__grow((void **)&f->states, &f->cap_states, f->n_states + 1, sizeof *f->states))
            return false;
        f->states[f->n_states++] = (struct qn_fa_state){(uint32_t)first, (uint32_t)(f->n_edges - first), c == CHAR_NONE};
    }
    return true;
}

qn_node qn__ir_until(qn_ir *ir, const char *const *texts, size_t n)
{
    size_t total = 1;
    qn_fa f = {0};
    qn_node r = -1;
    for (size_t i = 0; i < n; i++)
        total += strlen(texts[i]);
    if (ir->err.code)
        return -1;
    if (total > STOP_BYTES_MAX)
        return qn__ir_fail(ir, QN_ELIMIT, "grammar", "the texts that end a text have more than %d bytes", STOP_BYTES_MAX);
    stops s = {.n = 1};
    s.next = qn__alloc(total * sizeof *s.next);
    s.fail = qn__calloc(total, sizeof *s.fail);
    s.hit = qn__calloc(total, sizeof *s.hit);
    int32_t *queue = qn__alloc(total * CHAR_STATES * sizeof *queue), *id = qn__alloc(total * CHAR_STATES * sizeof *id);
    if (!s.next || !s.fail || !s.hit || !queue || !id)
        goto out;
    memset(s.next, -1, total * sizeof *s.next);
    for (size_t i = 0; i < n; i++)
        if (texts[i][0])
            add_stop(&s, texts[i]);
    complete(&s, queue);
    if (cross(&s, id, queue, &f))
        r = qn__ir_bytes_fa(ir, &f);
out:
    qn_free(s.next);
    qn_free(s.fail);
    qn_free(s.hit);
    qn_free(queue);
    qn_free(id);
    qn__fa_free(&f);
    return r >= 0 || ir->err.code ? r : qn__ir_fail(ir, QN_ENOMEM, "grammar", "out of memory");
}
