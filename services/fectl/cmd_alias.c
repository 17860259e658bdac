/* cmd_alias.c - fectl alias: addresses, where they lead, and their passwords. Suspends for store and mailbox server. */
#include "fectl.h"


static int split(struct fectl *f, struct slice address, struct slice *name, struct domain_doc *d, struct fault *why)
{
    ptrdiff_t at = slice_rfind_char(address, '@');

    if (at <= 0)
        return fault_set(why, FAULT_INVALID, "%.*s is not an address", SLICE(address));
    *name = slice_head(address, (size_t)at);
    if (domain_find_by_name(f->store, slice_tail(address, (size_t)at + 1), f->arena, fectl_until(), d, why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no domain %.*s; add it first", SLICE(slice_tail(address, (size_t)at + 1))) : -1;
    return 0;
}

static int alias_add_one(struct fectl *f, struct slice address, const struct alias_doc *model, struct fault *why)
{
    struct alias_doc a = *model;
    struct domain_doc d;

    if (split(f, address, &a.name, &d, why) < 0)
        return -1;
    memcpy(a.domain, d.id, sizeof(a.domain));
    if (d.member_count > 0)
        memcpy(a.user, d.members[0].user, sizeof(a.user));
    if (alias_insert(f->store, &a, fectl_until(), why) < 0)
        return why->code == FAULT_EXISTS ? fault_set(why, FAULT_EXISTS, "there is an alias %.*s already", SLICE(address)) : -1;
    printf("alias %s %.*s\n", a.id, SLICE(address));
    return 0;
}

/* Addresses are compared in lower case; webhooks keep theirs. */
static struct slice normal_recipient(struct fectl *f, const char *text)
{
    struct slice s = slice_of(text);

    return slice_has_prefix_nocase(s, LIT("http://")) || slice_has_prefix_nocase(s, LIT("https://")) ? s : arena_lower(f->arena, s);
}

static int alias_add(struct fectl *f, struct fault *why)
{
    struct slice *recipients = ARENA_ARRAY(f->arena, struct slice, (size_t)f->argc + 1), address;
    struct alias_doc a = { .is_enabled = true, .error_code_if_disabled = 250, .has_imap = fectl_flag(f, "--imap"), .recipients = recipients };
    const char *text;

    while ((text = fectl_option(f, "--recipient")) != NULL)
        recipients[a.recipient_count++] = normal_recipient(f, text);
    if (fectl_argument(f, 0, "the address", &address, why) < 0)
        return -1;
    if (!a.has_imap && a.recipient_count == 0)
        return fault_set(why, FAULT_INVALID, "an alias needs --imap (a mailbox), --recipient ADDRESS, or both");
    return alias_add_one(f, address, &a, why);
}

static int alias_recipients(struct fectl *f, struct fault *why)
{
    AUTO(json_release) json_t *list = json_array();
    struct store_update *u = store_update_new(f->arena);
    struct alias_doc a;
    struct domain_doc d;
    struct slice address;

    if (fectl_argument(f, 0, "the address", &address, why) < 0 || fectl_find_alias(f, address, &a, &d, why) < 0)
        return -1;
    if (f->argc == 1) {
        for (size_t i = 0; i < a.recipient_count; i++)
            printf("%.*s\n", SLICE(a.recipients[i]));
        return 0;
    }
    if (f->argc - 1 > ALIAS_RECIPIENTS_MAX)
        return fault_set(why, FAULT_LIMIT, "at most %d recipients", ALIAS_RECIPIENTS_MAX);
    for (int i = 1; i < f->argc; i++)
        if (strcmp(f->argv[i], "none") != 0)
            (void)json_array_append_new(list, json_slice(normal_recipient(f, f->argv[i])));
    if (json_array_size(list) == 0 && !a.has_imap)
        return fault_set(why, FAULT_INVALID, "an alias without a mailbox needs a recipient");
    store_set_json(u, "recipients", list);
    store_set_date(u, "updated_at", clock_wall_ms());
    if (store_update(f->store, ALIASES, store_filter_id(f->arena, slice_of(a.id)), u, STORE_ONE, fectl_until(), NULL, why) < 0)
        return -1;
    fectl_alias_changed(f, a.id);
    return 0;
}

static int alias_enable(struct fectl *f, bool on, struct fault *why)
{
    const char *code = fectl_option(f, "--code");
    struct store_update *u = store_update_new(f->arena);
    struct alias_doc a;
    struct domain_doc d;
    struct slice address;
    uint32_t n;

    if (fectl_argument(f, 0, "the address", &address, why) < 0 || fectl_find_alias(f, address, &a, &d, why) < 0)
        return -1;
    store_set_bool(u, "is_enabled", on);
    store_set_date(u, "updated_at", clock_wall_ms());
    if (code != NULL) {
        if (!slice_to_u32(slice_of(code), 550, &n) || (n != 250 && n != 421 && n != 550))
            return fault_set(why, FAULT_INVALID, "--code is 250, 421 or 550");
        store_set_int(u, "error_code_if_disabled", n);
    }
    if (store_update(f->store, ALIASES, store_filter_id(f->arena, slice_of(a.id)), u, STORE_ONE, fectl_until(), NULL, why) < 0)
        return -1;
    fectl_alias_changed(f, a.id);
    return 0;
}

static int alias_on(struct fectl *f, struct fault *why)
{
    return alias_enable(f, true, why);
}

static int alias_off(struct fectl *f, struct fault *why)
{
    return alias_enable(f, false, why);
}

static int alias_list(struct fectl *f, struct fault *why)
{
    AUTO(json_release) json_t *found = NULL;
    struct domain_doc d;
    struct slice name;
    json_t *doc;
    size_t i;

    if (fectl_argument(f, 0, "the domain", &name, why) < 0 || domain_find_by_name(f->store, name, f->arena, fectl_until(), &d, why) < 0 ||
        store_find(f->store, ALIASES, store_filter_text(f->arena, "domain", slice_of(d.id)), NULL, fectl_until(), &found, why) < 0)
        return -1;
    json_array_foreach(found, i, doc)
        printf("%.*s %.*s@%.*s %s%s\n", SLICE(json_get_slice(doc, "_id")), SLICE(json_get_slice(doc, "name")), SLICE(name),
               json_get_bool(doc, "is_enabled", true) ? "enabled" : "disabled", json_get_bool(doc, "has_imap", false) ? " imap" : "");
    return 0;
}

/* ---- passwords ------------------------------------------------------------------------------------- */

static int give_password(struct fectl *f, const struct alias_doc *a, struct slice password, struct slice old, const char *scope, struct fault *why)
{
    const struct keys_wrap_options options = { .scope = scope, .description = LIT("fectl") };

    if (!account_has_password(a))
        return account_password_first(fectl_passwords(f), a, password, &options, false, fectl_until(), why);
    if (old.n == 0)
        return fault_set(why, FAULT_INVALID, "this alias has a password: give it with --old-password-stdin to add another (nobody can open the mailbox without one)");
    return account_password_add(fectl_passwords(f), a, old, password, &options, fectl_until(), why);
}

static int read_old(struct fectl *f, struct secret **out, struct fault *why)
{
    char line[PASSWORD_MAX_BYTES + 3];

    if (!fectl_flag(f, "--old-password-stdin"))
        return 0;
    if (fgets(line, sizeof(line), stdin) == NULL)
        return fault_set(why, FAULT_INVALID, "no old password on standard input");
    line[strcspn(line, "\r\n")] = '\0';
    *out = secret_new(slice_of(line));
    memory_wipe(line, sizeof(line));
    return 0;
}

static int alias_password(struct fectl *f, struct fault *why)
{
    AUTO(secret_unref) struct secret *old = NULL;
    AUTO(secret_unref) struct secret *password = NULL;
    const char *scope = fectl_option(f, "--scope");
    struct alias_doc a;
    struct domain_doc d;
    struct slice address;
    bool given;

    if (read_old(f, &old, why) < 0 || fectl_password(f, &password, why) < 0)
        return -1;
    if (fectl_argument(f, 0, "the address", &address, why) < 0 || fectl_find_alias(f, address, &a, &d, why) < 0)
        return -1;
    given = password != NULL;
    if (!given) {
        /* shown before it is set: killed in between, a password nobody has seen would be the only one */
        password = keys_password_random();
        printf("password %.*s\n", SLICE(secret_slice(password)));
        (void)fflush(stdout);
    }
    if (give_password(f, &a, secret_slice(password), secret_slice(old), scope != NULL ? scope : "all", why) < 0)
        return -1;
    if (given)
        printf("password set\n");
    return 0;
}

static int alias_passwords(struct fectl *f, struct fault *why)
{
    AUTO(json_release) json_t *wraps = NULL;
    struct alias_doc a;
    struct domain_doc d;
    struct slice address;
    json_t *wrap;
    size_t i;

    if (fectl_argument(f, 0, "the address", &address, why) < 0 || fectl_find_alias(f, address, &a, &d, why) < 0)
        return -1;
    if (a.wraps.n > 0 && json_parse(a.wraps, 1 << 20, &wraps, why) < 0)
        return -1;
    json_array_foreach(wraps, i, wrap)
        printf("%.*s scope=\"%.*s\" created=%.*s %.*s\n", SLICE(json_get_slice(wrap, "id")), SLICE(json_get_slice(wrap, "scope")),
               SLICE(json_get_slice(wrap, "created_at")), SLICE(json_get_slice(wrap, "description")));
    return 0;
}

static int alias_revoke(struct fectl *f, struct fault *why)
{
    AUTO(secret_unref) struct secret *password = NULL;
    struct alias_doc a;
    struct domain_doc d;
    struct slice address, slot;

    if (fectl_password(f, &password, why) < 0 || fectl_argument(f, 0, "the address", &address, why) < 0 ||
        fectl_argument(f, 1, "the password's id", &slot, why) < 0 || fectl_find_alias(f, address, &a, &d, why) < 0)
        return -1;
    if (password == NULL)
        return fault_set(why, FAULT_INVALID, "--password-stdin is needed: a password of this alias, to open the mailbox's own list");
    if (account_password_revoke(fectl_passwords(f), &a, secret_slice(password), slot, fectl_until(), why) < 0)
        return why->code == FAULT_NOT_FOUND ? fault_set(why, FAULT_NOT_FOUND, "there is no password %.*s (see fectl alias passwords)", SLICE(slot)) : -1;
    fectl_alias_changed(f, a.id);
    return 0;
}

/* For tests and benchmarks: u1..uN with mailboxes and one password, in one run. */
static int alias_fixture(struct fectl *f, struct fault *why)
{
    AUTO(secret_unref) struct secret *password = NULL;
    struct slice domain, count;
    uint32_t n;

    if (fectl_password(f, &password, why) < 0 || fectl_argument(f, 0, "the domain", &domain, why) < 0 || fectl_argument(f, 1, "the number", &count, why) < 0)
        return -1;
    if (password == NULL || !slice_to_u32(count, 100000, &n))
        return fault_set(why, FAULT_INVALID, "a number up to 100000 and --password-stdin are needed");
    for (uint32_t i = 1; i <= n; i++) {
        struct alias_doc model = { .is_enabled = true, .error_code_if_disabled = 250, .has_imap = true }, a;
        struct slice address = arena_printf(f->arena, "u%u@%.*s", i, SLICE(domain));
        struct domain_doc d;

        if (alias_add_one(f, address, &model, why) < 0 || fectl_find_alias(f, address, &a, &d, why) < 0 ||
            give_password(f, &a, secret_slice(password), SLICE_NONE, "all", why) < 0)
            return -1;
    }
    return 0;
}

const struct command alias_commands[] = {
    { "alias", "add", "ADDRESS [--imap] [--recipient TARGET]...", "adds an address with a mailbox, forwarding targets, or both", true, alias_add },
    { "alias", "list", "DOMAIN", "aliases of a domain", true, alias_list },
    { "alias", "recipients", "ADDRESS [TARGET... | none]", "shows where an alias leads, or replaces it", true, alias_recipients },
    { "alias", "enable", "ADDRESS", "switches an alias on", true, alias_on },
    { "alias", "disable", "ADDRESS [--code 250|421|550]", "switches an alias off: swallow, later, or refuse", true, alias_off },
    { "alias", "password", "ADDRESS [--password-stdin] [--old-password-stdin] [--scope \"imap smtp\"]", "gives the first password (makes the mailbox) or adds one; standard input has the old one first", true, alias_password },
    { "alias", "passwords", "ADDRESS", "the passwords of an alias: ids, scopes, dates", true, alias_passwords },
    { "alias", "revoke", "ADDRESS ID --password-stdin", "ends one password; open sessions end too", true, alias_revoke },
    { "alias", "fixture", "DOMAIN N --password-stdin", "adds u1..uN with mailboxes and one password, for tests", true, alias_fixture },
    { NULL, NULL, NULL, NULL, false, NULL },
};
