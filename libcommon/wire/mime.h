/* mime.h - the tree of parts of a raw message (RFC 2045, 2046, 2231), as offsets into it.
 *
 * Owns      nothing: the tree lives in the arena; slices point into the message or the arena, so both must outlive it.
 * Used by   imap_render, mime_text, the mailbox engine, dsn.
 * Fails     never: any bytes give a tree. Beyond the limits parts are not split further.
 * Suspends  never. One pass, linear time. A message too large for memory is mapped by the caller (mmap of its file,
 *           or of the decrypted spool): pages are read once, in order.
 */
#pragma once

#include "base/arena.h"

#define MIME_PARTS_MAX    10000
#define MIME_DEPTH_MAX    100           /* a multipart or message below that is shown as application/octet-stream */
#define MIME_PARAMS_MAX   64            /* per field; the rest is dropped */
#define MIME_BOUNDARY_MAX 512           /* a longer boundary is none */

enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE };
enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QP, MIME_BASE64, MIME_UNKNOWN };

struct mime_param {
    struct slice name;                  /* as written; RFC 2231 pieces are joined under the bare name */
    struct slice value;                 /* unquoted; for RFC 2231 decoded to UTF-8 */
    bool extended;                      /* came with a charset (RFC 2231 4) */
    struct slice wire;                  /* when extended: charset'language'percent text, joined, as IMAP shows it */
};

struct mime_params { struct mime_param *list; size_t count; };

struct mime_part {
    size_t header_at, header_len;       /* with the blank line */
    size_t body_at, body_len;           /* without the line end that belongs to the delimiter behind it */
    uint32_t body_lines;
    uint32_t index;                     /* in document order; the root is 0 */
    enum mime_kind kind;
    enum mime_encoding encoding;
    struct slice type, subtype;         /* as written; defaults filled in ("text" "plain", "message" "rfc822" in a digest) */
    struct mime_params params;          /* of Content-Type, as RFC 2231 joins them */
    struct slice encoding_text;         /* "7bit" when absent */
    struct slice id, description, md5, disposition, location;   /* raw unfolded values; p NULL when absent */
    struct mime_params disposition_params;
    struct slice *languages;
    size_t language_count;
    struct mime_part *parent, *first_child, *last_child, *next;
    uint32_t child_count;               /* of a multipart; a message has exactly one child: the root of what it holds */
};

struct mime_tree {
    struct mime_part *root;
    size_t part_count;
    bool truncated;                     /* a limit was reached */
};

void mime_parse(struct arena *a, struct slice message, struct mime_tree *out);

/* The parts in document order, without recursion: start with the root; NULL after the last. */
const struct mime_part *mime_next_part(const struct mime_part *part);

/* IMAP numbering (RFC 9051 6.4.5.1): path of 1-based numbers; length 0 is the root. NULL when there is none. A path may end
 * at "the only part of a message that is no multipart", then *out is the root (or nested root) and *is_body is true:
 * what is meant is its body.                                                                                              */
const struct mime_part *mime_find_part(const struct mime_part *root, const uint32_t *path, size_t path_len, bool *is_body);

enum mime_section { MIME_SECTION_ALL, MIME_SECTION_HEADER, MIME_SECTION_TEXT, MIME_SECTION_MIME };
/* Byte range of BODY[path.section]. False when there is no such part. *part (may be NULL) gets the part meant; for HEADER and
 * TEXT with a path that is the nested root.                                                                                  */
bool mime_find_section(const struct mime_part *root, const uint32_t *path, size_t path_len, enum mime_section section,
                       size_t *at, size_t *length, const struct mime_part **part) MUST_CHECK;

/* ---- values of fields ------------------------------------------------------------------------------------------ */

/* "a/b; c=d": type and parameters of a Content-Type value. */
void mime_parse_type(struct arena *a, struct slice value, struct slice *type, struct slice *subtype, struct mime_params *params);
/* "attachment; filename=x": the token and parameters of a Content-Disposition value. */
void mime_parse_token(struct arena *a, struct slice value, struct slice *token, struct mime_params *params);
/* SLICE_NONE when absent. */
struct slice mime_get_param(const struct mime_params *params, struct slice name);
enum mime_encoding mime_parse_encoding(struct slice value);
bool mime_is_type(const struct mime_part *part, const char *type, const char *subtype);   /* subtype NULL: any */
/* filename of the disposition, else name of the type, decoded to UTF-8; SLICE_NONE when there is none. */
struct slice mime_get_filename(struct arena *a, const struct mime_part *part);
