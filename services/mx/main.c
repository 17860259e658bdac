/* main.c - fe-mx: takes mail from the Internet, delivers it to mailboxes and passes it on.
 * Settings, start, drain, health.
 *
 * Owns      struct mx, the process. What can fail: only the start. See README.md for what it does.
 */
#include "mx.h"

#include "mx_limit.h"
#include "mx_seal.h"
#include "net/smtp_client.h"

#define LOG_FLUSH_MS 2000

static const struct config_var vars[] = {
    VAR_PORT(struct mx_config, port, "MX_PORT", "2525",
             "port for mail from other servers (25 behind a port mapping)"),
    VAR_STRING(struct mx_config, host, "MX_HOST", "localhost",
               "our name: greeting, Received, Authentication-Results"),
    VAR_STRING(struct mx_config, web_host, "WEB_HOST", "localhost",
               "own base domain; rewritten senders (SRS) are at it"),
    VAR_STRING(struct mx_config, website, "WEBSITE_URL", "",
               "shown in X-Forward-Email-Website; empty: not"),
    VAR_STRING(struct mx_config, abuse, "EMAIL_ABUSE", "",
               "address for complaints, shown in headers; empty: not"),
    VAR_STRING(struct mx_config, tls_key, "WEB_SSL_KEY_PATH", "",
               "PEM private key; with WEB_SSL_CERT_PATH turns STARTTLS on"),
    VAR_STRING(struct mx_config, tls_cert, "WEB_SSL_CERT_PATH", "", "PEM certificate chain"),
    VAR_STRING(struct mx_config, tls_ca, "TLS_CA_PATH", "",
               "PEM roots for outgoing TLS; empty: the system's"),
    VAR_STRING(struct mx_config, store_uri, "STORE_URI", "embedded:/var/lib/fe/store.sqlite",
               "document store"),
    VAR_STRING(struct mx_config, store_key_file, "STORE_KEY_FILE", "",
               "key file of the embedded store"),
    VAR_STRING(struct mx_config, redis_host, "REDIS_HOST", "127.0.0.1",
               "Redis; empty: none, counters stay in this process"),
    VAR_PORT(struct mx_config, redis_port, "REDIS_PORT", "6379", "Redis port"),
    VAR_SECRET(struct mx_config, redis_password, "REDIS_PASSWORD", "", "Redis password"),
    VAR_STRING(struct mx_config, sqlite_host, "SQLITE_HOST", "127.0.0.1", "mailbox server"),
    VAR_PORT(struct mx_config, sqlite_port, "SQLITE_PORT", "3456", "mailbox server's port"),
    VAR_BOOL(struct mx_config, sqlite_tls, "SQLITE_TLS", "false",
             "TLS to the mailbox server; needed beyond loopback"),
    VAR_SECRET(struct mx_config, api_secrets, "API_SECRETS", NULL,
               "secrets the daemons show each other, comma separated; the first is used"),
    VAR_SECRET(struct mx_config, srs_secret, "SRS_SECRET", NULL,
               "signs rewritten senders and delivery marks"),
    VAR_SECRET(struct mx_config, helper_key, "HELPER_ENCRYPTION_KEY", "",
               "opens the DKIM keys of domains, to seal forwards (ARC)"),
    VAR_STRING(struct mx_config, dkim_key_path, "DKIM_PRIVATE_KEY_PATH", "",
               "PEM key that seals all forwards; empty: the key of the recipient's domain"),
    VAR_STRING(struct mx_config, dkim_domain, "DKIM_DOMAIN_NAME", "",
               "domain of that key; empty: WEB_HOST"),
    VAR_STRING(struct mx_config, dkim_selector, "DKIM_KEY_SELECTOR", "default",
               "selector of that key"),
    VAR_STRING(struct mx_config, spool_folder, "SPOOL_PATH", "/tmp",
               "folder for large messages under way, encrypted"),
    VAR_BYTES(struct mx_config, message_bytes_max, "SMTP_MESSAGE_MAX_SIZE", "50mb", "1kb", "200mb",
              "largest message"),
    VAR_MS(struct mx_config, greeting_ms, "MX_GREETING_DELAY", "100ms", "0ms", "10s",
           "who talks before the greeting is sent away"),
    VAR_MS(struct mx_config, idle_ms, "MX_IDLE_TIMEOUT", "3m", "5s", "1h",
           "silence until a connection is closed"),
    VAR_INT(struct mx_config, recipients_max, "MAX_RECIPIENTS", "50", "1", "1000",
            "recipients of one message"),
    VAR_INT(struct mx_config, forwards_max, "MAX_FORWARDED_ADDRESSES", "10", "1", "1000",
            "addresses one recipient may lead to"),
    VAR_INT(struct mx_config, concurrency_max, "MX_CONCURRENCY", "10", "0", "100000",
            "connections of one address at once; 0: any"),
    VAR_LIST(struct mx_config, concurrency_exempt, "MX_CONCURRENCY_EXEMPT", "",
             "addresses without that limit"),
    VAR_STRING(struct mx_config, forward_host, "MX_FORWARD_HOST", "",
               "relay for everything forwarded; empty: the target's MX"),
    VAR_PORT(struct mx_config, forward_port, "MX_FORWARD_PORT", "25", "port of other mail servers"),
    VAR_BOOL(struct mx_config, forward_private, "MX_FORWARD_PRIVATE", "false",
             "loopback and private addresses may be dialled"),
    VAR_STRING(struct mx_config, source_ip, "MX_SOURCE_IP", "",
               "address forwards come from; empty: the system's choice"),
    VAR_BOOL(struct mx_config, verify_dns, "MX_VERIFY", "true",
             "look up reverse names, SPF, DKIM and DANE"),
};

static struct mx_config config;
static struct mx mx = {.config = &config};

static void check(void *arg, struct buf *errors)
{
    const struct mx_config *c = arg;

    if ((c->tls_key[0] == '\0') != (c->tls_cert[0] == '\0'))
        (void)buf_append_cstr(errors, "WEB_SSL_KEY_PATH, WEB_SSL_CERT_PATH: set both or none\n");
}

/* ---- start
 * -----------------------------------------------------------------------------------------------------------
 */

static int open_store(struct fault *why)
{
    struct store_options o = {.uri = config.store_uri, .key_file = config.store_key_file};

    if (store_open(&o, &mx.store, why) < 0)
        return -1;
    mx.directory = directory_new(mx.store, 0);
    return 0;
}

static int open_redis(struct fault *why)
{
    struct redis_options o = {
        .host = config.redis_host, .port = config.redis_port, .password = config.redis_password};

    return config.redis_host[0] == '\0' ? 0 : redis_new(&o, &mx.redis, why);
}

static void open_mailboxes(void)
{
    struct slice rest = secret_slice(config.api_secrets), first = SLICE_NONE;

    (void)slice_cut(&rest, ',', &first);
    mx.rpc_secret = secret_new(slice_trim(first));
    mx.mailboxes = mailbox_server_new(
        &(struct mailbox_server_options){.host = config.sqlite_host,
                                         .port = config.sqlite_port,
                                         .secret = mx.rpc_secret,
                                         .tls = config.sqlite_tls,
                                         .ca_path = config.tls_ca[0] ? config.tls_ca : NULL});
}

static int open_keys(struct fault *why)
{
    if (config.tls_key[0] != '\0' &&
        tls_server_new(config.tls_key, config.tls_cert, &mx.tls, why) < 0)
        return -1;
    if (mx_seal_open(&mx, why) < 0)
        return -1;
    return tls_client_new(config.tls_ca[0] ? config.tls_ca : NULL, &mx.tls_out, why);
}

static void make_mark_key(void)
{
    unsigned char key[32];

    hmac_sha256(secret_slice(config.srs_secret), LIT("delivery mark"), key);
    mx.mark_key = secret_new(slice_make(key, sizeof(key)));
    memory_wipe(key, sizeof(key));
}

static double read_connections(void *arg)
{
    struct smtp_server_stats stats;

    smtp_server_get_stats(arg, &stats);
    return stats.open;
}

static void make_metrics(void)
{
    mx.delivered = metric_counter("fe_mx_delivered_total", "copies committed to mailboxes");
    mx.forwarded = metric_counter("fe_mx_forwarded_total", "copies taken by other servers");
    mx.deferred = metric_counter("fe_mx_deferred_total", "targets that failed for now");
    mx.refused = metric_counter("fe_mx_refused_total", "targets that failed for good");
    mx.took = metric_histogram_us("fe_mx_delivery_seconds", "time per target");
    (void)metric_gauge("fe_mx_connections", "open connections", read_connections, mx.smtp);
}

static int open_port(struct fault *why)
{
    struct smtp_server_options smtp = {
        .hostname = config.host,
        .extensions = SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 | SMTP_EXT_CHUNKING,
        .tls = mx.tls,
        .message_bytes_max = config.message_bytes_max,
        .recipients_max = (unsigned)config.recipients_max,
        .greeting_delay_ms = config.greeting_ms,
        .idle_ms = config.idle_ms,
        .handlers = &mx_handlers,
        .arg = &mx,
    };
    struct listener_options port = {
        .name = "mx",
        .bind_address = service_common()->bind_address,
        .port = config.port,
        .reuse_port = service_common()->workers > 1,
        .proxy_from = (const char *const *)service_common()->proxy_from,
        .accept = smtp_server_accept,
    };

    mx.smtp = smtp_server_new(&smtp);
    make_metrics();
    port.arg = mx.smtp;
    return listener_open(&port, &mx.listener, why);
}

static int start(void *arg, struct fault *why)
{
    (void)arg;
    if (open_store(why) < 0 || open_redis(why) < 0 || open_keys(why) < 0 ||
        spool_dir_open(config.spool_folder, &mx.spools, why) < 0)
        return -1;
    open_mailboxes();
    make_mark_key();
    mx.limit = mx_limit_new(mx.redis, config.concurrency_max, config.concurrency_exempt);
    return open_port(why);
}

static void drain(void *arg, struct deadline until)
{
    struct fault why;

    (void)arg;
    listener_close(&mx.listener);
    smtp_server_drain(mx.smtp, until);
    (void)store_log_flush(mx.store, deadline_in_ms(LOG_FLUSH_MS), &why);
}

/* ---- health
 * ------------------------------------------------------------------------------------------------------------
 */

static int health(void *arg, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(smtp_client_close) struct smtp_client *c = NULL;
    const char *bind = service_common()->bind_address;
    struct smtp_client_options o = {.ip = bind[0] ? bind : "127.0.0.1",
                                    .port = config.port,
                                    .helo = "health.invalid",
                                    .policy = SMTP_TLS_NONE};
    struct smtp_reply refusal;

    (void)arg;
    return smtp_client_open(&o, deadline_in_ms(5000), a, &c, &refusal, why);
}

int main(int argc, char **argv)
{
    static const struct service service = {
        .name = "mx",
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
