/* grammar.c - what a grammar costs: compiling an agent's schemas, and masks over a large vocabulary while outputs that conform
 * are written, token by token.
 *
 *   bench/grammar [VOCABULARY.gguf]     default: $SHARED/golden/tokenizers/ggml-vocab-qwen2.gguf, else models/ */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "engine/constraint.h"
#include "text/grammar.h"

enum { TOOLS = 50, ROUNDS = 30, STEPS_MAX = 400, TIMES_MAX = ROUNDS * STEPS_MAX };

static const char tool[] =
    "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\",\"description\":\"file\"},\"mode\":{\"enum\":[\"read\",\"write\",\"append\"]},"
    "\"offset\":{\"type\":\"integer\",\"minimum\":0},\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":2000},\"recursive\":{\"type\":\"boolean\"},"
    "\"edits\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"old\":{\"type\":\"string\"},\"new\":{\"type\":\"string\"},\"all\":{\"type\":"
    "\"boolean\"}},\"required\":[\"old\",\"new\"],\"additionalProperties\":false},\"minItems\":1},\"note%d\":{\"type\":[\"string\",\"null\"],\"maxLength\":200}},"
    "\"required\":[\"path\",\"mode\"],\"additionalProperties\":false}";

static const char nested[] =
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\",\"pattern\":\"^[a-f0-9]{8}$\"},\"title\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":300},"
    "\"when\":{\"type\":\"string\",\"format\":\"date-time\"},\"score\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},\"tags\":{\"type\":\"array\",\"items\":"
    "{\"type\":\"string\"},\"maxItems\":8},\"author\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"mail\":{\"type\":\"string\",\"format\":"
    "\"email\"},\"links\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"rel\":{\"enum\":[\"home\",\"code\",\"chat\"]},\"href\":{\"type\":"
    "\"string\"}},\"required\":[\"rel\",\"href\"],\"additionalProperties\":false}}},\"required\":[\"name\"],\"additionalProperties\":false},\"children\":{\"type\":"
    "\"array\",\"items\":{\"$ref\":\"#\"}}},\"required\":[\"id\",\"title\",\"score\"],\"additionalProperties\":false}";

static const char *const outputs[] = {
    "{\"id\": \"00ff12ab\", \"title\": \"A mill for one's own grain, with a rather long title that goes on\", \"score\": 0.75, \"tags\": [\"stone\", \"hand\", "
    "\"\\u00e9t\\u00e9\"], \"author\": {\"name\": \"Ada Example\", \"mail\": \"ada@example.org\", \"links\": [{\"rel\": \"home\", \"href\": \"https://example.org/a?b=c\"}]}, "
    "\"children\": [{\"id\": \"deadbeef\", \"title\": \"Child\", \"score\": 1, \"when\": \"2024-02-29T12:00:00Z\", \"children\": []}]}",
    "{\"title\": \"Order is free\", \"children\": [{\"score\": 0.125, \"id\": \"01234567\", \"title\": \"x\", \"children\": [{\"id\": \"89abcdef\", \"title\": \"y\", "
    "\"score\": 0}]}], \"score\": 0.5, \"author\": {\"links\": [], \"name\": \"B\"}, \"id\": \"ffffffff\"}"};

/* Seconds of this thread's own time: what the work costs, whoever else is on the machine. */
static double spent(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static qn_grammar *compile(const qn_tokenizer *t, json_t **schemas, size_t n)
{
    static const qn_json_style style = {.any_space = true};
    qn_ir *ir = NULL;
    qn_grammar *g = NULL;
    qn_err err = {0};
    if (qn__ir_open(t, &ir, &err))
        return NULL;
    qn_node calls[TOOLS];
    for (size_t i = 0; i < n; i++) {
        char open[64];
        (void)snprintf(open, sizeof open, "{\"name\": \"tool_%zu\", \"arguments\": ", i);
        qn_node v[3] = {qn__ir_text(ir, open, strlen(open)), qn__ir_schema(ir, schemas[i], &style, "#", &err), qn__ir_text(ir, "}", 1)};
        calls[i] = n == 1 ? v[1] : qn__ir_seq(ir, v, 3);
    }
    qn__ir_root(ir, qn__ir_alt(ir, calls, n));
    if (qn__ir_check(ir, &err) || qn__grammar_compile(ir, t, &g, &err))
        fprintf(stderr, "%s: %s\n", err.where, err.what);
    qn__ir_close(ir);
    return g;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Feed the output's tokens; the time of each mask goes into times[*n...]. False: the grammar refused it. */
static bool follow(const qn_grammar *g, const int32_t *ids, size_t n_ids, double *times, size_t *n)
{
    qn_matcher *m = NULL;
    const uint32_t *mask;
    bool ok = !qn__matcher_open(g, &m, NULL);
    for (size_t i = 0; ok && i < n_ids; i++) {
        double start = spent();
        ok = !qn__matcher_mask(m, &mask, NULL);
        if (*n < TIMES_MAX)
            times[(*n)++] = (spent() - start) * 1e6;
        ok = ok && (mask[ids[i] >> 5] >> (ids[i] & 31) & 1) && qn__matcher_accept(m, ids[i]);
    }
    ok = ok && qn__matcher_may_end(m);
    qn__matcher_close(m);
    return ok;
}

static int masks(const qn_tokenizer *t, const qn_grammar *g, const char *label, const char *const *texts, size_t n_texts)
{
    static double times[TIMES_MAX];
    size_t cold = 0, warm = 0;
    int bad = 0;
    for (int r = 0; r < ROUNDS; r++) {
        size_t n = warm;
        for (size_t i = 0; i < n_texts; i++) {
            int32_t *ids = NULL;
            size_t n_ids = 0;
            if (qn__tokenize(t, texts[i], strlen(texts[i]), false, QN_BOS_NO, &ids, &n_ids, NULL) || !follow(g, ids, n_ids, times, &n)) {
                fprintf(stderr, "%s: output %zu is refused\n", label, i);
                bad = 1;
            }
            qn_free(ids);
        }
        if (r == 0) {
            cold = n;
            qsort(times, cold, sizeof *times, by_time);
            printf("grammar %-26s %8.1f us median  %8.1f us worst, cold (%zu masks)\n", label, times[cold / 2], times[cold - 1], cold);
        } else {
            warm = n;
        }
    }
    if (warm) {
        qsort(times, warm, sizeof *times, by_time);
        printf("grammar %-26s %8.1f us median  %8.1f us worst, warm (bounds: 50 and 1000)\n", label, times[warm / 2], times[warm - 1]);
    }
    return bad;
}

/* What a token costs in the engine: the mask, put over the logits, and the token accepted. Warm. */
static void steps(const qn_tokenizer *t, const qn_grammar *g, const char *text)
{
    static double times[TIMES_MAX];
    const int32_t n_vocab = qn__tokenizer_info(t)->n_vocab;
    float *logits = qn__calloc((size_t)n_vocab, sizeof *logits);
    int32_t *ids = NULL, only;
    size_t n_ids = 0, n = 0;
    bool ok = logits && !qn__tokenize(t, text, strlen(text), false, QN_BOS_NO, &ids, &n_ids, NULL);
    for (int r = 0; r < ROUNDS && ok; r++) {
        qn_constraint *c = NULL;
        ok = !qn__constraint_open(g, t, &c, NULL);
        for (size_t i = 0; ok && i < n_ids; i++) {
            double start = spent();
            ok = !qn__constraint_mask(c, logits, n_vocab, &only, NULL) && !qn__constraint_accept(c, ids[i], NULL);
            if (r && n < TIMES_MAX)
                times[n++] = (spent() - start) * 1e6;
        }
        qn__constraint_close(c);
    }
    if (ok && n) {
        qsort(times, n, sizeof *times, by_time);
        printf("grammar %-26s %8.1f us median  %8.1f us worst, warm (3 %% of a step of 40 ms: 1200)\n", "a token, in the engine", times[n / 2], times[n - 1]);
    }
    qn_free(ids);
    qn_free(logits);
}

int main(int argc, char **argv)
{
    char path[1024];
    qn_gguf *g = NULL;
    qn_tokenizer *t = NULL;
    qn_err err = {0};
    const char *shared = getenv("SHARED");
    (void)snprintf(path, sizeof path, "%s/golden/tokenizers/ggml-vocab-qwen2.gguf", shared ? shared : "../shared");
    FILE *f = argc > 1 ? NULL : fopen(path, "rb");
    if (f)
        (void)fclose(f);
    else
        (void)snprintf(path, sizeof path, "%s", argc > 1 ? argv[1] : "models/seedling-q8_0.gguf");
    if (qn__gguf_open(path, &g, &err) || qn__tokenizer_open(g, &t, &err)) {
        fprintf(stderr, "%s: %s\n", err.where, err.what);
        return 1;
    }
    json_t *schemas[TOOLS];
    for (int i = 0; i < TOOLS; i++) {
        char text[2048];
        (void)snprintf(text, sizeof text, tool, i);
        schemas[i] = json_loads(text, 0, NULL);
    }
    double start = spent();
    qn_grammar *first = compile(t, schemas, 1);
    printf("grammar %-26s %8.2f ms  (%d tokens; once per model)\n", "the vocabulary's tree", (spent() - start) * 1e3, qn__tokenizer_info(t)->n_vocab);
    qn__grammar_drop(first);
    double best = 1e9;
    qn_grammar *tools = NULL;
    for (int i = 0; i < 10; i++) {
        qn__grammar_drop(tools);
        start = spent();
        tools = compile(t, schemas, TOOLS);
        double s = spent() - start;
        best = s < best ? s : best;
    }
    printf("grammar %-26s %8.2f ms  (bound: 10)\n", "compile 50 tools' schemas", best * 1e3);
    static const char *const calls[] = {
        "{\"name\": \"tool_7\", \"arguments\": {\"path\": \"src/main.c\", \"mode\": \"write\", \"edits\": [{\"old\": \"int main(void)\\n{\", \"new\": \"int main(int argc, "
        "char **argv)\\n{\"}], \"note7\": \"a short note\"}}",
        "{\"name\": \"tool_42\", \"arguments\": {\"mode\": \"read\", \"limit\": 200, \"path\": \"docs/DESIGN.md\", \"offset\": 17, \"recursive\": false}}"};
    json_t *one = json_loads(nested, 0, NULL);
    qn_grammar *n = compile(t, &one, 1);
    int bad = !tools || !n || masks(t, tools, "masks, 50 tools", calls, 2) || masks(t, n, "masks, nested schema", outputs, 2);
    if (!bad)
        steps(t, n, outputs[0]);
    qn__grammar_drop(tools);
    qn__grammar_drop(n);
    json_decref(one);
    for (int i = 0; i < TOOLS; i++)
        json_decref(schemas[i]);
    qn__tokenizer_close(t);
    qn__gguf_close(g);
    return bad;
}
