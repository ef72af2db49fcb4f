/* render.c - a conversation to the prompt's text, whatever the template thinks of it. See ask.h. */
#include "services/api/ask_int.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

qn_status api_render(api_ask *a, qn_err *err)
{
    qn_status st = QN_OK;
    char *messages = json_dumps(a->messages, JSON_COMPACT);
    char *tools = a->tools ? json_dumps(a->tools, JSON_COMPACT) : NULL;
    if (!messages || (a->tools && !tools))
        st = qn__fail_mem(err, "messages");
    const qn_render_options o = {.model = a->loaded->model, .messages_json = messages, .tools_json = tools};
    if (!st)
        st = qn_render(&o, &a->rendered, &a->n_rendered, err);
    free(messages);
    free(tools);
    return st;
}
