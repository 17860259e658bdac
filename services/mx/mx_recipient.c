/* mx_recipient.c - see mx_recipient.h. Aliases that lead to aliases of ours are followed here, not
 * by mail to ourselves.
 *
 * Owns nothing. Called by the policy table at RCPT. What can fail: the store (451). Suspends for
 * look-ups.
 */
#include "mx_recipient.h"

#include <arpa/inet.h>

#include "mail/idn.h"
#include "mail/srs.h"
#include "mx_directory.h"

#define LOOKUP_MS 10000

struct lookup {
    struct mx_event *e;
    struct mx_mail *m;
    struct deadline until;
    struct slice rcpt; /* as the sender wrote it */
    struct slice tag;  /* "+tag" of it, or empty */
    unsigned found;    /* targets, also such that were known already */
    bool dropped;      /* an alias on the way takes mail and drops it */
    unsigned forwards;
    int64_t forwards_max;
};

struct smtp_reply mx_recipient_check_sender(struct mx_event *e)
{
    const struct mx_config *config = e->mx->config;
    struct slice original;

    if (!slice_equal_nocase(e->mail->from.domain, slice_of(config->web_host)))
        return SMTP_OK;
    if (srs_decode(e->message->arena, config->srs_secret, e->mail->from.address, clock_wall_ms(),
                   &original) == SRS_FORGED)
        return SMTP_REPLY(553, "5.1.8", "The sender address carries no valid signature of ours");
    return SMTP_OK;
}

/* ---- targets
 * ------------------------------------------------------------------------------------------------------
 */

static bool is_known(const struct mx_mail *m, const struct mx_target *new)
{
    for (const struct mx_target *t = m->first; t; t = t->next)
        if (t->kind == new->kind && slice_equal(t->alias_id, new->alias_id) &&
            slice_equal_nocase(t->address, new->address) &&
            (t->kind == MX_FORWARD || t->alias_id.n > 0))
            return true;
    return false;
}

/* Several recipients that lead to one place bring one copy. */
static void add_target(struct lookup *l, const struct mx_target *new)
{
    struct mx_target *t;

    l->found++;
    if (is_known(l->m, new))
        return;
    t = ARENA_NEW(l->m->arena, struct mx_target);
    *t = *new;
    t->next = NULL;
    t->rcpt = l->rcpt;
    memcpy(t->domain_id, l->e->domain_id, sizeof(t->domain_id));
    if (l->m->last)
        l->m->last->next = t;
    else
        l->m->first = t;
    l->m->last = t;
    l->m->target_count++;
}

static void add_mailbox(struct lookup *l, const struct mx_alias *alias)
{
    struct mx_target t = {.kind = MX_MAILBOX,
                          .alias_id = arena_copy(l->m->arena, slice_of(alias->id)),
                          .public_key = alias->public_key,
                          .quota_bytes = alias->quota_bytes};

    add_target(l, &t);
}

static void add_forward(struct lookup *l, struct slice address, uint16_t port)
{
    struct mx_target t = {.kind = MX_FORWARD, .address = address, .port = port == 25 ? 0 : port};

    l->forwards++;
    add_target(l, &t);
}

/* "u" or "u+x" at "d" with the sender's tag in place of its own: the owner's filters there shall
 * see it. */
static struct slice with_tag(struct lookup *l, struct slice local, struct slice domain)
{
    ptrdiff_t plus = slice_find_char(local, '+');

    if (l->tag.n > 0 && plus > 0)
        local = slice_head(local, (size_t)plus);
    return arena_printf(l->m->arena, "%.*s%.*s@%.*s", SLICE(local), SLICE(l->tag), SLICE(domain));
}

/* A recipient of an alias: address, host or IP (same user there). False: not something mail can go
 * to. */
static bool parse_recipient(struct lookup *l, struct slice text, struct slice user,
                            struct smtp_path *out)
{
    unsigned char raw[16];
    struct slice address = text;

    text = slice_trim(text);
    if (slice_has_prefix_nocase(text, LIT("http://")) ||
        slice_has_prefix_nocase(text, LIT("https://")))
        return false;
    if (slice_find_char(text, '@') < 0) {
        bool v4 = inet_pton(AF_INET, arena_cstr(l->m->arena, text), raw) == 1;
        bool v6 = inet_pton(AF_INET6, arena_cstr(l->m->arena, text), raw) == 1;

        address = arena_printf(l->m->arena,
                               v4   ? "%.*s@[%.*s]"
                               : v6 ? "%.*s@[IPv6:%.*s]"
                                    : "%.*s@%.*s",
                               SLICE(user), SLICE(text));
    }
    return smtp_path_parse(address, true, out);
}

/* ---- resolution
 * ---------------------------------------------------------------------------------------------------
 */

static struct smtp_reply resolve(struct lookup *l, struct slice local, struct slice domain,
                                 unsigned depth) SUSPENDS;

static struct smtp_reply store_is_away(const struct lookup *l, const struct fault *why)
{
    log_event(LOG_WARN, "mx.store.away", F_ID("conn", l->e->s->id), F_FAULT(why));
    return SMTP_REPLY(451, "4.3.0", "Recipients can not be looked up now, try again later");
}

static struct smtp_reply disabled(struct lookup *l, const struct mx_alias *alias)
{
    if (alias->code_if_disabled == 250) {
        l->dropped = true;
        return SMTP_OK;
    }
    if (alias->code_if_disabled == 421)
        return SMTP_REPLY(421, "4.2.1", "Mailbox is disabled, try again later");
    return SMTP_REPLY(550, "5.2.1", "Mailbox is disabled");
}

static struct smtp_reply follow(struct lookup *l, const struct mx_domain *domain,
                                const struct mx_alias *alias, struct slice local, unsigned depth)
{
    for (size_t i = 0; i < alias->recipient_count; i++) {
        struct smtp_path to;
        struct smtp_reply r;

        if (!parse_recipient(l, alias->recipients[i], local, &to)) {
            log_event(LOG_WARN, "mx.recipient.unusable", F_SLICE("alias", slice_of(alias->id)),
                      F_SLICE("recipient", alias->recipients[i]));
            continue;
        }
        /* an alias may name itself beside its mailbox */
        if (slice_equal_nocase(to.local, local) && slice_equal_nocase(to.domain, domain->name))
            continue;
        r = resolve(l, to.local, to.domain, depth + 1);
        if (r.code == 0)
            continue;
        if (r.code != 551)
            return r;
        add_forward(l, with_tag(l, to.local, to.domain), domain->smtp_port);
        if (l->forwards > l->forwards_max)
            return SMTP_REPLY(452, "4.5.3", "The address leads to too many others");
    }
    return SMTP_OK;
}

static void begin_domain(struct lookup *l, const struct mx_domain *d)
{
    memcpy(l->e->domain_id, d->id, sizeof(l->e->domain_id));
    if (d->forwards_max > 0)
        l->forwards_max = d->forwards_max;
}

/* 551 (never sent): the domain is not ours. */
static struct smtp_reply resolve(struct lookup *l, struct slice local, struct slice domain,
                                 unsigned depth)
{
    struct arena *a = l->m->arena;
    ptrdiff_t plus = slice_find_char(local, '+');
    struct slice name = arena_lower(a, plus > 0 ? slice_head(local, (size_t)plus) : local);
    struct slice ascii;
    struct mx_domain d;
    struct mx_alias alias;
    struct fault why = {0};

    if (depth > MX_EXPANSION_DEPTH)
        return SMTP_REPLY(550, "5.4.6", "Aliases lead in a circle");
    if (!idn_to_ascii(a, domain, &ascii))
        return SMTP_REPLY(553, "5.1.2", "The domain is not a valid name");
    if (mx_directory_find_domain(l->e->mx, ascii, a, l->until, &d, &why) < 0)
        return why.code == FAULT_NOT_FOUND ? SMTP_REPLY(551, "", "") : store_is_away(l, &why);
    if (depth == 0)
        begin_domain(l, &d);
    if (depth == 0 &&
        mx_directory_denies(&d, &l->e->s->mail.from, stream_peer(l->e->s->stream)->ip))
        return SMTP_REPLY(550, "5.7.1", "The owner of this domain does not want mail from you");
    if (mx_directory_find_alias(l->e->mx, &d, name, a, l->until, &alias, &why) < 0)
        return why.code == FAULT_NOT_FOUND ? SMTP_REPLY(550, "5.1.1", "No such user here")
                                           : store_is_away(l, &why);
    if (!alias.enabled)
        return disabled(l, &alias);
    if (alias.has_imap)
        add_mailbox(l, &alias);
    return follow(l, &d, &alias, name, depth);
}

static void drop_new_targets(struct lookup *l, struct mx_target *last, unsigned count)
{
    l->m->last = last;
    l->m->target_count = count;
    if (last)
        last->next = NULL;
    else
        l->m->first = NULL;
}

/* Mail to a rewritten sender: a bounce of something we passed on. It goes to whom it was rewritten
 * for. */
static struct smtp_reply check_srs(struct lookup *l, const struct smtp_path *to, bool *is_srs)
{
    const struct mx_config *config = l->e->mx->config;
    struct slice original;
    struct smtp_path path;
    struct smtp_reply r;

    *is_srs = false;
    if (!slice_equal_nocase(to->domain, slice_of(config->web_host)))
        return SMTP_OK;
    switch (srs_decode(l->m->arena, config->srs_secret, to->address, clock_wall_ms(), &original)) {
    case SRS_NONE:
        return SMTP_OK;
    case SRS_FORGED:
        *is_srs = true;
        return SMTP_REPLY(553, "5.1.3", "The address carries no valid signature of ours");
    default:
        break;
    }
    *is_srs = true;
    if (!smtp_path_parse(original, true, &path))
        return SMTP_REPLY(553, "5.1.3", "The address carries no valid address");
    r = resolve(l, path.local, path.domain, 0);
    if (r.code != 551)
        return r;
    add_forward(l, path.address, 0);
    return SMTP_OK;
}

struct smtp_reply mx_recipient_check(struct mx_event *e)
{
    struct mx_mail *m = e->message;
    struct smtp_path to = e->rcpt->to;
    struct lookup l = {.e = e,
                       .m = m,
                       .until = deadline_in_ms(LOOKUP_MS),
                       .rcpt = to.address,
                       .forwards_max = e->mx->config->forwards_max};
    struct mx_target *last = m->last;
    unsigned count = m->target_count;
    ptrdiff_t plus;
    struct smtp_reply r;
    bool is_srs;

    if (to.domain.n == 0) /* RFC 5321 4.5.1: <Postmaster> */
        to.domain = slice_of(e->mx->config->web_host);
    plus = slice_find_char(to.local, '+');
    if (plus > 0)
        l.tag = slice_tail(to.local, (size_t)plus);
    r = check_srs(&l, &to, &is_srs);
    if (!is_srs)
        r = resolve(&l, to.local, to.domain, 0);
    if (r.code == 551)
        r = SMTP_REPLY(550, "5.7.1", "Relaying is not allowed: the domain is not served here");
    if (r.code == 0 && l.found == 0 && !l.dropped)
        r = SMTP_REPLY(550, "5.1.1", "The address leads nowhere mail can go");
    if (r.code != 0)
        drop_new_targets(&l, last, count);
    return r;
}
