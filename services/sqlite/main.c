/* main.c - fe-sqlite, the mailbox server: the only owner of mailbox files, offered to the other daemons by RPC.
 *
 * Owns      the storage folder (a lock file keeps a second server out), the sealed log, the listener on SQLITE_PORT.
 * Fails     at start when the folder is taken or unreadable, or beyond loopback without TLS. Suspends at start and drain only.
 */
#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/mailbox.h"
#include "rt/tls.h"

struct server server;

static struct config config;
static struct listener *listener;
static struct http_server http;

static const struct config_var vars[] = {
    VAR_PORT(struct config, port, "SQLITE_PORT", "3456", "port of the mailbox server"),
    VAR_STRING(struct config, bind_address, "SQLITE_BIND_ADDRESS", "127.0.0.1", "address it listens on (BIND_ADDRESS is for the public services); beyond loopback with TLS only"),
    VAR_STRING(struct config, storage, "SQLITE_STORAGE_PATH", NULL, "folder of the mailbox files"),
    VAR_SECRET(struct config, api_secrets, "API_SECRETS", NULL, "secrets that other daemons show, comma separated; the first is theirs"),
    VAR_STRING(struct config, key_path, "SQLITE_SSL_KEY_PATH", "", "PEM key; with it the port speaks TLS"),
    VAR_STRING(struct config, cert_path, "SQLITE_SSL_CERT_PATH", "", "PEM certificate"),
    VAR_STRING(struct config, redis_host, "REDIS_HOST", "127.0.0.1", "Redis, for change events; empty: none"),
    VAR_PORT(struct config, redis_port, "REDIS_PORT", "6379", "port of Redis"),
    VAR_SECRET(struct config, redis_password, "REDIS_PASSWORD", "", "password of Redis"),
    VAR_STRING(struct config, store_uri, "STORE_URI", "", "document store: only for the log of mail that was sealed; empty: none"),
    VAR_MS(struct config, key_keep_ms, "SQLITE_KEY_KEEP", "60s", "1s", "1h", "how long the key of a mailbox is kept after its last session has closed"),
    VAR_STRING(struct config, store_key_file, "STORE_KEY_FILE", "", "key file of the embedded store"),
};

static const struct rpc_action actions[] = {
    { "ping", act_ping, NULL, 0 },
    { "mailbox.create", act_mailbox_create, NULL, RPC_IS_SECRET },
    { "mailbox.open", act_mailbox_open, NULL, RPC_IS_SECRET },
    { "mailbox.close", act_mailbox_close, &mailbox_kind, 0 },
    { "mailbox.set_wraps", act_mailbox_set_wraps, &mailbox_kind, 0 },
    { "mailbox.delete", act_mailbox_delete, NULL, 0 },
    { "mailbox.sizes", act_mailbox_sizes, NULL, 0 },
    { "mailbox.rekey", act_mailbox_rekey, &mailbox_kind, RPC_IS_SECRET },
    { "mailbox.verify", act_mailbox_verify, &mailbox_kind, 0 },
    { "mailbox.usage", act_mailbox_usage, &mailbox_kind, 0 },
    { "folders.list", act_folders_list, &mailbox_kind, 0 },
    { "folders.get", act_folders_get, &mailbox_kind, 0 },
    { "folders.create", act_folders_create, &mailbox_kind, 0 },
    { "folders.delete", act_folders_delete, &mailbox_kind, 0 },
    { "folders.rename", act_folders_rename, &mailbox_kind, 0 },
    { "folders.subscribe", act_folders_subscribe, &mailbox_kind, 0 },
    { "messages.select", act_messages_select, &mailbox_kind, 0 },
    { "messages.rows", act_messages_rows, &mailbox_kind, 0 },
    { "messages.changes", act_messages_changes, &mailbox_kind, 0 },
    { "messages.fetch", act_messages_fetch, &mailbox_kind, 0 },
    { "messages.store", act_messages_store, &mailbox_kind, 0 },
    { "messages.append", act_messages_append, &mailbox_kind, RPC_NEEDS_OP },
    { "messages.copy", act_messages_copy, &mailbox_kind, RPC_NEEDS_OP },
    { "messages.move", act_messages_move, &mailbox_kind, RPC_NEEDS_OP },
    { "messages.expunge", act_messages_expunge, &mailbox_kind, 0 },
    { "messages.search", act_messages_search, &mailbox_kind, 0 },
    { "deliver.begin", act_deliver_begin, NULL, 0 },
    { "deliver.to", act_deliver_to, &body_kind, 0 },
    { "deliver.end", act_deliver_end, &body_kind, 0 },
    { "deliver.one", act_deliver_one, NULL, 0 },
};

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static void check(void *arg, struct buf *errors)
{
    const struct config *c = arg;

    if ((c->key_path[0] == '\0') != (c->cert_path[0] == '\0'))
        (void)buf_append_cstr(errors, "SQLITE_SSL_KEY_PATH, SQLITE_SSL_CERT_PATH: set both or none\n");
    if (service_common()->workers > 1)
        (void)buf_append_cstr(errors, "WORKERS: the mailbox server is one process (it owns the folder); it scales by its pools\n");
    if (c->key_path[0] == '\0' && !is_loopback(c->bind_address))
        (void)buf_append_cstr(errors, "SQLITE_BIND_ADDRESS: beyond loopback the mailbox server needs TLS (SQLITE_SSL_KEY_PATH, SQLITE_SSL_CERT_PATH)\n");
}

/* Held for the life of the process. */
static int lock_storage(struct fault *why)
{
    char path[512];
    int fd;

    if (mkdir(server.storage, 0700) < 0 && errno != EEXIST)
        return fault_errno(why, errno, "make %s", server.storage);
    (void)snprintf(path, sizeof(path), "%s/.lock", server.storage);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fault_errno(why, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return fault_set(why, FAULT_CONFLICT, "%s is in use by another mailbox server", server.storage);
    return 0;
}

static int open_sealed(struct fault *why)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/sealed", server.storage);
    if (sealed_open(path, &server.sealed, why) < 0)
        return -1;
    if (sealed_damaged_count(server.sealed) > 0)
        log_event(LOG_ERROR, "sealed.damaged", F_INT("records", sealed_damaged_count(server.sealed)),
                  F_STR("what", "damaged records of the sealed log were skipped and are kept"));
    return spool_dir_open(server.storage, &server.spools, why);
}

static void split_secrets(void)
{
    struct slice rest = secret_slice(config.api_secrets), one;

    while (server.secret_count < SECRETS_MAX && slice_cut(&rest, ',', &one))
        if (slice_trim(one).n > 0)
            server.secrets[server.secret_count++] = secret_new(slice_trim(one));
}

static int open_redis(struct fault *why)
{
    struct redis_options options = { .host = config.redis_host, .port = config.redis_port, .password = config.redis_password };

    return config.redis_host[0] == '\0' ? 0 : redis_new(&options, &server.redis, why);
}

static void upgrade(struct http_request *rq, void *arg)
{
    rpc_server_upgrade(arg, rq);
}

static double open_boxes(UNUSED void *arg)
{
    return (double)map_count(server.boxes);
}

static void make_metrics(void)
{
    server.delivered = metric_counter("fe_delivered_total", "messages taken for open mailboxes");
    server.sealed_items = metric_counter("fe_sealed_total", "messages sealed for locked mailboxes");
    server.drained = metric_counter("fe_drained_total", "sealed messages moved into their mailbox");
    server.group_us = metric_histogram_us("fe_commit_seconds", "one commit of a group of writes");
    (void)metric_gauge("fe_boxes", "mailboxes known to the process", open_boxes, NULL);
}

static int start(UNUSED void *arg, struct fault *why)
{
    struct rpc_server_options rpc = { .actions = actions, .action_count = COUNT(actions) };
    struct listener_options at = { .name = "sqlite", .bind_address = config.bind_address, .port = config.port,
                                   .accept = http_serve, .arg = &http };

    server.config = &config;
    server.storage = config.storage;
    server.boxes = map_new();
    fiber_mutex_init(&server.tidy_turn);
    offload_configure(OFFLOAD_DB, 8, 4096);
    make_metrics();
    split_secrets();
    if (lock_storage(why) < 0 || open_sealed(why) < 0 || deleted_finish_all(why) < 0 || open_redis(why) < 0)
        return -1;
    rpc.secrets = (const struct secret *const *)server.secrets;
    rpc.secret_count = server.secret_count;
    drain_timers_start();
    server.rpc = rpc_server_new(&rpc);
    http = (struct http_server){ .handle = upgrade, .arg = server.rpc };
    if (config.key_path[0] != '\0' && tls_server_new(config.key_path, config.cert_path, &at.tls, why) < 0)
        return -1;
    return listener_open(&at, &listener, why);
}

static void drain(UNUSED void *arg, struct deadline until)
{
    listener_close(&listener);
    rpc_server_drain(server.rpc, until);
    boxes_close(until);
    journal_close();
}

static int health(void *arg, struct fault *why)
{
    const struct config *c = arg;
    struct mailbox_server_options options = { .host = c->bind_address, .port = c->port, .tls = c->key_path[0] != '\0' };
    struct mailbox_server *s;

    split_secrets();
    options.secret = server.secrets[0];
    s = mailbox_server_new(&options);
    return mailbox_server_ping(s, deadline_in_ms(5000), why);
}

int main(int argc, char **argv)
{
    const struct service sqlite = {
        .name = "sqlite", .vars = vars, .var_count = COUNT(vars), .config = &config,
        .check = check, .start = start, .drain = drain, .health = health,
    };

    return service_run(&sqlite, argc, argv);
}
