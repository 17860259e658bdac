/* submit_policy.c - see submit_policy.h. Counters live in Redis; while it is away, limits do not
 * apply.
 *
 * Owns nothing. Suspends for Redis.
 */
#include "submit_policy.h"

#define DAY_MS ((uint64_t)24 * 3600 * 1000)

static struct smtp_reply check_daily(struct submit_mail *m)
{
    struct submit *submit = m->conn->submit;
    struct redis_counter counter;
    struct fault why;
    const struct login_result *who = &m->conn->who;
    struct slice key = arena_printf(m->arena, "smtp_auth_limit:%s",
                                    who->is_catchall ? who->domain_id : who->alias_id);

    if (submit->config->messages_per_day == 0 || submit->redis == NULL ||
        redis_count(submit->redis, key, 1, DAY_MS, &counter, &why) < 0)
        return SMTP_OK;
    if (counter.count > submit->config->messages_per_day)
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
