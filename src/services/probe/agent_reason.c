/* agent_reason.c - what an answer is and why a run failed, by rules that look at the transcript alone, so that stored ones can be judged
 * again. The order of the rules stands in agent.h. */
#include <ctype.h>
#include <string.h>

#include "services/probe/agent.h"

const char *qn__agent_path_name(int path)
{
    return path == QN_PATH_JSON ? "json" : "native";
}

static const struct { const char *name, *means; } REASONS[QN_REASONS] = {
    {"passed", "the state was right in the end and nothing forbidden was done"},
    {"forbidden effect", "it did what the rules forbid"},
    {"context overflow", "the conversation no longer fitted the context"},
    {"time-out", "an answer took too long"},
    {"truncated", "answers ended at their limit of tokens"},
    {"empty output", "answers were empty"},
    {"malformed call", "calls began and could not be read"},
    {"foreign dialect", "calls were written in another form than the one that was asked for"},
    {"prose", "it talked instead of calling a tool"},
    {"premature done", "it said that it was done and was not"},
    {"undeclared tool", "it mostly called tools that do not exist"},
    {"schema error", "arguments mostly did not conform to the tool's parameters"},
    {"decoy", "it mostly called tools that were of no use"},
    {"repeat-stall", "it made the same call again and again"},
    {"cycle", "it went in a circle of two to four calls"},
    {"step cap", "its steps were used up"},
};

const char *qn__reason_name(int reason)
{
    return reason >= 0 && reason < QN_REASONS ? REASONS[reason].name : "?";
}

const char *qn__reason_means(int reason)
{
    return reason >= 0 && reason < QN_REASONS ? REASONS[reason].means : "?";
}

/* ---- answers ---- */

/* Letters alike in either case. */
static bool holds(const char *text, const char *what)
{
    const size_t n = strlen(what);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)text[i]) == what[i])
            i++;
        if (i == n)
            return true;
    }
    return false;
}

static bool says_done(const char *text)
{
    static const char *const claims[] = {"all tests pass", "has been fixed", "i have fixed", "i've fixed", "task is complete", "task is done",
                                         "successfully completed", "have been completed", "has been completed", "is now complete"};
    while (*text && !isalnum((unsigned char)*text) && *text != '<' && *text != '{' && *text != '[')
        text++;
    if (strncmp(text, "DONE", 4) == 0 || strncmp(text, "Done", 4) == 0)
        return true;
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++)
        if (holds(text, claims[i]))
            return true;
    return false;
}

/* Marks by which families of models begin calls; as text they are nobody's here. */
static bool is_foreign(const char *text)
{
    static const char *const marks[] = {"<tool_call>", "<toolcall>", "<function_call>", "<function=", "<invoke name=", "<function_calls>", "[tool_calls]",
                                        "[tool_call]", "<|python_tag|>", "<|tool_call", "<|tool\xe2\x96\x81" "call", "<|channel|>commentary",
                                        "<\xef\xbd\x9ctool\xe2\x96\x81" "call", "```tool_code", "```tool_call", "<start_function_call>", "<|action_start|>"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (holds(text, marks[i]))
            return true;
    return holds(text, "action:") && holds(text, "action input:");
}

/* A JSON object that names a function and its arguments, in whatever spelling. */
static bool is_json_call(const char *text)
{
    const char *p = strchr(text, '{');
    return p && (strstr(p, "\"arguments\"") || strstr(p, "\"parameters\"") || strstr(p, "\"args\"")) &&
           (strstr(p, "\"name\"") || strstr(p, "\"function\"") || strstr(p, "\"tool\"") || strstr(p, "\"tool_name\"") || strstr(p, "\"action\""));
}

json_t *qn__json_call(const char *text, bool *done)
{
    *done = false;
    for (const char *p = text; (p = strchr(p, '{')); p++) {
        json_t *o = json_loads(p, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);
        if (json_is_string(json_object_get(o, "tool")))
            return o;
        if (o && json_object_get(o, "done") && !json_object_get(o, "name")) {
            *done = true;
            json_decref(o);
            return NULL;
        }
        json_decref(o);
        if (o) /* an object of another kind: what is inside it is not looked at */
            break;
    }
    return NULL;
}

qn_answer_kind qn__answer_kind(int path, const char *text, size_t n_calls, bool malformed, bool cut)
{
    const char *p = text;
    bool done = false;
    if (n_calls)
        return QN_ANSWER_CALLS;
    if (cut)
        return QN_ANSWER_CUT;
    while (*p && (isspace((unsigned char)*p) || *p == '`'))
        p++;
    if (malformed && path == QN_PATH_NATIVE)
        return QN_ANSWER_MALFORMED;
    if (!*p)
        return QN_ANSWER_EMPTY;
    if (is_foreign(text))
        return QN_ANSWER_FOREIGN;
    if (path == QN_PATH_JSON) {
        json_decref(qn__json_call(text, &done));
        if (done)
            return QN_ANSWER_DONE;
        if (strchr(text, '{') && strstr(text, "\"tool\""))
            return QN_ANSWER_MALFORMED;
    }
    if (is_json_call(text))
        return QN_ANSWER_FOREIGN;
    if (path == QN_PATH_JSON && *p == '{') /* an object, and no call */
        return QN_ANSWER_MALFORMED;
    return says_done(text) ? QN_ANSWER_DONE : QN_ANSWER_PROSE;
}

/* ---- runs ---- */

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

uint64_t qn__step_signature(const json_t *step)
{
    const json_t *calls = json_object_get(step, "calls"), *c;
    size_t i;
    uint64_t h[3] = {0, 0, 0};
    if (json_array_size(calls) == 0)
        return qn__hash(str(step, "text"), strlen(str(step, "text"))) | 1;
    json_array_foreach((json_t *)(uintptr_t)calls, i, c) {
        h[1] = qn__hash(str(c, "name"), strlen(str(c, "name")));
        h[2] = qn__hash(str(c, "arguments"), strlen(str(c, "arguments")));
        h[0] = qn__hash(h, sizeof h);
    }
    return h[0];
}

int qn__tail_period(const uint64_t *sigs, size_t n, size_t *span)
{
    *span = 0;
    for (size_t p = 1; p <= 4; p++) {
        size_t same = 0;
        while (same + p < n && sigs[n - 1 - same] == sigs[n - 1 - same - p])
            same++;
        if (same + p >= (p == 1 ? 4 : 2 * p)) {
            *span = same + p;
            return (int)p;
        }
    }
    return 0;
}

static qn_answer_kind kind_of(const json_t *t, const json_t *step)
{
    return qn__answer_kind(strcmp(str(t, "path"), "json") == 0 ? QN_PATH_JSON : QN_PATH_NATIVE, str(step, "text"), json_array_size(json_object_get(step, "calls")),
                           json_is_true(json_object_get(step, "malformed")), strcmp(str(step, "end"), "length") == 0);
}

static const qn_reason OF_ANSWER[] = {[QN_ANSWER_CALLS] = QN_REASON_STEPS, [QN_ANSWER_DONE] = QN_REASON_PREMATURE, [QN_ANSWER_PROSE] = QN_REASON_PROSE,
                                      [QN_ANSWER_EMPTY] = QN_REASON_EMPTY, [QN_ANSWER_MALFORMED] = QN_REASON_MALFORMED,
                                      [QN_ANSWER_FOREIGN] = QN_REASON_FOREIGN, [QN_ANSWER_CUT] = QN_REASON_CUT};

/* What most of the useless answers among the last `n` steps are (of equals the later one); *of: how many are useless. */
static qn_reason mostly(const json_t *t, size_t n, size_t *of)
{
    const json_t *steps = json_object_get(t, "steps");
    const size_t all = json_array_size(steps);
    size_t count[QN_REASONS] = {0};
    qn_reason best = QN_REASON_EMPTY;
    *of = 0;
    for (size_t i = 0; i < n && i < all; i++) { /* from the end, so that the later one is met first */
        const qn_reason r = OF_ANSWER[kind_of(t, json_array_get(steps, all - 1 - i))];
        if (r == QN_REASON_STEPS || r == QN_REASON_PREMATURE)
            continue;
        (*of)++;
        if (++count[r] > count[best] || *of == 1)
            best = r;
    }
    return best;
}

/* What fills at least half of the steps: calls of one wrong kind. */
static qn_reason filled_by(const json_t *steps)
{
    static const struct { const char *kind; qn_reason reason; } kinds[] = {{"undeclared", QN_REASON_UNDECLARED}, {"schema", QN_REASON_SCHEMA}, {"decoy", QN_REASON_DECOY}};
    size_t i, k, of[3] = {0};
    const json_t *s, *c;
    json_array_foreach((json_t *)(uintptr_t)steps, i, s) {
        bool in[3] = {0};
        json_array_foreach(json_object_get(s, "calls"), k, c)
            for (size_t j = 0; j < 3; j++)
                in[j] |= strcmp(str(c, "kind"), kinds[j].kind) == 0;
        for (size_t j = 0; j < 3; j++)
            of[j] += in[j];
    }
    for (size_t j = 0; j < 3; j++)
        if (of[j] && 2 * of[j] >= json_array_size(steps))
            return kinds[j].reason;
    return QN_REASON_STEPS;
}

qn_reason qn__agent_reason(const json_t *t)
{
    const json_t *steps = json_object_get(t, "steps");
    const size_t n = json_array_size(steps);
    const char *ended = str(t, "ended");
    size_t useless;
    if (json_array_size(json_object_get(t, "forbidden")) > 0)
        return QN_REASON_FORBIDDEN;
    if (json_is_true(json_object_get(t, "right")))
        return QN_REASON_PASSED;
    if (strcmp(ended, "context") == 0)
        return QN_REASON_CONTEXT;
    if (strcmp(ended, "time") == 0)
        return QN_REASON_TIME;
    if (strcmp(ended, "done") == 0)
        return QN_REASON_PREMATURE;
    if (strcmp(ended, "useless") == 0 || n == 0)
        return mostly(t, QN_AGENT_BAD, &useless);
    const qn_reason filler = filled_by(steps);
    if (filler != QN_REASON_STEPS)
        return filler;
    uint64_t sigs[128];
    const size_t from = n > 128 ? n - 128 : 0;
    size_t span;
    for (size_t i = from; i < n; i++)
        sigs[i - from] = qn__step_signature(json_array_get(steps, i));
    const int period = qn__tail_period(sigs, n - from, &span);
    if (period)
        return period == 1 ? QN_REASON_REPEAT : QN_REASON_CYCLE;
    const qn_reason talk = mostly(t, n, &useless);
    return 2 * useless >= n ? talk : QN_REASON_STEPS;
}
