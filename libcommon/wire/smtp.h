/* smtp.h - SMTP as bytes: command lines, paths, parameters, replies, dot-stuffing (RFC 5321, 1870, 3030, 3461, 6531, 8689).
 *
 * Owns nothing: results point into the input or into the arena given. Never suspends. Used by net/smtp_server and
 * net/smtp_client. Peers' mistakes are returned as a struct smtp_reply to send; nothing here is a fault of the world.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

#define SMTP_LINE_MAX        2048     /* command line with its CRLF; RFC 5321 4.5.3.1.4 asks for 512 and more with extensions */
#define SMTP_REPLY_LINE_MAX  2048
#define SMTP_REPLY_LINES_MAX 100
#define SMTP_LOCAL_MAX       256      /* SRS addresses are longer than the 64 of RFC 5321 4.5.3.1.1 */
#define SMTP_DOMAIN_MAX      255
#define SMTP_ENVID_MAX       100      /* RFC 3461 4.4 */
#define SMTP_ORCPT_MAX       500      /* RFC 3461 4.2 */
#define SMTP_PARAMS_MAX      16

/* What a peer is told. `code` 0 stands for "the usual success of this step". `enhanced` is "5.1.1" or "";
 * `text` is one line (the sender cuts at control characters). Both outlive the reply: literals or in an arena. */
struct smtp_reply {
    int code;
    const char *enhanced;
    struct slice text;
};
#define SMTP_OK                            ((struct smtp_reply){ 0, "", { NULL, 0 } })
#define SMTP_REPLY(code_, enhanced_, text_) ((struct smtp_reply){ (code_), (enhanced_), LIT(text_) })

/* ---- commands -------------------------------------------------------------------------------------------------- */

enum smtp_verb {
    SMTP_UNKNOWN, SMTP_HELO, SMTP_EHLO, SMTP_MAIL, SMTP_RCPT, SMTP_DATA, SMTP_BDAT, SMTP_RSET, SMTP_NOOP, SMTP_VRFY, SMTP_EXPN,
    SMTP_HELP, SMTP_QUIT, SMTP_STARTTLS, SMTP_AUTH,
    SMTP_HTTP,                        /* a request line of HTTP: somebody lost, or an attack through a browser */
};

/* Splits a line (without CRLF) into verb and trimmed argument. */
enum smtp_verb smtp_parse_verb(struct slice line, struct slice *argument);

struct smtp_path {
    struct slice address;             /* local@domain as written; empty: <> */
    struct slice local, domain;       /* domain empty only for <Postmaster> in RCPT; "[...]" for a literal */
    bool utf8;                        /* holds characters beyond ASCII */
};

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
enum smtp_notify { SMTP_NOTIFY_NEVER = 1, SMTP_NOTIFY_SUCCESS = 2, SMTP_NOTIFY_FAILURE = 4, SMTP_NOTIFY_DELAY = 8 };   /* 0: not said */

struct smtp_mail {
    struct smtp_path from;
    uint64_t size;                    /* SIZE=, 0: not said */
    enum smtp_body body;
    bool smtputf8, requiretls;
    enum smtp_ret ret;
    struct slice envid;               /* decoded */
};

struct smtp_rcpt {
    struct smtp_path to;
    unsigned notify;                  /* bits of enum smtp_notify */
    struct slice orcpt;               /* "rfc822;user@example.org", decoded; empty: not said */
};

/* Which extensions were offered: a parameter of one that was not is 555 (RFC 5321 4.1.1.11). */
enum smtp_extension {
    SMTP_EXT_SIZE = 1, SMTP_EXT_8BITMIME = 2, SMTP_EXT_SMTPUTF8 = 4, SMTP_EXT_DSN = 8, SMTP_EXT_REQUIRETLS = 16, SMTP_EXT_CHUNKING = 32,
    SMTP_EXT_AUTH = 64, SMTP_EXT_PIPELINING = 128, SMTP_EXT_ENHANCED = 256, SMTP_EXT_STARTTLS = 512, SMTP_EXT_BINARYMIME = 1024,
};

/* Arguments of MAIL ("FROM:<...> ...") and RCPT. 0, or -1 and the reply to send (501, 553, 555). Strings live in `in`. */
int smtp_parse_mail(struct slice argument, unsigned offered, struct arena *in, struct smtp_mail *out, struct smtp_reply *refusal) MUST_CHECK;
int smtp_parse_rcpt(struct slice argument, unsigned offered, struct arena *in, struct smtp_rcpt *out, struct smtp_reply *refusal) MUST_CHECK;
/* "n" or "n LAST" (RFC 3030). */
int smtp_parse_bdat(struct slice argument, uint64_t *bytes, bool *last) MUST_CHECK;
/* HELO/EHLO argument: one word of printable characters, not checked further. */
bool smtp_hello_is_valid(struct slice argument);

/* local@domain, without brackets. False when not acceptable in an envelope: quoted local parts, control characters,
 * broken dots, bad domain labels, bad literals. `allow_utf8`: UTF-8 is acceptable in both halves (RFC 6531).      */
bool smtp_path_parse(struct slice address, bool allow_utf8, struct smtp_path *out) MUST_CHECK;

/* xtext (RFC 3461 4). Decoding refuses what the grammar does not allow and control characters. */
bool smtp_xtext_decode(struct slice in, struct arena *a, struct slice *out) MUST_CHECK;
struct slice smtp_xtext_encode(struct slice in, struct arena *a);

/* ---- replies ----------------------------------------------------------------------------------------------------- */

/* One line of a reply, without its end. False when it is none. `more`: "250-". */
bool smtp_parse_reply_line(struct slice line, int *code, bool *more, struct slice *text) MUST_CHECK;
/* Cuts "5.1.1 " off the front of *text when it is an enhanced status code of the class of `code` (RFC 2034). */
struct slice smtp_cut_enhanced(int code, struct slice *text);
/* Appends "550 5.1.1 text\r\n" to out; control characters of the text become spaces; `enhanced` off leaves it out.
 * A text longer than a line is cut.                                                                             */
void smtp_format_reply(const struct smtp_reply *r, bool enhanced, struct buf *out);

/* ---- content ------------------------------------------------------------------------------------------------------ */

/* Only CRLF ends a line (RFC 5321 2.3.8): a CR or LF by itself is refused wherever content passes, both ways, so that
 * nothing we take or send can be read as an end of data by somebody else ("SMTP smuggling").                        */
struct smtp_line_check { bool cr; };
int smtp_line_check(struct smtp_line_check *c, struct slice in) MUST_CHECK;     /* -1: a bare CR or LF */
bool smtp_line_check_is_clean(const struct smtp_line_check *c);                 /* at the end: no CR left hanging */

/* DATA, receiving. Feed blocks; take pieces of content (borrowed from the block, or a constant) until MORE or END. */
enum smtp_dot { SMTP_DOT_MORE, SMTP_DOT_PIECE, SMTP_DOT_END };
struct smtp_dot_decoder { int state; bool bare; };      /* zero-initialised; bare: a bare CR or LF was seen, refuse at END */
enum smtp_dot smtp_dot_decode(struct smtp_dot_decoder *d, struct slice *in, struct slice *piece);

/* DATA, sending: stuffed content goes to `out`. -1: bare CR or LF; the transaction cannot go on (nothing of this block
 * was appended).                                                                                                  */
struct smtp_dot_encoder { bool inside, cr; };           /* zero-initialised */
int smtp_dot_encode(struct smtp_dot_encoder *e, struct slice in, struct buf *out) MUST_CHECK;
int smtp_dot_finish(struct smtp_dot_encoder *e, struct buf *out) MUST_CHECK;    /* ends the last line if needed, then ".\r\n" */
