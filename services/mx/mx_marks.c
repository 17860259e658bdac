/* mx_marks.c - see mx_marks.h.
 *
 * Owns nothing. A mark tells nothing about the message to who reads the store. Called by
 * mx_deliver.c on worker fibers. What can fail: the store. Suspends for it.
 */
#include "mx_marks.h"

#include "base/encode.h"

static void make_mark(const struct mx_mail *m, const unsigned char digest[32], struct mx_target *t)
{
    AUTO(buf_free) struct buf in = BUF_INIT(65536);

    (void)buf_append_char(&in, t->kind == MX_MAILBOX ? 'm' : 'f');
    (void)buf_put_bytes(&in, m->s->mail.from.address);
    (void)buf_put_bytes(&in,
                        t->kind == MX_MAILBOX ? t->alias_id : arena_lower(m->arena, t->address));
    (void)buf_append(&in, slice_make(digest, 32));
    hmac_sha256(secret_slice(m->mx->mark_key), buf_slice(&in), t->mark);
}

void mx_marks_make(struct mx_mail *m)
{
    unsigned char digest[32];

    spool_sha256(m->spool, digest);
    for (struct mx_target *t = m->first; t; t = t->next)
        make_mark(m, digest, t);
}

static struct slice mark_text(const struct mx_mail *m, const struct mx_target *t)
{
    return hex_encode(m->arena, slice_make(t->mark, sizeof(t->mark)));
}

int mx_marks_find(struct mx_mail *m, const struct mx_target *t, struct fault *why)
{
    struct slice mark = mark_text(m, t);
    bool found = false;

    if (mark_find(m->mx->store, &mark, 1, &found, m->until, why) < 0)
        return -1;
    return found;
}

int mx_marks_put(struct mx_mail *m, const struct mx_target *t, struct fault *why)
{
    return mark_put(m->mx->store, mark_text(m, t), m->until, why);
}
