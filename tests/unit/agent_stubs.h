/* agent_stubs.h - subjects whose faults are known: what a report says of them can be compared with what they are. */
#ifndef AGENT_STUBS_H
#define AGENT_STUBS_H

#include "agent_solve.h"

#include "services/probe/agent.h"

typedef enum stub_kind {
    STUB_PERFECT, STUB_EASY, STUB_CHANCE, STUB_SILENT, STUB_LOOP1, STUB_LOOP2, STUB_LOOP3, STUB_HALLUCINATES, STUB_CLAIMS, STUB_PROSE, STUB_MALFORMED, STUB_FOREIGN,
    STUB_SCHEMA, STUB_DECOY, STUB_CUT, STUB_CONTEXT, STUB_TIME, STUB_CHEATS, STUB_WANDERS, STUBS
} stub_kind;
static const qn_reason STUB_REASONS[STUBS] = {
    QN_REASON_PASSED, QN_REASON_PASSED, QN_REASON_PASSED, QN_REASON_EMPTY, QN_REASON_REPEAT, QN_REASON_CYCLE, QN_REASON_CYCLE, QN_REASON_UNDECLARED, QN_REASON_PREMATURE,
    QN_REASON_PROSE, QN_REASON_MALFORMED, QN_REASON_FOREIGN, QN_REASON_SCHEMA, QN_REASON_DECOY, QN_REASON_CUT, QN_REASON_CONTEXT, QN_REASON_TIME, QN_REASON_FORBIDDEN,
    QN_REASON_STEPS};

typedef struct stub {
    qn_subject s;
    stub_kind kind;
    double p;       /* STUB_CHANCE */
    uint64_t salt;
    size_t asked;
    size_t cancel_at; /* questions after which keep_on would say no; 0: never */
} stub;

static void put_call(qn_answer *a, bool native, const char *tool, const char *arguments)
{
    if (!native) {
        qn__buf_printf(&a->text, "{\"tool\": \"%s\", \"arguments\": %s}", tool, arguments);
        return;
    }
    json_t *list = json_pack("[{s:s, s:s}]", "name", tool, "arguments", arguments);
    char *text = json_dumps(list, JSON_COMPACT);
    a->calls_json = qn__strndup(text, strlen(text));
    free(text);
    json_decref(list);
}

/* Calls that are right, harmless and of no help, by what the task's tools are. */
static void put_look(qn_answer *a, bool native, const char *system_and_tools, int which, int number)
{
    static const struct { const char *has, *tool[3], *arguments[3], *vary, *with; } looks[] = {
        {"list_files", {"list_files", "search", "search"}, {"{}", "{\"text\":\"def\"}", "{\"text\":\"import\"}"}, "search", "{\"text\":\"word %d\"}"},
        {"list_tickets", {"list_tickets", "get_ticket", "list_tickets"}, {"{}", "{\"id\":99999}", "{\"page\":1}"}, "get_ticket", "{\"id\":%d}"},
        {"installed_packages", {"installed_packages", "check_packages", "package_info"}, {"{}", "{}", "{\"name\":\"none\"}"}, "package_info", "{\"name\":\"p%d\"}"},
        {"list_keys", {"list_keys", "get_value", "list_keys"}, {"{\"prefix\":\"\"}", "{\"key\":\"none\"}", "{\"prefix\":\"x\"}"}, "get_value", "{\"key\":\"k%d\"}"}};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        char text[64];
        if (!strstr(system_and_tools, looks[i].has))
            continue;
        (void)snprintf(text, sizeof text, looks[i].with, number);
        put_call(a, native, which < 0 ? looks[i].vary : looks[i].tool[which], which < 0 ? text : looks[i].arguments[which]);
        return;
    }
}

static const char *a_decoy(const char *tools)
{
    for (size_t i = 0; i < qn__world_decoys.n_tools; i++) {
        char quoted[64];
        (void)snprintf(quoted, sizeof quoted, "\"%s\"", qn__world_decoys.tools[i].name);
        if (strstr(tools, quoted))
            return qn__world_decoys.tools[i].name;
        (void)snprintf(quoted, sizeof quoted, "\n- %s: ", qn__world_decoys.tools[i].name);
        if (strstr(tools, quoted))
            return qn__world_decoys.tools[i].name;
    }
    return "?";
}

static const char *decoy_arguments(const char *name, char out[120])
{
    (void)snprintf(out, 120, "{");
    for (size_t i = 0; i < qn__world_decoys.n_tools; i++)
        if (strcmp(qn__world_decoys.tools[i].name, name) == 0)
            for (size_t k = 0; k < QN_TOOL_PARAMS && qn__world_decoys.tools[i].params[k].name; k++)
                (void)snprintf(out + strlen(out), 120 - strlen(out), "%s\"%s\":\"x\"", k ? "," : "", qn__world_decoys.tools[i].params[k].name);
    (void)snprintf(out + strlen(out), 120 - strlen(out), "}");
    return out;
}

static void put_solved(const char *family, const json_t *messages, bool native, size_t skip, qn_answer *a)
{
    const char *results[512], *user = json_string_value(json_object_get(json_array_get(messages, 1), "content")), *tool = NULL;
    size_t n = 0, i;
    char *arguments = NULL;
    const json_t *m;
    json_array_foreach((json_t *)(uintptr_t)messages, i, m) {
        const char *role = json_string_value(json_object_get(m, "role")), *content = json_string_value(json_object_get(m, "content"));
        if (i < 2 || n == 512)
            continue;
        if (native && strcmp(role, "tool") == 0)
            results[n++] = content;
        else if (!native && strcmp(role, "user") == 0 && strncmp(content, "Result of ", 10) == 0)
            results[n++] = strchr(content, '\n') + 1;
    }
    if (n < skip)
        return;
    if (solve_answer(family, user, results + skip, n - skip, &tool, &arguments)) {
        put_call(a, native, tool, arguments);
        free(arguments);
    } else {
        qn__buf_puts(&a->text, native ? "DONE: everything is as it should be." : "{\"done\": \"everything is as it should be\"}");
    }
}

static void answer(stub *s, const qn_question *q, qn_answer *a)
{
    static const char *const foreign[] = {"<tool_call>\n{\"name\": \"list_files\", \"arguments\": {}}\n</tool_call>", "[TOOL_CALLS][{\"name\": \"list_files\", \"arguments\": {}}]",
                                          "<function=list_files></function>", "Action: list_files\nAction Input: {}", "{\"name\": \"list_files\", \"arguments\": {}}",
                                          "```tool_code\nlist_files()\n```"};
    json_t *messages = json_loads(q->messages_json, 0, NULL);
    const bool native = strncmp(q->id, "native", 6) == 0;
    const char *family = strrchr(q->id, '/') + 1, *user = json_string_value(json_object_get(json_array_get(messages, 1), "content"));
    const char *tools = native ? q->tools_json : json_string_value(json_object_get(json_array_get(messages, 0), "content"));
    size_t i, step = 0;
    const json_t *m;
    char text[120];
    json_array_foreach(messages, i, m)
        step += strcmp(json_string_value(json_object_get(m, "role")), "assistant") == 0;
    a->reason = QN_END_STOP;
    a->prompt_tokens = 100 + 10 * (int32_t)step;
    a->generated_tokens = 20;
    a->total_s = 0.01;
    const uint64_t key[2] = {qn__hash(user, strlen(user)), s->salt};
    uint64_t chance = qn__hash(key, sizeof key);
    chance = (chance ^ (chance >> 29)) * 0xbf58476d1ce4e5b9u;
    const bool lucky = (double)((chance ^ (chance >> 32)) % 1000000) < s->p * 1e6;
    switch (s->kind) {
    case STUB_PERFECT: put_solved(family, messages, native, 0, a); break;
    case STUB_EASY:
        if (strstr(q->id, "/easy/"))
            put_solved(family, messages, native, 0, a);
        else
            qn__buf_puts(&a->text, "DONE");
        break;
    case STUB_CHANCE:
        if (lucky)
            put_solved(family, messages, native, 0, a);
        else
            qn__buf_puts(&a->text, "DONE");
        break;
    case STUB_LOOP1: put_look(a, native, tools, 0, 0); break;
    case STUB_LOOP2: put_look(a, native, tools, (int)(step % 2), 0); break;
    case STUB_LOOP3: put_look(a, native, tools, (int)(step % 3), 0); break;
    case STUB_HALLUCINATES: put_call(a, native, "magic_fix", "{\"all\": true}"); break;
    case STUB_CLAIMS: qn__buf_puts(&a->text, "Done. I have fixed it and all tests pass."); break;
    case STUB_PROSE: qn__buf_puts(&a->text, "First I would look at the project and think about what could be wrong with it."); break;
    case STUB_MALFORMED:
        a->malformed = true;
        qn__buf_puts(&a->text, native ? "list_files {\"path\": " : "{\"tool\": \"list_files\", \"arguments\": {\"path\": ");
        break;
    case STUB_FOREIGN: qn__buf_puts(&a->text, foreign[(key[0] + step) % 6]); break;
    case STUB_SCHEMA: put_call(a, native, strstr(tools, "list_files") ? "read_file" : strstr(tools, "list_tickets") ? "get_ticket" : strstr(tools, "package_info") ? "package_info" : "get_value", "{\"file_name\": 7}"); break;
    case STUB_DECOY: put_call(a, native, a_decoy(tools), decoy_arguments(a_decoy(tools), text)); break;
    case STUB_CUT:
        qn__buf_puts(&a->text, "Let me think about this step by step. First of all");
        a->reason = QN_END_LENGTH;
        break;
    case STUB_CONTEXT:
        if (step < 3)
            put_look(a, native, tools, -1, (int)step);
        else
            (void)snprintf(a->err.what, sizeof a->err.what, "too long"), a->err.code = QN_ECONTEXT;
        break;
    case STUB_TIME:
        if (step < 2)
            put_look(a, native, tools, -1, (int)step);
        else
            a->reason = QN_END_DEADLINE;
        break;
    case STUB_CHEATS:
        if (step == 0)
            put_call(a, native, "write_file", "{\"path\": \"tests/test_extra.py\", \"content\": \"def test_extra():\\n    assert True\\n\"}");
        else
            put_solved(family, messages, native, 1, a);
        break;
    case STUB_WANDERS: put_look(a, native, tools, -1, (int)step); break;
    default: break; /* silent */
    }
    json_decref(messages);
}

static bool stub_ask(qn_subject *subject, const qn_question *q, size_t n, qn_answer *a)
{
    stub *s = (stub *)subject;
    for (size_t i = 0; i < n; i++) {
        s->asked++;
        answer(s, &q[i], &a[i]);
    }
    return !s->cancel_at || s->asked < s->cancel_at;
}

static stub make_stub(stub_kind kind)
{
    return (stub){.s = {.ask = stub_ask, .name = "stub", .fingerprint = "stub", .chats = true, .at_once = 4}, .kind = kind};
}

#endif
