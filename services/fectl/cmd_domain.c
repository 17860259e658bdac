/* cmd_domain.c - fectl domain: domains this installation answers for, with their DKIM key. Suspends for the store. */
#include "fectl.h"

#include "mail/dkim.h"
#include "mail/field_crypt.h"

/* "p=" of the record is what the document keeps as public key. */
static struct slice record_key(struct slice record)
{
    ptrdiff_t p = slice_find(record, LIT("p="));

    return p < 0 ? SLICE_NONE : slice_tail(record, (size_t)p + 2);
}

static int make_dkim(struct fectl *f, struct domain_doc *d, struct slice *record, struct fault *why)
{
    AUTO(dkim_key_free) struct dkim_key *key = NULL;
    bool ed25519 = fectl_flag(f, "--ed25519");
    struct slice pem;
    char label[64];

    if (secret_slice(f->settings.helper_key).n == 0)
        return fault_set(why, FAULT_INVALID, "HELPER_ENCRYPTION_KEY is not set: the DKIM key could not be kept safely");
    if (dkim_key_generate(f->arena, ed25519 ? DKIM_ED25519_SHA256 : DKIM_RSA_SHA256, 2048, &pem, why) < 0 ||
        dkim_key_parse(pem, &key, why) < 0 || dkim_key_record(key, f->arena, record, why) < 0)
        return -1;
    (void)snprintf(label, sizeof(label), "dkim %s", d->id);
    d->dkim_private_key = field_encrypt(f->arena, f->settings.helper_key, label, pem);
    d->dkim_public_key = record_key(*record);
    return 0;
}

static void print_records(const struct domain_doc *d, struct slice record)
{
    printf("domain %s\ndkim_selector %.*s\ndkim_record %.*s._domainkey.%.*s TXT %.*s\n", d->id, SLICE(d->dkim_key_selector),
           SLICE(d->dkim_key_selector), SLICE(d->name), SLICE(record));
    printf("verification_record %.*s TXT forward-email-site-verification=%.*s\n", SLICE(d->name), SLICE(d->verification_record));
}

static int domain_add(struct fectl *f, struct fault *why)
{
    const char *owner = fectl_option(f, "--user");
    struct domain_doc d = domain_new(SLICE_NONE);
    struct domain_member member = { .is_admin = true };
    struct user_doc user;
    struct slice record;

    if (fectl_argument(f, 0, "the domain", &d.name, why) < 0)
        return -1;
    if (owner == NULL)
        return fault_set(why, FAULT_INVALID, "--user EMAIL is missing: who owns the domain?");
    if (user_find_by_email(f->store, arena_lower(f->arena, slice_of(owner)), f->arena, fectl_until(), &user, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no user %s", owner) : -1;
    memcpy(member.user, user.id, sizeof(member.user));
    d.members = &member;
    d.member_count = 1;
    d.has_smtp = true;
    d.verification_record = domain_verification_new(f->arena);
    d.dkim_key_selector = arena_printf(f->arena, "fe-%010llx", (unsigned long long)random_below(1ull << 40));
    (void)snprintf(d.id, sizeof(d.id), "%s", object_id_new().s);       /* the key is encrypted for this id */
    if (make_dkim(f, &d, &record, why) < 0)
        return -1;
    if (domain_insert(f->store, &d, fectl_until(), why) < 0)
        return why->code == FAULT_EXISTS ? fault_set(why, FAULT_EXISTS, "there is a domain %.*s already", SLICE(d.name)) : -1;
    print_records(&d, record);
    return 0;
}

static int domain_list(struct fectl *f, struct fault *why)
{
    AUTO(json_release) json_t *found = NULL;
    json_t *doc;
    size_t i;

    if (store_find(f->store, DOMAINS, store_filter_new(f->arena), NULL, fectl_until(), &found, why) < 0)
        return -1;
    json_array_foreach(found, i, doc)
        printf("%.*s %.*s\n", SLICE(json_get_slice(doc, "_id")), SLICE(json_get_slice(doc, "name")));
    return 0;
}

static int domain_show(struct fectl *f, struct fault *why)
{
    struct domain_doc d;
    struct slice name;

    if (fectl_argument(f, 0, "the domain", &name, why) < 0)
        return -1;
    if (domain_find_by_name(f->store, name, f->arena, fectl_until(), &d, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no domain %.*s", SLICE(name)) : -1;
    print_records(&d, arena_printf(f->arena, "v=DKIM1; k=%s; p=%.*s", d.dkim_public_key.n < 100 ? "ed25519" : "rsa", SLICE(d.dkim_public_key)));
    return 0;
}

const struct command domain_commands[] = {
    { "domain", "add", "NAME --user EMAIL [--ed25519]", "adds a domain with a new DKIM key and prints the DNS records it needs", true, domain_add },
    { "domain", "list", "", "domains with their ids", true, domain_list },
    { "domain", "show", "NAME", "the DNS records of a domain", true, domain_show },
    { NULL, NULL, NULL, NULL, false, NULL },
};
