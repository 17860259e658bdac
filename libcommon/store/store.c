/* store.c - opening a store on the engine its URI names, and reads (see store.h).
 *
 * Owns struct store and the module of its engine. Called by daemons and the models. Fails as the
 * engine does. Suspends: each read is one trip to the db pool.
 */
#include "store/store.h"

#include <dlfcn.h>
#include <unistd.h>
#include "store/models.h"
#include "store/store_internal.h"

#define MODULE_MONGO "store_mongo.so"

/* ---- engines -------------------------------------------------------------------------------- */

/* FE_LIB_DIR, else lib/ beside the folder of the executable, else the executable's own folder. */
static void *module_open(const char *name, struct arena *in, struct fault *why)
{
    const char *dir = getenv("FE_LIB_DIR");
    struct slice self, tried[2] = {SLICE_NONE, SLICE_NONE};
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
    void *module = NULL;

    self = slice_make(path, n > 0 ? (size_t)n : 0);
    self = slice_head(self, (size_t)(slice_rfind_char(self, '/') + 1));
    if (dir != NULL && dir[0] != '\0') {
        tried[0] = arena_printf(in, "%s/%s", dir, name);
    } else {
        tried[0] = arena_printf(in, "%.*s../lib/%s", SLICE(self), name);
        tried[1] = arena_printf(in, "%.*slib/%s", SLICE(self), name);
    }
    for (size_t i = 0; i < COUNT(tried) && module == NULL; i++)
        if (tried[i].p != NULL)
            module = dlopen(tried[i].p, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL)
        (void)fault_set(why, FAULT_UNAVAILABLE, "%s: %.180s", name, dlerror());
    return module;
}

static int pick_driver(struct store *st, struct slice uri, struct arena *in, struct fault *why)
{
    if (slice_has_prefix(uri, LIT("embedded:"))) {
        st->driver = &store_embedded;
        return 0;
    }
    if (!slice_has_prefix(uri, LIT("mongodb://")) && !slice_has_prefix(uri, LIT("mongodb+srv://")))
        return fault_set(why, FAULT_INVALID, "STORE_URI must begin with embedded: or mongodb://");
    st->module = module_open(MODULE_MONGO, in, why);
    if (st->module == NULL)
        return -1;
    st->driver = dlsym(st->module, STORE_DRIVER_SYMBOL);
    return st->driver != NULL
               ? 0
               : fault_set(why, FAULT_INVALID, "%s is no store engine", MODULE_MONGO);
}

struct open_trip {
    struct offload work;
    struct store *st;
    const struct store_options *options;
    int result;
    struct fault why;
};

static void run_open(struct offload *work)
{
    struct open_trip *trip = CONTAINER_OF(work, struct open_trip, work);

    trip->result = trip->st->driver->open(trip->options, &trip->st->engine, &trip->why);
}

static void store_discard(struct store *st)
{
    if (st->module != NULL)
        (void)dlclose(st->module);
    free(st);
}

static void init_queue(struct store *st, struct write_queue *q)
{
    q->st = st;
    (void)pthread_mutex_init(&q->lock, NULL);
    q->last = &q->first;
}

static int open_engine(struct store *st, const struct store_options *options, struct fault *why)
{
    struct open_trip trip = {.work = {.run = run_open}, .st = st, .options = options};

    if (offload_run(OFFLOAD_DB, &trip.work, DEADLINE_NEVER, why) < 0)
        return -1;
    if (trip.result < 0)
        *why = trip.why;
    return trip.result;
}

int store_open(const struct store_options *options, struct store **out, struct fault *why)
{
    AUTO(arena_free) struct arena *in = arena_new(0);
    struct store_options full = *options;
    struct store *st = calloc(1, sizeof(*st));

    if (st == NULL)
        abort();
    if (full.collections == NULL) {
        full.collections = models_collections;
        full.collection_count = models_collection_count;
    }
    st->collections = full.collections;
    st->collection_count = full.collection_count;
    init_queue(st, &st->documents);
    init_queue(st, &st->logs);
    fiber_event_init(&st->idle);
    if (pick_driver(st, slice_of(options->uri), in, why) < 0 || open_engine(st, &full, why) < 0) {
        store_discard(st);
        return -1;
    }
    log_queue_init(st);
    *out = st;
    return 0;
}

static void run_close(struct offload *work)
{
    struct open_trip *trip = CONTAINER_OF(work, struct open_trip, work);

    trip->st->driver->close(&trip->st->engine);
}

void store_close(struct store **st)
{
    struct open_trip trip = {.work = {.run = run_close}, .st = *st};
    struct fault ignored;

    if (*st == NULL)
        return;
    log_queue_stop(*st);
    write_drain(*st);
    if (offload_run(OFFLOAD_DB, &trip.work, DEADLINE_NEVER, &ignored) < 0)
        (*st)->driver->close(&(*st)->engine);
    free(*st); /* the module stays: its library's threads may still end */
    *st = NULL;
}

const char *store_engine(const struct store *st)
{
    return st->driver->name;
}

void store_get_stats(const struct store *st, struct store_stats *out)
{
    *out = st->stats;
}

const struct store_collection *store_collection_find(const struct store *st, const char *name,
                                                     struct fault *why)
{
    for (size_t i = 0; i < st->collection_count; i++)
        if (slice_equal(slice_of(name), slice_of(st->collections[i].name)))
            return &st->collections[i];
    (void)fault_set(why, FAULT_INVALID, "no collection %s", name);
    return NULL;
}

/* ---- reads ---------------------------------------------------------------------------------- */

struct read_trip {
    struct offload work;
    struct store *st;
    struct store_read *r;
    int result;
};

struct store_read *read_new(enum store_read_kind kind)
{
    struct arena *in = arena_new(0);
    struct store_read *r = ARENA_NEW(in, struct store_read);

    r->in = in;
    r->kind = kind;
    return r;
}

void read_free(struct store_read **r)
{
    struct arena *in;

    if (*r == NULL)
        return;
    json_release(&(*r)->out);
    in = (*r)->in;
    *r = NULL;
    arena_free(&in);
}

static void run_read(struct offload *work)
{
    struct read_trip *trip = CONTAINER_OF(work, struct read_trip, work);

    trip->result = trip->st->driver->read(trip->st->engine, trip->r);
}

static void discard_read(struct offload *work)
{
    struct read_trip *trip = CONTAINER_OF(work, struct read_trip, work);

    read_free(&trip->r); /* the trip lives in its arena */
}

int read_run(struct store *st, struct store_read **r, struct deadline until, struct fault *why)
{
    struct read_trip *trip = ARENA_NEW((*r)->in, struct read_trip);

    *trip =
        (struct read_trip){.work = {.run = run_read, .discard = discard_read}, .st = st, .r = *r};
    st->stats.reads++;
    if (offload_run(OFFLOAD_DB, &trip->work, until, why) < 0) {
        *r = NULL;
        return -1;
    }
    if (trip->result < 0)
        *why = (*r)->why;
    return trip->result;
}

static int read_prepare(struct store *st, struct store_read *r, const char *collection,
                        const struct store_filter *filter, const struct store_page *page,
                        struct fault *why)
{
    r->collection = store_collection_find(st, collection, why);
    r->skip = page != NULL ? page->skip : 0;
    r->limit = page != NULL && page->limit > 0 && page->limit < STORE_FIND_MAX ? page->limit
                                                                               : STORE_FIND_MAX;
    if (r->collection == NULL || query_copy_filter(filter, r->in, &r->filter, why) < 0)
        return -1;
    return query_copy_sort(page != NULL ? page->sort : NULL, r->in, &r->sort, why);
}

int store_find(struct store *st, const char *collection, const struct store_filter *filter,
               const struct store_page *page, struct deadline until, json_t **out,
               struct fault *why)
{
    AUTO(read_free) struct store_read *r = read_new(READ_FIND);

    if (read_prepare(st, r, collection, filter, page, why) < 0 || read_run(st, &r, until, why) < 0)
        return -1;
    *out = r->out;
    r->out = NULL;
    return 0;
}

int store_find_texts(struct store *st, const char *collection, const struct store_filter *filter,
                     const struct store_page *page, struct arena *in, struct deadline until,
                     struct slice **out, size_t *count, struct fault *why)
{
    AUTO(read_free) struct store_read *r = read_new(READ_FIND);
    size_t n;

    r->as_text = true;
    if (read_prepare(st, r, collection, filter, page, why) < 0 || read_run(st, &r, until, why) < 0)
        return -1;
    n = r->texts != NULL ? r->text_count : json_array_size(r->out);
    *out = ARENA_ARRAY(in, struct slice, n + 1);
    for (size_t i = 0; i < n; i++)
        if (r->texts != NULL)
            (*out)[i] = arena_copy(in, r->texts[i]);
        else if (doc_dump(json_array_get(r->out, i), in, &(*out)[i], why) < 0)
            return -1;
    *count = n;
    return 0;
}

int store_find_one(struct store *st, const char *collection, const struct store_filter *filter,
                   const struct store_sort *sort, struct deadline until, json_t **out,
                   struct fault *why)
{
    AUTO(json_release) json_t *found = NULL;
    const struct store_page page = {.sort = sort, .limit = 1};

    if (store_find(st, collection, filter, &page, until, &found, why) < 0)
        return -1;
    if (json_array_size(found) == 0)
        return fault_set(why, FAULT_NOT_FOUND, "no document of %s matches", collection);
    *out = json_incref(json_array_get(found, 0));
    return 0;
}

int store_count(struct store *st, const char *collection, const struct store_filter *filter,
                struct deadline until, uint64_t *out, struct fault *why)
{
    AUTO(read_free) struct store_read *r = read_new(READ_COUNT);

    if (read_prepare(st, r, collection, filter, NULL, why) < 0 || read_run(st, &r, until, why) < 0)
        return -1;
    *out = r->count;
    return 0;
}

int store_ping(struct store *st, struct deadline until, struct fault *why)
{
    AUTO(read_free) struct store_read *r = read_new(READ_PING);

    return read_run(st, &r, until, why);
}
