/* cmd_config.c - fectl config: all settings of all daemons checked as a whole, each mistake a line of one list.
 *
 * Owns      nothing. The tables are the daemons' own: each fe-* beside this program is asked (--help-config, --check-config).
 * Fails     FAULT_INVALID when there is a mistake. Started as root it reads the file, then goes on as FE_UID, so that what the
 *           daemons will not be able to read after a reload is found now. Blocks instead of suspending: nobody else waits.
 */
#include "fectl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/environment.h"
#include "base/map.h"
#include "config_file.h"
#include "config_names.h"
#include "rt/process.h"
#include "rt/tls.h"

#define NEAR_MAX     2                 /* letters between a name and the one that was probably meant */
#define SECRET_LEAST 16                /* characters */

extern char **environ;

struct check {
    struct arena *arena;
    struct config_file file;
    const char *file_path;             /* NULL: only the environment */
    char *folder;                      /* of the daemons' programs */
    struct slice programs[32];
    size_t program_count;
    struct map *names;                 /* every name some daemon reads */
    bool was_root;                     /* as the daemons with ports below 1024 will be when they read the key first */
    struct map *told;                  /* names that already have a mistake */
    struct buf mistakes;
};

/* One mistake per name: the first is the one to mend. */
static void tell(struct check *c, struct slice name, const char *text, struct slice detail)
{
    const struct setting *s = config_file_find(&c->file, name);

    if (map_set(c->told, name, c) != NULL)
        return;
    if (s != NULL)
        (void)buf_printf(&c->mistakes, "line %u: ", s->line);
    (void)buf_printf(&c->mistakes, "%.*s: %s%.*s\n", SLICE(name), text, SLICE(detail));
}

static const char *value_of(const char *name)
{
    const char *text = environment_get(name);

    return text != NULL ? text : "";
}

/* ---- asking the daemons ---------------------------------------------------------------------------------- */

static int folder_scan(struct check *c, struct fault *why)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
    struct slice self = slice_make(path, n > 0 ? (size_t)n : 0);
    struct dirent *e;
    DIR *d;

    c->folder = arena_cstr(c->arena, slice_head(self, (size_t)(slice_rfind_char(self, '/') + 1)));
    d = opendir(c->folder);
    if (d == NULL)
        return fault_errno(why, errno, "read %s", c->folder);
    while ((e = readdir(d)) != NULL && c->program_count < COUNT(c->programs))
        if (strncmp(e->d_name, "fe-", 3) == 0 && strchr(e->d_name, '.') == NULL)
            c->programs[c->program_count++] = arena_copy(c->arena, slice_of(e->d_name));
    (void)closedir(d);
    return c->program_count > 0 ? 0 : fault_set(why, FAULT_NOT_FOUND, "no daemons (fe-*) in %s", c->folder);
}

static int ask(struct check *c, struct slice program, const char *flag, struct buf *out, struct fault *why)
{
    char *path = arena_cstr(c->arena, arena_printf(c->arena, "%s%.*s", c->folder, SLICE(program)));
    char *argv[] = { path, arena_cstr(c->arena, slice_of(flag)), NULL };
    posix_spawn_file_actions_t actions;
    int ends[2], r, status;
    ssize_t n;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return fault_errno(why, errno, "pipe");
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    r = posix_spawn(&pid, path, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    while (r == 0 && buf_reserve(out, 4096) == 0 && (n = read(ends[0], out->p + out->n, 4096)) > 0)
        out->n += (size_t)n;
    (void)close(ends[0]);
    if (r != 0)
        return fault_errno(why, r, "start %s", path);
    return waitpid(pid, &status, 0) == pid ? 0 : fault_errno(why, errno, "wait for %s", path);
}

static int names_collect(struct check *c, struct fault *why)
{
    for (size_t i = 0; i < c->program_count; i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(1 << 20);
        struct slice rest, line;

        if (ask(c, c->programs[i], "--help-config", &out, why) < 0)
            return -1;
        rest = buf_slice(&out);
        while (slice_cut(&rest, '\n', &line))
            if (line.n > 0 && line.p[0] != ' ')
                (void)map_set(c->names, arena_copy(c->arena, line), c);
    }
    for (const char *const *name = config_host_names; *name != NULL; name++)
        (void)map_set(c->names, slice_of(*name), c);
    return 0;
}

/* The shape without mailboxes runs neither of them. */
static bool is_started(struct slice program)
{
    const char *profiles = getenv("COMPOSE_PROFILES");
    bool stores = slice_equal(program, LIT("fe-sqlite")) || slice_equal(program, LIT("fe-imap"));

    return !stores || profiles == NULL || strstr(profiles, "storage") != NULL;
}

/* The mailbox server is one process, whatever WORKERS says to the others; the compose file tells it so too. */
static int ask_check(struct check *c, struct slice program, struct buf *out, struct fault *why)
{
    const char *given = getenv("WORKERS");
    char *workers = given != NULL ? arena_cstr(c->arena, slice_of(given)) : NULL;
    int r;

    if (workers != NULL && slice_equal(program, LIT("fe-sqlite")))
        (void)unsetenv("WORKERS");
    r = ask(c, program, "--check-config", out, why);
    if (workers != NULL)
        (void)setenv("WORKERS", workers, 1);
    return r;
}

static int daemons_check(struct check *c, struct fault *why)
{
    for (size_t i = 0; i < c->program_count; i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(1 << 20);
        struct slice rest, line;

        if (!is_started(c->programs[i]))
            continue;
        if (ask_check(c, c->programs[i], &out, why) < 0)
            return -1;
        rest = buf_slice(&out);
        while (slice_cut(&rest, '\n', &line)) {
            ptrdiff_t at = slice_find(line, LIT(": "));

            if (at > 0 && ascii_upper(line.p[0]) == line.p[0])     /* NAME: what; the other lines begin with the daemon's name */
                tell(c, slice_head(line, (size_t)at), "", slice_tail(line, (size_t)at + 2));
        }
    }
    return 0;
}

/* ---- the file ------------------------------------------------------------------------------------------------ */

static void name_check(struct check *c, struct slice name)
{
    struct slice known, near = SLICE_NONE;
    unsigned best = NEAR_MAX + 1;
    size_t cursor = 0;
    void *value;

    if (map_find(c->names, name) != NULL || config_is_original_name(name))
        return;
    while (map_next(c->names, &cursor, &known, &value)) {
        unsigned far = config_name_distance(name, known);

        if (far < best || (far == best && slice_compare(known, near) < 0)) {
            best = far;
            near = known;
        }
    }
    if (best <= NEAR_MAX)
        tell(c, name, "is no setting; did you mean ", arena_printf(c->arena, "%.*s?", SLICE(near)));
    else
        tell(c, name, "is no setting of any service; delete the line", SLICE_NONE);
}

static void references_check(struct check *c, const struct setting *s)
{
    struct slice rest = s->value, name;

    while (environment_next_reference(&rest, &name))
        if (config_file_find(&c->file, name) == NULL && getenv(arena_cstr(c->arena, name)) == NULL)
            tell(c, s->name, "names a setting that is not there: ", name);
}

static bool is_example(struct slice value)
{
    static const char *const known[] = { "secret", "secret,", "Thisisapassword123", "password", "example.com", "example.org", "example.net" };

    for (size_t i = 0; i < COUNT(known); i++)
        if (slice_equal(value, slice_of(known[i])))
            return true;
    return slice_has_prefix_nocase(value, LIT("change-me"));
}

static void file_check(struct check *c)
{
    for (size_t i = 0; i < c->file.count; i++) {
        const struct setting *s = &c->file.settings[i];

        name_check(c, s->name);
        references_check(c, s);
        if (is_example(s->value))
            tell(c, s->name, "is still the example's value", SLICE_NONE);
    }
}

/* Settings of the original that ask for something we would not do, silently. */
static void promises_check(struct check *c)
{
    static const struct { const char *name, *harmless; } row[] = { { "REDIS_TLS", "false" }, { "REDIS_USERNAME", "" }, { "SQLITE_RCLONE_ENABLED", "false" } };

    for (size_t i = 0; i < COUNT(row); i++) {
        const char *value = value_of(row[i].name);

        if (value[0] != '\0' && strcmp(value, row[i].harmless) != 0)
            tell(c, slice_of(row[i].name), "is not supported; leave it empty", SLICE_NONE);
    }
}

/* ---- what no daemon can check alone ------------------------------------------------------------------------------ */

static void secrets_check(struct check *c)
{
    static const struct { const char *name; size_t least; bool in_compose; } row[] = {
        { "API_SECRETS", SECRET_LEAST, false }, { "SRS_SECRET", SECRET_LEAST, false }, { "HELPER_ENCRYPTION_KEY", SECRET_LEAST, false },
        { "REDIS_PASSWORD", SECRET_LEAST, true }, { "MONGO_PASS", SECRET_LEAST, true }, { "MONGO_USER", 1, true },
        { "DOMAIN", 1, true },
    };
    const char *uri = getenv("STORE_URI");
    bool own_mongo = value_of("MONGO_URI")[0] == '\0' && (uri == NULL || uri[0] == '\0');

    for (size_t i = 0; i < COUNT(row); i++) {
        size_t n = strlen(value_of(row[i].name));

        if (row[i].in_compose && (c->file_path == NULL || (strncmp(row[i].name, "MONGO_", 6) == 0 && !own_mongo)))
            continue;
        if (n == 0)
            tell(c, slice_of(row[i].name), "is required and not set", SLICE_NONE);
        else if (n < row[i].least)
            tell(c, slice_of(row[i].name), "is too short for a secret: 16 characters at least (openssl rand -hex 32)", SLICE_NONE);
    }
}

static void ports_check(struct check *c)
{
    static const char *const names[] = { "MX_PORT", "SMTP_PORT", "SMTP_STARTTLS_PORT", "IMAP_PORT", "IMAP_STARTTLS_PORT", "SQLITE_PORT",
                                         "API_PORT", "MONGO_PORT", "REDIS_PORT" };

    for (size_t i = 0; i < COUNT(names); i++) {
        struct slice port = arena_copy(c->arena, slice_of(value_of(names[i])));

        for (size_t j = 0; j < i; j++)
            if (port.n > 0 && !slice_equal(port, LIT("0")) && slice_equal(port, slice_of(value_of(names[j]))))
                tell(c, slice_of(names[i]), "is the port of another service too: ", slice_of(names[j]));
    }
}

/* In a container root has no right to pass over modes. */
static bool root_can_read(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && ((st.st_mode & S_IROTH) != 0 || (st.st_uid == 0 && (st.st_mode & S_IRUSR) != 0) || (st.st_gid == 0 && (st.st_mode & S_IRGRP) != 0));
}

static void tls_check(struct check *c, const char *prefix)
{
    struct slice key_name = arena_printf(c->arena, "%s_SSL_KEY_PATH", prefix), cert_name = arena_printf(c->arena, "%s_SSL_CERT_PATH", prefix);
    char *key = arena_cstr(c->arena, slice_of(value_of(key_name.p))), *cert = arena_cstr(c->arena, slice_of(value_of(cert_name.p)));
    struct tls_server *tls = NULL;
    struct fault why;

    if (key[0] == '\0' && cert[0] == '\0')
        return;
    if (key[0] == '\0' || cert[0] == '\0')
        tell(c, key[0] == '\0' ? key_name : cert_name, "set both the key and the certificate", SLICE_NONE);
    else if (access(cert, R_OK) < 0)
        tell(c, cert_name, strerror(errno), arena_printf(c->arena, " (read %s as user %u)", cert, geteuid()));
    else if (access(key, R_OK) < 0)
        tell(c, key_name, strerror(errno), arena_printf(c->arena, " (read %s as user %u; chgrp 10001, chmod 640)", key, geteuid()));
    else if (c->was_root && !root_can_read(key))
        tell(c, key_name, "belongs to another user, root can not read it in a container; chown root ", slice_of(key));
    else if (tls_server_new(key, cert, &tls, &why) < 0)
        tell(c, key_name, why.text, SLICE_NONE);
    tls_server_unref(&tls);
}

static void files_check(struct check *c)
{
    static const char *const pairs[] = { "WEB", "IMAP", "SQLITE", "API" }, *const files[] = { "TLS_CA_PATH", "DKIM_PRIVATE_KEY_PATH" };

    for (size_t i = 0; i < COUNT(pairs); i++)
        tls_check(c, pairs[i]);
    for (size_t i = 0; i < COUNT(files); i++) {
        const char *path = value_of(files[i]);

        if (path[0] != '\0' && access(path, R_OK) < 0)
            tell(c, slice_of(files[i]), strerror(errno), arena_printf(c->arena, " (read %s as user %u)", path, geteuid()));
    }
}

/* ---- the command ---------------------------------------------------------------------------------------------------- */

static int file_take(struct check *c, struct fault *why)
{
    if (c->file_path == NULL)
        return 0;
    if (config_file_read(c->file_path, c->arena, &c->file, &c->mistakes, why) < 0)
        return -1;
    for (size_t i = 0; i < c->file.count; i++)         /* what Compose put into the environment goes first */
        if (setenv(c->file.settings[i].name.p, c->file.settings[i].value.p, 0) < 0)
            return fault_errno(why, errno, "set %s", c->file.settings[i].name.p);
    return 0;
}

struct row { uint32_t line; struct slice text; };

static int row_compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->text.p < y->text.p ? -1 : 1;             /* as they were found */
}

/* In the order of the file; what stands in no line comes last. */
static void mistakes_print(struct check *c)
{
    struct slice rest = buf_slice(&c->mistakes), line, after, number;
    struct row *rows = arena_alloc_array(c->arena, rest.n + 1, sizeof(*rows));
    unsigned n = 0;

    while (slice_cut(&rest, '\n', &line)) {
        rows[n] = (struct row){ UINT32_MAX, line };
        after = slice_tail(line, 5);
        if (!slice_has_prefix(line, LIT("line ")) || !slice_cut(&after, ':', &number) || !slice_to_u32(number, UINT32_MAX, &rows[n].line))
            rows[n].line = UINT32_MAX;
        n++;
    }
    qsort(rows, n, sizeof(*rows), row_compare);
    (void)fprintf(stderr, "%s has %u mistake%s:\n", c->file_path != NULL ? c->file_path : "the environment", n, n == 1 ? "" : "s");
    for (unsigned i = 0; i < n; i++)
        (void)fprintf(stderr, "  %.*s\n", SLICE(rows[i].text));
}

static int check_all(struct check *c, struct fault *why)
{
    const char *uid = value_of("FE_UID");

    if (file_take(c, why) < 0 || folder_scan(c, why) < 0)
        return -1;
    c->was_root = geteuid() == 0;
    if (process_drop_rights(arena_cstr(c->arena, slice_of(uid[0] != '\0' ? uid : "10001")), why) < 0 || names_collect(c, why) < 0)
        return -1;
    file_check(c);
    if (daemons_check(c, why) < 0)
        return -1;
    promises_check(c);
    secrets_check(c);
    ports_check(c);
    files_check(c);
    return 0;
}

static int config_check(struct fectl *f, struct fault *why)
{
    struct check c = { .arena = f->arena, .file_path = fectl_option(f, "--file"), .names = map_new(), .told = map_new(), .mistakes = BUF_INIT(1 << 20) };
    int r = check_all(&c, why);

    if (r == 0 && c.mistakes.n > 0) {
        mistakes_print(&c);
        r = fault_set(why, FAULT_INVALID, "these settings are wrong; nothing is started with them");
    }
    if (r == 0)
        printf("%s is fine: checked by %zu daemons\n", c.file_path != NULL ? c.file_path : "the environment", c.program_count);
    buf_wipe(&c.mistakes);
    map_free(&c.names);
    map_free(&c.told);
    return r;
}

const struct command config_commands[] = {
    { "config", "check", "[--file .env]", "checks the settings of all daemons as a whole; with --file also every name and value in it", false, config_check },
    { NULL, NULL, NULL, NULL, false, NULL },
};
