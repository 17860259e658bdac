/* dns_world_test.c - see dns_world.h. Writes configuration and zones, starts knotd, reads its log until all is loaded.
 *
 * Owns the child and the folder under /tmp. Fails by returning NULL. Does not suspend: it blocks, before the loop runs.
 */
#include "rt/dns_world.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KNOTD         "/usr/sbin/knotd"
#define KEYMGR        "/usr/sbin/keymgr"
#define START_MOST_MS 20000

static struct {
    struct dns_world world;
    char folder[48];
    pid_t knotd;
    bool tried, works;
} it;

static const char plain_zone[] =
    "$ORIGIN plain.example.\n"
    "$TTL 300\n"
    "@ SOA ns hostmaster 1 3600 600 86400 30\n"
    "@ NS ns\n"
    "ns A 127.0.0.1\n"
    "host A 192.0.2.1\n"
    "host A 192.0.2.2\n"
    "host AAAA 2001:db8::1\n"
    "mail MX 20 Backup.Plain.Example.\n"
    "mail MX 10 first.plain.example.\n"
    "mail MX 30 last.plain.example.\n"
    "none MX 0 .\n"
    "text TXT \"v=spf1 include:\" \"a.example -all\"\n"
    "text TXT \"second\"\n"
    "alias CNAME host\n"
    "lost CNAME nowhere.plain.example.\n"
    "_25._tcp.first TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
    "odd\\032name PTR a\\032b.example.\n"
    "odd PTR a\\032b.example.\n";

static const char signed_zone[] =
    "$ORIGIN signed.example.\n"
    "$TTL 300\n"
    "@ SOA ns hostmaster 1 3600 600 86400 30\n"
    "@ NS ns\n"
    "ns A 127.0.0.1\n"
    "host A 192.0.2.9\n"
    "_25._tcp.host TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

static const char reverse_zone[] =
    "$TTL 300\n"
    "2.0.192.in-addr.arpa. SOA ns.plain.example. hostmaster.plain.example. 1 3600 600 86400 30\n"
    "2.0.192.in-addr.arpa. NS ns.plain.example.\n"
    "1.2.0.192.in-addr.arpa. PTR Host.plain.example.\n";

static const char reverse6_zone[] =
    "$TTL 300\n"
    "8.b.d.0.1.0.0.2.ip6.arpa. SOA ns.plain.example. hostmaster.plain.example. 1 3600 600 86400 30\n"
    "8.b.d.0.1.0.0.2.ip6.arpa. NS ns.plain.example.\n"
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR host.plain.example.\n";

#define ZONE_COUNT 4

static const char settings[] =
    "server:\n  listen: 127.0.0.1@%u\n  rundir: %s\n  background-workers: 1\n  udp-workers: 1\n  tcp-workers: 1\n"
    "log:\n  - target: stderr\n    any: info\n"
    "database:\n  storage: %s/db\n"
    "policy:\n  - id: quick\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    nsec3: off\n"
    "template:\n  - id: default\n    storage: %s\n    zonefile-sync: -1\n    journal-content: none\n"
    "zone:\n  - domain: plain.example\n  - domain: 2.0.192.in-addr.arpa\n  - domain: 8.b.d.0.1.0.0.2.ip6.arpa\n"
    "  - domain: signed.example\n    dnssec-signing: on\n    dnssec-policy: quick\n    journal-content: changes\n";

static bool file_write(const char *name, const char *text)
{
    char path[96];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", it.folder, name);
    f = fopen(path, "w");
    if (f == NULL)
        return false;
    (void)fputs(text, f);
    return fclose(f) == 0;
}

/* A port that is free for UDP and TCP now. */
static unsigned port_find(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(sa);
    int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);
    unsigned port = 0;

    if (bind(udp, (struct sockaddr *)&sa, n) == 0 && getsockname(udp, (struct sockaddr *)&sa, &n) == 0 &&
        bind(tcp, (struct sockaddr *)&sa, n) == 0)
        port = ntohs(sa.sin_port);
    close(udp);
    close(tcp);
    return port;
}

static bool folder_fill(unsigned port)
{
    char text[2048], db[64];

    (void)snprintf(it.folder, sizeof(it.folder), "/tmp/dns-test-XXXXXX");
    if (mkdtemp(it.folder) == NULL)
        return false;
    (void)snprintf(db, sizeof(db), "%s/db", it.folder);
    (void)snprintf(text, sizeof(text), settings, port, it.folder, it.folder, it.folder);
    return mkdir(db, 0700) == 0 && file_write("knot.conf", text) && file_write("plain.example.zone", plain_zone) &&
           file_write("signed.example.zone", signed_zone) && file_write("2.0.192.in-addr.arpa.zone", reverse_zone) &&
           file_write("8.b.d.0.1.0.0.2.ip6.arpa.zone", reverse6_zone);
}

static pid_t child_start(const char *const argv[], int out_fd)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(out_fd, STDOUT_FILENO);
    (void)dup2(out_fd, STDERR_FILENO);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static bool log_is_complete(const char *log)
{
    static const char *const sign[] = { "loaded, serial", "DNSSEC, next signing" };
    unsigned seen[2] = { 0, 0 };

    for (int i = 0; i < 2; i++)
        for (const char *at = log; (at = strstr(at, sign[i])) != NULL; at++)
            seen[i]++;
    return seen[0] >= ZONE_COUNT && seen[1] >= 1;
}

/* Reads knotd's log until all zones are loaded and the signed one is signed. */
static bool knotd_await(int log_fd)
{
    static char log[32768];
    struct pollfd p = { .fd = log_fd, .events = POLLIN };
    size_t n = 0;

    while (n < sizeof(log) - 1 && poll(&p, 1, START_MOST_MS) == 1) {
        ssize_t got = read(log_fd, log + n, sizeof(log) - 1 - n);

        if (got <= 0)
            break;
        n += (size_t)got;
        log[n] = '\0';
        if (log_is_complete(log))
            return true;
    }
    (void)fprintf(stderr, "knotd did not start: %s\n", log);
    return false;
}

static bool knotd_start(void)
{
    char conf[64];
    const char *const argv[] = { KNOTD, "-c", conf, NULL };
    int log[2];
    bool ok;

    (void)snprintf(conf, sizeof(conf), "%s/knot.conf", it.folder);
    if (pipe(log) < 0)
        return false;
    it.knotd = child_start(argv, log[1]);
    close(log[1]);
    ok = it.knotd > 0 && knotd_await(log[0]);
    close(log[0]);                     /* SIGPIPE is ignored in knotd: it goes on without a log */
    return ok;
}

/* Writes what `keymgr signed.example ds` says to a file, and the same with its digest spoilt to another. */
static bool anchors_write(void)
{
    char conf[64], text[1024];
    const char *const argv[] = { KEYMGR, "-c", conf, "signed.example", "ds", NULL };
    int out[2], status;
    ssize_t n, all = 0;
    char *end;
    pid_t pid;

    (void)snprintf(conf, sizeof(conf), "%s/knot.conf", it.folder);
    if (pipe(out) < 0)
        return false;
    pid = child_start(argv, out[1]);
    close(out[1]);
    while ((n = read(out[0], text + all, sizeof(text) - 1 - (size_t)all)) > 0)
        all += n;
    close(out[0]);
    text[all] = '\0';
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        return false;
    end = strchr(text, '\n');
    if (end == NULL || end == text)
        return false;
    end[1] = '\0';
    (void)snprintf(it.world.anchor, sizeof(it.world.anchor), "%s/anchor", it.folder);
    (void)snprintf(it.world.wrong_anchor, sizeof(it.world.wrong_anchor), "%s/wrong-anchor", it.folder);
    if (!file_write("anchor", text))
        return false;
    end[-1] = end[-1] == '0' ? '1' : '0';
    return file_write("wrong-anchor", text);
}

static int remove_one(const char *path, UNUSED const struct stat *st, UNUSED int type, UNUSED struct FTW *ftw)
{
    return remove(path);
}

static void world_end(void)
{
    if (it.knotd > 0) {
        (void)kill(it.knotd, SIGKILL);
        (void)waitpid(it.knotd, NULL, 0);
    }
    if (it.folder[0] != '\0')
        (void)nftw(it.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool world_start(void)
{
    unsigned port = port_find();

    if (access(KNOTD, X_OK) < 0 || access(KEYMGR, X_OK) < 0) {
        printf("skipped: no " KNOTD " (scripts/bootstrap --test installs knot)\n");
        return false;
    }
    (void)atexit(world_end);
    (void)snprintf(it.world.server, sizeof(it.world.server), "127.0.0.1@%u", port);
    (void)snprintf(it.world.dead, sizeof(it.world.dead), "127.0.0.1@%u", port_find());
    return port != 0 && folder_fill(port) && knotd_start() && anchors_write();
}

const struct dns_world *dns_world_get(void)
{
    if (!it.tried)
        it.works = world_start();
    it.tried = true;
    return it.works ? &it.world : NULL;
}
