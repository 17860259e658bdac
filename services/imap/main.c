/* main.c - fe-imap: mail clients read and keep their mail here. Settings, start, drain, health.
 *
 * Owns      the process: listeners, certificates and the one struct imap_server.
 * What can fail: the start, by name; after it, sessions see faults and the process goes on. See README.md.
 */
#include "imap_session.h"
#include "imap_start.h"

#include "rt/listener.h"
#include "rt/stream.h"

#define HEALTH_MS 5000u

static const struct config_var vars[] = {
    VAR_PORT(struct imap_config, port, "IMAP_PORT", "2993", "port with implicit TLS; 0: none"),
    VAR_PORT(struct imap_config, starttls_port, "IMAP_STARTTLS_PORT", "0", "port that begins in the clear; 0: none"),
    VAR_STRING(struct imap_config, key_path, "IMAP_SSL_KEY_PATH", "", "PEM private key; empty: WEB_SSL_KEY_PATH"),
    VAR_STRING(struct imap_config, cert_path, "IMAP_SSL_CERT_PATH", "", "PEM certificate chain; empty: WEB_SSL_CERT_PATH"),
    VAR_STRING(struct imap_config, web_key_path, "WEB_SSL_KEY_PATH", "", "PEM private key shared by the services"),
    VAR_STRING(struct imap_config, web_cert_path, "WEB_SSL_CERT_PATH", "", "PEM certificate chain shared by the services"),
    VAR_BOOL(struct imap_config, insecure_auth, "SMTP_ALLOW_INSECURE_AUTH", "false", "take passwords without TLS; for tests"),
    VAR_STRING(struct imap_config, sqlite_host, "SQLITE_HOST", "localhost", "mailbox server"),
    VAR_PORT(struct imap_config, sqlite_port, "SQLITE_PORT", "3456", "mailbox server's port"),
    VAR_BOOL(struct imap_config, sqlite_tls, "SQLITE_TLS", "false", "TLS to the mailbox server; needed beyond loopback"),
    VAR_STRING(struct imap_config, ca_path, "TLS_CA_PATH", "", "PEM roots for the mailbox server; empty: the system's"),
    VAR_SECRET(struct imap_config, api_secrets, "API_SECRETS", NULL, "shared secrets of the services, by comma; the first is used"),
    VAR_STRING(struct imap_config, store_uri, "STORE_URI", "embedded:/var/lib/fe/store.sqlite", "document store"),
    VAR_STRING(struct imap_config, store_key_file, "STORE_KEY_FILE", "", "key file of the embedded store"),
    VAR_STRING(struct imap_config, redis_host, "REDIS_HOST", "localhost", "Redis; empty: none, sessions poll"),
    VAR_PORT(struct imap_config, redis_port, "REDIS_PORT", "6379", "Redis port"),
    VAR_SECRET(struct imap_config, redis_password, "REDIS_PASSWORD", "", "Redis password"),
    VAR_INT(struct imap_config, connections_max, "IMAP_MAX_CONNECTIONS", "10000", "1", "1000000", "connections of this process"),
    VAR_INT(struct imap_config, alias_connections_max, "IMAP_MAX_CONNECTIONS_PER_ALIAS", "60", "1", "10000", "of one alias, in this process"),
    VAR_INT(struct imap_config, newcomers_max, "IMAP_LOGIN_CONCURRENCY", "50", "0", "100000", "connections of one address (IPv6: /64) that have not logged in; 0: any"),
    VAR_LIST(struct imap_config, newcomers_exempt, "IMAP_CONCURRENCY_EXEMPT", "", "addresses that IMAP_LOGIN_CONCURRENCY does not count"),
    VAR_MS(struct imap_config, login_ms, "IMAP_LOGIN_TIMEOUT", "3m", "1s", "1h", "time to log in"),
    VAR_MS(struct imap_config, quiet_ms, "IMAP_TIMEOUT", "30m", "1m", "24h", "silence before BYE"),
    VAR_MS(struct imap_config, idle_ms, "IMAP_IDLE_TIMEOUT", "30m", "1m", "24h", "length of one IDLE before BYE"),
    VAR_MS(struct imap_config, keepalive_ms, "IMAP_IDLE_KEEPALIVE", "2m", "1s", "1h", "sign of life in IDLE"),
    VAR_MS(struct imap_config, poll_ms, "IMAP_POLL_INTERVAL", "30s", "100ms", "1h", "how often changes are looked for without Redis"),
    VAR_MS(struct imap_config, login_cache_ms, "IMAP_LOGIN_CACHE", "5m", "1s", "1h", "how long a successful login is remembered"),
    VAR_BOOL(struct imap_config, login_exempt_loopback, "LOGIN_EXEMPT_LOOPBACK", "false", "never slow logins from 127.0.0.0/8; for tests"),
    VAR_BYTES(struct imap_config, append_max, "SMTP_MESSAGE_MAX_SIZE", "50mb", "1kb", "200mb", "largest message of APPEND"),
};

static struct imap_config config;
static struct imap_server server;
static struct listener *listeners[2];

static const char *key_path(void)
{
    return config.key_path[0] ? config.key_path : config.web_key_path;
}

static const char *cert_path(void)
{
    return config.cert_path[0] ? config.cert_path : config.web_cert_path;
}

static void check(UNUSED void *arg, struct buf *errors)
{
    if (config.port == 0 && config.starttls_port == 0)
        (void)buf_append_cstr(errors, "IMAP_PORT: neither it nor IMAP_STARTTLS_PORT is set\n");
    if (config.port != 0 && (key_path()[0] == '\0' || cert_path()[0] == '\0'))
        (void)buf_append_cstr(errors, "IMAP_SSL_KEY_PATH: needed with its IMAP_SSL_CERT_PATH (or WEB_SSL_*) for IMAP_PORT\n");
}

/* ---- start ---------------------------------------------------------------------------------------------------------- */

static void accept_one(struct stream *s, void *arg)
{
    imap_session_begin(s, arg);
}

static int listen_on(uint16_t port, struct tls_server *tls, struct listener **out, struct fault *why)
{
    const struct listener_options options = {
        .name = "imap", .bind_address = service_common()->bind_address, .port = port, .tls = tls,
        .reuse_port = service_common()->workers > 1, .max_connections = (unsigned)config.connections_max,
        .newcomers_max = (unsigned)config.newcomers_max, .newcomers_exempt = (const char *const *)config.newcomers_exempt,
        .newcomers_refusal = "* BYE [LIMIT] too many connections from your address wait for a login\r\n",
        .handshake_ms = config.login_ms < 30000 ? config.login_ms : 30000,
        .accept = accept_one, .arg = &server, .proxy_from = (const char *const *)service_common()->proxy_from,
    };

    return port == 0 ? 0 : listener_open(&options, out, why);
}

static int start(UNUSED void *arg, struct fault *why)
{
    if (key_path()[0] && tls_server_new(key_path(), cert_path(), &server.tls, why) < 0)
        return -1;
    if (imap_start(&server, &config, why) < 0)
        return -1;
    if (listen_on(config.port, server.tls, &listeners[0], why) < 0)
        return -1;
    return listen_on(config.starttls_port, NULL, &listeners[1], why);
}

static void drain(UNUSED void *arg, struct deadline until)
{
    for (size_t i = 0; i < COUNT(listeners); i++)
        listener_close(&listeners[i]);
    imap_server_drain(&server, until);
    imap_stop(&server);
}

/* ---- health ----------------------------------------------------------------------------------------------------------- */

static int greeting_check(struct stream *s, struct deadline until, struct fault *why)
{
    AUTO(tls_client_unref) struct tls_client *tls = NULL;
    const struct tls_client_options options = { .verify = TLS_VERIFY_NONE };
    struct slice line;

    if (config.port != 0 && (tls_client_new(NULL, &tls, why) < 0 || stream_start_tls_client(s, tls, &options, until, why) < 0))
        return -1;
    if (stream_read_line(s, 1024, until, &line, why) < 0)
        return -1;
    return slice_has_prefix(line, LIT("* OK ")) ? 0 : fault_set(why, FAULT_PROTOCOL, "greeting is not OK");
}

static int health(UNUSED void *arg, struct fault *why)
{
    const char *ip = service_common()->bind_address;
    struct deadline until = deadline_in_ms(HEALTH_MS);
    struct stream *s = NULL;
    int r;

    r = stream_connect(ip[0] ? ip : "127.0.0.1", config.port ? config.port : config.starttls_port, NULL, until, &s, why);
    if (r < 0)
        return r;
    r = greeting_check(s, until, why);
    stream_close(&s);
    return r;
}

int main(int argc, char **argv)
{
    const struct service imap = {
        .name = "imap", .vars = vars, .var_count = COUNT(vars), .config = &config,
        .check = check, .start = start, .drain = drain, .health = health,
    };

    return service_run(&imap, argc, argv);
}
