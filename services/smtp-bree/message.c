/* message.c - a queued message as it goes out: header edited and DKIM-signed, body streamed from its blob.
 *
 * Owns      struct message_source. Called by job.c. FAULT_CORRUPT: no header; else what store and key say. Suspends.
 */
#include "bree.h"

#include "base/encode.h"
#include "mail/dkim.h"

/* ---- the header ---------------------------------------------------------------------------------- */

/* Bcc is for the sender's eyes only (RFC 5322 3.6.3); Return-Path is the last hop's to write (RFC 5321 4.4); the others are ours. */
static bool is_dropped(struct slice line)
{
    static const struct slice dropped[] = { LIT("Bcc:"), LIT("Return-Path:"), LIT("X-Forward-Email-ID:"), LIT("X-Forward-Email-Sender:") };

    for (size_t i = 0; i < COUNT(dropped); i++)
        if (slice_has_prefix_nocase(line, dropped[i]))
            return true;
    return false;
}

static struct slice edit_header(struct job *job, struct slice raw)
{
    AUTO(buf_free) struct buf out = BUF_INIT(HEADER_MAX + 4096);
    bool dropping = false;

    while (raw.n > 0) {
        ptrdiff_t lf = slice_find_char(raw, '\n');
        struct slice line = lf < 0 ? raw : slice_head(raw, (size_t)lf + 1);

        if (line.p[0] != ' ' && line.p[0] != '\t')
            dropping = is_dropped(line);
        if (!dropping)
            (void)buf_append(&out, line);
        raw = slice_tail(raw, line.n);
    }
    (void)buf_printf(&out, "X-Forward-Email-ID: %s\r\n", job->email.id);
    if (job->email.from.n > 0)
        (void)buf_printf(&out, "X-Forward-Email-Sender: rfc822; %.*s, %s\r\n", SLICE(job->email.from), bree.config->host);
    return arena_copy(job->arena, buf_slice(&out));
}

/* ---- first pass: header out, body hashed ------------------------------------------------------------- */

struct first_pass {
    struct job *job;
    struct buf head;                           /* until the blank line is seen */
    struct slice header;                       /* raw, without the blank line */
    struct dkim_signer *signer;                /* NULL: not signed */
    bool in_body;
};

/* A small body stays in memory, so that it is read once only. */
static void keep_body(struct job *job, struct slice piece)
{
    if (job->body_bytes > BODY_KEPT_MAX || buf_append(&job->body, piece) < 0)
        buf_free(&job->body);
}

static int take(struct first_pass *p, struct slice piece, struct fault *why)
{
    ptrdiff_t blank;

    if (p->in_body) {
        if (p->signer != NULL)
            dkim_signer_body(p->signer, piece);
        p->job->body_bytes += piece.n;
        keep_body(p->job, piece);
        return 0;
    }
    if (buf_append(&p->head, piece) < 0)
        return fault_set(why, FAULT_LIMIT, "header longer than %zu bytes", HEADER_MAX);
    blank = slice_find(buf_slice(&p->head), LIT("\r\n\r\n"));
    if (blank < 0)
        return 0;
    p->in_body = true;
    p->header = slice_head(buf_slice(&p->head), (size_t)blank + 2);
    p->job->body_at = (uint64_t)blank + 4;
    return take(p, slice_tail(buf_slice(&p->head), (size_t)blank + 4), why);
}

static int read_all(struct first_pass *p, struct deadline until, struct fault *why)
{
    AUTO(store_blob_close) struct store_reader *r = NULL;
    struct slice piece = p->job->email.message;
    uint64_t size;

    if (piece.n > 0) {                         /* came with the claim */
        if (take(p, piece, why) < 0)
            return -1;
        return p->in_body ? 0 : fault_set(why, FAULT_CORRUPT, "message has no end of header");
    }
    if (store_blob_open(bree.store, p->job->email.blob, until, &r, &size, why) < 0)
        return -1;
    do {
        if (store_blob_read(r, until, &piece, why) < 0 || take(p, piece, why) < 0)
            return -1;
    } while (piece.n > 0);
    return p->in_body ? 0 : fault_set(why, FAULT_CORRUPT, "message has no end of header");
}

static int load_key(struct job *job, struct dkim_key **key, struct fault *why)
{
    if (job->domain.dkim_private_key.n == 0)
        return 0;
    return dkim_keyring_get(bree.keys, job->domain.id, job->domain.dkim_private_key, key, why);
}

static int finish(struct first_pass *p, struct fault *why)
{
    struct slice header = edit_header(p->job, p->header), signature = SLICE_NONE;

    if (p->signer != NULL && dkim_signer_finish(p->signer, header, p->job->arena, &signature, why) < 0)
        return -1;
    buf_init(&p->job->header, HEADER_MAX + 65536);
    if (buf_append(&p->job->header, signature) < 0 || buf_append(&p->job->header, header) < 0 ||
        buf_append_cstr(&p->job->header, "\r\n") < 0)
        return fault_set(why, FAULT_LIMIT, "header too long");
    return 0;
}

int message_prepare(struct job *job, struct deadline until, struct fault *why)
{
    AUTO(dkim_key_free) struct dkim_key *key = NULL;
    /* the signature's time is the message's, so that each try sends the same bytes and a receiver can see that it has them already */
    struct dkim_sign_options options = { .domain = job->domain.name, .selector = job->domain.dkim_key_selector, .now_ms = job->email.created_at };
    struct first_pass p = { .job = job, .head = BUF_INIT(HEADER_MAX + 262144) };
    int r;

    if (load_key(job, &key, why) < 0)
        return -1;
    options.key = key;
    if (key != NULL)
        p.signer = dkim_signer_new(&options);
    r = read_all(&p, until, why);
    if (r == 0)
        r = finish(&p, why);
    dkim_signer_free(&p.signer);
    buf_free(&p.head);
    return r;
}

/* ---- second pass: to the wire -------------------------------------------------------------------------- */

struct message_source {
    struct job *job;
    struct deadline until;
    struct store_reader *blob;
    uint64_t skip;                             /* raw header bytes before the body */
    bool header_given, body_given;             /* body_given: of one that was kept */
};

int message_open(struct job *job, struct deadline until, struct message_source **out, struct fault *why)
{
    struct message_source *s = calloc(1, sizeof(*s));
    uint64_t size;

    if (s == NULL)
        abort();
    *s = (struct message_source){ .job = job, .until = until, .skip = job->body_at };
    *out = s;
    if (job->body.n == job->body_bytes)
        return 0;
    if (store_blob_open(bree.store, job->email.blob, until, &s->blob, &size, why) < 0) {
        message_close(out);
        return -1;
    }
    return 0;
}

int message_pull(void *source, struct slice *piece, struct fault *why)
{
    struct message_source *s = source;

    if (!s->header_given) {
        s->header_given = true;
        *piece = buf_slice(&s->job->header);
        return 1;
    }
    if (s->blob == NULL) {
        *piece = s->body_given ? SLICE_NONE : buf_slice(&s->job->body);
        s->body_given = true;
        return piece->n > 0;
    }
    for (;;) {
        size_t skip;

        if (store_blob_read(s->blob, s->until, piece, why) < 0)
            return -1;
        if (piece->n == 0)
            return 0;
        skip = s->skip < piece->n ? (size_t)s->skip : piece->n;
        s->skip -= skip;
        *piece = slice_tail(*piece, skip);
        if (piece->n > 0)
            return 1;
    }
}

void message_close(struct message_source **s)
{
    if (*s == NULL)
        return;
    store_blob_close(&(*s)->blob);
    free(*s);
    *s = NULL;
}
