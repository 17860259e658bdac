/* imap_rows.c - writes rows with plain pointers into memory reserved once a row.
 *
 * Owns nothing. Called for each message of a FETCH and for changed flags. Never suspends.
 */
#include "imap_rows.h"
#include "imap_view.h"
#include "wire/imap/imap_fetch_args.h"
#include "wire/imap/imap_format.h"

#define ROW_BYTES 320                   /* more than all items but keywords can take */

static char *put_text(char *p, const char *text, size_t n)
{
    memcpy(p, text, n);
    return p + n;
}

#define PUT(p, literal) put_text((p), (literal), sizeof(literal) - 1)

static void buf_end_at(struct buf *out, char *p)
{
    out->n = (size_t)(p - out->p);
    *p = '\0';
}

/* Keyword names are of any length, so they go through the buf. */
static char *put_keywords(struct buf *out, char *p, const struct mailbox_row *row, const struct imap_view *view)
{
    bool space = row->flags != 0;

    buf_end_at(out, p);
    for (size_t word = 0; word < 2; word++)
        for (uint64_t left = row->keywords[word]; left; left &= left - 1) {
            size_t i = word * 64 + (size_t)__builtin_ctzll(left);
            if (i >= view->keyword_count)
                break;                  /* a name we have not heard of yet: its change is still to be told */
            if (space)
                (void)buf_append_char(out, ' ');
            (void)buf_append(out, view->keywords[i]);
            space = true;
        }
    (void)buf_reserve(out, ROW_BYTES);
    return out->p + out->n;
}

static char *put_flags(struct buf *out, char *p, const struct mailbox_row *row, const struct imap_view *view)
{
    struct slice system = imap_system_flags_text(row->flags);

    p = PUT(p, "FLAGS (");
    p = put_text(p, system.p, system.n);
    if (row->keywords[0] | row->keywords[1])
        p = put_keywords(out, p, row, view);
    return PUT(p, ") ");
}

bool imap_put_row(struct buf *out, uint32_t seq, const struct mailbox_row *row, unsigned attrs, const struct imap_view *view)
{
    char *p;

    if (buf_reserve(out, ROW_BYTES) < 0)
        return false;
    p = out->p + out->n;
    p = PUT(p, "* ");
    p = imap_write_u64(p, seq);
    p = PUT(p, " FETCH (");
    if (attrs & IMAP_FETCH_UID) {
        p = imap_write_u64(PUT(p, "UID "), row->uid);
        *p++ = ' ';
    }
    if (attrs & IMAP_FETCH_FLAGS)
        p = put_flags(out, p, row, view);
    if (attrs & IMAP_FETCH_INTERNALDATE) {
        p = imap_write_date_time(PUT(p, "INTERNALDATE "), row->internal_ms);
        *p++ = ' ';
    }
    if (attrs & IMAP_FETCH_SIZE) {
        p = imap_write_u64(PUT(p, "RFC822.SIZE "), row->size);
        *p++ = ' ';
    }
    if (attrs & IMAP_FETCH_MODSEQ)
        p = PUT(imap_write_u64(PUT(p, "MODSEQ ("), row->modseq), ") ");
    if (p[-1] != ' ') {
        buf_end_at(out, p);
        return false;
    }
    buf_end_at(out, p - 1);
    return true;
}
