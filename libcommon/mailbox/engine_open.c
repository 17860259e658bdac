/* engine_open.c - making, opening and closing a mailbox file: keys, parameters, telling a wrong key from a damaged file.
 *
 * Owns the handle. Called by fe-sqlite and fectl. Fails as engine.h says; a file is never removed or made anew because it does
 * not open. Never suspends.
 *
 * The salt in the first 16 bytes is not random but derived from the data key, like the key itself: a file whose salt is another one
 * and whose first page does not open belongs to another key; if only one of the two is wrong, the file is damaged.
 */
#include "mailbox/engine_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/derive.h"
#include "base/json.h"
#include "base/time.h"

int sqlite3_key_v2(sqlite3 *db, const char *name, const void *key, int n);   /* hidden behind SQLITE_HAS_CODEC */

enum { SALT_BYTES = 16, BUSY_MS = 5000, CACHE_KIB = 2048, LOG_LIMIT_BYTES = 64 << 20 };

void (*engine_step_hook)(const char *step);

void engine_step(const char *step)
{
    if (engine_step_hook)
        engine_step_hook(step);
}

static void derive_salt(const struct secret *data_key, unsigned char salt[SALT_BYTES])
{
    unsigned char full[32];

    derive_key(secret_slice(data_key), "mailbox file salt", full);
    memcpy(salt, full, SALT_BYTES);
    memory_wipe(full, sizeof(full));
}

/* "x'<key><salt>'": SQLCipher's form of a raw key with its salt, which needs no key stretching. */
static int apply_key(struct engine *e, struct fault *why)
{
    unsigned char raw[32 + SALT_BYTES];
    char text[3 + 2 * sizeof(raw) + 1];
    int rc;

    derive_key(secret_slice(e->data_key), "mailbox file", raw);
    derive_salt(e->data_key, raw + 32);
    text[0] = 'x';
    text[1] = '\'';
    (void)sodium_bin2hex(text + 2, 2 * sizeof(raw) + 1, raw, sizeof(raw));
    text[2 + 2 * sizeof(raw)] = '\'';
    rc = sqlite3_key_v2(e->db, "main", text, (int)(3 + 2 * sizeof(raw)));
    memory_wipe(raw, sizeof(raw));
    memory_wipe(text, sizeof(text));
    return rc == SQLITE_OK ? 0 : fault_set(why, FAULT_IO, "mailbox key was not accepted (%d)", rc);
}

static int configure(struct engine *e, bool make, struct fault *why)
{
    char sql[440];

    /* temp_store: a temporary file would be plain text on disk. secure_delete: pages are encrypted anyway. */
    (void)snprintf(sql, sizeof(sql),
                   "PRAGMA cipher_log_level=NONE;PRAGMA cipher_page_size=%d;%s"
                   "PRAGMA cipher_hmac_algorithm=HMAC_SHA256;"
                   "PRAGMA temp_store=MEMORY;PRAGMA secure_delete=OFF;PRAGMA cache_size=-%d;%s"
                   "PRAGMA synchronous=FULL;PRAGMA journal_size_limit=%d;PRAGMA wal_autocheckpoint=1000;%s",
                   ENGINE_PAGE_BYTES, e->alone ? "PRAGMA locking_mode=EXCLUSIVE;" : "", CACHE_KIB,
                   make ? "PRAGMA auto_vacuum=INCREMENTAL;PRAGMA journal_mode=WAL;" : "", LOG_LIMIT_BYTES,
                   e->mode == ENGINE_READ ? "PRAGMA query_only=1;" : "");
    return db_exec(e, sql, why);
}

static void engine_free(struct engine **ep)
{
    struct engine *e = *ep;

    if (!e)
        return;
    if (e->db)
        db_close(e);
    secret_unref(&e->data_key);
    free(e->path);
    free(e);
    *ep = NULL;
}

int engine_connect(const char *path, const struct secret *data_key, const struct engine_options *options, bool make,
                   struct engine **out, struct fault *why)
{
    AUTO(engine_free) struct engine *e = calloc(1, sizeof(*e));
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (make ? SQLITE_OPEN_CREATE : 0), rc;

    if (!e || !(e->path = strdup(path)) || secret_slice(data_key).n != DATA_KEY_BYTES)
        abort();
    e->data_key = secret_new(secret_slice(data_key));
    e->mode = options ? options->mode : ENGINE_WRITE;
    e->vfs = options ? options->vfs : NULL;
    e->alone = options && options->alone;
    rc = sqlite3_open_v2(path, &e->db, flags, e->vfs);
    if (rc != SQLITE_OK)
        return rc == SQLITE_NOMEM ? (abort(), -1) : db_fault(e, rc, why, "open mailbox");
    (void)sqlite3_extended_result_codes(e->db, 1);
    (void)sqlite3_busy_timeout(e->db, BUSY_MS);
    if (apply_key(e, why) < 0 || configure(e, make, why) < 0)
        return -1;
    *out = e;
    e = NULL;
    return 0;
}

/* ---- making ---------------------------------------------------------------------------------------- */

int directory_sync(const char *path_in_it, struct fault *why)
{
    char *copy = strdup(path_in_it);
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int r = 0;

    free(copy);
    if (fd < 0 || fsync(fd) < 0)
        r = fault_errno(why, errno, "fsync of the storage folder");
    if (fd >= 0)
        (void)close(fd);
    return r;
}

static void remove_leftovers(const char *path)
{
    static const char *const suffix[] = { "", "-wal", "-shm", "-journal" };
    char name[4200];

    for (size_t i = 0; i < COUNT(suffix); i++)
        if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffix[i]) < sizeof(name))
            (void)unlink(name);
}

/* Takes its name only when it is whole, and never over another file. */
static int publish_new(const char *temporary, const char *path, struct fault *why)
{
    if (link(temporary, path) < 0)
        return errno == EEXIST ? fault_set(why, FAULT_EXISTS, "mailbox exists")
                               : fault_errno(why, errno, "name the new mailbox");
    (void)unlink(temporary);
    return directory_sync(path, why);
}

int engine_create(const char *path, const struct secret *data_key, struct slice public_key, struct slice wrap_ids_json,
                  const struct engine_options *options, struct engine **out, struct fault *why)
{
    struct engine *e = NULL;
    char temporary[4100];
    int r;

    if (access(path, F_OK) == 0)
        return fault_set(why, FAULT_EXISTS, "mailbox exists");
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s-wal", path) < sizeof(temporary) && access(temporary, F_OK) == 0)
        return fault_set(why, FAULT_EXISTS, "the log of an earlier mailbox is still there");
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
        return fault_set(why, FAULT_INVALID, "path of the mailbox is too long");
    remove_leftovers(temporary);
    if (engine_connect(temporary, data_key, options, true, &e, why) < 0)
        return -1;
    r = schema_create(e, public_key, wrap_ids_json, why);
    engine_close(&e);
    engine_step("create: file is whole");
    if (r < 0 || publish_new(temporary, path, why) < 0) {
        remove_leftovers(temporary);
        return -1;
    }
    return engine_open(path, data_key, options, out, why);
}

/* ---- opening ---------------------------------------------------------------------------------------- */

enum salt { SALT_RIGHT, SALT_OTHER };

static int read_salt(const char *path, const struct secret *data_key, enum salt *out, struct fault *why)
{
    unsigned char want[SALT_BYTES], got[SALT_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return fault_errno(why, errno, "mailbox file");
    n = pread(fd, got, sizeof(got), 0);
    (void)close(fd);
    if (n < 0)
        return fault_errno(why, errno, "read mailbox file");
    if ((size_t)n < sizeof(got))
        return fault_set(why, FAULT_CORRUPT, "mailbox file is cut off");
    derive_salt(data_key, want);
    *out = sodium_memcmp(want, got, sizeof(got)) == 0 ? SALT_RIGHT : SALT_OTHER;
    return 0;
}

static int connect_existing(const char *path, const struct secret *data_key, const struct engine_options *options,
                            enum salt salt, struct engine **out, struct fault *why)
{
    struct fault inner = { 0 };

    if (engine_connect(path, data_key, options, false, out, &inner) >= 0 && state_load(*out, &inner) >= 0)
        return 0;
    if (salt == SALT_OTHER && inner.code == FAULT_CORRUPT)
        return fault_set(why, FAULT_DENIED, "the key belongs to another mailbox");
    return fault_set(why, inner.code, "%s", inner.text);
}

static int check_format(struct engine *e, enum salt salt, struct fault *why)
{
    int64_t version = 0;

    if (db_get(e, &version, why, "PRAGMA user_version") < 0)
        return -1;
    if (salt == SALT_OTHER)
        return fault_set(why, FAULT_CORRUPT, "mailbox file: the first bytes are damaged");
    if (version != ENGINE_FORMAT)
        return fault_set(why, FAULT_CORRUPT, "mailbox has format %lld, this program knows %d", (long long)version,
                         ENGINE_FORMAT);
    return 0;
}

/* After the log is in the file, the file has all the pages its header counts; a short one was cut off. Pages behind the end
 * would read as zeros, which SQLCipher takes for pages never written.                                                */
static int check_length(struct engine *e, struct fault *why)
{
    struct stat st;
    int in_log = 0, done = 0;
    int64_t pages = 0;

    if (e->unsettled)                 /* a frame must not reach the file before it is sure to be in the log */
        return 0;
    if (sqlite3_wal_checkpoint_v2(e->db, "main", SQLITE_CHECKPOINT_PASSIVE, &in_log, &done) != SQLITE_OK ||
        in_log != done)
        return 0;                     /* readers hold the log: not a first open */
    if (db_get(e, &pages, why, "PRAGMA page_count") < 0)
        return -1;
    if (stat(e->path, &st) < 0)
        return fault_errno(why, errno, "mailbox file");
    if (st.st_size < pages * ENGINE_PAGE_BYTES)
        return fault_set(why, FAULT_CORRUPT, "mailbox file is cut off: %lld bytes of %lld", (long long)st.st_size,
                         (long long)pages * ENGINE_PAGE_BYTES);
    return 0;
}

/* Bodies that were staged through an earlier handle will never be appended. */
static int forget_staged(struct engine *e, struct fault *why)
{
    int64_t now = clock_wall_ms(), one;
    int r = db_get(e, &one, why, "SELECT 1 FROM bodies WHERE refs=0 AND died>? LIMIT 1", A_INT(now));

    return r > 0 ? db_run(e, why, "UPDATE bodies SET died=?1 WHERE refs=0 AND died>?1", A_INT(now)) : r;
}

/* What an open for writing does; a disk that refuses leaves a handle that reads. */
static int open_to_write(struct engine *e, bool unsettled, struct fault *why)
{
    char temporary[4100];

    e->unsettled = e->unsure = unsettled;
    if (check_length(e, why) < 0)
        return -1;
    if (!e->unsure && (forget_staged(e, why) < 0 || (e->log_was_damaged && engine_restored(e, why) < 0))) {
        if (why->code != FAULT_DISK_FULL && why->code != FAULT_IO)
            return -1;
        e->unsure = true;             /* what is staged stays until another open, or is swept */
    }
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.rekey", e->path) < sizeof(temporary) &&
        access(temporary, F_OK) == 0)
        remove_leftovers(temporary);  /* a rekey was killed before its rename */
    return 0;
}

/* Before anything of the log is used up. */
static bool look_at_log(const char *path, struct fault *why)
{
    bool damaged;

    if (log_is_damaged(path, &damaged, why) < 0 || !damaged)
        return false;
    (void)log_keep(path, why);        /* without room for it there is the report */
    return true;
}

int engine_open(const char *path, const struct secret *data_key, const struct engine_options *options,
                struct engine **out, struct fault *why)
{
    AUTO(engine_close) struct engine *e = NULL;
    enum salt salt = SALT_RIGHT;
    bool alone = options && options->alone;
    bool damaged = alone && look_at_log(path, why);
    bool unsettled = alone && log_settle(path, why) < 0;

    if (read_salt(path, data_key, &salt, why) < 0 ||
        connect_existing(path, data_key, options, salt, &e, why) < 0 || check_format(e, salt, why) < 0)
        return -1;
    assert(e != NULL);
    e->log_was_damaged = damaged;
    if (e->mode == ENGINE_WRITE && open_to_write(e, unsettled, why) < 0)
        return -1;
    *out = e;
    e = NULL;
    return 0;
}

void engine_close(struct engine **e)
{
    if (*e) {
        engine_abort(*e);
        if ((*e)->unsettled)
            (void)sqlite3_db_config((*e)->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        engine_free(e);
    }
}

/* ---- what the file says about its keys ----------------------------------------------------------------- */

int engine_check_wrap(struct engine *e, struct slice wrap_id, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(json_release) json_t *list = NULL;
    struct slice text;
    size_t i;
    json_t *item;

    if (meta_get(e, "wraps", a, &text, why) < 0 || json_parse(text, text.n, &list, why) < 0)
        return -1;
    json_array_foreach(list, i, item)
        if (json_is_string(item) &&
            slice_equal(wrap_id, slice_make(json_string_value(item), json_string_length(item))))
            return 0;
    return fault_set(why, FAULT_DENIED, "this password is not valid for the mailbox any more");
}

int engine_set_wraps(struct engine *e, struct slice wrap_ids_json, struct fault *why)
{
    AUTO(json_release) json_t *list = NULL;

    if (json_parse(wrap_ids_json, (size_t)1 << 20, &list, why) < 0)
        return -1;
    if (!json_is_array(list))
        return fault_set(why, FAULT_INVALID, "wraps are an array of ids");
    if (change_begin(e, why) < 0)
        return -1;
    return change_end(e, meta_set(e, "wraps", wrap_ids_json, why), why);
}

int engine_get_public_key(struct engine *e, struct arena *in, struct slice *out, struct fault *why)
{
    return meta_get(e, "public_key", in, out, why);
}

int engine_get_usage(struct engine *e, struct mailbox_usage *out, struct fault *why)
{
    if (read_begin(e, why) < 0)
        return -1;
    *out = (struct mailbox_usage){ e->state.messages, e->state.bytes, e->outside, e->quota };
    read_end(e);
    return 0;
}
