/* anthropic.h - what the reader and the writer of Anthropic's forms share. */
#ifndef QN_SERVICES_API_ANTHROPIC_H
#define QN_SERVICES_API_ANTHROPIC_H

#include "services/api/routes.h"

/* Everything of a body but max_tokens' being there. */
void api_anthropic_read(api_ask *a, const api_at *body);

#endif
