/* forms.c - what output must look like, and how a reply is taken apart: grammars, tools, parts. See ask.h. */
#include "services/api/ask_int.h"

#include "base/err.h"

qn_status api_forms_open(api_ask *a, qn_err *err)
{
    (void)a;
    (void)err;
    return QN_OK;
}

void api_forms_close(api_ask *a)
{
    (void)a;
}

const qn_grammar *api_forms_grammar(const api_ask *a)
{
    (void)a;
    return NULL;
}

qn_status api_parts_open(api_choice *c, qn_err *err)
{
    (void)c;
    (void)err;
    return QN_OK;
}

void api_parts_close(api_choice *c)
{
    (void)c;
}

qn_status api_parts_put(api_choice *c, const char *text, size_t n, qn_err *err)
{
    (void)err;
    api__answer_part(c, &(qn_part){.kind = QN_PART_TEXT, .text = text, .n = n});
    return QN_OK;
}

qn_status api_parts_end(api_choice *c, qn_err *err)
{
    (void)c;
    (void)err;
    return QN_OK;
}
