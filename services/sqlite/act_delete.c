/* act_delete.c - the end of a mailbox: sessions, key, sealed mail and files go; and how much room mailboxes take.
 *
 * Owns nothing. Called by the RPC server and at start (deletions that were killed halfway). Needs no key: whoever may call the mailbox
 * server may delete. Idempotent; 0 only after everything is durably gone. FAULT_UNAVAILABLE, FAULT_IO. Suspends.
 */
#include "act.h"

#include <dirent.h>

#define DELETE_WAIT_MS 30000           /* for deliveries under way */
#define SIZES_MAX      1000

struct deleting { char path[512]; struct slice alias; };

static int delete_run(void *arg, struct fault *why)
{
    struct deleting *d = arg;

    if (engine_remove_begin(d->path, why) < 0 || sealed_purge(server.sealed, d->alias, why) < 0)
        return -1;
    return engine_remove_end(d->path, why);
}

static int delete_locked_box(struct box *b, struct fault *why)
{
    struct deleting d = { .alias = slice_of(b->alias_id) };

    box_lock_up(b);
    b->knows_key = false;
    box_path(d.alias, d.path, sizeof(d.path));
    return pool_run(OFFLOAD_DB, delete_run, &d, why);
}

static int delete_box(struct box *b, struct fault *why)
{
    struct deadline until = deadline_in_ms(DELETE_WAIT_MS);
    int r;

    box_lock_all_out(b, NULL);
    if (seal_wait(b, until, why) < 0 || fiber_mutex_lock(&b->lock, until, why) < 0)
        return -1;
    r = delete_locked_box(b, why);
    fiber_mutex_unlock(&b->lock);
    return r;
}

int act_mailbox_delete(struct rpc_call *call, struct fault *why)
{
    struct slice alias;
    struct box *b;
    int r;

    if (act_read_alias(call, &alias, why) < 0)
        return -1;
    b = box_get(alias);
    b->deleting++;
    r = delete_box(b, why);
    b->deleting--;
    box_touch(b);
    if (r < 0) {
        log_event(LOG_ERROR, "mailbox.delete_failed", F_SLICE("alias", alias), F_FAULT(why));
        return -1;
    }
    log_event(LOG_INFO, "mailbox.deleted", F_SLICE("alias", alias));
    box_publish(b, 0, 0);
    return rpc_answer(call, NULL, NULL, 0, why);
}

int deleted_finish(struct slice alias, struct fault *why)
{
    struct deleting d = { .alias = alias };

    box_path(alias, d.path, sizeof(d.path));
    if (!engine_remove_is_begun(d.path))
        return 0;
    log_event(LOG_WARN, "mailbox.delete_resumed", F_SLICE("alias", alias));
    return pool_run(OFFLOAD_DB, delete_run, &d, why);
}

int deleted_finish_all(struct fault *why)
{
    static const char suffix[] = ".sqlite" ENGINE_TOMBSTONE;
    DIR *dir = opendir(server.storage);
    struct dirent *e;
    int r = 0;

    if (dir == NULL)
        return fault_set(why, FAULT_IO, "list %s", server.storage);
    while (r == 0 && (e = readdir(dir)) != NULL) {
        struct slice name = slice_of(e->d_name), alias = slice_head(name, 24);

        if (name.n == 24 + sizeof(suffix) - 1 && slice_has_suffix(name, slice_of(suffix)) && object_id_is_valid(alias))
            r = deleted_finish(alias, why);
    }
    (void)closedir(dir);
    return r;
}

/* ---- sizes ------------------------------------------------------------------------------------------- */

struct measuring { struct slice *alias; uint64_t *bytes; size_t count; };

static int measure_run(void *arg, UNUSED struct fault *why)
{
    struct measuring *m = arg;

    for (size_t i = 0; i < m->count; i++)
        if (!box_file_exists(m->alias[i], &m->bytes[i]))
            m->bytes[i] = 0;
    return 0;
}

int act_mailbox_sizes(struct rpc_call *call, struct fault *why)
{
    struct measuring m = { 0 };
    json_t *ok, *list;

    if (act_read_texts(call, "alias_ids", SIZES_MAX, &m.alias, &m.count, why) < 0)
        return -1;
    for (size_t i = 0; i < m.count; i++)
        if (!object_id_is_valid(m.alias[i]))
            return fault_set(why, FAULT_INVALID, "not an alias id");
    m.bytes = ARENA_ARRAY(call->arena, uint64_t, m.count + 1);
    if (pool_run(OFFLOAD_FILE, measure_run, &m, why) < 0)
        return -1;
    ok = json_object();
    list = json_array();
    for (size_t i = 0; i < m.count; i++)
        (void)json_array_append_new(list, json_integer((json_int_t)m.bytes[i] + (json_int_t)sealed_bytes(server.sealed, m.alias[i])));
    (void)json_object_set_new(ok, "bytes", list);
    return rpc_answer(call, ok, NULL, 0, why);
}
