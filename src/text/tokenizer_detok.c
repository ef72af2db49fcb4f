/* tokenizer_detok.c - ids back to bytes, one at a time, in whole characters. */
#include "text/tokenizer_internal.h"

void qn__detok_init(qn_detok *d, const qn_tokenizer *t, bool special)
{
    *d = (qn_detok){.t = t, .special = special};
    d->at_start = t->info.add_space_prefix || t->kind == QN_TOK_WORDPIECE;
}

/* "<0x0A>" -> 10; -1 when it is not of this form. */
static int byte_token(qn_slice s)
{
    int v = 0;
    if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        char c = s.p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* Mapped characters back to the bytes they stand for; others as they are. */
static void put_mapped(qn_buf *out, qn_slice s)
{
    for (size_t i = 0; i < s.n;) {
        int32_t cp;
        size_t len = qn__utf8_decode(s.p + i, s.n - i, &cp);
        int32_t b = qn__char_to_byte(cp);
        if (b >= 0)
            qn__buf_putc(out, (char)b);
        else
            qn__buf_put(out, s.p + i, len);
        i += len;
    }
}

static void put_spaced(qn_buf *out, qn_slice s)
{
    const char *end = s.p + s.n;
    for (const char *p = s.p, *from = p; p <= end; p++)
        if (p == end || qn__is_block(p, end)) {
            qn__buf_put(out, from, (size_t)(p - from));
            if (p < end)
                qn__buf_putc(out, ' ');
            from = p + 3;
            p += p < end ? 2 : 0;
        }
}

/* One token's bytes, behind what out holds. */
static void put_token(qn_detok *d, int32_t id, qn_buf *out)
{
    const qn_tokenizer *t = d->t;
    qn_slice s = t->text[id];
    uint8_t a = t->attr[id];
    bool at_start = d->at_start;
    d->at_start = false;
    if (a == QN_TOKEN_CONTROL || a == QN_TOKEN_UNKNOWN || a == QN_TOKEN_USER) {
        if (a == QN_TOKEN_USER || d->special)
            qn__buf_put(out, s.p, s.n);
        /* As at the beginning, the encoder put a space in front of what follows. */
        d->at_start = t->info.add_space_prefix || (at_start && t->kind == QN_TOK_WORDPIECE);
        return;
    }
    int b = a == QN_TOKEN_BYTE || t->raw_utf8 ? byte_token(s) : -1;
    if (b >= 0) {
        qn__buf_putc(out, (char)b);
    } else if (t->kind == QN_TOK_BPE && !t->raw_utf8) {
        put_mapped(out, s);
    } else if (t->hashes) {
        bool more = s.n > 2 && s.p[0] == '#' && s.p[1] == '#';
        if (!more && !at_start)
            qn__buf_putc(out, ' ');
        qn__buf_put(out, s.p + 2 * more, s.n - 2 * (size_t)more);
    } else {
        if (at_start && qn__is_block(s.p, s.p + s.n))
            s = (qn_slice){s.p + 3, s.n - 3};
        put_spaced(out, s);
    }
}

void qn__detok_put(qn_detok *d, int32_t id, qn_buf *out)
{
    if (id < 0 || id >= d->t->info.n_vocab || out->failed)
        return;
    size_t before = out->n;
    qn__buf_put(out, d->held, d->n_held);
    put_token(d, id, out);
    if (out->failed || out->n == before)
        return;
    size_t keep = qn__utf8_incomplete(out->data + before, out->n - before);
    memcpy(d->held, out->data + out->n - keep, keep);
    d->n_held = (uint8_t)keep;
    out->n -= keep;
    out->data[out->n] = 0;
}

void qn__detok_flush(qn_detok *d, qn_buf *out)
{
    qn__buf_put(out, d->held, d->n_held);
    d->n_held = 0;
}
