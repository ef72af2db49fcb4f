/* grammar_number.c - JSON Schema: numbers. Bounds and multiples are automata over the digits, crossed with each other. A
 * number that is held to a bound is written without an exponent, with at most 18 digits on each side of the point. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/grammar_schema.h"

enum { DIGITS = 18, MULTIPLE_MAX = 2000 };

typedef struct decimal { /* a magnitude: whole.fraction, without leading and trailing zeros ("0" for a whole of nothing) */
    char whole[40], fraction[40];
    size_t n_whole, n_fraction;
    bool negative;
} decimal;

/* v in digits; false: too large or too small to be written out */
static bool to_decimal(double v, decimal *d)
{
    char s[400] = "";
    *d = (decimal){.negative = v < 0};
    v = fabs(v);
    if (!(v < 1e17))
        return false;
    for (int digits = 0; digits <= DIGITS; digits++) { /* the fewest digits that read back */
        (void)snprintf(s, sizeof s, "%.*f", digits, v);
        if (strtod(s, NULL) == v)
            break;
    }
    if (strtod(s, NULL) != v)
        return false;
    char *point = strchr(s, '.');
    size_t n = point ? (size_t)(point - s) : strlen(s);
    memcpy(d->whole, s, n);
    d->n_whole = n;
    if (point) {
        n = strlen(point + 1);
        while (n && point[n] == '0')
            n--;
        memcpy(d->fraction, point + 1, n);
        d->n_fraction = n;
    }
    if (v == 0)
        d->negative = false;
    return true;
}

/* ---- automata over digits ---- */

static int32_t one(qn_nfa *a, int32_t from, char lo, char hi)
{
    int32_t to = qn__nfa_node(a);
    qn__nfa_step(a, from, (uint8_t)lo, (uint8_t)hi, to);
    return to;
}

/* From min to max digits; the node behind them. */
static int32_t digits(qn_nfa *a, int32_t from, size_t min, size_t max)
{
    int32_t end = qn__nfa_node(a);
    for (size_t i = 0; i < max; i++) {
        if (i >= min)
            qn__nfa_eps(a, from, end);
        from = one(a, from, '0', '9');
    }
    qn__nfa_eps(a, from, end);
    return end;
}

static void fraction(qn_nfa *a, int32_t from, int32_t end, bool allowed)
{
    qn__nfa_eps(a, from, end);
    if (allowed)
        qn__nfa_eps(a, digits(a, one(a, from, '.', '.'), 1, DIGITS), end);
}

/* Whole numbers of n digits behind whose first digits d[0..i) a larger (up) or smaller one stands; then any fraction. */
static void differ_whole(qn_nfa *a, int32_t start, int32_t end, const decimal *d, bool up, bool fractions)
{
    int32_t at = start;
    for (size_t i = 0; i < d->n_whole; i++) {
        char c = d->whole[i], lo = up ? (char)(c + 1) : (i == 0 && d->n_whole > 1 ? '1' : '0'), hi = up ? '9' : (char)(c - 1);
        if (lo <= hi)
            fraction(a, digits(a, one(a, at, lo, hi), d->n_whole - i - 1, d->n_whole - i - 1), end, fractions);
        at = one(a, at, c, c);
    }
}

/* Magnitudes >= d (> d when open). */
static void at_least(qn_nfa *a, int32_t start, int32_t end, const decimal *d, bool open, bool fractions)
{
    if (d->n_whole < DIGITS)
        fraction(a, digits(a, one(a, start, '1', '9'), d->n_whole, DIGITS - 1), end, fractions);
    differ_whole(a, start, end, d, true, fractions);
    int32_t at = start;
    for (size_t i = 0; i < d->n_whole; i++)
        at = one(a, at, d->whole[i], d->whole[i]);
    if (!d->n_fraction && !open)
        fraction(a, at, end, fractions);
    if (!fractions || (!d->n_fraction && !open))
        return;
    at = one(a, at, '.', '.');
    for (size_t i = 0; i < d->n_fraction; i++) {
        if (d->fraction[i] < '9')
            qn__nfa_eps(a, digits(a, one(a, at, (char)(d->fraction[i] + 1), '9'), 0, DIGITS - 1 - i), end);
        at = one(a, at, d->fraction[i], d->fraction[i]);
    }
    if (!open) {
        qn__nfa_eps(a, digits(a, at, 0, DIGITS - d->n_fraction), end);
        return;
    }
    for (size_t i = d->n_fraction; i < DIGITS; i++) { /* zeros, then something else */
        qn__nfa_eps(a, digits(a, one(a, at, '1', '9'), 0, DIGITS - 1 - i), end);
        at = one(a, at, '0', '0');
    }
}

/* Magnitudes <= d (< d when open). */
static void at_most(qn_nfa *a, int32_t start, int32_t end, const decimal *d, bool open, bool fractions)
{
    if (d->n_whole > 1) {
        fraction(a, one(a, start, '0', '0'), end, fractions);
        fraction(a, digits(a, one(a, start, '1', '9'), 0, d->n_whole - 2), end, fractions);
    }
    differ_whole(a, start, end, d, false, fractions);
    int32_t at = start;
    for (size_t i = 0; i < d->n_whole; i++)
        at = one(a, at, d->whole[i], d->whole[i]);
    if (d->n_fraction || !open)
        qn__nfa_eps(a, at, end);
    if (!fractions || (!d->n_fraction && open))
        return;
    at = one(a, at, '.', '.');
    for (size_t i = 0; i < d->n_fraction; i++) {
        if (d->fraction[i] > '0')
            qn__nfa_eps(a, digits(a, one(a, at, '0', (char)(d->fraction[i] - 1)), 0, DIGITS - 1 - i), end);
        at = one(a, at, d->fraction[i], d->fraction[i]);
        if (i + 1 < d->n_fraction)
            qn__nfa_eps(a, at, end);
    }
    if (open)
        return;
    if (d->n_fraction)
        qn__nfa_eps(a, at, end);
    for (size_t i = d->n_fraction; i < DIGITS; i++) {
        at = one(a, at, '0', '0');
        qn__nfa_eps(a, at, end);
    }
}

/* All numbers of one sign: d NULL. */
static void all(qn_nfa *a, int32_t start, int32_t end, bool zero, bool fractions)
{
    const decimal none = {.whole = "0", .n_whole = 1};
    at_least(a, start, end, &none, !zero, fractions);
}

static bool finish(qn_schema *c, qn_nfa *a, int32_t start, int32_t end, const char *path, qn_fa *out)
{
    qn_err err = {0};
    qn_status st = qn__nfa_determinise(a, start, end, &c->ir->work, path, out, &err);
    if (!st)
        st = qn__fa_trim(out, &err);
    qn__nfa_free(a);
    if (st) {
        qn__fa_free(out);
        (void)qn__ir_fail(c->ir, err.code, err.where, "%s", err.what);
    }
    return !st;
}

static bool bound_fa(qn_schema *c, const decimal *d, bool low, bool open, bool integer, const char *path, qn_fa *out)
{
    qn_nfa a = {.limit = 100000};
    int32_t start = qn__nfa_node(&a), end = qn__nfa_node(&a), minus = one(&a, start, '-', '-');
    int32_t plus = qn__nfa_node(&a);
    qn__nfa_eps(&a, start, plus);
    bool f = !integer;
    if (low && d->negative) { /* x >= -d: all that are not negative, and magnitudes <= d behind a minus */
        all(&a, plus, end, true, f);
        at_most(&a, minus, end, d, open, f);
    } else if (low) {
        at_least(&a, plus, end, d, open, f);
    } else if (d->negative) {
        at_least(&a, minus, end, d, open, f);
    } else {
        at_most(&a, plus, end, d, open, f);
        all(&a, minus, end, false, f);
    }
    return finish(c, &a, start, end, path, out);
}

/* Whole numbers that are multiples of m: a state per remainder. */
static bool multiple_fa(qn_schema *c, uint32_t m, const char *path, qn_fa *out)
{
    qn_nfa a = {.limit = 100000};
    int32_t start = qn__nfa_node(&a), end = qn__nfa_node(&a), first = qn__nfa_node(&a), zero = qn__nfa_node(&a);
    int32_t base = (int32_t)a.n;
    for (uint32_t r = 0; r < m; r++)
        (void)qn__nfa_node(&a);
    qn__nfa_eps(&a, start, first);
    qn__nfa_step(&a, start, '-', '-', first);
    qn__nfa_step(&a, first, '0', '0', zero);
    qn__nfa_eps(&a, zero, end);
    for (uint32_t d = 1; d < 10; d++)
        qn__nfa_step(&a, first, '0' + d, '0' + d, base + (int32_t)(d % m));
    for (uint32_t r = 0; r < m && !a.failed; r++)
        for (uint32_t d = 0; d < 10; d++)
            qn__nfa_step(&a, base + (int32_t)r, '0' + d, '0' + d, base + (int32_t)((r * 10 + d) % m));
    qn__nfa_eps(&a, base, end);
    return finish(c, &a, start, end, path, out);
}

/* At most n digits behind the point. */
static bool places_fa(qn_schema *c, size_t n, const char *path, qn_fa *out)
{
    qn_nfa a = {.limit = 100000};
    int32_t start = qn__nfa_node(&a), end = qn__nfa_node(&a), at = qn__nfa_node(&a);
    qn__nfa_eps(&a, start, at);
    qn__nfa_step(&a, start, '-', '-', at);
    qn__nfa_eps(&a, one(&a, at, '0', '0'), end);
    int32_t more = digits(&a, one(&a, at, '1', '9'), 0, DIGITS - 1);
    qn__nfa_eps(&a, more, end);
    int32_t point = one(&a, end, '.', '.'), last = digits(&a, point, 1, n), done = qn__nfa_node(&a);
    qn__nfa_eps(&a, end, done);
    qn__nfa_eps(&a, last, done);
    return finish(c, &a, start, done, path, out);
}


static bool join(qn_schema *c, qn_fa *all_of, bool *first, qn_fa *f, const char *path)
{
    if (*first) {
        *all_of = *f;
        *first = false;
        return true;
    }
    return qn__schema_cross(c, all_of, f, false, path);
}

static bool one_bound(qn_schema *c, const qn_schema_part *p, const char *key, bool low, bool open, bool integer, qn_fa *f, bool *first)
{
    json_t *v = qn__part_get(p, key);
    decimal d;
    qn_fa g = {0};
    const char *path = qn__schema_path(c, p->path, key);
    if (!v || qn__part_ignores(p, key))
        return true;
    if (!json_is_number(v))
        return qn__schema_fail(c, QN_EFORMAT, p->path, key, "a number is expected") >= 0;
    double x = json_number_value(v);
    if (fabs(x) >= 1e17 && (low == (x < 0))) /* beyond what is written anyway */
        return true;
    if (!to_decimal(x, &d))
        return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, key, "a bound of this size is not supported") >= 0;
    return bound_fa(c, &d, low, open, integer, path, &g) && join(c, f, first, &g, path);
}

static bool one_multiple(qn_schema *c, const qn_schema_part *p, bool *integer, qn_fa *f, bool *first)
{
    json_t *v = qn__part_get(p, "multipleOf");
    const char *path = qn__schema_path(c, p->path, "multipleOf");
    qn_fa g = {0};
    if (!v || qn__part_ignores(p, "multipleOf"))
        return true;
    double x = json_number_value(v);
    if (!(x > 0))
        return qn__schema_fail(c, QN_EFORMAT, p->path, "multipleOf", "a number greater than 0 is expected") >= 0;
    if (x == floor(x) && x <= MULTIPLE_MAX) {
        *integer = true;
        return x == 1 || (multiple_fa(c, (uint32_t)x, path, &g) && join(c, f, first, &g, path));
    }
    double parts = 1 / x;
    if (*integer && x < 1 && fabs(parts - round(parts)) < 1e-9 * parts) /* every whole number is one */
        return true;
    for (size_t n = 1; n <= 12; n++)
        if (strtod((char[][8]){"1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6", "1e-7", "1e-8", "1e-9", "1e-10", "1e-11", "1e-12"}[n - 1], NULL) == x)
            return places_fa(c, n, path, &g) && join(c, f, first, &g, path);
    return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, "multipleOf", "only whole numbers up to 2000 and powers of ten (0.01) are supported") >= 0;
}

/* Numbers that are not whole: a digit behind the point that is no zero, and 15 digits in all, so that a double is not whole either. */
static bool fraction_fa(qn_schema *c, qn_fa *out)
{
    qn_nfa a = {.limit = 100000};
    int32_t start = qn__nfa_node(&a), end = qn__nfa_node(&a), at = qn__nfa_node(&a);
    qn__nfa_eps(&a, start, at);
    qn__nfa_step(&a, start, '-', '-', at);
    for (size_t whole = 0; whole < 15; whole++) {
        int32_t zeros = one(&a, whole ? digits(&a, one(&a, at, '1', '9'), whole - 1, whole - 1) : one(&a, at, '0', '0'), '.', '.');
        for (size_t i = 0; i < 15 - whole; i++) { /* i zeros, one that is none, and what is left */
            qn__nfa_eps(&a, digits(&a, one(&a, zeros, '1', '9'), 0, 14 - whole - i), end);
            zeros = one(&a, zeros, '0', '0');
        }
    }
    return finish(c, &a, start, end, "schema", out);
}

qn_node qn__schema_number(qn_schema *c, const qn_conj *k, unsigned types)
{
    qn_fa f = {0};
    bool first = true, integer = types == QN_T_INT;
    static const struct {
        const char *key;
        bool low, open;
    } bounds[] = {{"minimum", true, false}, {"exclusiveMinimum", true, true}, {"maximum", false, false}, {"exclusiveMaximum", false, true}};
    for (size_t i = 0; i < k->n; i++)
        if (!one_multiple(c, &k->v[i], &integer, &f, &first))
            goto bad;
    for (size_t i = 0; i < k->n; i++)
        for (size_t b = 0; b < 4; b++)
            if (!one_bound(c, &k->v[i], bounds[b].key, bounds[b].low, bounds[b].open, integer, &f, &first))
                goto bad;
    if (types == QN_T_NUM) {
        qn_fa g = {0};
        if (!fraction_fa(c, &g) || !join(c, &f, &first, &g, "schema"))
            goto bad;
    }
    if (first)
        return integer ? qn__json_integer(c->ir) : qn__json_number(c->ir);
    return qn__schema_share(c, qn__ir_fa(c->ir, &f, false));
bad:
    qn__fa_free(&f);
    return -1;
}
