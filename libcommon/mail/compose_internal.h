/* compose_internal.h - what compose*.c share. */
#pragma once

#include "base/buf.h"
#include "mail/compose.h"

struct writer {                                /* gathers small pieces for the sink */
    compose_sink sink;
    void *arg;
    struct buf out;
    struct fault *why;
    bool head_only;                            /* the top part's header lines, nothing behind */
    int result;                                /* <0 once something failed: nothing more is written */
};

void write_text(struct writer *w, const char *format, ...) PRINTF_LIKE(2, 3);
void write_bytes(struct writer *w, struct slice s);
int write_end(struct writer *w);

/* compose_encode.c: UTF-8 text with its Content-Transfer-Encoding line and blank line before it. */
void write_encoded_text(struct writer *w, struct slice text, enum compose_encoding how);
void write_base64_part(struct writer *w, const struct compose_part *p);

/* compose.c: a parameter (RFC 2231 when it is not plain ASCII): "; filename=..." folded. */
int append_parameter(struct buf *out, struct arena *a, const char *name, struct slice value);
int append_field(struct buf *out, struct arena *a, struct slice name, struct slice value, struct fault *why);
bool is_safe_value(struct slice s);
