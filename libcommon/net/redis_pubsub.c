/* redis_pubsub.c - subscriptions: a connection of their own, kept over reconnects, gaps told.
 *
 * Owns channels and subscriptions. Called by whoever hears events; callbacks run on the loop in the
 * connection's fiber and do not suspend. Never fails: while Redis is away nothing is heard, and
 * REDIS_GAP comes when it is back.
 */
#include "net/redis_internal.h"

#define SILENCE_MS 30000u

struct redis_channel {
    char *name;
    size_t name_bytes;
    struct redis_subscription *first;
    unsigned busy; /* callbacks of it are running */
};

struct redis_subscription {
    struct redis *r;
    struct redis_channel *channel;
    struct redis_subscription *next;
    redis_event_fn fn; /* NULL: unsubscribed while busy */
    bool fresh;        /* not told yet that it hears from now on */
    void *arg;
};

static struct slice channel_name(const struct redis_channel *c)
{
    return slice_make(c->name, c->name_bytes);
}

static void tell(struct redis *r, struct slice verb, struct slice name)
{
    const struct slice argv[] = {verb, name};
    struct fault why;

    if (r->events.stream != NULL && redis_conn_send(&r->events, argv, COUNT(argv), &why) < 0)
        stream_shutdown(r->events.stream); /* it comes back with all subscriptions */
}

/* ---- subscribing ---- */

static void drop_empty_channel(struct redis *r, struct redis_channel *c)
{
    if (c->first != NULL || c->busy > 0)
        return;
    (void)map_remove(r->channels, channel_name(c));
    tell(r, LIT("UNSUBSCRIBE"), channel_name(c));
    free(c->name);
    free(c);
}

static struct redis_channel *get_channel(struct redis *r, struct slice name)
{
    struct redis_channel *c = map_find(r->channels, name);

    if (c != NULL)
        return c;
    c = calloc(1, sizeof(*c));
    if (c == NULL || (c->name = malloc(name.n + 1)) == NULL)
        abort();
    memcpy(c->name, name.p, name.n);
    c->name_bytes = name.n;
    (void)map_set(r->channels, name, c);
    tell(r, LIT("SUBSCRIBE"), name);
    return c;
}

struct redis_subscription *redis_subscribe(struct redis *r, struct slice channel, redis_event_fn fn,
                                           void *arg)
{
    struct redis_subscription *s = calloc(1, sizeof(*s));
    struct fault why;

    if (s == NULL)
        abort();
    s->r = r;
    s->fn = fn;
    s->arg = arg;
    s->fresh = true;
    s->channel = get_channel(r, channel);
    s->next = s->channel->first;
    s->channel->first = s;
    if (s->next != NULL &&
        r->events.stream != NULL) /* the channel is heard already: nothing else would say so */
        tell(r, LIT("SUBSCRIBE"), channel);
    (void)redis_conn_start(&r->events, &why); /* no fiber now: the next subscription tries again */
    return s;
}

static void remove_subscription(struct redis_subscription *s)
{
    struct redis_subscription **at = &s->channel->first;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    free(s);
}

void redis_unsubscribe(struct redis_subscription **sp)
{
    struct redis_subscription *s = *sp;
    struct redis_channel *c;
    struct redis *r;

    if (s == NULL)
        return;
    *sp = NULL;
    c = s->channel;
    r = s->r;
    s->fn = NULL;
    if (c->busy > 0)
        return; /* swept after the callbacks */
    remove_subscription(s);
    drop_empty_channel(r, c);
}

/* ---- hearing ---- */

static void sweep(struct redis *r, struct redis_channel *c)
{
    struct redis_subscription *next;

    if (c->busy > 0)
        return;
    for (struct redis_subscription *s = c->first; s != NULL; s = next) {
        next = s->next;
        if (s->fn == NULL)
            remove_subscription(s);
    }
    drop_empty_channel(r, c);
}

static void dispatch(struct redis *r, struct slice name, enum redis_event event,
                     struct slice payload)
{
    struct redis_channel *c = map_find(r->channels, name);

    if (c == NULL)
        return;
    c->busy++;
    for (struct redis_subscription *s = c->first; s != NULL; s = s->next)
        if (s->fn != NULL && (event == REDIS_MESSAGE || s->fresh)) {
            s->fresh = s->fresh && event == REDIS_MESSAGE;
            s->fn(s->arg, event, channel_name(c), payload);
        }
    c->busy--;
    sweep(r, c);
}

static struct slice element_text(const redisReply *reply, size_t i)
{
    const redisReply *e = i < reply->elements ? reply->element[i] : NULL;

    return e != NULL && e->type == REDIS_REPLY_STRING ? slice_make(e->str, (size_t)e->len)
                                                      : SLICE_NONE;
}

static int on_event(struct redis *r, redisReply *reply, UNUSED struct fault *why)
{
    struct slice what;

    r->silent = false;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2) {
        what = element_text(reply, 0);
        if (slice_equal(what, LIT("message")))
            dispatch(r, element_text(reply, 1), REDIS_MESSAGE, element_text(reply, 2));
        else if (slice_equal(what, LIT("subscribe")))
            dispatch(r, element_text(reply, 1), REDIS_GAP, SLICE_NONE);
    }
    freeReplyObject(reply);
    return 0;
}

static int on_silence(struct redis *r, struct fault *why)
{
    const struct slice ping = LIT("PING");

    if (r->silent)
        return fault_set(why, FAULT_TIMEOUT, "redis does not answer");
    r->silent = true;
    return redis_conn_send(&r->events, &ping, 1, why);
}

static void on_up(struct redis *r)
{
    size_t cursor = 0;
    struct slice name;
    void *channel;

    r->silent = false;
    while (map_next(r->channels, &cursor, &name, &channel) == 1)
        tell(r, LIT("SUBSCRIBE"), name);
}

static void on_down(struct redis *r)
{
    size_t cursor = 0;
    struct slice name;
    void *channel;

    while (map_next(r->channels, &cursor, &name, &channel) == 1)
        for (struct redis_subscription *s = ((struct redis_channel *)channel)->first; s != NULL;
             s = s->next)
            s->fresh = true;
}

void redis_events_init(struct redis *r)
{
    r->channels = map_new();
    r->events = (struct redis_conn){
        .r = r,
        .name = "redis.events",
        .on_reply = on_event,
        .on_silence = on_silence,
        .on_up = on_up,
        .on_down = on_down,
        .silence_ms = SILENCE_MS,
    };
    fiber_event_init(&r->events.changed);
}

void redis_events_deinit(struct redis *r)
{
    if (map_count(r->channels) > 0)
        abort(); /* subscriptions outlive their client: a bug of the caller */
    map_free(&r->channels);
}
