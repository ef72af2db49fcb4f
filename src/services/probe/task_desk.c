/* task_desk.c - work at a desk: tickets sorted by rules, duplicates found, facts looked up. See task.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/task.h"

static const char *const people[] = {"Ada", "Boris", "Chen", "Dalia", "Emre", "Fatou", "Goran", "Hana", "Igor", "Juna"};
enum { PEOPLE = sizeof people / sizeof *people };

/* ---- triage ---- */

typedef struct triage_state {
    size_t n;
    const char *person[QN_TICKETS]; /* NULL: not to be touched */
    int priority[QN_TICKETS];
} triage_state;

static void triage(qn_task *t)
{
    static const int total[QN_TIERS] = {3, 6, 10, 14}, closed[QN_TIERS] = {1, 1, 1, 2}, taken[QN_TIERS] = {0, 1, 1, 1};
    static const char *const labels[] = {"billing", "login", "printing", "mobile", "export"};
    static const char *const titles[] = {"It does not work", "Question", "Please help", "Strange message", "Again the same", "Since yesterday"};
    triage_state *s = t->state;
    qn_env *e = &t->env;
    int who[PEOPLE], order[16];
    e->tickets = qn__env_struct(e, sizeof *e->tickets);
    if (!e->tickets)
        return;
    qn__env_shuffle(e, who, PEOPLE);
    s->n = (size_t)total[t->tier];
    qn__env_shuffle(e, order, (int)s->n);
    const int old = 10 + (int)qn__env_below(e, 20);
    const bool priorities = t->tier >= QN_MEDIUM, outages = t->tier >= QN_HARD;
    for (size_t i = 0; i < s->n; i++) {
        __typeof__(e->tickets->t[0]) *k = &e->tickets->t[e->tickets->n++];
        const size_t label = qn__env_below(e, 5);
        const bool outage = outages && qn__env_below(e, 3) == 0;
        *k = (__typeof__(*k)){.id = 200 + (int)(3 * i) + (int)qn__env_below(e, 3), .age = 1 + (int)qn__env_below(e, 40), .label = labels[label], .status = "open",
                              .title = titles[qn__env_below(e, 6)], .assignee = "",
                              .body = outage ? "Everybody here is affected: an outage." : "One customer wrote about it."};
        s->person[i] = people[who[outage ? 5 : (int)label]];
        s->priority[i] = !priorities ? 0 : k->age > old ? 1 : 3;
        if (order[i] < closed[t->tier])
            k->status = "closed", s->person[i] = NULL;
        else if (order[i] < closed[t->tier] + taken[t->tier])
            k->assignee = people[who[9]], s->person[i] = NULL;
    }
    qn__buf_puts(&t->user, "Give every open ticket that nobody has to the right person. ");
    for (int i = 0; i < 5; i++)
        qn__buf_printf(&t->user, "%s: %s. ", labels[i], people[who[i]]);
    if (outages)
        qn__buf_printf(&t->user, "But a ticket whose text says that there is an outage goes to %s, whatever its label. ", people[who[5]]);
    if (priorities)
        qn__buf_printf(&t->user, "Set the priority of each of these tickets: 1 if it is older than %d days, else 3. ", old);
    qn__buf_puts(&t->user, "The label, age and text of a ticket are seen with get_ticket. Leave all other tickets alone.");
    qn__task_forbid(t, "close ", "Close no ticket.");
}

static bool grade_triage(qn_task *t, qn_buf *why)
{
    const triage_state *s = t->state;
    const qn_tickets *k = t->env.tickets;
    for (size_t i = 0; i < s->n; i++) {
        char effect[24];
        bool touched = false;
        (void)snprintf(effect, sizeof effect, " #%d", k->t[i].id);
        for (size_t j = 0; j < t->env.n_effects; j++)
            touched |= strstr(t->env.effects[j], effect) && strlen(strstr(t->env.effects[j], effect)) == strlen(effect);
        if (s->person[i] ? strcmp(k->t[i].assignee, s->person[i]) != 0 || k->t[i].priority != s->priority[i] : touched) {
            qn__buf_printf(why, "ticket #%d is not as it should be", k->t[i].id);
            return false;
        }
    }
    return true;
}
const qn_task_family qn__family_triage = {"triage", QN_PROFILE_ASSISTANT, sizeof(triage_state), triage, grade_triage};

/* ---- duplicates ---- */

typedef struct duplicates_state {
    size_t n;
    int of[QN_TICKETS]; /* index of the oldest with the same error; itself: an original */
} duplicates_state;

static void duplicates(qn_task *t)
{
    static const int total[QN_TIERS] = {3, 7, 10, 14}, copies[QN_TIERS] = {1, 2, 3, 4};
    static const char *const titles[] = {"Saving fails", "Cannot save", "Error on the phone", "It stops", "Message with a code", "Order lost", "Broken again"};
    static const char *const places[] = {"when saving an order", "on the start page", "after an update", "while printing", "at the end of the month"};
    duplicates_state *s = t->state;
    qn_env *e = &t->env;
    int order[16], code[16];
    e->tickets = qn__env_struct(e, sizeof *e->tickets);
    if (!e->tickets)
        return;
    s->n = (size_t)total[t->tier];
    qn__env_shuffle(e, order, (int)s->n);
    const size_t originals = s->n - (size_t)copies[t->tier];
    for (size_t i = 0; i < s->n; i++) /* ages differ; copies are of some original's code */
        code[i] = (size_t)order[i] < originals ? 100 + 13 * order[i] : 0;
    for (size_t i = 0; i < s->n; i++)
        if (!code[i])
            code[i] = 100 + 13 * (int)qn__env_below(e, originals);
    int ages[16];
    qn__env_shuffle(e, ages, (int)s->n);
    for (size_t i = 0; i < s->n; i++) {
        __typeof__(e->tickets->t[0]) *k = &e->tickets->t[e->tickets->n++];
        *k = (__typeof__(*k)){.id = 300 + (int)(4 * i) + (int)qn__env_below(e, 4), .age = 1 + 2 * ages[i] + (int)qn__env_below(e, 2), .label = "bug",
                              .status = "open", .assignee = "", .title = titles[qn__env_below(e, 7)],
                              .body = qn__env_printf(e, "Shows error E-%d %s.", code[i], places[qn__env_below(e, 5)])};
    }
    for (size_t i = 0; i < s->n; i++) {
        s->of[i] = (int)i;
        for (size_t k = 0; k < s->n; k++)
            if (code[k] == code[i] && e->tickets->t[k].age > e->tickets->t[s->of[i]].age)
                s->of[i] = (int)k;
    }
    qn__buf_puts(&t->user, "Two tickets are duplicates if their texts name the same error code (like E-100). Of such tickets only the oldest stays open: "
                           "write the comment \"duplicate of #N\" (N: the oldest one's number) under each of the others, and close it. All other tickets "
                           "stay as they are.");
}

static bool grade_duplicates(qn_task *t, qn_buf *why)
{
    const duplicates_state *s = t->state;
    const qn_tickets *k = t->env.tickets;
    for (size_t i = 0; i < s->n; i++) {
        const bool copy = s->of[i] != (int)i, closed = strcmp(k->t[i].status, "closed") == 0;
        char number[16];
        bool named = !copy;
        (void)snprintf(number, sizeof number, "#%d", k->t[s->of[i]].id);
        for (size_t c = 0; c < k->t[i].n_comments; c++)
            named |= strstr(k->t[i].comments[c], number) != NULL;
        if (copy != closed || !named) {
            qn__buf_printf(why, "ticket #%d %s", k->t[i].id, copy != closed ? copy ? "is open still" : "is no duplicate and was closed" : "has no comment that names the oldest");
            return false;
        }
    }
    return true;
}
const qn_task_family qn__family_duplicates = {"duplicates", QN_PROFILE_ASSISTANT, sizeof(duplicates_state), duplicates, grade_duplicates};

/* ---- look_up: one fact leads to the next ---- */

enum { HOPS = 5, CHOICES = 8 };
typedef struct looked {
    const char *answer, *others[CHOICES];
} looked;

static void put_key(qn_env *e, const char *key, const char *value, const char *before)
{
    __typeof__(e->store->k[0]) *k = &e->store->k[e->store->n++];
    k->key = key;
    k->value = value;
    k->before = before;
    k->version = before ? 2 : 1;
}

/* Level 0: services -> teams, 1: teams -> people, 2: people -> rooms, 3: rooms -> phones. Each of the eight of a level leads to one of the
 * next, all to different ones. */
static void look_up(qn_task *t)
{
    static const int hops[QN_TIERS] = {1, 2, 3, 4};
    static const char *const names[HOPS][CHOICES] = {
        {"search", "mail", "backup", "billing", "maps", "chat", "print", "login"},
        {"red", "blue", "green", "amber", "white", "violet", "silver", "black"},
        {"Ada", "Boris", "Chen", "Dalia", "Emre", "Fatou", "Goran", "Hana"},
        {"A101", "B204", "C310", "D115", "E222", "F007", "G318", "H120"},
        {"5501", "5512", "5523", "5534", "5545", "5556", "5567", "5578"}};
    static const char *const forms[HOPS - 1] = {"service/%s/team", "team/%s/lead", "person/%s/room", "room/%s/phone"};
    static const char *const asked[] = {"team that looks after it", "person who leads the team that looks after it", "room of the person who leads the team that looks after it",
                                        "phone number in the room of the person who leads the team that looks after it"};
    looked *l = t->state;
    qn_env *e = &t->env;
    e->tickets = qn__env_struct(e, sizeof *e->tickets);
    e->store = qn__env_struct(e, sizeof *e->store);
    e->answers = true;
    if (!e->tickets || !e->store)
        return;
    const int n = hops[t->tier];
    size_t at = qn__env_below(e, CHOICES);
    const size_t service = at;
    for (int h = 0; h < n; h++) {
        int to[CHOICES];
        qn__env_shuffle(e, to, CHOICES);
        for (size_t i = 0; i < CHOICES; i++)
            put_key(e, qn__replaced(e, forms[h], "%s", names[h][i]), names[h + 1][to[i]],
                    e->stale && (i == at || qn__env_below(e, 2)) ? names[h + 1][to[(i + 1) % CHOICES]] : NULL);
        at = (size_t)to[at];
    }
    l->answer = names[n][at];
    for (size_t i = 0; i < CHOICES; i++)
        l->others[i] = i == at ? NULL : names[n][i];
    const int n_tickets = 3 + 2 * t->tier, mine = (int)qn__env_below(e, (size_t)n_tickets);
    for (int i = 0; i < n_tickets; i++) {
        __typeof__(e->tickets->t[0]) *k = &e->tickets->t[e->tickets->n++];
        *k = (__typeof__(*k)){.id = 400 + 5 * i + (int)qn__env_below(e, 5), .age = 2, .label = "question", .status = "open", .assignee = "", .title = "Who is responsible?"};
        k->body = qn__env_printf(e, "This is about the service %s.", names[0][i == mine ? service : qn__env_below(e, CHOICES)]);
        if (i == mine)
            qn__buf_printf(&t->user, "Ticket #%d is about a service. Find out the %s, and hand it in with submit_answer: that alone, no sentence. What "
                                     "is known about services, teams and so on is in the store, under keys like service/NAME/team (list_keys shows them all).",
                           k->id, asked[n - 1]);
    }
    qn__task_forbid(t, "set ", "Change nothing in the store.");
    qn__task_forbid(t, "remove-key ", NULL);
}

static bool grade_looked(qn_task *t, qn_buf *why)
{
    const looked *l = t->state;
    const char *a = t->env.answer;
    bool right = a && strstr(a, l->answer);
    for (size_t i = 0; right && i < CHOICES; i++)
        right = !l->others[i] || !strstr(a, l->others[i]);
    if (!right)
        qn__buf_printf(why, a ? "the answer is %s" : "no answer was handed in", l->answer);
    return right;
}
const qn_task_family qn__family_look_up = {"look_up", QN_PROFILE_ASSISTANT, sizeof(looked), look_up, grade_looked};
