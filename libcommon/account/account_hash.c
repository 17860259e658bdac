/* account_hash.c - see account_hash.h. Owns its units of work; each holds copies of what it needs. */
#include "account/account_hash.h"

#include "base/json.h"
#include "rt/offload.h"

struct hashing {
    struct offload offload;
    char alias_id[25], scope[64];
    struct secret *password, *data_key;        /* data_key: of the new slot, or what was opened */
    struct buf wraps, description;             /* what is to be opened */
    int64_t expires_ms, now_ms;
    char wrap_id[25];
    json_t *wrap;                              /* made */
    int result;
    struct fault why;
};

static void hashing_free(struct hashing *h)
{
    secret_unref(&h->password);
    secret_unref(&h->data_key);
    buf_free(&h->wraps);
    buf_free(&h->description);
    json_release(&h->wrap);
    free(h);
}

static void hashing_discard(struct offload *work)
{
    hashing_free(CONTAINER_OF(work, struct hashing, offload));
}

static struct hashing *hashing_new(struct slice alias_id, struct slice password, void (*run)(struct offload *work))
{
    struct hashing *h = calloc(1, sizeof(*h));

    if (h == NULL)
        abort();
    h->offload = (struct offload){ .run = run, .discard = hashing_discard };
    ignore_result(slice_copy_cstr(alias_id, h->alias_id, sizeof(h->alias_id)));
    h->password = secret_new(slice_head(password, SECRET_MAX_BYTES));
    h->wraps = h->description = BUF_INIT((size_t)1 << 20);
    h->now_ms = clock_wall_ms();
    return h;
}

/* Takes h unless it returns 0. */
static int hash(struct fiber_mutex *one, struct hashing *h, struct deadline until, struct fault *why)
{
    int r;

    if (fiber_mutex_lock(one, until, why) < 0) {
        hashing_free(h);
        return -1;
    }
    r = offload_run(OFFLOAD_CPU, &h->offload, until, why);
    fiber_mutex_unlock(one);
    if (r == 0 && h->result < 0) {
        *why = h->why;
        hashing_free(h);
        return -1;
    }
    return r;
}

static void open_run(struct offload *work)
{
    struct hashing *h = CONTAINER_OF(work, struct hashing, offload);
    AUTO(json_release) json_t *wraps = NULL;
    json_t *wrap;
    size_t i;

    h->result = json_parse(buf_slice(&h->wraps), h->wraps.n, &wraps, &h->why);
    if (h->result < 0)
        return;
    h->result = fault_set(&h->why, FAULT_DENIED, "wrong password");
    json_array_foreach(wraps, i, wrap) {
        if (i > WRAPS_MAX)
            return;
        h->result = keys_wrap_open(slice_of(h->alias_id), wrap, secret_slice(h->password), h->now_ms, &h->data_key, &h->why);
        if (h->result == 0) {
            ignore_result(slice_copy_cstr(json_get_slice(wrap, "id"), h->wrap_id, sizeof(h->wrap_id)));
            return;
        }
    }
    (void)fault_set(&h->why, FAULT_DENIED, "wrong password");
}

int account_hash_open(struct fiber_mutex *one, struct slice alias_id, struct slice wraps, struct slice password, struct deadline until,
                      struct account_key *out, struct fault *why)
{
    struct hashing *h = hashing_new(alias_id, password, open_run);

    if (buf_append(&h->wraps, wraps) < 0) {
        hashing_free(h);
        return fault_set(why, FAULT_LIMIT, "password slots");
    }
    if (hash(one, h, until, why) < 0)
        return -1;
    out->data_key = secret_ref(h->data_key);
    memcpy(out->wrap_id, h->wrap_id, sizeof(out->wrap_id));
    hashing_free(h);
    return 0;
}

static void make_run(struct offload *work)
{
    struct hashing *h = CONTAINER_OF(work, struct hashing, offload);
    const struct keys_wrap_options options = {
        .scope = h->scope, .description = buf_slice(&h->description), .expires_ms = h->expires_ms,
    };

    h->result = keys_wrap_make(slice_of(h->alias_id), h->data_key, secret_slice(h->password), &options, &h->wrap, &h->why);
}

int account_hash_make(struct fiber_mutex *one, struct slice alias_id, const struct secret *data_key, struct slice password,
                      const struct keys_wrap_options *options, struct deadline until, json_t **out, struct fault *why)
{
    struct hashing *h = hashing_new(alias_id, password, make_run);

    h->data_key = secret_new(secret_slice(data_key));
    h->expires_ms = options->expires_ms;
    if (!slice_copy_cstr(slice_of(options->scope), h->scope, sizeof(h->scope)) || buf_append(&h->description, options->description) < 0) {
        hashing_free(h);
        return fault_set(why, FAULT_INVALID, "scope or description is too long");
    }
    if (hash(one, h, until, why) < 0)
        return -1;
    *out = h->wrap;
    h->wrap = NULL;
    hashing_free(h);
    return 0;
}
