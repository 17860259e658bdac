/* mailbox_session.c - the connection to the mailbox server and the life of an opened mailbox.
 *
 * Owns struct mailbox_server and struct mailbox. Called by imap, pop3, mx, api, fectl. A session
 * dies with its connection; the mailbox then opens itself again with the key it holds and raises
 * its generation. Suspends for round trips.
 */
#include "rpc/mailbox_internal.h"

#define CALL_TRIES 3

struct mailbox_server *mailbox_server_new(const struct mailbox_server_options *options)
{
    const struct rpc_client_options rpc = {
        .host = options->host,
        .port = options->port,
        .secret = options->secret,
        .tls = options->tls,
        .ca_path = options->ca_path,
    };
    struct mailbox_server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        abort();
    s->rpc = rpc_client_new(&rpc);
    return s;
}

void mailbox_server_free(struct mailbox_server **sp)
{
    struct mailbox_server *s = *sp;

    if (s == NULL)
        return;
    *sp = NULL;
    rpc_client_free(&s->rpc);
    free(s);
}

static int server_do(struct mailbox_server *s, const char *action, const json_t *args,
                     const struct slice *pieces, size_t piece_count, struct deadline until,
                     struct fault *why)
{
    const struct rpc_request request = {
        .action = action, .args = args, .pieces = pieces, .piece_count = piece_count};
    AUTO(arena_free) struct arena *in = arena_new(512);
    struct rpc_answer answer;

    if (rpc_client_call(s->rpc, &request, 0, in, until, &answer, why) < 0)
        return -1;
    json_release(&answer.ok);
    return 0;
}

int mailbox_server_ping(struct mailbox_server *s, struct deadline until, struct fault *why)
{
    return server_do(s, "ping", NULL, NULL, 0, until, why);
}

/* ---- answers ---- */

int mailbox_bad_answer(const char *action, struct fault *why)
{
    return fault_set(why, FAULT_PROTOCOL, "mailbox server: bad answer to %s", action);
}

int mailbox_answer_piece(const struct rpc_answer *answer, size_t i, struct slice *out,
                         struct fault *why)
{
    if (i >= answer->piece_count)
        return fault_set(why, FAULT_PROTOCOL, "mailbox server: answer without its pieces");
    *out = answer->pieces[i];
    return 0;
}

uint64_t mailbox_get_u64(const json_t *ok, const char *key)
{
    int64_t v = json_get_int(ok, key, 0);

    return v < 0 ? 0 : (uint64_t)v;
}

int mailbox_copy_session(const json_t *ok, char out[RPC_SESSION_BYTES], struct fault *why)
{
    struct slice session = json_get_slice(ok, "session");

    if (session.n != RPC_SESSION_BYTES)
        return fault_set(why, FAULT_PROTOCOL, "mailbox server: answer without a session");
    for (size_t i = 0; i < session.n; i++)
        if (!ascii_is_alnum(session.p[i]))
            return fault_set(why, FAULT_PROTOCOL, "mailbox server: malformed session");
    memcpy(out, session.p, RPC_SESSION_BYTES);
    return 0;
}

/* ---- opening ---- */

static int add_wrap_ids(json_t *args, struct slice wrap_ids_json, struct fault *why)
{
    json_t *ids = NULL;

    if (json_parse(wrap_ids_json, RPC_TEXT_BYTES_MAX / 2, &ids, why) < 0)
        return -1;
    if (!json_is_array(ids)) {
        json_release(&ids);
        return fault_set(why, FAULT_INVALID, "wrap ids are no array");
    }
    return json_object_set_new(args, "wrap_ids", ids) < 0
               ? fault_set(why, FAULT_INVALID, "wrap ids")
               : 0;
}

int mailbox_create(struct mailbox_server *s, struct slice alias_id, const struct secret *data_key,
                   struct slice public_key, struct slice wrap_ids_json, struct deadline until,
                   struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    const struct slice pieces[] = {secret_slice(data_key), public_key};

    (void)json_set_slice(args, "alias_id", alias_id);
    if (add_wrap_ids(args, wrap_ids_json, why) < 0)
        return -1;
    return server_do(s, "mailbox.create", args, pieces, COUNT(pieces), until, why);
}

int mailbox_delete(struct mailbox_server *s, struct slice alias_id, struct deadline until,
                   struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();

    (void)json_set_slice(args, "alias_id", alias_id);
    return server_do(s, "mailbox.delete", args, NULL, 0, until, why);
}

int mailbox_get_sizes(struct mailbox_server *s, const struct slice *alias_ids, size_t count,
                      struct deadline until, uint64_t *out, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    AUTO(json_release) json_t *ok = NULL;
    AUTO(arena_free) struct arena *in = arena_new(512);
    const struct rpc_request request = {.action = "mailbox.sizes", .args = args};
    json_t *ids = json_array();
    struct rpc_answer answer;
    const json_t *bytes;

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(ids, json_slice(alias_ids[i]));
    (void)json_object_set_new(args, "alias_ids", ids);
    if (rpc_client_call(s->rpc, &request, 0, in, until, &answer, why) < 0)
        return -1;
    ok = answer.ok;
    bytes = json_object_get(ok, "bytes");
    if (json_array_size(bytes) != count)
        return mailbox_bad_answer("mailbox.sizes", why);
    for (size_t i = 0; i < count; i++)
        out[i] = (uint64_t)json_integer_value(json_array_get(bytes, i));
    return 0;
}

static int open_session(struct mailbox *mb, struct deadline until, struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();
    AUTO(rpc_exchange_close) struct rpc_exchange *x = NULL;
    const struct slice key = secret_slice(mb->key);
    const struct rpc_request request = {
        .action = "mailbox.open", .args = args, .pieces = &key, .piece_count = 1};
    const json_t *ok;

    (void)json_set_slice(args, "alias_id", slice_of(mb->alias_id));
    (void)json_set_slice(args, "wrap_id", slice_of(mb->wrap_id));
    (void)json_set_int(args, "scope", mb->scope);
    if (rpc_exchange_begin(mb->server->rpc, &request, until, &x, why) < 0 ||
        rpc_exchange_answer(x, &ok, why) < 0)
        return -1;
    if (mailbox_copy_session(ok, mb->session, why) < 0)
        return -1;
    mb->connection = rpc_exchange_generation(x);
    mb->generation++;
    return 0;
}

int mailbox_ensure_open(struct mailbox *mb, struct deadline until, struct fault *why)
{
    int r = 0;

    if (mb->connection != 0 && mb->connection == rpc_client_generation(mb->server->rpc))
        return 0;
    if (fiber_mutex_lock(&mb->opening, until, why) < 0)
        return -1;
    if (mb->connection == 0 || mb->connection != rpc_client_generation(mb->server->rpc))
        r = open_session(mb, until, why);
    fiber_mutex_unlock(&mb->opening);
    return r;
}

void mailbox_forget_session(struct mailbox *mb, uint64_t connection)
{
    if (mb->connection == connection)
        mb->connection = 0;
}

static void mailbox_free(struct mailbox **mbp)
{
    struct mailbox *mb = *mbp;

    if (mb == NULL)
        return;
    *mbp = NULL;
    secret_unref(&mb->key);
    free(mb->alias_id);
    free(mb->wrap_id);
    free(mb->append_path);
    memory_wipe(mb->session, sizeof(mb->session));
    free(mb);
}

int mailbox_open(struct mailbox_server *s, struct slice alias_id, const struct secret *data_key,
                 struct slice wrap_id, unsigned scope, struct deadline until, struct mailbox **out,
                 struct fault *why)
{
    AUTO(mailbox_free) struct mailbox *mb = calloc(1, sizeof(*mb));

    if (mb == NULL)
        abort();
    mb->server = s;
    mb->alias_id = strndup(alias_id.p, alias_id.n);
    mb->wrap_id = strndup(wrap_id.n > 0 ? wrap_id.p : "", wrap_id.n);
    if (mb->alias_id == NULL || mb->wrap_id == NULL)
        abort();
    mb->key = secret_new(secret_slice(data_key));
    mb->scope = scope;
    fiber_mutex_init(&mb->opening);
    if (mailbox_ensure_open(mb, until, why) < 0)
        return -1;
    *out = mb;
    mb = NULL;
    return 0;
}

void mailbox_close(struct mailbox **mbp)
{
    struct mailbox *mb = *mbp;
    struct rpc_request request = {.action = "mailbox.close"};

    if (mb == NULL)
        return;
    request.session = slice_make(mb->session, sizeof(mb->session));
    request.generation = mb->connection;
    if (mb->connection != 0)
        rpc_client_tell(mb->server->rpc, &request);
    mailbox_free(mbp);
}

uint64_t mailbox_generation(const struct mailbox *mb)
{
    return mb->generation;
}

struct slice mailbox_alias_id(const struct mailbox *mb)
{
    return slice_of(mb->alias_id);
}

/* ---- calls ---- */

/* After a failed try: is it right to send the same request once more? */
static bool is_worth_repeating(struct mailbox *mb, uint64_t connection, enum mailbox_repeat repeat,
                               const struct fault *why)
{
    if (why->code == FAULT_CLOSED) /* the session is unknown there: nothing was done */
        return true;
    return why->code == FAULT_UNAVAILABLE && repeat == REPEAT_SAFE &&
           rpc_client_generation(mb->server->rpc) != connection;
}

int mailbox_call(struct mailbox *mb, struct rpc_request *request, enum mailbox_repeat repeat,
                 struct arena *in, struct deadline until, struct rpc_answer *answer,
                 struct fault *why)
{
    for (int i = 0; i < CALL_TRIES; i++) {
        if (mailbox_ensure_open(mb, until, why) < 0)
            return -1;
        request->session = slice_make(mb->session, sizeof(mb->session));
        request->generation = mb->connection;
        if (rpc_client_call(mb->server->rpc, request, PACK_BYTES_MAX, in, until, answer, why) == 0)
            return 0;
        if (!is_worth_repeating(mb, request->generation, repeat, why))
            return -1;
        mailbox_forget_session(mb, request->generation);
    }
    why->code = FAULT_UNAVAILABLE;
    return -1;
}

int mailbox_do(struct mailbox *mb, const char *action, const json_t *args,
               const struct slice *pieces, size_t piece_count, enum mailbox_repeat repeat,
               struct deadline until, struct fault *why)
{
    struct rpc_request request = {
        .action = action, .args = args, .pieces = pieces, .piece_count = piece_count};
    AUTO(arena_free) struct arena *in = arena_new(512);
    struct rpc_answer answer;

    if (mailbox_call(mb, &request, repeat, in, until, &answer, why) < 0)
        return -1;
    json_release(&answer.ok);
    return 0;
}

/* ---- the mailbox as a whole ---- */

int mailbox_set_wraps(struct mailbox *mb, struct slice wrap_ids_json, struct deadline until,
                      struct fault *why)
{
    AUTO(json_release) json_t *args = json_object();

    if (add_wrap_ids(args, wrap_ids_json, why) < 0)
        return -1;
    return mailbox_do(mb, "mailbox.set_wraps", args, NULL, 0, REPEAT_SAFE, until, why);
}

int mailbox_rekey(struct mailbox *mb, const struct secret *new_key, struct slice public_key,
                  struct deadline until, struct fault *why)
{
    const struct slice pieces[] = {secret_slice(new_key), public_key};

    if (mailbox_do(mb, "mailbox.rekey", NULL, pieces, COUNT(pieces), REPEAT_NEVER, until, why) < 0)
        return -1;
    secret_unref(&mb->key);
    mb->key = secret_new(secret_slice(new_key));
    return 0;
}

int mailbox_verify(struct mailbox *mb, struct arena *in, struct slice *report,
                   struct deadline until, struct fault *why)
{
    struct rpc_request request = {.action = "mailbox.verify"};
    AUTO(json_release) json_t *ok = NULL;
    struct rpc_answer answer;

    if (mailbox_call(mb, &request, REPEAT_SAFE, in, until, &answer, why) < 0)
        return -1;
    ok = answer.ok;
    if (mailbox_answer_piece(&answer, 0, report, why) < 0)
        return -1;
    if (json_get_bool(ok, "corrupt", false))
        return fault_set(why, FAULT_CORRUPT, "the mailbox is damaged; see the report");
    return 0;
}

int mailbox_get_usage(struct mailbox *mb, struct deadline until, struct mailbox_usage *out,
                      struct fault *why)
{
    struct rpc_request request = {.action = "mailbox.usage"};
    AUTO(arena_free) struct arena *in = arena_new(512);
    struct rpc_answer answer;

    if (mailbox_call(mb, &request, REPEAT_SAFE, in, until, &answer, why) < 0)
        return -1;
    out->messages = mailbox_get_u64(answer.ok, "messages");
    out->bytes_used = mailbox_get_u64(answer.ok, "bytes_used");
    out->bytes_sealed = mailbox_get_u64(answer.ok, "bytes_sealed");
    out->bytes_quota = mailbox_get_u64(answer.ok, "bytes_quota");
    json_release(&answer.ok);
    return 0;
}
