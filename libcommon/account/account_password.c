/* account_password.c - see account_password.h.
 *
 * Owns nothing beyond the calls. Called by api and fectl. Suspends for Argon2id, store and mailbox server.
 */
#include "account/account_password.h"

#include "account/account_hash.h"
#include "base/json.h"

#define WRAPS_TEXT_MAX ((size_t)1 << 20)

void account_passwords_init(struct account_passwords *p, struct store *st, struct mailbox_server *mailboxes)
{
    *p = (struct account_passwords){ .store = st, .mailboxes = mailboxes };
    fiber_mutex_init(&p->hashing);
}

void account_key_wipe(struct account_key *k)
{
    secret_unref(&k->data_key);
}

static int read_wraps(const struct alias_doc *alias, json_t **out, struct fault *why)
{
    *out = NULL;
    if (alias->wraps.n == 0)
        *out = json_array();
    else if (json_parse(alias->wraps, WRAPS_TEXT_MAX, out, why) < 0)
        return fault_set(why, FAULT_CORRUPT, "password slots of alias %s cannot be read", alias->id);
    return 0;
}

bool account_has_password(const struct alias_doc *alias)
{
    AUTO(json_release) json_t *wraps = NULL;
    struct fault why;

    return read_wraps(alias, &wraps, &why) < 0 || json_array_size(wraps) > 0;
}

int account_password_unlock(struct account_passwords *p, const struct alias_doc *alias, struct slice password, struct deadline until,
                            struct account_key *out, struct fault *why)
{
    if (!account_has_password(alias))
        return fault_set(why, FAULT_DENIED, "this alias has no password yet");
    return account_hash_open(&p->hashing, slice_of(alias->id), alias->wraps, password, until, out, why);
}

static struct slice wrap_id(const json_t *wrap)
{
    return json_get_slice(wrap, "id");
}

static json_t *list_of(json_t *wrap)
{
    json_t *list = json_array();

    (void)json_array_append(list, wrap);
    return list;
}

static bool has_wrap(const json_t *wraps, struct slice id)
{
    json_t *wrap;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)wraps, i, wrap)
        if (slice_equal(wrap_id(wrap), id))
            return true;
    return false;
}

/* ---- the mailbox's side ------------------------------------------------------------------------------- */

static int make_mailbox(struct account_passwords *p, struct slice alias_id, const struct secret *data_key, const json_t *wraps,
                        struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(sealing_pair_wipe) struct sealing_pair pair;

    derive_sealing_pair(secret_slice(data_key), &pair);
    return mailbox_create(p->mailboxes, alias_id, data_key, slice_make(pair.public_key, 32), keys_wrap_ids(a, wraps), until, why);
}

int account_mailbox_make(struct account_passwords *p, const struct alias_doc *alias, const struct secret *data_key, struct deadline until,
                         struct fault *why)
{
    AUTO(json_release) json_t *wraps = NULL;

    if (read_wraps(alias, &wraps, why) < 0)
        return -1;
    return make_mailbox(p, slice_of(alias->id), data_key, wraps, until, why);
}

/* A mailbox made for an alias that was deleted meanwhile would belong to nobody. */
static int forget_if_gone(struct account_passwords *p, struct slice alias_id, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct alias_doc now;

    if (alias_find(p->store, alias_id, a, until, &now, why) == 0)
        return 0;
    if (why->code != FAULT_NOT_FOUND)
        return -1;
    if (mailbox_delete(p->mailboxes, alias_id, until, why) < 0)
        return -1;
    return fault_set(why, FAULT_NOT_FOUND, "the alias is gone");
}

static int open_as(struct account_passwords *p, const struct alias_doc *alias, const struct account_key *key, struct slice slot,
                   struct deadline until, struct mailbox **out, struct fault *why)
{
    return mailbox_open(p->mailboxes, slice_of(alias->id), key->data_key, slot, MAILBOX_READ | MAILBOX_WRITE, until, out, why);
}

static int set_live(struct mailbox *mb, const json_t *wraps, struct deadline until, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);

    return mailbox_set_wraps(mb, keys_wrap_ids(a, wraps), until, why);
}

/* ---- first, override ------------------------------------------------------------------------------------- */

struct fresh {                                 /* a new data key and its only slot */
    struct secret *data_key;
    json_t *wraps;
    struct slice public_text;
    struct arena *arena;
};

static void fresh_free(struct fresh *f)
{
    secret_unref(&f->data_key);
    json_release(&f->wraps);
    arena_free(&f->arena);
}

static int fresh_make(struct account_passwords *p, const struct alias_doc *alias, struct slice password,
                      const struct keys_wrap_options *options, struct deadline until, struct fresh *f, struct fault *why)
{
    AUTO(json_release) json_t *wrap = NULL;

    f->arena = arena_new(0);
    f->data_key = keys_data_key_new();
    if (account_hash_make(&p->hashing, slice_of(alias->id), f->data_key, password, options, until, &wrap, why) < 0)
        return -1;
    f->wraps = list_of(wrap);
    f->public_text = keys_public_text(f->arena, f->data_key);
    return 0;
}

static int first_file(struct account_passwords *p, struct slice id, const struct fresh *f, bool reset, struct deadline until, struct fault *why)
{
    int r = make_mailbox(p, id, f->data_key, f->wraps, until, why);

    if (r == 0 || why->code != FAULT_EXISTS || !reset)
        return r;
    if (mailbox_delete(p->mailboxes, id, until, why) < 0)
        return -1;
    return make_mailbox(p, id, f->data_key, f->wraps, until, why);
}

int account_password_first(struct account_passwords *p, const struct alias_doc *alias, struct slice password,
                           const struct keys_wrap_options *options, bool reset, struct deadline until, struct fault *why)
{
    AUTO(fresh_free) struct fresh f = { 0 };
    AUTO(json_release) json_t *none = json_array();
    struct slice id = slice_of(alias->id);

    if (fresh_make(p, alias, password, options, until, &f, why) < 0 ||
        alias_replace_wraps(p->store, id, none, f.wraps, f.public_text, until, why) < 0 || first_file(p, id, &f, reset, until, why) < 0)
        return -1;
    return forget_if_gone(p, id, until, why);
}

int account_password_override(struct account_passwords *p, const struct alias_doc *alias, struct slice password,
                              const struct keys_wrap_options *options, struct deadline until, struct fault *why)
{
    AUTO(fresh_free) struct fresh f = { 0 };
    AUTO(json_release) json_t *before = NULL;
    struct slice id = slice_of(alias->id);

    if (read_wraps(alias, &before, why) < 0 || fresh_make(p, alias, password, options, until, &f, why) < 0 ||
        alias_replace_wraps(p->store, id, before, f.wraps, f.public_text, until, why) < 0 ||
        mailbox_delete(p->mailboxes, id, until, why) < 0)
        return -1;
    if (make_mailbox(p, id, f.data_key, f.wraps, until, why) < 0)
        return why->code == FAULT_EXISTS ? fault_set(why, FAULT_CONFLICT, "somebody else made the mailbox meanwhile") : -1;
    return forget_if_gone(p, id, until, why);
}

/* ---- add, revoke -------------------------------------------------------------------------------------------- */

int account_password_add(struct account_passwords *p, const struct alias_doc *alias, struct slice old, struct slice password,
                         const struct keys_wrap_options *options, struct deadline until, struct fault *why)
{
    AUTO(account_key_wipe) struct account_key key = { 0 };
    AUTO(mailbox_close) struct mailbox *mb = NULL;
    AUTO(json_release) json_t *wraps = NULL;
    AUTO(json_release) json_t *wrap = NULL;
    struct slice id = slice_of(alias->id);

    if (read_wraps(alias, &wraps, why) < 0 || account_password_unlock(p, alias, old, until, &key, why) < 0 ||
        account_hash_make(&p->hashing, id, key.data_key, password, options, until, &wrap, why) < 0)
        return -1;
    (void)json_array_append(wraps, wrap);
    if (alias_add_wrap(p->store, id, wrap, SLICE_NONE, WRAPS_MAX, until, why) < 0 ||
        open_as(p, alias, &key, slice_of(key.wrap_id), until, &mb, why) < 0)
        return -1;
    return set_live(mb, wraps, until, why);
}

int account_password_revoke(struct account_passwords *p, const struct alias_doc *alias, struct slice password, struct slice slot,
                            struct deadline until, struct fault *why)
{
    AUTO(account_key_wipe) struct account_key key = { 0 };
    AUTO(mailbox_close) struct mailbox *mb = NULL;
    AUTO(json_release) json_t *wraps = NULL;
    json_t *wrap;
    size_t i;

    if (read_wraps(alias, &wraps, why) < 0 || account_password_unlock(p, alias, password, until, &key, why) < 0)
        return -1;
    if (!has_wrap(wraps, slot))
        return fault_set(why, FAULT_NOT_FOUND, "there is no password %.*s", SLICE(slot));
    if (json_array_size(wraps) == 1)
        return fault_set(why, FAULT_INVALID, "this is the last password: without it nobody could ever open the mailbox again");
    json_array_foreach(wraps, i, wrap)
        if (slice_equal(wrap_id(wrap), slot))
            break;
    (void)json_array_remove(wraps, i);
    if (open_as(p, alias, &key, slice_of(key.wrap_id), until, &mb, why) < 0 || set_live(mb, wraps, until, why) < 0)
        return -1;
    return alias_remove_wrap(p->store, slice_of(alias->id), slot, until, why);
}
