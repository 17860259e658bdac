/* dns.c - see dns.h. libunbound resolves in a thread of its own; its file descriptor wakes the loop.
 *
 * Owns      the resolver context with its cache, those of queries that want none, and the queries under way.
 * Called by mx, smtp-bree, mail authentication; on fibers.
 * Fails     with FAULT_UNAVAILABLE, FAULT_TIMEOUT, FAULT_CANCELED, FAULT_INVALID. Suspends in every query.
 */
#include "rt/dns.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <unbound.h>
#include <unistd.h>

#include "rt/dns_rdata.h"
#include "rt/fiber.h"
#include "rt/loop_internal.h"
#include "rt/offload.h"

#define NAME_MAX_BYTES 253
#define RCODE_NXDOMAIN 3
#define ANCHOR_ROOT    "root"

/* The root zone's keys as IANA publishes them: KSK-2017 and KSK-2024. */
static const char *const root_anchor[] = {
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

struct resolver {
    struct ub_ctx *context;
    uv_poll_t *poll_handle;            /* its data: the context */
};

static struct resolver cached;         /* the one that remembers */
static struct dns_options ours;        /* copies: resolvers are made later, too */
static unsigned queries;               /* fibers in dns_query() */

/* ---- context ------------------------------------------------------------------------------------ */

static void answers_ready(uv_poll_t *handle, UNUSED int status, UNUSED int events)
{
    (void)ub_process(handle->data);
}

static int option_set(struct ub_ctx *context, const char *name, const char *value, struct fault *why)
{
    int e = ub_ctx_set_option(context, name, value);

    return e == 0 ? 0 : fault_set(why, FAULT_INVALID, "resolver option %s: %s", name, ub_strerror(e));
}

static int servers_set(struct ub_ctx *context, const struct dns_options *o, struct fault *why)
{
    int e;

    if (o->servers == NULL || o->servers[0] == NULL) {
        e = ub_ctx_resolvconf(context, NULL);
        return e == 0 ? 0 : fault_set(why, FAULT_INVALID, "/etc/resolv.conf: %s", ub_strerror(e));
    }
    for (size_t i = 0; o->servers[i] != NULL; i++) {
        e = ub_ctx_set_fwd(context, o->servers[i]);
        if (e != 0)
            return fault_set(why, FAULT_INVALID, "DNS_SERVERS: \"%s\": %s", o->servers[i], ub_strerror(e));
    }
    return 0;
}

static int options_set(struct ub_ctx *context, struct fault *why)
{
    static const struct { const char *name, *value; } row[] = {
        { "do-not-query-localhost:", "no" },
        { "edns-buffer-size:", "1232" },
        { "use-syslog:", "no" },
        { "verbosity:", "0" },
        /* small caches: a mail server asks for few names often */
        { "msg-cache-size:", "2m" },
        { "rrset-cache-size:", "4m" },
        { "outgoing-range:", "256" },
        { "num-queries-per-thread:", "128" },
        /* a resolver that was away for a moment is asked again at once, not after libunbound's 15 minutes */
        { "infra-host-ttl:", "60" },
        { "infra-keep-probing:", "yes" },
        /* an operator who has just added a record should not wait an hour for us to see it */
        { "cache-max-negative-ttl:", "60" },
        /* reverse names of private networks: the operator's resolver may know them */
        { "unblock-lan-zones:", "yes" },
        { "insecure-lan-zones:", "yes" },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        if (option_set(context, row[i].name, row[i].value, why) < 0)
            return -1;
    return 0;
}

static int anchor_set(struct ub_ctx *context, const char *anchor, struct fault *why)
{
    if (anchor == NULL)
        return 0;
    if (strcmp(anchor, ANCHOR_ROOT) != 0) {
        /* libunbound opens it only with the first query: say now, by name, that it cannot */
        if (access(anchor, R_OK) < 0 || ub_ctx_add_ta_file(context, anchor) != 0)
            return fault_set(why, FAULT_INVALID, "DNS_TRUST_ANCHOR: cannot read %s", anchor);
        return 0;
    }
    for (size_t i = 0; i < COUNT(root_anchor); i++)
        if (ub_ctx_add_ta(context, root_anchor[i]) != 0)
            return fault_set(why, FAULT_IO, "built-in trust anchor refused");
    return 0;
}

static int context_set(struct ub_ctx *context, const struct dns_options *o, struct fault *why)
{
    if (options_set(context, why) < 0 || servers_set(context, o, why) < 0 || anchor_set(context, o->trust_anchor, why) < 0)
        return -1;
    if (o->hosts_file != NULL && ub_ctx_hosts(context, o->hosts_file) != 0)
        return fault_set(why, FAULT_INVALID, "cannot read %s", o->hosts_file);
    if (ub_ctx_async(context, 1) != 0)
        return fault_set(why, FAULT_IO, "resolver thread");
    return 0;
}

static void first_done(UNUSED void *arg, UNUSED int error, struct ub_result *result)
{
    ub_resolve_free(result);
}

struct first {
    struct ub_ctx *context;
    int error;
};

static void *first_query(void *arg)
{
    /* libunbound says by itself that these are empty; a resolver in a laboratory (or of our tests) may know better */
    static const char *const known[] = { "test.", "127.in-addr.arpa.", "2.0.192.in-addr.arpa.", "100.51.198.in-addr.arpa.",
                                        "113.0.203.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa." };
    struct first *f = arg;

    f->error = 0;
    for (size_t i = 0; f->error == 0 && i < COUNT(known); i++)
        f->error = ub_ctx_zone_remove(f->context, known[i]);
    if (f->error == 0)
        f->error = ub_resolve_async(f->context, "localhost", DNS_A, 1, NULL, first_done, NULL);
    return NULL;
}

/* The first call makes libunbound set itself up, which takes more than a fiber's stack (its buffers for one record are
 * 64 KiB): it is made here, on a stack of a thread's size; the query is for a name that libunbound knows by itself. */
static int resolver_set_up(struct ub_ctx *context, struct fault *why)
{
    struct first first = { .context = context, .error = UB_INITFAIL };
    pthread_t thread;

    if (pthread_create(&thread, NULL, first_query, &first) != 0)
        return fault_set(why, FAULT_IO, "no thread for the resolver");
    pthread_join(thread, NULL);
    return first.error == 0 ? 0 : fault_set(why, FAULT_INVALID, "resolver: %s", ub_strerror(first.error));
}

static int answers_watch(struct resolver *r, struct fault *why)
{
    uv_poll_t *handle = calloc(1, sizeof(*handle));

    if (handle == NULL)
        abort();
    if (uv_poll_init(loop_uv(), handle, ub_fd(r->context)) != 0) {
        free(handle);                  /* never became a handle of the loop */
        return fault_set(why, FAULT_IO, "cannot watch the resolver");
    }
    r->poll_handle = handle;
    handle->data = r->context;
    (void)uv_poll_start(handle, UV_READABLE, answers_ready);
    uv_unref((uv_handle_t *)handle);   /* queries hold the loop, the resolver does not */
    return 0;
}

static void poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void resolver_close(struct resolver *r)
{
    if (r->poll_handle != NULL)
        uv_close((uv_handle_t *)r->poll_handle, poll_closed);
    if (r->context != NULL)
        ub_ctx_delete(r->context);
    *r = (struct resolver){ 0 };
}

static int resolver_open(struct resolver *r, const struct dns_options *options, struct fault *why)
{
    r->context = ub_ctx_create();
    if (r->context == NULL)
        return fault_set(why, FAULT_IO, "no resolver context");
    if (context_set(r->context, options, why) == 0 && resolver_set_up(r->context, why) == 0 && answers_watch(r, why) == 0)
        return 0;
    resolver_close(r);
    return -1;
}

static const char *text_copy(const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    if (text != NULL && copy == NULL)
        abort();
    return copy;
}

static void options_keep(const struct dns_options *o)
{
    size_t n = 0;
    const char **servers;

    while (o->servers != NULL && o->servers[n] != NULL)
        n++;
    servers = calloc(n + 1, sizeof(*servers));
    if (servers == NULL)
        abort();
    for (size_t i = 0; i < n; i++)
        servers[i] = text_copy(o->servers[i]);
    ours = (struct dns_options){ .servers = servers, .trust_anchor = text_copy(o->trust_anchor), .hosts_file = text_copy(o->hosts_file) };
}

static void options_forget(void)
{
    for (size_t i = 0; ours.servers != NULL && ours.servers[i] != NULL; i++)
        free((char *)(uintptr_t)ours.servers[i]);
    free((void *)(uintptr_t)ours.servers);
    free((char *)(uintptr_t)ours.trust_anchor);
    free((char *)(uintptr_t)ours.hosts_file);
    ours = (struct dns_options){ 0 };
}

int dns_init(const struct dns_options *options, struct fault *why)
{
    assert(cached.context == NULL);
    if (resolver_open(&cached, options, why) < 0)
        return -1;
    options_keep(options);
    return 0;
}

void dns_deinit(void)
{
    assert(queries == 0);              /* their fibers would wait for answers that cannot come */
    resolver_close(&cached);
    options_forget();
}

/* ---- queries -------------------------------------------------------------------------------------- */

struct query {
    struct fiber *fiber;
    struct ub_result *result;
    int error;
    bool done;
};

static void query_done(void *arg, int error, struct ub_result *result)
{
    struct query *q = arg;

    q->error = error;
    q->result = result;
    q->done = true;
    fiber_resume(q->fiber, 0);
}

static int query_wait(struct ub_ctx *context, struct query *q, int id, struct deadline until, struct fault *why)
{
    int r = 0;

    while (!q->done && r >= 0)
        r = fiber_suspend(until);
    if (q->done)
        return 0;
    (void)ub_cancel(context, id);
    return fault_set(why, r == FIBER_CANCELED ? FAULT_CANCELED : FAULT_TIMEOUT, "DNS query");
}

static int compare_preference(const void *a, const void *b)
{
    const struct dns_record *x = a, *y = b;

    return x->preference < y->preference ? -1 : x->preference > y->preference;
}

static void take_records(const struct ub_result *r, enum dns_type type, struct arena *in, struct dns_answer *out)
{
    size_t n = 0;

    while (r->data[n] != NULL)
        n++;
    out->records = ARENA_ARRAY(in, struct dns_record, n);
    for (size_t i = 0; i < n; i++) {
        struct dns_record *rec = &out->records[out->count];

        /* a malformed record is as good as none: the others still count */
        if (!dns_rdata_parse(type, slice_make(r->data[i], (size_t)r->len[i]), in, rec))
            continue;
        rec->ttl_s = (uint32_t)r->ttl;
        out->count++;
    }
    if (type == DNS_MX && out->count > 1)
        qsort(out->records, out->count, sizeof(*out->records), compare_preference);
}

static int take_answer(const struct ub_result *r, enum dns_type type, struct arena *in, struct dns_answer *out,
                       struct fault *why)
{
    if (r->bogus)
        return fault_set(why, FAULT_UNAVAILABLE, "DNSSEC: answer for %s is bogus: %s", r->qname,
                         r->why_bogus != NULL ? r->why_bogus : "unknown reason");
    if (r->rcode != 0 && r->rcode != RCODE_NXDOMAIN)
        return fault_set(why, FAULT_UNAVAILABLE, "DNS answer code %d for %s", r->rcode, r->qname);
    *out = (struct dns_answer){ .status = DNS_NO_DATA, .secure = r->secure != 0 };
    if (r->nxdomain || r->rcode == RCODE_NXDOMAIN) {
        out->status = DNS_NO_NAME;
        return 0;
    }
    if (r->havedata)
        take_records(r, type, in, out);
    if (out->count > 0)
        out->status = DNS_FOUND;
    return 0;
}

/* A name as it goes to libunbound, which takes backslashes for escapes: those and what cannot be printed are refused. */
static int name_copy(struct slice name, char *out, size_t size, struct fault *why)
{
    bool ok;

    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    ok = name.n > 0 && slice_copy_cstr(name, out, size);
    for (size_t i = 0; ok && i < name.n; i++)
        ok = out[i] > ' ' && (unsigned char)out[i] < 0x7f && out[i] != '\\';
    return ok ? 0 : fault_set(why, FAULT_INVALID, "not a domain name: \"%.*s\"", SLICE(slice_head(name, 80)));
}

static int query_run(struct ub_ctx *context, struct query *q, const char *name, enum dns_type type, struct deadline until, struct fault *why)
{
    int id, r = 0;

    q->error = ub_resolve_async(context, name, (int)type, 1, q, query_done, &id);
    if (q->error == 0) {
        queries++;
        loop_hold();
        r = query_wait(context, q, id, until, why);
        loop_release();
        queries--;
    }
    if (r < 0)
        return -1;
    if (q->error == UB_SYNTAX)
        return fault_set(why, FAULT_INVALID, "not a domain name: \"%.80s\"", name);
    if (q->error != 0 || q->result == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "DNS query for %.100s: %s", name, ub_strerror(q->error));
    return 0;
}

static int query(struct ub_ctx *context, struct slice name, enum dns_type type, struct arena *in, struct deadline until,
                 struct dns_answer *out, struct fault *why)
{
    struct query q = { .fiber = fiber_self() };
    char text[NAME_MAX_BYTES + 1];
    int r;

    if (name_copy(name, text, sizeof(text), why) < 0)
        return -1;
    if (context == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "no resolver");
    if (query_run(context, &q, text, type, until, why) < 0)
        return -1;
    r = take_answer(q.result, type, in, out, why);
    ub_resolve_free(q.result);
    return r;
}

int dns_query(struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out,
              struct fault *why)
{
    return query(cached.context, name, type, in, until, out, why);
}

/* Making a resolver and ending one wait for its thread: done on the file pool, else the loop would. */
struct fresh_work {
    struct offload offload;
    struct ub_ctx *context;
    struct fault why;
};

static void fresh_free(struct fresh_work *w)
{
    if (w->context != NULL)
        ub_ctx_delete(w->context);
    free(w);
}

static void fresh_discard(struct offload *work)
{
    fresh_free(CONTAINER_OF(work, struct fresh_work, offload));
}

static void fresh_open(struct offload *work)
{
    struct fresh_work *w = CONTAINER_OF(work, struct fresh_work, offload);
    struct first first = { .context = ub_ctx_create(), .error = UB_INITFAIL };

    if (first.context != NULL && context_set(first.context, &ours, &w->why) == 0)
        (void)first_query(&first);
    if (first.error == 0)
        w->context = first.context;
    else if (first.context != NULL)
        ub_ctx_delete(first.context);
}

static void fresh_close(struct offload *work)
{
    struct fresh_work *w = CONTAINER_OF(work, struct fresh_work, offload);

    ub_ctx_delete(w->context);
    w->context = NULL;
}

/* On failure *w is no longer the caller's. */
static int fresh_run(struct fresh_work *w, void (*run)(struct offload *work), struct deadline until, struct fault *why)
{
    w->offload = (struct offload){ .run = run, .discard = fresh_discard };
    return offload_run(OFFLOAD_FILE, &w->offload, until, why);
}

static int fresh_ask(struct ub_ctx *context, struct slice name, enum dns_type type, struct arena *in, struct deadline until,
                     struct dns_answer *out, struct fault *why)
{
    struct resolver r = { .context = context };
    int result;

    if (context == NULL || answers_watch(&r, why) < 0)
        return fault_set(why, FAULT_UNAVAILABLE, "no resolver of its own for this query");
    result = query(context, name, type, in, until, out, why);
    uv_close((uv_handle_t *)r.poll_handle, poll_closed);
    return result;
}

int dns_query_fresh(struct slice name, enum dns_type type, struct arena *in, struct deadline until, struct dns_answer *out,
                    struct fault *why)
{
    struct fresh_work *w;
    struct fault ignored;
    int r = -1;

    if (cached.context == NULL)
        return fault_set(why, FAULT_UNAVAILABLE, "no resolver");
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        abort();
    queries++;                         /* the options stay meanwhile */
    if (fresh_run(w, fresh_open, until, why) == 0) {
        r = fresh_ask(w->context, name, type, in, until, out, why);
        if (w->context == NULL || fresh_run(w, fresh_close, DEADLINE_NEVER, &ignored) == 0)
            fresh_free(w);
    }
    queries--;
    return r;
}

int dns_reverse(const char *ip, struct arena *in, struct deadline until, struct dns_answer *out, struct fault *why)
{
    unsigned char raw[16];
    char name[80];
    size_t n = 0;

    if (inet_pton(AF_INET, ip, raw) == 1) {
        (void)snprintf(name, sizeof(name), "%u.%u.%u.%u.in-addr.arpa", raw[3], raw[2], raw[1], raw[0]);
        return dns_query(slice_of(name), DNS_PTR, in, until, out, why);
    }
    if (inet_pton(AF_INET6, ip, raw) != 1)
        return fault_set(why, FAULT_INVALID, "not an address: %.60s", ip);
    for (int i = 15; i >= 0; i--)
        n += (size_t)snprintf(name + n, sizeof(name) - n, "%x.%x.", raw[i] & 15, raw[i] >> 4);
    (void)snprintf(name + n, sizeof(name) - n, "ip6.arpa");
    return dns_query(slice_of(name), DNS_PTR, in, until, out, why);
}

/* ---- our own world --------------------------------------------------------------------------------- */

struct host_work {
    struct offload offload;
    char host[NAME_MAX_BYTES + 1];
    char ip[INET6_ADDRSTRLEN];
    int error;
};

static void host_run(struct offload *work)
{
    struct host_work *w = CONTAINER_OF(work, struct host_work, offload);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL, *use;

    w->error = getaddrinfo(w->host, NULL, &hints, &found);
    if (w->error == 0 && found == NULL)
        w->error = EAI_NONAME;
    if (w->error != 0)
        return;
    /* servers of our own world listen on 127.0.0.1 or a Docker network: IPv4 first, or "localhost" would be ::1 */
    use = found;
    while (use != NULL && use->ai_family != AF_INET)
        use = use->ai_next;
    if (use == NULL)
        use = found;
    w->error = getnameinfo(use->ai_addr, use->ai_addrlen, w->ip, sizeof(w->ip), NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(found);
}

static void host_discard(struct offload *work)
{
    free(CONTAINER_OF(work, struct host_work, offload));
}

int dns_local_host(const char *host, struct arena *in, struct deadline until, struct slice *ip, struct fault *why)
{
    struct host_work *w;
    unsigned char raw[16];
    int r = 0;

    if (inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1) {
        *ip = arena_copy(in, slice_of(host));
        return 0;
    }
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        abort();
    w->offload.run = host_run;
    w->offload.discard = host_discard;
    if (!slice_copy_cstr(slice_of(host), w->host, sizeof(w->host))) {
        free(w);
        return fault_set(why, FAULT_INVALID, "host name too long");
    }
    if (offload_run(OFFLOAD_FILE, &w->offload, until, why) < 0)
        return -1;
    if (w->error != 0)
        r = fault_set(why, FAULT_UNAVAILABLE, "host %s: %s", host, gai_strerror(w->error));
    else
        *ip = arena_copy(in, slice_of(w->ip));
    free(w);
    return r;
}
