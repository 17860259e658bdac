/* api.h - what the files of fe-api share: the process, one call, the table of routes.
 *
 * Owns      struct api is the process; struct api_call lives on the stack of the request's fiber, its texts in the
 *           request's arena.
 * Used by   services/api only.
 * Threads   the loop thread; handlers suspend.
 *
 * One table (api_routes) is dispatch, documentation and contract: GET /openapi.json is written from it. A handler answers
 * exactly once (api_reply_*, api_refuse) and returns 0, or returns -1 with a fault that nobody answered: the dispatcher then
 * answers 503/408/500 by its code. Errors are JSON {"statusCode","error","message"}; messages are the sentences of
 * api_phrases.c, found by the key that the REST reference uses.
 */
#pragma once

#include "base/json.h"
#include "base/map.h"
#include "mail/login.h"
#include "net/http_server.h"
#include "net/redis.h"
#include "rpc/mailbox.h"
#include "rt/dns.h"
#include "rt/listener.h"
#include "rt/tls.h"
#include "rt/service.h"
#include "store/models.h"

#define API_PARAMS_MAX      4                       /* of one path */
#define API_BODY_BYTES_MAX  ((size_t)1 << 20)       /* JSON and forms, unless the route says more; 413 */
#define API_FORM_KEYS_MAX   1000                    /* 400 */
#define API_LIST_MAX        1000                    /* values of one repeated key; 400 */
#define API_BIG_BODIES_MAX  2                       /* bodies over API_BODY_BYTES_MAX in work at once; others wait */
#define API_REQUEST_ID_MAX  64                      /* longer or odd X-Request-Id: a new one is made */

struct api_config {
    uint16_t port;
    const char *api_url, *web_url, *web_host;        /* "https://api.example.com", "https://example.com", "example.com" */
    const char **exchanges;                          /* SMTP_EXCHANGE_DOMAINS: MX names that are ours; empty: mx_host */
    const char *mx_host, *smtp_host;
    const char *tls_key, *tls_cert;                  /* API_SSL_*: TLS; empty: plain HTTP, loopback only */
    const char *store_uri, *store_key_file;
    const char *redis_host;
    uint16_t redis_port;
    struct secret *redis_password, *helper_key, *txt_key;
    const char *sqlite_host;
    uint16_t sqlite_port;
    struct secret *secrets;                          /* API_SECRETS, comma separated */
    const char *sqlite_ca;
    const char *txt_prefix;                          /* TXT_RECORD_PREFIX: "forward-email" */
    const char *spool_folder;
    uint64_t timeout_ms, ratelimit_ms;
    int64_t ratelimit_max, messages_per_day, recipients_max, forwarded_max;
    const char **ratelimit_allow, **ratelimit_deny, **address_allow;
    uint64_t message_bytes_max, quota_bytes;         /* SMTP_MESSAGE_MAX_SIZE; mailbox default (10 GiB) */
    bool exempt_loopback;                            /* LOGIN_EXEMPT_LOOPBACK: tests */
    int64_t newcomers_max;
    const char **newcomers_exempt;
    uint64_t invite_life_ms;
    bool registration_open;                          /* API_REGISTRATION_ENABLED: POST /v1/account */
    bool sqlite_tls;
};

struct api {
    const struct api_config *config;
    struct store *store;
    struct redis *redis;                             /* NULL: none configured */
    struct login *login;                             /* alias passwords, protocol "api" */
    struct mailbox_server *mailboxes;
    struct directory *directory;                     /* domains and users, as they were a second ago */
    struct spool_dir *spools;
    struct http_server http;
    struct tls_server *tls;                          /* NULL: plain HTTP on loopback */
    struct listener *listener;
    struct metric *requests, *took;
    unsigned big_bodies;                             /* being parsed or worked on, at most API_BIG_BODIES_MAX */
    struct fiber_event big_done;
    struct map *over;                                /* callers over their limit, until when (api_limit.c) */
    json_t *description;                             /* /openapi.json, made once */
};

enum api_auth {                                      /* who may call; a set */
    API_NOBODY = 0,                                  /* needs nothing */
    API_TOKEN = 1,                                   /* account token as user name, empty password */
    API_ALIAS = 2,                                   /* name@domain and an alias password */
    API_CATCHALL = 4,                                /* with API_ALIAS: for sending; a domain-wide password does, too, and a mailbox is not needed */
};

enum api_flags {
    API_DOMAIN = 1,          /* the first parameter is :domain_id; 404 DOMAIN_DOES_NOT_EXIST unless the caller is a member */
    API_DOMAIN_ADMIN = 2,    /* ... and 400 IS_NOT_ADMIN unless an admin of it */
    API_DOMAIN_ALIAS = 4,    /* ... and the second is :alias_id; 404 ALIAS_DOES_NOT_EXIST, also for somebody else's */
    API_OWN_BODY = 8,        /* the handler reads the body itself (call->body stays empty) */
    API_PAGED = 16,          /* takes page, limit, sort and answers with the page headers; for the documentation */
    API_NO_GLOBAL_LIMIT = 32,
};

struct api_call {
    struct api *api;
    const struct api_route *route;
    struct http_request *rq;
    struct arena *arena;
    struct deadline until;                           /* API_TIMEOUT_MS from the first byte */
    struct slice request_id;
    char peer_ip[64];
    struct slice params[API_PARAMS_MAX];             /* of the path, unescaped, in order */
    json_t *query, *body;                            /* objects, never NULL; released by the dispatcher. The same keys whether JSON, form or multipart;
                                                        `a[]=` and repeated keys are arrays, `a[b]=` objects; query and form values are strings */
    enum api_auth auth;                              /* who it is: API_TOKEN, API_ALIAS or API_CATCHALL */
    struct user_doc user;                            /* API_TOKEN: the caller; API_ALIAS, API_CATCHALL: the alias's (domain's) owner */
    struct login_result who;                         /* API_ALIAS: its data key is the call's */
    struct domain_doc domain;                        /* API_DOMAIN, API_ALIAS, API_CATCHALL */
    bool is_domain_admin;
    struct alias_doc alias;                          /* API_DOMAIN_ALIAS, API_ALIAS */
    json_t *user_document, *domain_document, *alias_document;   /* as stored, where they were loaded; may be NULL; released by the dispatcher */
    uint64_t started_us;
    bool holds_big_body;
    unsigned status;                                 /* once answered */
    struct slice refused;                            /* key of the refusal, for the log */
};

typedef int api_handler(struct api_call *c, struct fault *why) SUSPENDS;

enum api_type { API_STRING, API_INTEGER, API_BOOLEAN, API_STRINGS /* text list or array */, API_DATE, API_OBJECT, API_ARRAY, API_ANY, API_BINARY };
struct api_param {                                   /* of query or body; path parameters come from the path */
    const char *name;
    enum api_type type;
    bool in_query, required;
    const char *help;                                /* one sentence; NULL ends the list */
};

struct api_route {
    const char *method, *path;                       /* "GET", "/v1/domains/:domain_id"; path NULL ends the table */
    unsigned auth, flags;
    unsigned per_day;                                /* calls per user (else address) in 24 hours; 0: only the global limit */
    size_t body_bytes_max;                           /* 0: API_BODY_BYTES_MAX */
    api_handler *handle;
    const struct api_param *params;                  /* or NULL */
    const char *answer;                              /* schema of the 200 answer: "Domain", "[Domain]", or "text" */
    const char *operation, *summary;                 /* "createDomain"; one sentence */
    const char *statuses;                            /* documented beside 200 and those auth and flags imply: "400 404 409" */
};
extern const struct api_route account_routes[], register_routes[], domain_routes[], member_routes[], invite_routes[], catchall_routes[], alias_routes[], email_routes[], log_routes[], public_routes[];
extern const struct api_route *const api_route_lists[];    /* NULL ends it (api_routes.c) */
extern const char *const api_schema_lists[];
/* JSON Schemas of answers by name, as JSON text: {"Alias":{...},...}; each file of endpoints has its own. */
extern const char account_schemas[], register_schemas[], domain_schemas[], alias_schemas[], email_schemas[], log_schemas[];

/* ---- answers (api_reply.c) ---------------------------------------------------------------------------------------- */

/* JSON text as it is, in the same way as api_reply_json. */
int api_reply_json_text(struct api_call *c, struct slice text) SUSPENDS;
/* Takes `value`. 200 JSON, ETag and If-None-Match on GET. Returns 0, so that `return api_reply_json(...)` reads well. */
int api_reply_json(struct api_call *c, json_t *value) SUSPENDS;
int api_reply_text(struct api_call *c, struct slice text) SUSPENDS;                  /* 200, text/plain */
/* {"statusCode","error","message"}: the phrase of `key`, or `key` itself when it is a sentence (has a blank). Returns 0. */
int api_refuse(struct api_call *c, unsigned status, const char *key) SUSPENDS;
/* With a message made up for the case; `key` is for the log. */
int api_refuse_text(struct api_call *c, unsigned status, const char *key, struct slice message) SUSPENDS;
const char *api_phrase(const char *key);
/* Any status and type, with X-Response-Time: what the above end in. Before an answer that is streamed (http_reply_begin), call
 * api_reply_headers and set c->status.                                                                            */
int api_reply(struct api_call *c, unsigned status, struct slice type, struct slice body) SUSPENDS;
void api_reply_headers(struct api_call *c);
/* For streamed answers to GET: sets the (quoted) ETag; true: the client has it already and 304 is sent. */
bool api_reply_unchanged(struct api_call *c, struct slice etag) SUSPENDS;

/* ---- what was asked (api_args.c). `body` getters look into c->body first, then c->query ------------------------------------ */

bool api_has(const struct api_call *c, const char *key);
struct slice api_text(const struct api_call *c, const char *key);                     /* trimmed; numbers as text; SLICE_NONE when absent or not a scalar */
/* false/0/"" and everything but true t yes y on 1 are false */
bool api_bool(const struct api_call *c, const char *key, bool otherwise);
/* false: not an integer within the range */
bool api_int(const struct api_call *c, const char *key, int64_t least, int64_t most, int64_t otherwise, int64_t *out) MUST_CHECK;
/* "1 GB", "500mb", a number of bytes; false: neither */
bool api_bytes(const struct api_call *c, const char *key, uint64_t *out) MUST_CHECK;
/* An array, or text split at commas, blanks and line ends; empties dropped. Returns the count, at most API_LIST_MAX. */
size_t api_strings(const struct api_call *c, const char *key, struct slice **out);

/* ---- pages: page, limit, sort ------------------------------------------------------------------------------------------------ */

struct api_page { uint64_t page, limit; struct store_page store; };                   /* page from 1 */
void api_page_read(struct api_call *c, uint64_t initial, uint64_t most, const char *const *sortable, const char *order, struct api_page *out);
/* X-Page-*, X-Item-Count and Link (RFC 8288), then the array. Takes `items`. */
int api_reply_page_text(struct api_call *c, const struct api_page *page, uint64_t total, size_t count, struct slice items) SUSPENDS;   /* JSON text of `count` */
int api_reply_page(struct api_call *c, const struct api_page *page, uint64_t total, json_t *items) SUSPENDS;

/* ---- the order of things (api_dispatch.c and what it calls) ------------------------------------------------------------------------- */

void api_handle(struct http_request *rq, void *api) SUSPENDS;                         /* http_server.handle */
/* Route for the path, or NULL. A literal segment fits better than a parameter, whatever the order of the lists. HEAD as GET. */
const struct api_route *api_route_find(struct arena *a, struct slice method, struct slice path, struct slice params[API_PARAMS_MAX]);
/* api_auth.c: 0: c->auth, user, who, domain, alias are filled; 1: refused and answered. */
int api_authenticate(struct api_call *c, struct fault *why) MUST_CHECK SUSPENDS;
int api_load_parameters(struct api_call *c, struct fault *why) MUST_CHECK SUSPENDS;   /* domain and alias of the path; as above */
int api_limit(struct api_call *c, struct fault *why) MUST_CHECK SUSPENDS;             /* api_limit.c; as above */
int api_body_read(struct api_call *c, struct fault *why) MUST_CHECK SUSPENDS;         /* api_body.c; as above */
void api_limit_free(struct api *api);
/* Form texts into one object (api_form.c); false: malformed, too many keys, a file. */
bool api_form_parse(struct arena *a, struct slice text, json_t *into) MUST_CHECK;
bool api_form_put(struct arena *a, json_t *into, struct slice key, struct slice value) MUST_CHECK;   /* a, a[], a[b] */
struct slice api_header_param(struct arena *a, struct slice header, const char *name);   /* of `form-data; name="x"`; SLICE_NONE: absent */
bool api_multipart_parse(struct arena *a, struct slice boundary, struct slice text, json_t *into) MUST_CHECK;
json_t *api_openapi(const struct api *api);                                          /* owned by the caller */

/* ---- shared pieces ---------------------------------------------------------------------------------------------------------------- */

#define API_EXPOSE(...) ((const char *const[]){ __VA_ARGS__, NULL })
struct slice api_date(struct arena *a, int64_t wall_ms);                              /* ISO text; SLICE_NONE for 0 */
void api_set_date(json_t *object, const char *key, int64_t wall_ms);                  /* null for 0 */
/* Event alias:<id> and our own caches: password changed, switched off, deleted. */
void api_alias_changed(struct api_call *c, const char *alias_id);
/* The same for domain:<id>: a catch-all password taken back, the domain deleted. What a call other than GET changed is dropped from
 * this process's caches in any case before its answer goes out.                                                    */
void api_domain_changed(struct api_call *c, const char *domain_id);
/* A turn for a body over API_BODY_BYTES_MAX that the handler reads itself (API_OWN_BODY): at most API_BIG_BODIES_MAX calls hold
 * one; it ends with the call. FAULT_TIMEOUT: none came free before c->until. Take it with the bytes at hand (spooled), not
 * before: a slow client must not keep the others waiting.                                                          */
int api_big_body_begin(struct api_call *c, struct fault *why) MUST_CHECK SUSPENDS;
void api_big_body_end(struct api_call *c);
/* An e-mail address as it is stored: lower case, the domain in A-labels. False: none, a literal, too long. */
bool api_email_read(struct api_call *c, struct slice given, struct slice *out);
/* How an object of that kind looks to this caller; owned by the caller. */
json_t *api_domain_json(struct api_call *c, const struct domain_doc *d, const json_t *document, bool in_list) SUSPENDS;      /* api_domains.c */
json_t *api_user_json(struct api_call *c, const struct user_doc *u);                                                          /* api_account.c */
