/* grammar_regex.h - regular expressions for those who describe strings. Failures are kept in the IR. */
#ifndef QN_TEXT_GRAMMAR_REGEX_H
#define QN_TEXT_GRAMMAR_REGEX_H

#include "text/grammar_int.h"

/* json: characters are spelled as in a JSON string. search: found anywhere unless anchored; otherwise it is the whole text. */
qn_node qn__regex_node(qn_ir *ir, const char *pattern, size_t n, bool json, bool search, const char *where);
/* Any number of any characters. */
qn_node qn__regex_any(qn_ir *ir, bool json);
/* The automaton over characters of a node that qn__regex_node made (repeats are written out). False: failed. */
bool qn__regex_fa(qn_ir *ir, qn_node n, const char *where, qn_fa *out);

#endif
