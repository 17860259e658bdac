/* engine_verify.c - is everything in the file what it should be?
 *
 * Owns nothing. Called by fe-sqlite and fectl. Reads all of the file; changes nothing. The report has a line for each kind of
 * damage, with a count and an example. Never suspends.
 */
#include "mailbox/engine_internal.h"

#include <openssl/evp.h>

#define REPORT_MAX ((size_t)1 << 20)

struct check { const char *name, *sql; };

/* Each gives a row for what is wrong; its first column is the example shown. */
static const struct check checks[] = {
    { "folder counters differ from the messages",
      "SELECT f.id FROM folders f LEFT JOIN (SELECT folder,count(*) AS n,sum(flags&1=0) AS unseen,"
      " sum(flags&8<>0) AS deleted,sum(size) AS bytes FROM messages GROUP BY folder) m ON m.folder=f.id"
      " WHERE f.messages<>ifnull(m.n,0) OR f.unseen<>ifnull(m.unseen,0) OR f.deleted<>ifnull(m.deleted,0)"
      " OR f.bytes<>ifnull(m.bytes,0)" },
    { "messages without a folder",
      "SELECT m.id FROM messages m LEFT JOIN folders f ON f.id=m.folder WHERE f.id IS NULL OR f.present=0"
      " OR m.id>>32<>m.folder" },
    { "UIDs that were not given out",
      "SELECT m.id FROM messages m JOIN folders f ON f.id=m.folder WHERE (m.id&4294967295) NOT BETWEEN 1 AND"
      " f.uidnext-1" },
    { "MODSEQs above their folder's highest",
      "SELECT m.id FROM messages m JOIN folders f ON f.id=m.folder WHERE m.modseq>f.highestmodseq" },
    { "folders above the mailbox's MODSEQ",
      "SELECT f.id FROM folders f, state s WHERE f.highestmodseq>s.modseq" },
    { "folders with one UIDVALIDITY",
      "SELECT min(id) FROM folders WHERE present GROUP BY uidvalidity HAVING count(*)>1" },
    { "UIDVALIDITYs or folder ids above the counters",
      "SELECT f.id FROM folders f, state s WHERE f.uidvalidity>s.uidvalidity OR f.id>s.folder_id" },
    { "messages without a body",
      "SELECT m.id FROM messages m LEFT JOIN bodies b ON b.id=m.body WHERE b.id IS NULL OR b.refs=0" },
    { "bodies with a wrong count of references",
      "SELECT b.id FROM bodies b LEFT JOIN (SELECT body,count(*) AS n FROM messages GROUP BY body) m ON m.body=b.id"
      " WHERE b.refs<>ifnull(m.n,0)" },
    { "messages whose size is not their body's",
      "SELECT m.id FROM messages m JOIN bodies b ON b.id=m.body WHERE m.size<>b.size" },
    { "bodies without a rendering",
      "SELECT b.id FROM bodies b LEFT JOIN rendered r ON r.id=b.id LEFT JOIN envelopes v ON v.id=b.id"
      " WHERE b.refs>0 AND (r.id IS NULL OR v.id IS NULL)" },
    { "bodies above the counter", "SELECT b.id FROM bodies b, state s WHERE b.id>s.body_id" },
    { "stored bytes without a body",
      "SELECT d.id FROM blobs d LEFT JOIN bodies b ON b.id=d.id WHERE b.id IS NULL UNION ALL"
      " SELECT c.id FROM chunks c LEFT JOIN bodies b ON b.id=c.id>>20 WHERE b.id IS NULL" },
    { "vanished UIDs that exist",
      "SELECT m.id FROM vanished v JOIN messages m ON m.id BETWEEN (v.folder<<32|v.first) AND (v.folder<<32|v.last)" },
    { "wrong totals",
      "SELECT s.id FROM state s WHERE s.messages<>(SELECT count(*) FROM messages) OR"
      " s.bytes<>(SELECT ifnull(sum(size),0) FROM messages)" },
};

struct verifying { struct engine *e; struct buf report; bool bad; };

static void report(struct verifying *v, const char *what, uint64_t count, struct slice example)
{
    v->bad = true;
    (void)buf_printf(&v->report, "%s: %llu, for example %.*s\n", what, (unsigned long long)count, SLICE(example));
}

/* Rows of `sql` other than "ok" are damage. */
static int run_check(struct verifying *v, const struct check *c, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    char example[120] = "";
    uint64_t count = 0;
    int r;

    if (db_query(v->e, &q, why, c->sql) < 0)
        return -1;
    while ((r = db_step(v->e, q, why)) > 0) {
        struct slice text = slice_make(sqlite3_column_text(q, 0), (size_t)sqlite3_column_bytes(q, 0));
        if (slice_equal(text, LIT("ok")))
            continue;
        if (count++ == 0)
            (void)snprintf(example, sizeof(example), "%.*s", SLICE(slice_head(text, sizeof(example) - 1)));
    }
    if (count)
        report(v, c->name, count, slice_of(example));
    return r;
}

static bool digest_is(struct body_reader *r, struct slice want, struct fault *why)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char got[32];
    struct slice piece;
    uint64_t at = 0;
    bool ok = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;

    while (ok && at < r->size) {
        ok = body_reader_at(r, at, &piece, why) >= 0 && piece.n > 0;
        if (ok)
            (void)EVP_DigestUpdate(hash, piece.p, piece.n);
        at += piece.n;
    }
    ok = ok && EVP_DigestFinal_ex(hash, got, NULL) == 1 && slice_equal(want, slice_make(got, 32));
    EVP_MD_CTX_free(hash);
    return ok;
}

static int verify_bodies(struct verifying *v, struct fault *why)
{
    AUTO(db_reset) sqlite3_stmt *q = NULL;
    AUTO(body_reader_close) struct body_reader reader;
    uint64_t wrong = 0;
    char example[32] = "";
    int r;

    body_reader_init(&reader, v->e);
    if (db_query(v->e, &q, why, "SELECT id,digest FROM bodies WHERE refs>0") < 0)
        return -1;
    while ((r = db_step(v->e, q, why)) > 0) {
        int64_t id = sqlite3_column_int64(q, 0);
        struct fault damage = { 0 };
        if (body_reader_open(&reader, id, &damage) >= 0 && digest_is(&reader, db_column(q, 1), &damage))
            continue;
        if (v->e->broken)
            return fault_set(why, FAULT_CORRUPT, "body %lld: %s", (long long)id, damage.text);
        if (wrong++ == 0)
            (void)snprintf(example, sizeof(example), "%lld", (long long)id);
    }
    if (wrong)
        report(v, "bodies that are not the bytes received", wrong, slice_of(example));
    return r;
}

static int verify_all(struct verifying *v, struct fault *why)
{
    static const struct check pages = { "pages with a wrong HMAC", "PRAGMA cipher_integrity_check" };
    static const struct check trees = { "damaged tables", "PRAGMA integrity_check" };

    /* damaged pages first: reading one through SQL would end the handle before the report */
    if (run_check(v, &pages, why) < 0)
        return -1;
    if (v->bad)
        return 0;
    if (run_check(v, &trees, why) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(checks); i++)
        if (run_check(v, &checks[i], why) < 0)
            return -1;
    return verify_bodies(v, why);
}

int engine_verify(struct engine *e, struct arena *in, struct slice *out, struct fault *why)
{
    struct verifying v = { .e = e, .report = BUF_INIT(REPORT_MAX) };
    struct fault inner = { 0 };
    int64_t messages = 0, pages = 0;
    int r;

    /* the page check reads the file itself, so what is in the log has to be there */
    if (e->mode == ENGINE_WRITE)
        (void)sqlite3_wal_checkpoint_v2(e->db, "main", SQLITE_CHECKPOINT_FULL, NULL, NULL);
    if (read_begin(e, why) < 0)
        return -1;
    r = verify_all(&v, &inner);
    if (r >= 0 && !v.bad) {
        (void)db_get(e, &messages, NULL, "SELECT messages FROM state");
        (void)db_get(e, &pages, NULL, "PRAGMA page_count");
        (void)buf_printf(&v.report, "%lld messages, %lld pages: nothing wrong\n", (long long)messages,
                         (long long)pages);
    } else if (r < 0) {
        (void)buf_printf(&v.report, "stopped: %s\n", inner.text);
    }
    read_end(e);
    *out = arena_copy(in, buf_slice(&v.report));
    buf_free(&v.report);
    if (r < 0)
        return fault_set(why, inner.code, "%s", inner.text);
    return v.bad ? fault_set(why, FAULT_CORRUPT, "%.*s", SLICE(slice_head(*out, 200))) : 0;
}
