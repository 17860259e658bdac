/* main.c - fe-smtp-bree, the outbound queue runner: claims what is due, hands it to workers, sleeps until more is.
 *
 * Owns      the process: store, Redis, workers. No listening port but /metrics.
 * Fails     at start only; later troubles are logged and the queue waits. Suspends.
 */
#include "bree.h"

#include <unistd.h>

#define ASK_EVERY_MS    100
#define EVENT_COUNT_MAX 1000                   /* what an event may claim; a claim that finds nothing ends it */

static struct config config;

static const struct config_var vars[] = {
    VAR_STRING(struct config, store_uri, "STORE_URI", "embedded:/var/lib/fe/store.sqlite", "document store"),
    VAR_STRING(struct config, store_key_file, "STORE_KEY_FILE", "", "key file of the embedded store"),
    VAR_STRING(struct config, redis_host, "REDIS_HOST", "127.0.0.1", "Redis, wakes the runner at once; empty: it polls"),
    VAR_PORT(struct config, redis_port, "REDIS_PORT", "6379", "port of Redis"),
    VAR_SECRET(struct config, redis_password, "REDIS_PASSWORD", "", "password of Redis"),
    VAR_STRING(struct config, host, "SMTP_HOST", "localhost", "our name: EHLO, reports"),
    VAR_STRING(struct config, local_ip, "SMTP_SOURCE_IP", "", "source address of connections; empty: the system's choice"),
    VAR_PORT(struct config, out_port, "SMTP_OUT_PORT", "25", "port of remote servers"),
    VAR_BOOL(struct config, allow_private, "OUTBOUND_ALLOW_PRIVATE", "false", "may connect to loopback and private addresses"),
    VAR_INT(struct config, concurrency, "SMTP_QUEUE_CONCURRENCY", "20", "1", "200", "messages sent at once"),
    VAR_SECRET(struct config, helper_key, "HELPER_ENCRYPTION_KEY", NULL, "opens the DKIM keys in domain documents"),
    VAR_STRING(struct config, ca_path, "TLS_CA_PATH", "", "PEM roots; empty: the system's"),
    VAR_SECRET(struct config, srs_secret, "SRS_SECRET", "", "rewrites envelope senders of domains whose return path was verified; empty: none"),
    VAR_INT(struct config, destination_max, "SMTP_QUEUE_DESTINATION_MAX", "5", "1", "100", "connections to one domain at once"),
    VAR_MS(struct config, lease_ms, "SMTP_QUEUE_LEASE", "15m", "1s", "24h", "after this long, a message whose runner has died is taken up by another"),
    VAR_MS(struct config, poll_ms, "SMTP_QUEUE_POLL", "5s", "100ms", "5m", "how often the queue is looked at without an event"),
    VAR_STRING(struct config, runner_folder, "SMTP_QUEUE_RUNNER_PATH", "", "folder on a disk of this machine for the runner's identity, by which a restarted one takes back at once what it was sending; empty: beside the embedded store, with MongoDB none"),
};

static void job_free(struct job **jp)
{
    struct job *job = *jp;

    *jp = NULL;
    if (job == NULL)
        return;
    json_release(&job->delivery);
    buf_free(&job->header);
    buf_free(&job->body);
    arena_free(&job->arena);
    free(job);
}

static void finish_fiber(void *arg)
{
    struct job *job = arg;

    job_finish(job);
    job_free(&job);
}

/* Takes the job. */
static void finish_begin(struct fiber_group *g, struct job *job)
{
    struct fault why;

    if (fiber_group_start(g, "queue.finish", finish_fiber, job, &why) < 0)
        finish_fiber(job);
}

/* 1: *out is claimed, 0: nothing is due. */
static int claim_one(struct job **out, struct fault *why)
{
    AUTO(job_free) struct job *job = calloc(1, sizeof(*job));

    if (job == NULL)
        abort();
    job->arena = arena_new(0);
    job->header = BUF_INIT(HEADER_MAX);
    job->body = BUF_INIT(BODY_KEPT_MAX);
    job->leased_at_ms = clock_now_ms();
    if (email_claim(bree.store, slice_of(bree.name), config.lease_ms, job->arena, deadline_in_ms(30000), &job->email, why) < 0)
        return why->code == FAULT_NOT_FOUND ? 0 : -1;
    *out = job;
    job = NULL;
    return 1;
}

/* Why a claim is worth the store's write lock. An event announces one message; a look finds any number. */
enum hint { HINT_NONE, HINT_ANNOUNCED, HINT_LOOK };

static enum hint take_hint(void)
{
    if (bree.announced > 0) {
        bree.announced--;
        return HINT_ANNOUNCED;
    }
    if (!bree.look)
        return HINT_NONE;
    bree.look = false;
    return HINT_LOOK;
}

/* `announced`: how many were when the claim began. */
static void note_claim(enum hint hint, bool found, unsigned announced)
{
    if (!found) {                              /* those are gone too */
        bree.announced -= bree.announced < announced ? bree.announced : announced;
        return;
    }
    if (hint != HINT_LOOK)
        return;
    bree.announced -= bree.announced > 0;
    bree.look = true;
    fiber_event_signal(&bree.wake);            /* for a worker beside this one */
}

/* 1: sent, and its last write is under way; 0: nothing was due. */
static int claim_and_send(enum hint hint, struct fiber_group *finishing, struct fault *why)
{
    unsigned announced = bree.announced;
    struct job *job = NULL;
    int r = claim_one(&job, why);

    if (r < 0)
        return -1;
    note_claim(hint, r == 1, announced);
    if (r == 0)
        return 0;
    job_run(job);
    fiber_group_join(finishing);               /* that of the message before */
    finish_begin(finishing, job);
    return 1;
}

/* Claims and sends while something may be due. A message's last write and the next claim wait for the store together, and workers
 * that claim at the same time do so too: one fsync for all of them, where one claimer would wait for an fsync per message.    */
static void worker(void *arg)
{
    enum hint hint = (enum hint)(uintptr_t)arg;
    struct fiber_group finishing;
    struct fault why;
    int r = 1;

    fiber_group_init(&finishing);
    while (!bree.stopping && r >= 0 && hint != HINT_NONE) {
        r = claim_and_send(hint, &finishing, &why);
        hint = take_hint();
    }
    fiber_group_join(&finishing);
    if (r < 0) {
        bree.trouble = bree.doubt = true;
        log_event(LOG_WARN, "smtp-bree.claim_failed", F_FAULT(&why));
    }
    bree.look = bree.look || hint == HINT_LOOK;
    bree.announced += hint == HINT_ANNOUNCED;
    bree.busy--;
    fiber_event_signal(&bree.wake);
}

static bool start_worker(void)
{
    enum hint hint = take_hint();
    struct fault why;

    bree.busy++;
    if (fiber_group_start(&bree.workers, "queue", worker, (void *)(uintptr_t)hint, &why) == 0)
        return true;
    bree.busy--;
    bree.trouble = true;
    log_event(LOG_WARN, "smtp-bree.start_failed", F_FAULT(&why));
    return false;
}

/* How long until the store should be asked again; `look` is set when something is due now. While events come in, it is asked every
 * ASK_EVERY_MS only: they say what is new.                                                                                  */
static uint64_t sleep_ms(void)
{
    static uint64_t asked_ms;
    uint64_t since = clock_now_ms() - asked_ms;
    int64_t due = 0, now;
    struct fault why;

    if (asked_ms != 0 && since < ASK_EVERY_MS)
        return ASK_EVERY_MS - since;
    if (email_next_due(bree.store, deadline_in_ms(5000), &due, &why) < 0)
        return config.poll_ms;
    asked_ms = clock_now_ms();
    now = clock_wall_ms();
    bree.look = bree.look || (due != 0 && due <= now);
    return due == 0 || due - now > (int64_t)config.poll_ms ? config.poll_ms : due > now ? (uint64_t)(due - now) : 1;
}

/* With a slot, nothing is claimed before it is certain that nothing else is leased to us. */
static bool must_wait(void)
{
    return bree.has_slot && bree.doubt && bree.busy == 0;
}

static bool may_start(void)
{
    return (bree.look || bree.announced > 0) && bree.busy < (unsigned)config.concurrency && !must_wait();
}

/* What is leased to us and sent by nobody is due now, not when its lease ends: what a runner of our name was sending when it died,
 * and what a claim got whose answer was lost. Only while no worker of ours has anything.                                     */
static void take_back(void)
{
    struct fault why;
    uint64_t count = 0;

    if (!bree.has_slot || !bree.doubt || bree.busy > 0)
        return;
    if (email_take_back(bree.store, slice_of(bree.name), deadline_in_ms(30000), &count, &why) < 0) {
        bree.trouble = true;
        log_event(LOG_WARN, "smtp-bree.take_back_failed", F_FAULT(&why));
        return;
    }
    bree.doubt = false;
    bree.look = true;
    if (count > 0)
        log_event(LOG_INFO, "smtp-bree.taken_back", F_INT("messages", count));
}

static void runner(UNUSED void *arg)
{
    uint64_t ms;

    bree.doubt = true;
    while (!bree.stopping) {
        take_back();
        if (may_start() && start_worker())
            continue;
        connections_close(false);
        ms = bree.trouble ? config.poll_ms : sleep_ms();
        bree.trouble = false;
        if (may_start() || bree.stopping)      /* it came while sleep_ms asked */
            continue;
        (void)fiber_event_wait(&bree.wake, deadline_in_ms(ms), NULL);
    }
}

/* One message, where an event does not say how many. */
static unsigned announced_by(struct slice payload)
{
    AUTO(json_release) json_t *event = NULL;
    int64_t count = 1;

    if (json_parse(payload, 4096, &event, NULL) == 0)
        count = json_get_int(event, "count", 1);
    return count < 1 ? 1 : count > EVENT_COUNT_MAX ? EVENT_COUNT_MAX : (unsigned)count;
}

static void queue_event(UNUSED void *arg, enum redis_event event, UNUSED struct slice channel, struct slice payload)
{
    if (event == REDIS_GAP)                    /* who knows what was missed */
        bree.look = true;
    else
        bree.announced += announced_by(payload);
    fiber_event_signal(&bree.wake);
}

static double busy_now(UNUSED void *arg)
{
    return bree.busy;
}

static void make_metrics(void)
{
    bree.sent = metric_counter("fe_queue_sent_total", "recipients whose server took the message");
    bree.deferred = metric_counter("fe_queue_deferred_total", "attempts that have to be repeated");
    bree.failed = metric_counter("fe_queue_failed_total", "recipients given up");
    bree.took = metric_histogram_us("fe_queue_transaction_seconds", "one transaction with a remote server");
    (void)metric_gauge("fe_queue_busy", "messages being sent", busy_now, NULL);
}

static int open_redis(struct fault *why)
{
    struct redis_options options = { .host = config.redis_host, .port = config.redis_port, .password = config.redis_password };

    if (config.redis_host[0] == '\0')
        return 0;
    if (redis_new(&options, &bree.redis, why) < 0)
        return -1;
    (void)redis_subscribe(bree.redis, LIT("queue"), queue_event, NULL);
    return 0;
}

static void choose_name(void)
{
    AUTO(arena_free) struct arena *in = arena_new(1024);
    char host[40] = "";
    struct slice identity;
    struct fault why;
    int r = slot_take(slice_of(config.store_uri), config.runner_folder, in, &identity, &why);

    if (r < 0)
        log_event(LOG_WARN, "smtp-bree.no_slot", F_FAULT(&why));
    bree.has_slot = r == 1;
    (void)gethostname(host, sizeof(host) - 1);
    if (bree.has_slot)
        (void)snprintf(bree.name, sizeof(bree.name), "%s:%.*s", host, SLICE(identity));
    else
        (void)snprintf(bree.name, sizeof(bree.name), "%s:%d", host, (int)getpid());
}

static int start(UNUSED void *arg, struct fault *why)
{
    struct store_options store = { .uri = config.store_uri, .key_file = config.store_key_file };

    bree.config = &config;
    fiber_event_init(&bree.wake);
    fiber_group_init(&bree.workers);
    bree.look = true;
    make_metrics();
    if (store_open(&store, &bree.store, why) < 0 || open_redis(why) < 0)
        return -1;
    bree.directory = directory_new(bree.store, 0);
    bree.keys = dkim_keyring_new(config.helper_key);
    choose_name();
    if (tls_client_new(config.ca_path[0] != '\0' ? config.ca_path : NULL, &bree.tls, why) < 0)
        return -1;
    return fiber_start("runner", runner, NULL, why);
}

static void drain(UNUSED void *arg, UNUSED struct deadline until)
{
    bree.stopping = true;
    fiber_event_broadcast(&bree.wake);
    fiber_group_join(&bree.workers);           /* each ends its transaction; service_run's own limit stands behind it */
    connections_close(true);
    directory_free(&bree.directory);
    dkim_keyring_free(&bree.keys);
    store_close(&bree.store);
}

static int health(UNUSED void *arg, struct fault *why)
{
    struct store_options store = { .uri = config.store_uri, .key_file = config.store_key_file };

    if (store_open(&store, &bree.store, why) < 0)
        return -1;
    return store_ping(bree.store, deadline_in_ms(5000), why);
}

int main(int argc, char **argv)
{
    const struct service service = {
        .name = "smtp_bree", .vars = vars, .var_count = COUNT(vars), .config = &config,
        .start = start, .drain = drain, .health = health,
    };

    return service_run(&service, argc, argv);
}
