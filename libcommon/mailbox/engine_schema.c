/* engine_schema.c - the tables of a mailbox file.
 *
 * Owns nothing. Called once per file, by engine_create. Fails with the database's error. Never suspends.
 *
 * Rows that are read together lie together: a message's id is folder << 32 | uid, so a folder is one run of narrow rows; bodies,
 * their bytes and their renderings are apart, so that flags, counts and references never touch a blob.
 */
#include "mailbox/engine_internal.h"

#include "base/time.h"

#define TEXT_OF(x)     #x
#define FORMAT_TEXT(x) TEXT_OF(x)

static const char tables[] =
    /* last MODSEQ, UIDVALIDITY, folder and body id given out; totals for the quota */
    "CREATE TABLE state(id INTEGER PRIMARY KEY, modseq INTEGER NOT NULL, uidvalidity INTEGER NOT NULL,"
    " folder_id INTEGER NOT NULL, messages INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " body_id INTEGER NOT NULL);"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"

    /* present 0: only a subscription, or a parent that is no folder itself */
    "CREATE TABLE folders(id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, special_use TEXT NOT NULL,"
    " subscribed INTEGER NOT NULL, present INTEGER NOT NULL, uidvalidity INTEGER NOT NULL,"
    " uidnext INTEGER NOT NULL, messages INTEGER NOT NULL, unseen INTEGER NOT NULL, deleted INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, highestmodseq INTEGER NOT NULL, vanished_floor INTEGER NOT NULL);"
    "CREATE TABLE keywords(folder INTEGER NOT NULL, bit INTEGER NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY(folder,bit)) WITHOUT ROWID;"

    "CREATE TABLE messages(id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, modseq INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, size INTEGER NOT NULL, internal INTEGER NOT NULL, saved INTEGER NOT NULL,"
    " body INTEGER NOT NULL, keys0 INTEGER NOT NULL, keys1 INTEGER NOT NULL);"
    "CREATE INDEX messages_modseq ON messages(folder,modseq);"
    /* rows up to a folder's vanished_floor were dropped: then every missing UID counts as vanished */
    "CREATE TABLE vanished(folder INTEGER NOT NULL, modseq INTEGER NOT NULL, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, PRIMARY KEY(folder,modseq,first)) WITHOUT ROWID;"

    /* fingerprint: the first 8 bytes of the digest. died: when the last reference went, or until when a staged
     * body may wait for its message                                                                          */
    "CREATE TABLE bodies(id INTEGER PRIMARY KEY, fingerprint INTEGER NOT NULL, digest BLOB NOT NULL,"
    " size INTEGER NOT NULL, stored INTEGER NOT NULL, refs INTEGER NOT NULL, died INTEGER NOT NULL);"
    "CREATE INDEX bodies_fingerprint ON bodies(fingerprint);"
    "CREATE INDEX bodies_dead ON bodies(died) WHERE refs=0;"
    "CREATE TABLE blobs(id INTEGER PRIMARY KEY, data BLOB NOT NULL);"
    "CREATE TABLE chunks(id INTEGER PRIMARY KEY, data BLOB NOT NULL);"      /* body << 20 | number */
    /* apart, since who asks for the structure of a whole folder would decrypt twice as much with the envelopes in between */
    "CREATE TABLE rendered(id INTEGER PRIMARY KEY, sent_day INTEGER, parts BLOB NOT NULL, structure BLOB NOT NULL,"
    " body BLOB NOT NULL);"
    "CREATE TABLE envelopes(id INTEGER PRIMARY KEY, envelope BLOB NOT NULL, preview BLOB NOT NULL);"

    "CREATE TABLE marks(mark BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE ops(op BLOB PRIMARY KEY, at INTEGER NOT NULL, answer BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE drained(item BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;"

    /* bodies no segment of the search index knows; segments: see engine_index.c */
    "CREATE TABLE unindexed(body INTEGER PRIMARY KEY, skip INTEGER NOT NULL);"   /* skip: not worth it */
    "CREATE TABLE segments(id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, live INTEGER NOT NULL,"
    " docs BLOB NOT NULL, terms BLOB NOT NULL, lists BLOB NOT NULL);"
    "CREATE INDEX segments_range ON segments(first,last);";

static const struct { const char *path, *special_use; } default_folders[] = {
    { "INBOX", "" }, { "Sent Mail", "\\Sent" }, { "Junk", "\\Junk" }, { "Trash", "\\Trash" },
    { "Drafts", "\\Drafts" }, { "Archive", "\\Archive" },
};

static int make_rows(struct engine *e, struct slice public_key, struct slice wraps, struct fault *why)
{
    struct folder f;

    if (db_run(e, why, "INSERT INTO state VALUES(1,1,0,0,0,0,0)") < 0 || state_load(e, why) < 0 ||
        meta_set(e, "public_key", public_key, why) < 0 || meta_set(e, "wraps", wraps, why) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(default_folders); i++)
        if (folder_make(e, slice_of(default_folders[i].path), slice_of(default_folders[i].special_use), true, &f,
                        why) < 0)
            return -1;
    return state_save(e, why);
}

int schema_create(struct engine *e, struct slice public_key, struct slice wraps, struct fault *why)
{
    if (db_exec(e, "BEGIN IMMEDIATE; PRAGMA user_version=" FORMAT_TEXT(ENGINE_FORMAT), why) < 0 || db_exec(e, tables, why) < 0 ||
        make_rows(e, public_key, wraps, why) < 0)
        return -1;
    return db_exec(e, "COMMIT", why);
}
