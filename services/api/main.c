/* main.c - fe-api: the REST API on API_PORT. Settings, start, drain, health.
 *
 * Owns      struct api, the process. What can fail: only the start.
 */
#include "api.h"

#include <malloc.h>

#include "net/spool.h"

#define LOGIN_CACHE_MS 60000u                  /* each use of a remembered login looks whether its password is still listed */

static struct api_config config;
static struct api api = { .config = &config };

static const struct config_var vars[] = {
    VAR_PORT(struct api_config, port, "API_PORT", "4000", "port of the API"),
    VAR_STRING(struct api_config, api_url, "API_URL", "http://127.0.0.1:4000", "where clients find the API: links between pages"),
    VAR_STRING(struct api_config, web_url, "WEB_URL", "http://127.0.0.1:3000", "where the web pages are: links in answers"),
    VAR_STRING(struct api_config, web_host, "WEB_HOST", "localhost", "name of the installation: return paths lead to it"),
    VAR_LIST(struct api_config, exchanges, "SMTP_EXCHANGE_DOMAINS", "", "MX names a domain has to have; empty: MX_HOST"),
    VAR_STRING(struct api_config, mx_host, "MX_HOST", "localhost", "name of our MX, when SMTP_EXCHANGE_DOMAINS is empty"),
    VAR_STRING(struct api_config, smtp_host, "SMTP_HOST", "localhost", "our name in Message-ID and Received"),
    VAR_STRING(struct api_config, tls_key, "API_SSL_KEY_PATH", "", "PEM private key; without one the API speaks plain HTTP, on loopback only"),
    VAR_STRING(struct api_config, tls_cert, "API_SSL_CERT_PATH", "", "PEM certificate chain"),
    VAR_STRING(struct api_config, store_uri, "STORE_URI", "embedded:/var/lib/fe/store.sqlite", "document store"),
    VAR_STRING(struct api_config, store_key_file, "STORE_KEY_FILE", "", "key file of the embedded store"),
    VAR_STRING(struct api_config, redis_host, "REDIS_HOST", "127.0.0.1", "Redis; empty: none, nobody is limited"),
    VAR_PORT(struct api_config, redis_port, "REDIS_PORT", "6379", "port of Redis"),
    VAR_SECRET(struct api_config, redis_password, "REDIS_PASSWORD", "", "password of Redis"),
    VAR_SECRET(struct api_config, helper_key, "HELPER_ENCRYPTION_KEY", "", "encrypts DKIM keys in domain documents"),
    VAR_STRING(struct api_config, sqlite_host, "SQLITE_HOST", "127.0.0.1", "mailbox server"),
    VAR_PORT(struct api_config, sqlite_port, "SQLITE_PORT", "3456", "port of the mailbox server"),
    VAR_BOOL(struct api_config, sqlite_tls, "SQLITE_TLS", "false", "TLS to the mailbox server"),
    VAR_STRING(struct api_config, sqlite_ca, "TLS_CA_PATH", "", "PEM roots; empty: the system's"),
    VAR_SECRET(struct api_config, secrets, "API_SECRETS", NULL, "secrets of the mailbox server, comma separated; the first is shown"),
    VAR_STRING(struct api_config, txt_prefix, "TXT_RECORD_PREFIX", "forward-email", "prefix of <prefix>-site-verification= records"),
    VAR_STRING(struct api_config, spool_folder, "SPOOL_PATH", "/tmp", "folder for large messages under way, encrypted"),
    VAR_MS(struct api_config, timeout_ms, "API_TIMEOUT_MS", "30s", "1s", "10m", "time a request may take"),
    VAR_INT(struct api_config, ratelimit_max, "API_RATELIMIT_MAX", "1000", "0", "100000000", "requests of one account or address in the time below; 0: any"),
    VAR_MS(struct api_config, ratelimit_ms, "API_RATELIMIT_DURATION", "60000", "1s", "24h", "that time"),
    VAR_LIST(struct api_config, ratelimit_allow, "API_RATELIMIT_WHITELIST", "", "ids of accounts without limit"),
    VAR_LIST(struct api_config, ratelimit_deny, "API_RATELIMIT_BLACKLIST", "", "ids of accounts, or addresses, that are refused"),
    VAR_LIST(struct api_config, address_allow, "RATELIMIT_ALLOWLIST", "", "addresses without limit"),
    VAR_INT(struct api_config, messages_per_day, "SMTP_LIMIT_MESSAGES", "300", "0", "1000000", "messages of one account in 24 hours; 0: any"),
    VAR_INT(struct api_config, recipients_max, "MAX_RECIPIENTS", "50", "1", "1000", "recipients of one message"),
    VAR_INT(struct api_config, forwarded_max, "MAX_FORWARDED_ADDRESSES", "10", "1", "1000", "recipients of one alias, where its domain says nothing else"),
    VAR_BYTES(struct api_config, message_bytes_max, "SMTP_MESSAGE_MAX_SIZE", "50mb", "1kb", "200mb", "largest message"),
    VAR_BYTES(struct api_config, quota_bytes, "MAX_QUOTA_PER_ALIAS", "10gb", "1mb", "100tb", "quota of a mailbox, where nothing else is said"),
    VAR_MS(struct api_config, invite_life_ms, "API_INVITE_LIFE", "7d", "1s", "90d", "how long an invitation into a domain is good for"),
    VAR_BOOL(struct api_config, registration_open, "API_REGISTRATION_ENABLED", "false", "anybody may register an account, which an administrator then confirms"),
    VAR_INT(struct api_config, newcomers_max, "API_LOGIN_CONCURRENCY", "50", "0", "100000", "connections of one address (IPv6: /64) on which nobody has shown who they are; 0: any"),
    VAR_LIST(struct api_config, newcomers_exempt, "API_CONCURRENCY_EXEMPT", "", "addresses that API_LOGIN_CONCURRENCY does not count"),
    VAR_BOOL(struct api_config, exempt_loopback, "LOGIN_EXEMPT_LOOPBACK", "false", "wrong passwords from this machine count for nothing: tests"),
};

#define TOO_MANY "{\"statusCode\":429,\"error\":\"Too Many Requests\",\"message\":\"Too many connections from your address on which nobody has signed in.\"}"

static char too_many[512];                     /* the whole answer */

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static const char *bind_address(void)
{
    const char *given = service_common()->bind_address;

    return given[0] != '\0' || config.tls_key[0] != '\0' ? given : "127.0.0.1";
}

static void check(UNUSED void *arg, struct buf *errors)
{
    if ((config.tls_key[0] == '\0') != (config.tls_cert[0] == '\0'))
        (void)buf_append_cstr(errors, "API_SSL_KEY_PATH, API_SSL_CERT_PATH: set both or none\n");
    if (config.tls_key[0] == '\0' && !is_loopback(bind_address()))
        (void)buf_append_cstr(errors, "API_SSL_KEY_PATH: beyond loopback the API needs TLS, tokens travel in every request\n");
}

/* ---- start ------------------------------------------------------------------------------------------------ */

static int open_redis(struct fault *why)
{
    struct redis_options o = { .host = config.redis_host, .port = config.redis_port, .password = config.redis_password };

    return config.redis_host[0] == '\0' ? 0 : redis_new(&o, &api.redis, why);
}

static void open_mailboxes(void)
{
    static struct secret *first;               /* borrowed by the connection for its life */
    struct slice rest = secret_slice(config.secrets), one = SLICE_NONE;

    (void)slice_cut(&rest, ',', &one);
    first = secret_new(slice_trim(one));
    api.mailboxes = mailbox_server_new(&(struct mailbox_server_options){
        .host = config.sqlite_host, .port = config.sqlite_port, .secret = first, .tls = config.sqlite_tls,
        .ca_path = config.sqlite_ca[0] != '\0' ? config.sqlite_ca : NULL });
}

static int open_parts(struct fault *why)
{
    struct store_options o = { .uri = config.store_uri, .key_file = config.store_key_file };

    if (store_open(&o, &api.store, why) < 0 || open_redis(why) < 0 || spool_dir_open(config.spool_folder, &api.spools, why) < 0)
        return -1;
    api.directory = directory_new(api.store, 0);
    api.login = login_new(&(struct login_options){ .store = api.store, .redis = api.redis, .protocol = "api", .cache_ms = LOGIN_CACHE_MS,
                                                   .exempt_loopback = config.exempt_loopback });
    open_mailboxes();
    return config.tls_key[0] == '\0' ? 0 : tls_server_new(config.tls_key, config.tls_cert, &api.tls, why);
}

static int start(UNUSED void *arg, struct fault *why)
{
    struct listener_options at = {
        .name = "api", .bind_address = bind_address(), .port = config.port, .reuse_port = service_common()->workers > 1,
        .proxy_from = (const char *const *)service_common()->proxy_from, .accept = http_serve, .arg = &api.http,
        .newcomers_max = (unsigned)config.newcomers_max, .newcomers_exempt = (const char *const *)config.newcomers_exempt,
        .newcomers_refusal = too_many, .client_begins = true,
    };

    (void)mallopt(M_MMAP_THRESHOLD, (int)API_BODY_BYTES_MAX);    /* large bodies go back to the system at once, and grow without a copy */
    api.requests = metric_counter("fe_api_requests_total", "requests answered");
    api.took = metric_histogram_us("fe_api_request_seconds", "time from head to answer");
    (void)snprintf(too_many, sizeof(too_many), "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json; charset=utf-8\r\n"
                   "Content-Length: %zu\r\nRetry-After: 30\r\nConnection: close\r\n\r\n%s", sizeof(TOO_MANY) - 1, TOO_MANY);
    api.http = (struct http_server){ .handle = api_handle, .arg = &api, .stall_ms = config.timeout_ms < HTTP_STALL_MS ? config.timeout_ms : 0 };
    if (open_parts(why) < 0)
        return -1;
    at.tls = api.tls;
    return listener_open(&at, &api.listener, why);
}

static void drain(UNUSED void *arg, struct deadline until)
{
    listener_close(&api.listener);
    http_server_drain(&api.http, until);
    login_free(&api.login);
    mailbox_server_free(&api.mailboxes);
    directory_free(&api.directory);
    api_limit_free(&api);
    json_release(&api.description);
    store_close(&api.store);
    redis_free(&api.redis);
    spool_dir_close(&api.spools);
}

/* ---- health --------------------------------------------------------------------------------------------------- */

static int ask(struct stream *s, struct deadline until, struct fault *why)
{
    struct slice line;

    if (stream_write(s, LIT("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), until, why) < 0 ||
        stream_read_line(s, 300, until, &line, why) < 0)
        return -1;
    return slice_has_prefix(line, LIT("HTTP/1.1 200")) ? 0 : fault_set(why, FAULT_UNAVAILABLE, "the API answered %.*s", SLICE(line));
}

/* The certificate is for the world's name, not for this address. */
static int start_tls(struct stream *s, struct deadline until, struct fault *why)
{
    struct tls_client_options o = { .verify = TLS_VERIFY_NONE };
    struct tls_client *tls = NULL;
    int r;

    if (config.tls_key[0] == '\0')
        return 0;
    if (tls_client_new(NULL, &tls, why) < 0)
        return -1;
    r = stream_start_tls_client(s, tls, &o, until, why);
    tls_client_unref(&tls);
    return r;
}

static int health(UNUSED void *arg, struct fault *why)
{
    struct deadline until = deadline_in_ms(5000);
    const char *ip = bind_address();
    struct stream *s = NULL;
    int r;

    if (stream_connect(ip[0] != '\0' ? ip : "127.0.0.1", config.port, NULL, until, &s, why) < 0)
        return -1;
    r = start_tls(s, until, why);
    if (r == 0)
        r = ask(s, until, why);
    stream_close(&s);
    return r;
}

int main(int argc, char **argv)
{
    const struct service service = {
        .name = "api", .vars = vars, .var_count = COUNT(vars), .config = &config, .check = check, .start = start, .drain = drain, .health = health,
    };

    return service_run(&service, argc, argv);
}
