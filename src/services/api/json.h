/* json.h - request bodies, which are hostile, and the JSON that answers are written in.
 *
 * Reading: the text is bounded in size, depth and number of values before it is parsed; a key twice, invalid UTF-8 and NaN are
 * refused. Half of a surrogate pair, which JavaScript sends when a text was cut inside a character, becomes U+FFFD. Fields are
 * taken by getters that know the way to them: a known field of a wrong type is refused with that way (messages[3].content), an
 * unknown one is ignored, and null is as good as absent. The first refusal stays; later ones are dropped. */
#ifndef QN_SERVICES_API_JSON_H
#define QN_SERVICES_API_JSON_H

#include <jansson.h>

#include "base/str.h"

/* Parse a body. Errors: QN_EFORMAT with line and column, QN_ELIMIT. The text may be changed. */
qn_status api_json_parse(char *text, size_t n, json_t **out, qn_err *err);

/* A value and the way to it; lives on the stack of whoever walks. */
typedef struct api_at {
    const struct api_at *up;
    const char *key; /* NULL: index */
    size_t index;
    json_t *j;       /* borrowed; NULL when absent */
    qn_err *err;     /* code QN_OK until something is refused */
} api_at;

api_at api_root(json_t *j, qn_err *err);
/* The field of an object; absent, or null, when there is none. `at` must outlive the result. */
api_at api_field(const api_at *at, const char *key);
api_at api_item(const api_at *at, size_t index);
/* Refuse this value. */
void api_refuse(const api_at *at, const char *fmt, ...) QN_PRINTF(2, 3);
/* Refuse the field `key` of it. */
void api_refuse_field(const api_at *at, const char *key, const char *fmt, ...) QN_PRINTF(3, 4);
bool api_is_ok(const api_at *at);
const char *api_type_name(const json_t *j);

/* Getters: `out` stays as it is when the field is absent, null or refused; they return whether it was set. */
bool api_get_bool(const api_at *at, const char *key, bool *out);
bool api_get_int(const api_at *at, const char *key, int64_t min, int64_t max, int64_t *out);
bool api_get_int32(const api_at *at, const char *key, int32_t min, int32_t max, int32_t *out);
bool api_get_float(const api_at *at, const char *key, double min, double max, float *out);
/* Terminated; a string with a NUL inside is refused. Borrowed from the JSON. */
bool api_get_text(const api_at *at, const char *key, const char **out);
/* Any string. */
bool api_get_bytes(const api_at *at, const char *key, const char **out, size_t *n);
/* Present and of this type; otherwise out->j is NULL. */
bool api_get_object(const api_at *at, const char *key, api_at *out);
bool api_get_array(const api_at *at, const char *key, api_at *out);

/* ---- writing ---- */

/* A JSON string, quoted. Bytes that are no UTF-8 become U+FFFD. */
void api_put_string(qn_buf *b, const char *s, size_t n);
void api_put_text(qn_buf *b, const char *s); /* terminated; NULL: null */
/* A finite number as briefly as it reads back (float); others null. */
void api_put_float(qn_buf *b, double v);
/* A value as compact JSON. */
void api_put_json(qn_buf *b, const json_t *j);

#endif
