/* grammar_json.h - JSON's own pieces, shared by whatever describes JSON. Each is a rule of the grammar (so that its masks are
 * found once, wherever it is used), made when first asked for. */
#ifndef QN_TEXT_GRAMMAR_JSON_H
#define QN_TEXT_GRAMMAR_JSON_H

#include "text/grammar_int.h"

#define QN_SEQ(ir, ...) \
    qn__ir_seq(ir, (const qn_node[]){__VA_ARGS__}, sizeof((const qn_node[]){__VA_ARGS__}) / sizeof(qn_node))
#define QN_ALT(ir, ...) \
    qn__ir_alt(ir, (const qn_node[]){__VA_ARGS__}, sizeof((const qn_node[]){__VA_ARGS__}) / sizeof(qn_node))

void qn__ir_json_free(qn_ir *ir);

static inline qn_node qn__ir_puts(qn_ir *ir, const char *s)
{
    return qn__ir_text(ir, s, strlen(s));
}
/* One character of a string as any writer may spell it; a string, from min to max characters (UINT32_MAX: no bound). */
qn_node qn__json_char(qn_ir *ir);
qn_node qn__json_string(qn_ir *ir, uint32_t min, uint32_t max);
/* What closes a string: a rule of its own, so that strings of all lengths share masks. */
qn_node qn__json_quote(qn_ir *ir);
qn_node qn__json_number(qn_ir *ir);
qn_node qn__json_integer(qn_ir *ir);
qn_node qn__json_object(qn_ir *ir, const qn_json_style *s); /* any */
qn_node qn__json_array(qn_ir *ir, const qn_json_style *s);
/* Between members; behind a key; inside a bracket that is not empty. */
qn_node qn__json_comma(qn_ir *ir, const qn_json_style *s);
qn_node qn__json_colon(qn_ir *ir, const qn_json_style *s);
qn_node qn__json_inside(qn_ir *ir, const qn_json_style *s);

#endif
