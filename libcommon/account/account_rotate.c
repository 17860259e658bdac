/* account_rotate.c - a new password in place of all others, with the mailbox kept.
 *
 * Owns nothing. Called by api. Fails as account_password.h says. Suspends.
 *
 *   step                                             killed behind it: the old password     the new password
 *   1  document: old slots and the new one, noted    opens the mailbox                      not yet
 *   2  mailbox: the new slot only, one commit        opens no mailbox, but begins again     opens the mailbox
 *   3  document: the new slot only                   is refused everywhere                  opens the mailbox
 *
 * Behind step 2 the mailbox does not know the old slot any more. Whoever repeats the rotation with the old password has proved to know the
 * data key; as long as the document notes an unfinished rotation, the mailbox is then opened with any of its slots. Without that note
 * nothing of the kind is tried: a document restored from a backup revives no revoked password.
 */
#include "account/account_hash.h"
#include "account/account_password.h"
#include "base/json.h"

struct rotation {
    struct account_passwords *p;
    const struct alias_doc *alias;
    struct slice id;                           /* of the alias */
    struct account_key key;
    json_t *before, *both, *after;
    struct slice to;                           /* id of the new slot */
    struct mailbox *mb;
    struct deadline until;
};

static void rotation_free(struct rotation *r)
{
    account_key_wipe(&r->key);
    json_release(&r->before);
    json_release(&r->both);
    json_release(&r->after);
    mailbox_close(&r->mb);
}

static bool is_under_way(const struct alias_doc *alias)
{
    int64_t now = clock_wall_ms();

    return alias->rotation_to.n > 0 && alias->rotation_at + ACCOUNT_ROTATION_MS > now && alias->rotation_at <= now + ACCOUNT_ROTATION_MS;
}

static int make_slots(struct rotation *r, struct slice password, const struct keys_wrap_options *options, struct fault *why)
{
    json_t *wrap = NULL;

    if (json_parse(r->alias->wraps, (size_t)1 << 20, &r->before, why) < 0 ||
        account_hash_make(&r->p->hashing, r->id, r->key.data_key, password, options, r->until, &wrap, why) < 0)
        return -1;
    r->after = json_array();
    (void)json_array_append_new(r->after, wrap);
    r->both = json_copy(r->before);
    (void)json_array_append(r->both, wrap);
    r->to = json_get_slice(wrap, "id");
    return 0;
}

static int open_slot(struct rotation *r, struct slice slot, struct fault *why)
{
    return mailbox_open(r->p->mailboxes, r->id, r->key.data_key, slot, MAILBOX_READ | MAILBOX_WRITE, r->until, &r->mb, why);
}

static int open_mailbox(struct rotation *r, struct fault *why)
{
    json_t *wrap;
    size_t i;

    if (open_slot(r, slice_of(r->key.wrap_id), why) == 0)
        return 0;
    if (r->alias->rotation_to.n == 0)
        return -1;
    json_array_foreach(r->before, i, wrap) {
        if (why->code != FAULT_DENIED)
            return -1;
        if (open_slot(r, json_get_slice(wrap, "id"), why) == 0)
            return 0;
    }
    return -1;
}

/* Nothing but the document was changed: it becomes what it was. An unfinished rotation before this one stays noted. */
static void take_back(struct rotation *r)
{
    struct deadline until = deadline_in_ms(5000);
    struct fault ignored;

    if (r->alias->rotation_to.n > 0)
        ignore_result(alias_rotate_wraps(r->p->store, r->id, r->both, r->before, r->alias->rotation_to, until, &ignored));
    else
        ignore_result(alias_replace_wraps(r->p->store, r->id, r->both, r->before, SLICE_NONE, until, &ignored));
}

static int switch_over(struct rotation *r, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);

    if (alias_rotate_wraps(r->p->store, r->id, r->before, r->both, r->to, r->until, why) < 0)
        return -1;
    if (open_mailbox(r, why) < 0) {
        take_back(r);
        return -1;
    }
    if (mailbox_set_wraps(r->mb, keys_wrap_ids(a, r->after), r->until, why) < 0)
        return -1;                             /* it may have happened all the same: both slots stay, it can be begun again */
    return alias_replace_wraps(r->p->store, r->id, r->both, r->after, SLICE_NONE, r->until, why);
}

int account_password_rotate(struct account_passwords *p, const struct alias_doc *alias, struct slice old, struct slice password,
                            const struct keys_wrap_options *options, struct deadline until, struct fault *why)
{
    AUTO(rotation_free) struct rotation r = { .p = p, .alias = alias, .id = slice_of(alias->id) };

    r.until = deadline_earlier(until, deadline_in_ms(ACCOUNT_ROTATION_MS * 3 / 4));
    if (account_password_unlock(p, alias, old, r.until, &r.key, why) < 0)
        return -1;
    if (is_under_way(alias))
        return fault_set(why, FAULT_CONFLICT, "a change of the password is under way");
    if (make_slots(&r, password, options, why) < 0)
        return -1;
    return switch_over(&r, why);
}
