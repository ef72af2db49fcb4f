/* vary.h - the same question in other words: small changes of phrasing that do not change what is asked, since those flip answers.
 *
 *   white space  blank lines at the borders and between paragraphs
 *   synonyms     words of instruction for others that mean the same here ("Write" - "Implement")
 *   order        neighbouring requirements that do not refer to each other ("- " lists; imperative sentences), put another way round
 *
 * Code (fenced, indented, in back-quotes) and numbered lists stay to the byte. Deterministic: the same seed, the same words. Pure. */
#ifndef QN_SERVICES_EVAL_VARY_H
#define QN_SERVICES_EVAL_VARY_H

#include "base/str.h"

enum { QN_VARY_SPACE = 1, QN_VARY_SYNONYMS = 2, QN_VARY_ORDER = 4 };

/* Appends the run-th asking of `prompt` to out; run 0 is the prompt as it is. Returns which of the changes were made (run > 0: one of
 * them at least), 0 on failure (out->failed) too. */
unsigned qn__vary(const char *prompt, uint64_t seed, int run, qn_buf *out);
/* "white space, order"; "as written". */
void qn__vary_names(unsigned what, char out[48]);

#endif
