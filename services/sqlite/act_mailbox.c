/* act_mailbox.c - a mailbox's life: made, opened, closed, given another key, checked.
 *
 * Owns      the RPC sessions of kind mailbox. Called by the RPC server. Faults as in rpc/mailbox.h. Suspends.
 */
#include "act.h"

#define REKEY_WAIT_MS 30000            /* for mail on its way in */

int act_ping(struct rpc_call *call, struct fault *why)
{
    return rpc_answer(call, NULL, NULL, 0, why);
}

static int read_key(struct rpc_call *call, struct slice *out, struct fault *why)
{
    if (rpc_read_piece(call, DATA_KEY_BYTES, out, why) < 0)
        return -1;
    return out->n == DATA_KEY_BYTES ? 0 : fault_set(why, FAULT_INVALID, "a key has %d bytes", DATA_KEY_BYTES);
}

static int wraps_text(struct rpc_call *call, struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf text = BUF_INIT(65536);
    const json_t *ids = json_object_get(call->args, "wrap_ids");

    if (!json_is_array(ids) || json_format(ids, &text) < 0)
        return fault_set(why, FAULT_INVALID, "wrap_ids: a list is needed");
    *out = arena_copy(call->arena, buf_slice(&text));
    return 0;
}

/* ---- create ---------------------------------------------------------------------------------------- */

struct creating { char path[512]; struct secret *key; struct slice public_key, wraps; };

static int create_run(void *arg, struct fault *why)
{
    struct creating *c = arg;
    struct engine *e = NULL;

    if (engine_create(c->path, c->key, c->public_key, c->wraps, NULL, &e, why) < 0)
        return -1;
    engine_close(&e);
    return 0;
}

static int create_locked(struct box *b, struct creating *c, struct fault *why)
{
    unsigned char was[sizeof(b->sealing_key)];
    bool knew = b->knows_key;

    /* before the file is there: from its first instant on, nothing sealed to an earlier mailbox's key is taken */
    memcpy(was, b->sealing_key, sizeof(was));
    memcpy(b->sealing_key, c->public_key.p, sizeof(b->sealing_key));
    b->knows_key = true;
    if (deleted_finish(slice_of(b->alias_id), why) == 0 && pool_run(OFFLOAD_DB, create_run, c, why) == 0)
        return 0;
    memcpy(b->sealing_key, was, sizeof(was));
    b->knows_key = knew;
    return -1;
}

/* Two at once for one alias would build the same file. */
static int create_alone(struct box *b, struct creating *c, struct fault *why)
{
    int r;

    if (fiber_mutex_lock(&b->lock, DEADLINE_NEVER, why) < 0)
        return -1;
    r = create_locked(b, c, why);
    fiber_mutex_unlock(&b->lock);
    box_touch(b);
    return r;
}

int act_mailbox_create(struct rpc_call *call, struct fault *why)
{
    AUTO(secret_unref) struct secret *key = NULL;
    struct creating c = { 0 };
    struct slice alias, bytes;
    struct sealing_pair pair;
    bool same;

    if (act_read_alias(call, &alias, why) < 0 || wraps_text(call, &c.wraps, why) < 0 || read_key(call, &bytes, why) < 0)
        return -1;
    key = secret_new(bytes);
    if (read_key(call, &c.public_key, why) < 0)
        return -1;
    derive_sealing_pair(secret_slice(key), &pair);
    same = secret_equal(c.public_key, slice_make(pair.public_key, 32));
    sealing_pair_wipe(&pair);
    if (!same)
        return fault_set(why, FAULT_INVALID, "the public key does not belong to the data key");
    c.key = key;
    box_path(alias, c.path, sizeof(c.path));
    if (create_alone(box_get(alias), &c, why) < 0)
        return -1;
    log_event(LOG_INFO, "mailbox.created", F_SLICE("alias", alias));
    return rpc_answer(call, NULL, NULL, 0, why);
}

/* ---- open and close ---------------------------------------------------------------------------------- */

static void session_end(void *object)
{
    struct session *s = object;
    struct session **at = &s->box->sessions;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    box_touch(s->box);
    free(s);
}

const struct rpc_session_kind mailbox_kind = { "mailbox", session_end };

int act_mailbox_open(struct rpc_call *call, struct fault *why)
{
    struct slice alias, key, wrap_id = json_get_slice(call->args, "wrap_id");
    int64_t scope = json_get_int(call->args, "scope", 0);
    struct session *s;
    struct box *b;
    json_t *ok;

    if (act_read_alias(call, &alias, why) < 0 || read_key(call, &key, why) < 0)
        return -1;
    if (scope < 1 || scope > 3)
        return fault_set(why, FAULT_INVALID, "scope");
    b = box_get(alias);
    timer_stop(&b->idle);
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    *s = (struct session){ .box = b, .scope = (unsigned)scope, .next = b->sessions };
    ignore_result(slice_copy_cstr(wrap_id, s->wrap_id, sizeof(s->wrap_id)));   /* too long: not among the live ones */
    b->sessions = s;                           /* holds the box open while the engine is opened */
    if (box_unlock(b, key, wrap_id, why) < 0 || rpc_session_open(call, &mailbox_kind, s, &s->handle, why) < 0) {
        session_end(s);
        return -1;
    }
    ok = json_object();
    json_set_slice(ok, "session", rpc_session_handle(s->handle));
    json_set_int(ok, "modseq", 0);
    json_set_int(ok, "drain_left", (int64_t)sealed_count(server.sealed, alias));
    return rpc_answer(call, ok, NULL, 0, why);
}

int act_mailbox_close(struct rpc_call *call, struct fault *why)
{
    rpc_session_end(call->handle);
    return rpc_answer(call, NULL, NULL, 0, why);
}

/* ---- wraps, rekey ---------------------------------------------------------------------------------------- */

static int set_wraps_run(struct engine *e, void *arg, struct fault *why)
{
    const struct slice *wraps = arg;

    return engine_set_wraps(e, *wraps, why);
}

int act_mailbox_set_wraps(struct rpc_call *call, struct fault *why)
{
    struct session *s = act_session(call);
    struct slice wraps;

    if (act_need_write(call, why) < 0 || wraps_text(call, &wraps, why) < 0 || box_run(s->box, true, set_wraps_run, &wraps, why) < 0)
        return -1;
    box_lock_out_revoked(s->box, json_object_get(call->args, "wrap_ids"), s);
    return rpc_answer(call, NULL, NULL, 0, why);
}

struct rekeying { struct engine *engine; struct secret *key; struct slice public_key; };

static int rekey_run(void *arg, struct fault *why)
{
    struct rekeying *r = arg;

    return engine_rekey(&r->engine, r->key, r->public_key, why);
}

static int rekey_locked(struct box *b, struct rekeying *r, struct fault *why)
{
    int result;

    if (sealed_count(server.sealed, slice_of(b->alias_id)) > 0)
        return fault_set(why, FAULT_CONFLICT, "sealed mail is still being stored, try again in a moment");
    if (b->engine == NULL)
        return fault_set(why, FAULT_CLOSED, "mailbox is locked");
    r->engine = b->engine;
    result = pool_run(OFFLOAD_DB, rekey_run, r, why);
    b->engine = r->engine;
    if (result < 0)
        return -1;
    secret_unref(&b->key);
    b->key = secret_ref(r->key);
    derive_sealing_pair(secret_slice(r->key), &b->pair);
    memcpy(b->sealing_key, b->pair.public_key, sizeof(b->sealing_key));
    return 0;
}

/* What is sealed to the old key goes in first; no delivery begins meanwhile. */
static int rekey_alone(struct box *b, struct rekeying *r, struct fault *why)
{
    struct deadline until = deadline_in_ms(REKEY_WAIT_MS);
    int result;

    if (seal_wait(b, until, why) < 0 || drain_all(b, until, why) < 0 || fiber_mutex_lock(&b->lock, until, why) < 0)
        return -1;
    result = rekey_locked(b, r, why);
    fiber_mutex_unlock(&b->lock);
    return result;
}

int act_mailbox_rekey(struct rpc_call *call, struct fault *why)
{
    AUTO(secret_unref) struct secret *key = NULL;
    struct session *s = act_session(call);
    struct rekeying r = { 0 };
    struct slice bytes;
    int result;

    if (act_need_write(call, why) < 0 || read_key(call, &bytes, why) < 0)
        return -1;
    key = secret_new(bytes);
    r.key = key;
    if (read_key(call, &r.public_key, why) < 0)
        return -1;
    box_lock_all_out(s->box, s);
    s->box->rekeying++;
    result = rekey_alone(s->box, &r, why);
    s->box->rekeying--;
    log_event(result < 0 ? LOG_ERROR : LOG_INFO, "mailbox.rekey", F_STR("alias", s->box->alias_id), F_BOOL("ok", result == 0));
    return result < 0 ? -1 : rpc_answer(call, NULL, NULL, 0, why);
}

/* ---- verify, usage ------------------------------------------------------------------------------------------ */

struct verifying { struct arena *in; struct slice report; bool corrupt; };

static int verify_run(struct engine *e, void *arg, struct fault *why)
{
    struct verifying *v = arg;

    if (engine_verify(e, v->in, &v->report, why) == 0)
        return 0;
    v->corrupt = why->code == FAULT_CORRUPT;
    return v->corrupt ? 0 : -1;
}

int act_mailbox_verify(struct rpc_call *call, struct fault *why)
{
    struct verifying v = { .in = call->arena };
    json_t *ok;

    if (box_run_alone(act_session(call)->box, verify_run, &v, why) < 0)
        return -1;
    ok = json_object();
    json_set_bool(ok, "corrupt", v.corrupt);
    return rpc_answer(call, ok, &v.report, 1, why);
}

static int usage_run(struct engine *e, void *arg, struct fault *why)
{
    return engine_get_usage(e, arg, why);
}

int act_mailbox_usage(struct rpc_call *call, struct fault *why)
{
    struct box *b = act_session(call)->box;
    struct mailbox_usage u = { 0 };
    json_t *ok;

    drain_catch_up(b);
    if (box_run(b, false, usage_run, &u, why) < 0)
        return -1;
    ok = json_object();
    json_set_int(ok, "messages", (int64_t)u.messages);
    json_set_int(ok, "bytes_used", (int64_t)u.bytes_used);
    json_set_int(ok, "bytes_sealed", (int64_t)sealed_bytes(server.sealed, slice_of(b->alias_id)));
    json_set_int(ok, "bytes_quota", (int64_t)b->quota_bytes);
    return rpc_answer(call, ok, NULL, 0, why);
}
