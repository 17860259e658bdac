/* main.c - fectl, the operator's command line: one table of commands, settings from the environment like the daemons.
 *
 * Owns      the run: store, connection to the mailbox server.
 * Fails     with exit status 1 and one line that says what happened and what to do; 2 for wrong usage.
 */
#include "fectl.h"

#include "base/environment.h"
#include "base/log.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/offload.h"

static const struct config_var vars[] = {
    VAR_STRING(struct settings, store_uri, "STORE_URI", "embedded:/var/lib/fe/store.sqlite", "document store"),
    VAR_STRING(struct settings, store_key_file, "STORE_KEY_FILE", "", "key file of the embedded store"),
    VAR_STRING(struct settings, sqlite_host, "SQLITE_HOST", "127.0.0.1", "mailbox server"),
    VAR_PORT(struct settings, sqlite_port, "SQLITE_PORT", "3456", "port of the mailbox server"),
    VAR_BOOL(struct settings, sqlite_tls, "SQLITE_TLS", "false", "TLS to the mailbox server"),
    VAR_STRING(struct settings, ca_path, "TLS_CA_PATH", "", "PEM roots; empty: the system's"),
    VAR_SECRET(struct settings, api_secrets, "API_SECRETS", "", "secrets of the mailbox server, comma separated; the first is shown"),
    VAR_STRING(struct settings, redis_host, "REDIS_HOST", "", "Redis, tells the daemons of changes; empty: they notice by themselves, later"),
    VAR_PORT(struct settings, redis_port, "REDIS_PORT", "6379", "port of Redis"),
    VAR_SECRET(struct settings, redis_password, "REDIS_PASSWORD", "", "password of Redis"),
    VAR_SECRET(struct settings, helper_key, "HELPER_ENCRYPTION_KEY", "", "encrypts DKIM keys in domain documents"),
};

static const struct command *const tables[] = { user_commands, domain_commands, alias_commands, queue_commands, trace_commands, mailbox_commands, store_commands, config_commands, system_commands };

struct run { struct fectl *fectl; const struct command *command; int status; };

static void usage(void)
{
    (void)fprintf(stderr, "usage: fectl COMMAND [arguments]\n\n");
    for (size_t t = 0; t < COUNT(tables); t++)
        for (const struct command *c = tables[t]; c->group != NULL; c++)
            (void)fprintf(stderr, "  %s%s%s %s\n      %s\n", c->group, c->name[0] ? " " : "", c->name, c->usage, c->help);
    (void)fprintf(stderr, "\nSettings come from the environment: STORE_URI STORE_KEY_FILE SQLITE_HOST SQLITE_PORT API_SECRETS HELPER_ENCRYPTION_KEY.\n");
}

/* By two words, or by one for groups that are a command themselves (name ""). */
static const struct command *command_find(int argc, char **argv)
{
    for (size_t t = 0; t < COUNT(tables); t++)
        for (const struct command *c = tables[t]; c->group != NULL; c++)
            if (argc >= 2 && strcmp(c->group, argv[1]) == 0 && (c->name[0] == '\0' || (argc >= 3 && strcmp(c->name, argv[2]) == 0)))
                return c;
    return NULL;
}

static int open_store(struct fectl *f, struct fault *why)
{
    struct store_options options = { .uri = f->settings.store_uri, .key_file = f->settings.store_key_file };

    return store_open(&options, &f->store, why);
}

static void run_fiber(void *arg)
{
    struct run *r = arg;
    struct fectl *f = r->fectl;
    struct fault why = { .text = "" };

    if ((!r->command->needs_store || open_store(f, &why) == 0) && r->command->run(f, &why) == 0)
        r->status = 0;
    if (r->status != 0)
        (void)fprintf(stderr, "fectl: %s\n", why.text);
    mailbox_server_free(&f->mailboxes);
    store_close(&f->store);
    loop_stop();
}

int main(int argc, char **argv)
{
    AUTO(buf_free) struct buf errors = BUF_INIT(65536);
    static struct fectl f;                     /* its settings live as long as the process */
    struct run r = { .fectl = &f, .status = 1 };
    struct fault why;

    r.command = command_find(argc, argv);
    if (r.command == NULL) {
        usage();
        return 2;
    }
    f.argc = argc - (r.command->name[0] != '\0' ? 3 : 2);
    f.argv = argv + (argc - f.argc);
    (void)secret_init();
    log_init("fectl", LOG_ERROR);
    if (config_read(vars, COUNT(vars), &f.settings, environment_get, &errors) > 0) {
        (void)fprintf(stderr, "fectl: these settings are wrong:\n%.*s", SLICE(buf_slice(&errors)));
        return 1;
    }
    f.arena = arena_new(0);
    if (loop_init(&why) < 0 || fiber_start("fectl", run_fiber, &r, &why) < 0) {
        (void)fprintf(stderr, "fectl: %s\n", why.text);
        return 1;
    }
    loop_run();
    arena_free(&f.arena);
    return r.status;
}
