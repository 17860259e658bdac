/* imap_start.c - the links of fe-imap to the rest of the suite.
 *
 * Owns nothing itself: fills struct imap_server. Called by main.c. A mailbox server or Redis that is away is no failure; a
 * store that cannot be opened is. Suspends while the store opens.
 */
#include "imap_start.h"
#include "store/store.h"

static struct secret *first_secret(const struct secret *list)
{
    struct slice rest = secret_slice(list), first = SLICE_NONE;

    (void)slice_cut(&rest, ',', &first);
    return secret_new(slice_trim(first));
}

static int open_redis(struct imap_server *server, struct fault *why)
{
    const struct imap_config *config = server->config;
    const struct redis_options options = { .host = config->redis_host, .port = config->redis_port, .password = config->redis_password };

    return config->redis_host[0] ? redis_new(&options, &server->redis, why) : 0;
}

static void open_mailboxes(struct imap_server *server)
{
    const struct imap_config *config = server->config;
    AUTO(secret_unref) struct secret *secret = first_secret(config->api_secrets);
    const struct mailbox_server_options options = {
        .host = config->sqlite_host, .port = config->sqlite_port, .secret = secret, .tls = config->sqlite_tls,
        .ca_path = config->ca_path[0] ? config->ca_path : NULL,
    };

    server->mailboxes = mailbox_server_new(&options);
}

int imap_start(struct imap_server *server, const struct imap_config *config, struct fault *why)
{
    const struct store_options store = { .uri = config->store_uri, .key_file = config->store_key_file };

    imap_server_init(server, config);
    if (store_open(&store, &server->store, why) < 0 || open_redis(server, why) < 0)
        return -1;
    open_mailboxes(server);
    server->login = login_new(&(struct login_options){
        .store = server->store, .redis = server->redis, .protocol = "imap", .cache_ms = config->login_cache_ms,
        .exempt_loopback = config->login_exempt_loopback,
    });
    return 0;
}

void imap_stop(struct imap_server *server)
{
    login_free(&server->login);
    mailbox_server_free(&server->mailboxes);
    if (server->redis)
        redis_free(&server->redis);
    store_close(&server->store);
}
