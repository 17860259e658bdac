/* main.c - fe-smtp: takes mail from signed-in owners of mailboxes into the outbound queue.
 * Settings, start, drain, health.
 *
 * Owns      struct submit, the process. What can fail: only the start. See README.md for what it
 * does.
 */
#include "submit.h"

#include "net/smtp_client.h"
#include "store/models.h"

static const struct config_var vars[] = {
    VAR_PORT(struct submit_config, port, "SMTP_PORT", "2465",
             "port with TLS from the first byte (465 behind a port mapping); 0: none"),
    VAR_PORT(struct submit_config, starttls_port, "SMTP_STARTTLS_PORT", "2587",
             "port with STARTTLS (587 behind a port mapping); 0: none"),
    VAR_STRING(struct submit_config, host, "SMTP_HOST", "localhost",
               "our name: greeting, Message-ID"),
    VAR_STRING(struct submit_config, tls_key, "WEB_SSL_KEY_PATH", "", "PEM private key"),
    VAR_STRING(struct submit_config, tls_cert, "WEB_SSL_CERT_PATH", "", "PEM certificate chain"),
    VAR_STRING(struct submit_config, store_uri, "STORE_URI", "embedded:/var/lib/fe/store.sqlite",
               "document store"),
    VAR_STRING(struct submit_config, store_key_file, "STORE_KEY_FILE", "",
               "key file of the embedded store"),
    VAR_STRING(struct submit_config, redis_host, "REDIS_HOST", "127.0.0.1",
               "Redis; empty: none, limits stay in this process"),
    VAR_PORT(struct submit_config, redis_port, "REDIS_PORT", "6379", "port of Redis"),
    VAR_SECRET(struct submit_config, redis_password, "REDIS_PASSWORD", "", "password of Redis"),
    VAR_STRING(struct submit_config, spool_folder, "SPOOL_PATH", "/tmp",
               "folder for large messages under way, encrypted"),
    VAR_BYTES(struct submit_config, message_bytes_max, "SMTP_MESSAGE_MAX_SIZE", "50mb", "1kb",
              "200mb", "largest message"),
    VAR_MS(struct submit_config, greeting_ms, "SMTP_GREETING_DELAY", "0ms", "0ms", "10s",
           "who talks before the greeting is sent away"),
    VAR_MS(struct submit_config, idle_ms, "SMTP_IDLE_TIMEOUT", "3m", "5s", "1h",
           "silence until a connection is closed"),
    VAR_INT(struct submit_config, newcomers_max, "SMTP_LOGIN_CONCURRENCY", "50", "0", "100000",
            "connections of one address (IPv6: /64) that have not signed in; 0: any"),
    VAR_LIST(struct submit_config, newcomers_exempt, "SMTP_CONCURRENCY_EXEMPT", "",
             "addresses that SMTP_LOGIN_CONCURRENCY does not count"),
    VAR_INT(struct submit_config, recipients_max, "MAX_RECIPIENTS", "50", "1", "1000",
            "recipients of one message"),
    VAR_INT(struct submit_config, messages_per_day, "SMTP_LIMIT_MESSAGES", "300", "0", "1000000",
            "messages of one user in 24 hours; 0: any"),
    VAR_BOOL(struct submit_config, exempt_loopback, "LOGIN_EXEMPT_LOOPBACK", "false",
             "wrong passwords from this machine count for nothing: tests"),
    VAR_BOOL(struct submit_config, auth_in_clear, "SMTP_ALLOW_INSECURE_AUTH", "false",
             "passwords without TLS: development only"),
};

static struct submit_config config;
static struct submit submit = {.config = &config};

static void check(void *arg, struct buf *errors)
{
    const struct submit_config *c = arg;

    if ((c->tls_key[0] == '\0') != (c->tls_cert[0] == '\0'))
        (void)buf_append_cstr(errors, "WEB_SSL_KEY_PATH, WEB_SSL_CERT_PATH: set both or none\n");
    else if (c->tls_key[0] == '\0' && (c->port != 0 || !c->auth_in_clear))
        (void)buf_append_cstr(errors, "WEB_SSL_KEY_PATH: needed, passwords travel under TLS only "
                                      "(development: SMTP_PORT=0 SMTP_ALLOW_INSECURE_AUTH=true)\n");
    if (c->port == 0 && c->starttls_port == 0)
        (void)buf_append_cstr(errors, "SMTP_PORT, SMTP_STARTTLS_PORT: one at least must be set\n");
}

/* ---- start
 * -------------------------------------------------------------------------------------------------------------
 */

static int open_redis(struct fault *why)
{
    struct redis_options o = {
        .host = config.redis_host, .port = config.redis_port, .password = config.redis_password};

    return config.redis_host[0] == '\0' ? 0 : redis_new(&o, &submit.redis, why);
}

static int open_parts(struct fault *why)
{
    struct store_options o = {.uri = config.store_uri, .key_file = config.store_key_file};

    if (store_open(&o, &submit.store, why) < 0 || open_redis(why) < 0 ||
        spool_dir_open(config.spool_folder, &submit.spools, why) < 0)
        return -1;
    if (config.tls_key[0] != '\0' &&
        tls_server_new(config.tls_key, config.tls_cert, &submit.tls, why) < 0)
        return -1;
    submit.login = login_new(&(struct login_options){.store = submit.store,
                                                     .redis = submit.redis,
                                                     .protocol = "smtp",
                                                     .cache_ms = SUBMIT_CACHE_MS,
                                                     .exempt_loopback = config.exempt_loopback});
    return 0;
}

static int open_port(const char *name, uint16_t port, bool implicit, struct smtp_server **server,
                     struct listener **listener, struct fault *why)
{
    struct smtp_server_options smtp = {
        .hostname = config.host,
        .extensions = SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 | SMTP_EXT_CHUNKING | SMTP_EXT_DSN |
                      SMTP_EXT_REQUIRETLS,
        .tls = implicit ? NULL : submit.tls,
        .auth = true,
        .auth_in_clear = config.auth_in_clear,
        .auth_required = true,
        .message_bytes_max = config.message_bytes_max,
        .recipients_max = (unsigned)config.recipients_max,
        .greeting_delay_ms = config.greeting_ms,
        .idle_ms = config.idle_ms,
        .handlers = &submit_handlers,
        .arg = &submit,
    };
    struct listener_options o = {
        .name = name,
        .bind_address = service_common()->bind_address,
        .port = port,
        .tls = implicit ? submit.tls : NULL,
        .reuse_port = service_common()->workers > 1,
        .proxy_from = (const char *const *)service_common()->proxy_from,
        .newcomers_max = (unsigned)config.newcomers_max,
        .newcomers_exempt = (const char *const *)config.newcomers_exempt,
        .newcomers_refusal = "421 4.7.0 Too many connections from your address are not signed in\r\n",
        .handshake_ms = config.idle_ms < 30000 ? config.idle_ms : 30000,
        .accept = smtp_server_accept,
    };

    if (port == 0)
        return 0;
    *server = smtp_server_new(&smtp);
    o.arg = *server;
    return listener_open(&o, listener, why);
}

static double read_connections(void *arg)
{
    struct smtp_server *const *servers[] = {&submit.implicit, &submit.starttls};
    struct smtp_server_stats stats;
    unsigned open = 0;

    (void)arg;
    for (size_t i = 0; i < COUNT(servers); i++)
        if (*servers[i]) {
            smtp_server_get_stats(*servers[i], &stats);
            open += stats.open;
        }
    return open;
}

static int start(void *arg, struct fault *why)
{
    (void)arg;
    if (open_parts(why) < 0)
        return -1;
    submit.queued = metric_counter("fe_smtp_queued_total", "messages taken into the queue");
    submit.refused = metric_counter("fe_smtp_refused_total", "messages refused for their header");
    (void)metric_gauge("fe_smtp_connections", "open connections", read_connections, NULL);
    if (open_port("smtp", config.port, true, &submit.implicit, &submit.listener, why) < 0)
        return -1;
    return open_port("smtp-starttls", config.starttls_port, false, &submit.starttls,
                     &submit.starttls_listener, why);
}

static void drain(void *arg, struct deadline until)
{
    (void)arg;
    listener_close(&submit.listener);
    listener_close(&submit.starttls_listener);
    if (submit.implicit)
        smtp_server_drain(submit.implicit, until);
    if (submit.starttls)
        smtp_server_drain(submit.starttls, until);
}

/* ---- health
 * --------------------------------------------------------------------------------------------------------------
 */

static int health(void *arg, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(smtp_client_close) struct smtp_client *c = NULL;
    struct tls_client *tls = NULL;
    const char *bind = service_common()->bind_address;
    bool implicit = config.port != 0;
    struct smtp_client_options o = {
        .ip = bind[0] ? bind : "127.0.0.1",
        .port = implicit ? config.port : config.starttls_port,
        .helo = "health.invalid",
        .policy = SMTP_TLS_NONE,
        .implicit_tls = implicit,
    };
    struct smtp_reply refusal;
    int r;

    (void)arg;
    if (tls_client_new(NULL, &tls, why) < 0)
        return -1;
    o.tls = tls;
    r = smtp_client_open(&o, deadline_in_ms(5000), a, &c, &refusal, why);
    smtp_client_close(&c);
    tls_client_unref(&tls);
    return r;
}

int main(int argc, char **argv)
{
    static const struct service service = {
        .name = "smtp",
        .vars = vars,
        .var_count = COUNT(vars),
        .config = &config,
        .check = check,
        .start = start,
        .drain = drain,
        .health = health,
    };

    return service_run(&service, argc, argv);
}
