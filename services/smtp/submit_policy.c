/* submit_policy.c - see submit_policy.h. Counters live in Redis; while it is away, limits do not
 * apply.
 *
 * Owns nothing. Suspends for Redis.
 */
#include "submit_policy.h"

#include "mail/outbound.h"

/* Found once in a session: it costs two or three questions to the store. */
static int find_limit(struct submit_mail *m, struct fault *why)
{
    struct submit_conn *conn = m->conn;

    if (conn->knows_limit)
        return 0;
    if (outbound_limit_find(conn->submit->store, slice_of(conn->who.user_id), slice_of(conn->who.domain_id), conn->submit->config->messages_per_day,
                            m->arena, deadline_in_ms(SUBMIT_LOGIN_MS), &conn->limit, why) < 0)
        return -1;
    conn->knows_limit = true;
    return 0;
}

static struct smtp_reply check_daily(struct submit_mail *m)
{
    struct submit *submit = m->conn->submit;
    struct redis_counter counter;
    struct fault why;

    if (submit->config->messages_per_day == 0 || submit->redis == NULL || find_limit(m, &why) < 0 ||
        outbound_count_day(submit->redis, outbound_counted(&m->conn->who), 1, m->arena, &counter, &why) < 0)
        return SMTP_OK;
    if (m->conn->limit > 0 && counter.count > m->conn->limit)
        return SMTP_REPLY(450, "4.7.1", "Rate limit exceeded, try again tomorrow");
    return SMTP_OK;
}

static const struct submit_rule rules[] = {
    {"daily", check_daily},
};

struct smtp_reply submit_policy_run(struct submit_mail *m)
{
    for (size_t i = 0; i < COUNT(rules); i++) {
        struct smtp_reply r = rules[i].fn(m);

        if (r.code == 0)
            continue;
        log_event(LOG_WARN, "smtp.refused", F_ID("conn", m->s->id),
                  F_ID("user", m->conn->who.user_id), F_STR("rule", rules[i].name),
                  F_INT("code", r.code), F_SLICE("said", r.text));
        return r;
    }
    return SMTP_OK;
}
