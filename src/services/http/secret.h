/* secret.h - keys that clients show: kept as salted SHA-256, compared in constant time. */
#ifndef QN_SERVICES_HTTP_SECRET_H
#define QN_SERVICES_HTTP_SECRET_H

#include "quern.h"

enum { HTTP_DIGEST = 32, HTTP_SALT = 16 };

void http_sha256(const void *p, size_t n, unsigned char out[HTTP_DIGEST]);

typedef struct http_secrets {
    unsigned char salt[HTTP_SALT];
    unsigned char (*digests)[HTTP_DIGEST];
    size_t n;
} http_secrets;

/* Errors: QN_ENOMEM; QN_EINVAL for an empty one. */
qn_status http_secrets_open(http_secrets *s, const char *const *keys, size_t n, qn_err *err);
void http_secrets_close(http_secrets *s);
/* Takes as long whatever is given. */
bool http_secrets_have(const http_secrets *s, const char *key);

#endif
