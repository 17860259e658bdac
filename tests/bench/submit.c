/* submit.c - submits messages of 1 KB, one thread a session; over TLS with a login, or plain. For scenes.py, whose own sessions would
 * take a good part of the machine from the server they measure.
 *
 *   submit PORT SESSIONS MESSAGES TO [USERPATTERN PASSWORD]      127.0.0.1 only; USERPATTERN like u%d@bench.test, counted from 1
 *
 * With a user: TLS from the first byte, AUTH PLAIN, sender and From are the user. MAIL, RCPT and DATA are pipelined (RFC 2920). Exit
 * status 1 and a line when anything is refused.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSIONS_MAX 64
#define BODY_LINES   12

struct session {
    int fd, number, count;
    SSL *tls;
    char in[4096];
    size_t in_n;
};

static const char *to, *user_pattern, *password;
static int port;
static SSL_CTX *context;

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "submit: %s: %s\n", what, detail);
    exit(1);
}

static void put(struct session *s, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = s->tls != NULL ? SSL_write(s->tls, bytes, (int)n) : send(s->fd, bytes, n, MSG_NOSIGNAL);

        if (done <= 0)
            fail("write", "connection lost");
        bytes += done;
        n -= (size_t)done;
    }
}

/* One reply, of one line or more; not of 2xx or 3xx ends the program. */
static void expect_reply(struct session *s)
{
    for (;;) {
        char *end = memchr(s->in, '\n', s->in_n);
        size_t line;
        int more;

        if (end == NULL) {
            ssize_t n = s->tls != NULL ? SSL_read(s->tls, s->in + s->in_n, (int)(sizeof(s->in) - s->in_n)) : recv(s->fd, s->in + s->in_n, sizeof(s->in) - s->in_n, 0);

            if (n <= 0)
                fail("read", "connection lost");
            s->in_n += (size_t)n;
            continue;
        }
        line = (size_t)(end + 1 - s->in);
        *end = '\0';
        if (line < 5 || (s->in[0] != '2' && s->in[0] != '3'))
            fail("refused", s->in);
        more = s->in[3] == '-';
        memmove(s->in, s->in + line, s->in_n - line);
        s->in_n -= line;
        if (!more)
            return;
    }
}

static void connect_to(struct session *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int one = 1;

    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        fail("connect", "nobody listens");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (user_pattern != NULL) {
        s->tls = SSL_new(context);
        SSL_set_fd(s->tls, s->fd);
        if (SSL_connect(s->tls) != 1)
            fail("TLS", "no handshake");
    }
    expect_reply(s);
    put(s, "EHLO bench.test\r\n", 17);
    expect_reply(s);
}

static void log_in(struct session *s, const char *user)
{
    unsigned char plain[512], text[1024];
    char line[1100];
    int n = snprintf((char *)plain, sizeof(plain), "%c%s%c%s", 0, user, 0, password);

    EVP_EncodeBlock(text, plain, n);
    n = snprintf(line, sizeof(line), "AUTH PLAIN %s\r\n", (char *)text);
    put(s, line, (size_t)n);
    expect_reply(s);
}

static void *session_run(void *arg)
{
    struct session *s = arg;
    char user[200], text[4096];

    snprintf(user, sizeof(user), user_pattern != NULL ? user_pattern : "u%d@bench.test", s->number + 1);
    connect_to(s);
    if (user_pattern != NULL)
        log_in(s, user);
    for (int i = 0; i < s->count; i++) {
        int n = snprintf(text, sizeof(text), "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", user, to);

        put(s, text, (size_t)n);
        for (int k = 0; k < 3; k++)
            expect_reply(s);
        n = snprintf(text, sizeof(text), "From: %s\r\nTo: %s\r\nSubject: %d\r\nMessage-ID: <%d.%d.%d@bench.test>\r\n\r\n", user, to, i, (int)getpid(), s->number, i);
        for (int k = 0; k < BODY_LINES; k++) {
            memset(text + n, 'x', 70);
            memcpy(text + n + 70, "\r\n", 2);
            n += 72;
        }
        memcpy(text + n, ".\r\n", 3);
        put(s, text, (size_t)n + 3);
        expect_reply(s);
    }
    put(s, "QUIT\r\n", 6);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct session session[SESSIONS_MAX];
    pthread_t thread[SESSIONS_MAX];
    int sessions, messages;

    if (argc != 5 && argc != 7)
        fail("usage", "submit PORT SESSIONS MESSAGES TO [USERPATTERN PASSWORD]");
    port = (int)strtol(argv[1], NULL, 10);
    sessions = (int)strtol(argv[2], NULL, 10);
    messages = (int)strtol(argv[3], NULL, 10);
    to = argv[4];
    if (sessions < 1 || sessions > SESSIONS_MAX || messages < sessions || messages > 1000000)
        fail("usage", "1 to 64 sessions, up to a million messages");
    if (argc == 7) {
        user_pattern = argv[5];
        password = argv[6];
        context = SSL_CTX_new(TLS_client_method());
    }
    for (int i = 0; i < sessions; i++) {
        session[i] = (struct session){ .number = i, .count = messages / sessions };
        if (pthread_create(&thread[i], NULL, session_run, &session[i]) != 0)
            fail("start", "no thread");
    }
    for (int i = 0; i < sessions; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
