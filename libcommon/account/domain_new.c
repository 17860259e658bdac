/* domain_new.c - see domain_new.h.
 *
 * Owns the work that makes a key, until it is done or discarded. Fails with FAULT_INVALID, FAULT_IO, FAULT_UNAVAILABLE (pool full),
 * FAULT_TIMEOUT. Suspends for the cpu pool: an RSA key takes some tenths of a second.
 */
#include "account/domain_new.h"

#include "base/encode.h"
#include "mail/address.h"
#include "mail/field_crypt.h"
#include "rt/offload.h"

#define PARENTS_MAX 128                /* labels of a name */

struct making {
    struct offload offload;
    enum dkim_algorithm algorithm;
    struct arena *arena;               /* its own: the pool's thread allocates there */
    struct slice pem, record;
    int result;
    struct fault why;
};

static void making_free(struct making *m)
{
    if (m->pem.n > 0)
        memory_wipe((char *)(uintptr_t)m->pem.p, m->pem.n);
    arena_free(&m->arena);
    free(m);
}

static void making_discard(struct offload *work)
{
    making_free(CONTAINER_OF(work, struct making, offload));
}

static void making_run(struct offload *work)
{
    struct making *m = CONTAINER_OF(work, struct making, offload);
    AUTO(dkim_key_free) struct dkim_key *key = NULL;

    m->result = dkim_key_generate(m->arena, m->algorithm, m->algorithm == DKIM_RSA_SHA256 ? DOMAIN_DKIM_BITS : 0, &m->pem, &m->why);
    if (m->result == 0)
        m->result = dkim_key_parse(m->pem, &key, &m->why);
    if (m->result == 0)
        m->result = dkim_key_record(key, m->arena, &m->record, &m->why);
}

/* "p=" of the record is what the document keeps as public key. */
static struct slice record_key(struct slice record)
{
    ptrdiff_t p = slice_find(record, LIT("p="));

    return p < 0 ? SLICE_NONE : slice_tail(record, (size_t)p + 2);
}

static int make_dkim(struct domain_doc *d, enum dkim_algorithm algorithm, const struct secret *helper_key, struct arena *a,
                     struct deadline until, struct fault *why)
{
    struct making *m = calloc(1, sizeof(*m));
    char label[64];
    int r;

    if (m == NULL)
        abort();
    *m = (struct making){ .offload = { .run = making_run, .discard = making_discard }, .algorithm = algorithm, .arena = arena_new(0) };
    if (offload_run(OFFLOAD_CPU, &m->offload, until, why) < 0)
        return -1;
    r = m->result;
    if (r == 0) {
        (void)snprintf(label, sizeof(label), "dkim %s", d->id);
        d->dkim_private_key = field_encrypt(a, helper_key, label, m->pem);
        d->dkim_public_key = arena_copy(a, record_key(m->record));
    } else {
        *why = m->why;
    }
    making_free(m);
    return r;
}

static struct slice webhook_key(const struct domain_doc *d, const struct secret *helper_key, struct arena *a)
{
    unsigned char raw[16];
    char label[64];

    random_bytes(raw, sizeof(raw));
    (void)snprintf(label, sizeof(label), "webhook %s", d->id);
    return field_encrypt(a, helper_key, label, hex_encode(a, slice_make(raw, sizeof(raw))));
}

int domain_prepare(struct domain_doc *d, enum dkim_algorithm algorithm, const struct secret *helper_key, struct arena *a,
                   struct deadline until, struct fault *why)
{
    if (helper_key == NULL || secret_slice(helper_key).n == 0)
        return fault_set(why, FAULT_INVALID, "HELPER_ENCRYPTION_KEY is not set: the DKIM key could not be kept safely");
    if (d->id[0] == '\0')
        (void)snprintf(d->id, sizeof(d->id), "%s", object_id_new().s);     /* secrets are encrypted for this id */
    if (d->verification_record.n == 0)
        d->verification_record = domain_verification_new(a);
    if (d->webhook_key.n == 0)
        d->webhook_key = webhook_key(d, helper_key, a);
    if (d->dkim_private_key.n > 0)
        return 0;
    d->dkim_key_selector = arena_printf(a, "fe-%010llx", (unsigned long long)random_below(1ull << 40));
    return make_dkim(d, algorithm, helper_key, a, until, why);
}

static bool is_held_by_others(const struct domain_doc *d, struct slice user_id)
{
    const struct domain_member *me = domain_find_member(d, user_id);

    return (d->has_txt_record || d->has_smtp) && (me == NULL || !me->is_admin);
}

int domain_is_below_others(struct store *st, struct slice name, struct slice user_id, struct arena *a, struct deadline until, struct fault *why)
{
    struct slice parents[PARENTS_MAX], rest = name, label;
    struct store_filter *f = store_filter_new(a);
    AUTO(json_release) json_t *found = NULL;
    json_t *document;
    size_t n = 0, i;

    while (n < PARENTS_MAX && slice_cut(&rest, '.', &label) && rest.n > 0)
        parents[n++] = rest;
    store_where_in(f, "name", parents, n);
    if (n > 0 && store_find(st, DOMAINS, f, NULL, until, &found, why) < 0)
        return -1;
    json_array_foreach(found, i, document) {
        struct domain_doc d;

        if (domain_parse(document, a, &d, why) < 0)
            return -1;
        if (is_held_by_others(&d, user_id))
            return 1;
    }
    return 0;
}

void domain_records_list(const struct domain_doc *d, const char *web_host, const char *prefix, struct arena *a, struct domain_records *out)
{
    const char *kind = d->dkim_public_key.n < 100 ? "ed25519" : "rsa";
    struct slice label = d->return_path.n > 0 ? d->return_path : LIT("fe-bounces");

    out->dkim.name = arena_printf(a, "%.*s._domainkey.%.*s", SLICE(d->dkim_key_selector), SLICE(d->name));
    out->dkim.value = arena_printf(a, "v=DKIM1; k=%s; p=%.*s;", kind, SLICE(d->dkim_public_key));
    out->return_path.name = arena_printf(a, "%.*s.%.*s", SLICE(label), SLICE(d->name));
    out->return_path.value = arena_copy(a, slice_of(web_host));
    out->dmarc.name = arena_printf(a, "_dmarc.%.*s", SLICE(d->name));
    out->dmarc.value = arena_printf(a, "v=DMARC1; p=reject; pct=100; rua=mailto:dmarc-%s@%s;", d->id, web_host);
    out->verification = arena_printf(a, "%s-site-verification=%.*s", prefix, SLICE(d->verification_record));
}

struct slice domain_record_label(const struct domain_record *record, const struct domain_doc *d)
{
    struct slice root = address_root_domain(d->name);

    if (record->name.n <= root.n + 1 || !slice_has_suffix(record->name, root))
        return record->name;
    return slice_head(record->name, record->name.n - root.n - 1);
}
