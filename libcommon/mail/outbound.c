/* outbound.c - see outbound.h. Owns nothing; faults are those of store and Redis. */
#include "mail/outbound.h"

#include "base/json.h"
#include "wire/rfc5322.h"

#define DAY_MS             ((uint64_t)24 * 3600 * 1000)
#define HEADERS_SHOWN_MAX  100                 /* fields kept in the document, for lists and admin pages */
#define HEADER_SHOWN_BYTES 1000

/* ---- limits ------------------------------------------------------------------------------------------------ */

/* A user who is gone has no right of their own, and no limit of their own either. */
static int find_user(struct store *st, struct slice id, struct arena *in, struct deadline until, struct user_doc *out, struct fault *why)
{
    *out = (struct user_doc){ .smtp_limit = 0 };
    if (id.n == 0 || user_find(st, id, in, until, out, why) == 0)
        return 0;
    return why->code == FAULT_NOT_FOUND ? 0 : -1;
}

static bool is_server_admin(const struct user_doc *user)
{
    return slice_equal(user->group, LIT("admin"));
}

static int has_server_admin(struct store *st, struct slice domain_id, struct arena *in, struct deadline until, bool *out, struct fault *why)
{
    struct domain_doc domain;
    struct user_doc user;

    *out = false;
    if (domain_find(st, domain_id, in, until, &domain, why) < 0)
        return why->code == FAULT_NOT_FOUND ? 0 : -1;
    for (size_t i = 0; i < domain.member_count && !*out; i++) {
        if (!domain.members[i].is_admin)
            continue;
        if (find_user(st, slice_of(domain.members[i].user), in, until, &user, why) < 0)
            return -1;
        *out = is_server_admin(&user);
    }
    return 0;
}

int outbound_limit_find(struct store *st, struct slice user_id, struct slice domain_id, int64_t per_day, struct arena *in, struct deadline until,
                        int64_t *out, struct fault *why)
{
    struct user_doc user;
    bool exempt;

    if (find_user(st, user_id, in, until, &user, why) < 0)
        return -1;
    exempt = is_server_admin(&user);
    if (!exempt && domain_id.n > 0 && has_server_admin(st, domain_id, in, until, &exempt, why) < 0)
        return -1;
    *out = exempt ? 0 : user.smtp_limit > 0 ? user.smtp_limit : per_day;
    return 0;
}

struct slice outbound_counted(const struct login_result *who)
{
    return slice_of(who->user_id[0] != '\0' ? who->user_id : who->domain_id);
}

int outbound_count_day(struct redis *r, struct slice counted, int64_t by, struct arena *in, struct redis_counter *out, struct fault *why)
{
    if (r == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "no Redis configured");
    return redis_count(r, arena_printf(in, "smtp_limit:%.*s", SLICE(counted)), by, DAY_MS, out, why);
}

/* ---- the document ------------------------------------------------------------------------------------------ */

/* Decoded fields; of a repeated one the last. */
static struct slice shown_headers(struct arena *a, struct slice header)
{
    AUTO(json_release) json_t *map = json_object();
    AUTO(buf_free) struct buf text = BUF_INIT(OUTBOUND_HEADER_MAX * 2);
    struct rfc5322_field f;
    size_t n = 0;

    while (n < HEADERS_SHOWN_MAX && rfc5322_next_field(&header, &f)) {
        if (f.name.n == 0 || !slice_is_ascii(f.name))
            continue;
        (void)json_set_slice(map, arena_cstr(a, f.name), rfc5322_decode_words(a, slice_head(f.value, HEADER_SHOWN_BYTES)));
        n++;
    }
    (void)json_format(map, &text);
    return arena_copy(a, buf_slice(&text));
}

void outbound_fill(struct arena *a, const struct outbound_header *h, uint64_t body_bytes, struct email_doc *doc)
{
    doc->size_bytes = (int64_t)(h->text.n + body_bytes);
    doc->message_id = h->message_id;
    doc->subject = h->subject;
    doc->headers = shown_headers(a, h->text);
    doc->date = h->date_ms;
}

void outbound_publish(struct redis *r, struct arena *a, const char *id)
{
    struct fault ignored;

    if (r != NULL)                             /* lost: the runner looks by itself, a little later */
        (void)redis_publish(r, LIT("queue"), arena_printf(a, "{\"id\":\"%s\"}", id), &ignored);
}
