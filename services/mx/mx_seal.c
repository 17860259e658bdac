/* mx_seal.c - see mx_seal.h.
 *
 * Owns      the work of one sealing. Called by mx_deliver.c. What can fail: key, spool, pool; then
 * there is no seal. Suspends for the spool and the pool.
 */
#include "mx_seal.h"

#include <sys/stat.h>

#include "mail/arc.h"
#include "rt/dns.h"
#include "rt/offload.h"

#define KEY_FILE_MAX 16384

/* ---- keys
 * -----------------------------------------------------------------------------------------------------------
 */

static int read_file(const char *path, struct buf *out, struct fault *why)
{
    char block[4096];
    size_t n;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return fault_set(why, FAULT_NOT_FOUND, "key file %s cannot be read", path);
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        (void)buf_append(out, slice_make(block, n));
    memory_wipe(block, sizeof(block));
    (void)fclose(f);
    return out->overflowed ? fault_set(why, FAULT_LIMIT, "key file %s is too long", path) : 0;
}

int mx_seal_open(struct mx *mx, struct fault *why)
{
    AUTO(buf_wipe) struct buf pem = BUF_INIT(KEY_FILE_MAX);

    if (mx->config->helper_key != NULL)
        mx->keys = dkim_keyring_new(mx->config->helper_key);
    if (mx->config->dkim_key_path[0] == '\0')
        return 0;
    if (read_file(mx->config->dkim_key_path, &pem, why) < 0)
        return -1;
    return dkim_key_parse(buf_slice(&pem), &mx->seal_key, why);
}

void mx_seal_close(struct mx *mx)
{
    dkim_key_free(&mx->seal_key);
    dkim_keyring_free(&mx->keys);
}

struct seal_key {
    const struct dkim_key *key;
    struct dkim_key *owned; /* key, when it is the domain's */
    struct slice domain, selector;
};

/* A seal whose key nobody finds breaks the chain: worse than none. */
static bool is_published(struct mx_mail *m, const struct domain_doc *d)
{
    struct slice name =
        arena_printf(m->arena, "%.*s._domainkey.%.*s", SLICE(d->dkim_key_selector), SLICE(d->name));
    struct dns_answer answer;
    struct fault why;

    if (d->dkim_public_key.n == 0 ||
        dns_query(name, DNS_TXT, m->arena, m->until, &answer, &why) < 0)
        return false;
    for (size_t i = 0; i < answer.count; i++)
        if (slice_find(answer.records[i].text, d->dkim_public_key) >= 0)
            return true;
    return false;
}

/* The key the recipient's domain signs its own mail with. */
static int take_domain_key(struct mx_mail *m, const struct mx_target *t, struct seal_key *out,
                           struct fault *why)
{
    struct domain_doc d;

    if (directory_find_domain(m->mx->directory, slice_of(t->domain_id), m->arena, m->until, &d,
                              NULL, why) < 0)
        return -1;
    if (d.dkim_private_key.n == 0 || m->mx->keys == NULL || !is_published(m, &d))
        return 0;
    if (dkim_keyring_get(m->mx->keys, d.id, d.dkim_private_key, &out->owned, why) < 0)
        return -1;
    out->key = out->owned;
    out->domain = d.name;
    out->selector = d.dkim_key_selector;
    return 0;
}

static int find_key(struct mx_mail *m, struct seal_key *out, struct fault *why)
{
    const struct mx_config *config = m->mx->config;

    memset(out, 0, sizeof(*out));
    if (m->mx->seal_key) {
        out->key = m->mx->seal_key;
        out->domain = slice_of(config->dkim_domain[0] ? config->dkim_domain : config->web_host);
        out->selector = slice_of(config->dkim_selector);
        return 0;
    }
    for (const struct mx_target *t = m->first; t; t = t->next)
        if (t->kind == MX_FORWARD && t->domain_id[0] != '\0')
            return take_domain_key(m, t, out, why);
    return 0;
}

/* ---- sealing
 * ---------------------------------------------------------------------------------------------------------
 */

/* Two RSA signatures: milliseconds. Nobody cancels the fiber of a delivery, so what it lends
 * outlives the work. */
struct seal_work {
    struct offload o;
    struct arc_sealer *sealer;
    struct slice header, fields;
    struct arena *arena;
    int result;
    struct fault why;
};

static void seal_run(struct offload *o)
{
    struct seal_work *w = CONTAINER_OF(o, struct seal_work, o);

    w->result = arc_sealer_finish(w->sealer, w->header, w->arena, &w->fields, &w->why);
}

static void seal_free(struct offload *o)
{
    struct seal_work *w = CONTAINER_OF(o, struct seal_work, o);

    arc_sealer_free(&w->sealer);
    arena_free(&w->arena);
    free(w);
}

static int seal_body(struct mx_mail *m, struct arc_sealer *sealer, struct fault *why)
{
    AUTO(spool_reader_free)
    struct spool_reader *body = spool_reader_new(m->spool, m->header_length);
    struct slice piece;
    int r;

    while ((r = spool_reader_next(body, &piece, why)) > 0)
        arc_sealer_body(sealer, piece);
    return r;
}

static int seal_with(struct mx_mail *m, const struct seal_key *key, struct fault *why)
{
    struct arc_seal_options options = {
        .key = key->key,
        .domain = key->domain,
        .selector = key->selector,
        .authserv_id = slice_of(m->mx->config->host),
        .now_ms = clock_wall_ms(),
        .chain = m->arc_result,
        .results = m->results,
        .result_count = m->result_count,
    };
    struct seal_work *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        abort();
    w->o.run = seal_run;
    w->o.discard = seal_free;
    w->sealer = arc_sealer_new(&options);
    w->arena = arena_new(0);
    w->header = slice_head(m->new_header, m->new_header.n - 2);
    r = seal_body(m, w->sealer, why);
    if (r == 0 && (r = offload_run(OFFLOAD_CPU, &w->o, DEADLINE_NEVER, why)) < 0)
        return -1;
    if (r == 0 && (r = w->result) < 0)
        *why = w->why;
    if (r == 0)
        m->seal = arena_copy(m->arena, w->fields);
    seal_free(&w->o);
    return r;
}

void mx_seal(struct mx_mail *m)
{
    struct seal_key key;
    struct fault why = {0};
    int r = find_key(m, &key, &why);

    if (r == 0 && key.key)
        r = seal_with(m, &key, &why);
    if (r < 0)
        log_event(LOG_WARN, "mx.seal.failed", F_ID("msg", m->id), F_FAULT(&why));
    dkim_key_free(&key.owned);
}
