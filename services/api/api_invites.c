/* api_invites.c - invitations into a domain: an administrator sends one, the account it names takes it up.
 *
 * Owns      nothing. An invitation is an object in `invites` of the domain: email, group, token, expires_at. Suspends for the store.
 *
 * The token alone lets nobody in: the account's own address must be the invited one. The mail comes from the domain itself where it may
 * send, else from the installation's own name; it has no sender to be answered or bounced to (RFC 3834 2).
 */
#include "api_domains.h"

#include "base/encode.h"
#include "base/secret.h"
#include "mail/compose.h"
#include "mail/outbound.h"

#define INVITES_MAX     100
#define TOKEN_BYTES     24

static json_t *invites_of(const json_t *document)
{
    return json_object_get(document, "invites");
}

static bool is_expired(const json_t *invite)
{
    int64_t at = 0;

    return !date_parse_iso(json_get_slice(invite, "expires_at"), &at) || at <= clock_wall_ms();
}

json_t *api_invites_json(const json_t *document)
{
    json_t *list = json_array(), *invite;
    size_t i;

    json_array_foreach(invites_of(document), i, invite) {
        json_t *o = json_object();
        struct slice group = json_get_slice(invite, "group");

        (void)json_set_slice(o, "email", json_get_slice(invite, "email"));
        (void)json_set_slice(o, "group", group);
        if (!slice_equal(group, LIT("admin")))  /* who sees the list could make an account of that address, but not an administrator */
            (void)json_set_slice(o, "token", json_get_slice(invite, "token"));
        (void)json_set_slice(o, "expires_at", json_get_slice(invite, "expires_at"));
        (void)json_array_append_new(list, o);
    }
    return list;
}

/* ---- sending one ------------------------------------------------------------------------------------------------- */

struct invitation { struct slice email, group, token; };

static int add_invite(struct api_call *c, const struct domain_now *now, struct store_update *u, const void *arg)
{
    const struct invitation *in = arg;
    json_t *list = json_array(), *old, *one = json_object();
    size_t i;

    json_array_foreach(invites_of(now->document), i, old) {
        if (is_expired(old))
            continue;
        if (slice_equal(json_get_slice(old, "email"), in->email)) {
            json_decref(list);
            json_decref(one);
            return (void)api_refuse(c, 400, "INVITE_ALREADY_SENT"), 1;
        }
        (void)json_array_append(list, old);
    }
    (void)json_set_slice(one, "email", in->email);
    (void)json_set_slice(one, "group", in->group);
    (void)json_set_slice(one, "token", in->token);
    (void)json_set_slice(one, "expires_at", slice_of(date_format_iso(clock_wall_ms() + (int64_t)c->api->config->invite_life_ms).s));
    (void)json_array_append_new(list, one);
    store_set_json(u, "invites", list);
    i = json_array_size(list);
    json_decref(list);
    return i > INVITES_MAX ? ((void)api_refuse(c, 400, "TOO_MANY_INVITES"), 1) : 0;
}

static int put(void *blob, struct slice bytes, struct fault *why)
{
    return store_blob_write(blob, bytes, why);
}

static struct slice words(struct api_call *c, const struct invitation *in)
{
    return arena_printf(c->arena,
        "%.*s invites you to %s the domain %.*s.\r\n\r\n"
        "To accept, call this address with the API token of your account (%.*s) before %s:\r\n\r\n"
        "    curl -u YOUR_TOKEN: %s/v1/domains/%s/invites/%.*s\r\n\r\n"
        "If you did not expect this, you need not do anything.\r\n",
        SLICE(c->user.email), slice_equal(in->group, LIT("admin")) ? "administer" : "have addresses on", SLICE(c->domain.name), SLICE(in->email),
        date_format_rfc5322(clock_wall_ms() + (int64_t)c->api->config->invite_life_ms).s, c->api->config->api_url, c->domain.id, SLICE(in->token));
}

static int write_mail(struct api_call *c, const struct invitation *in, struct email_doc *doc, struct store_blob *blob, struct fault *why)
{
    struct slice host = c->domain.has_smtp ? c->domain.name : slice_of(c->api->config->web_host), header;
    struct compose_header automatic = { LIT("Auto-Submitted"), LIT("auto-generated") };
    struct compose m = {
        .subject = doc->subject, .text = words(c, in), .headers = &automatic, .header_count = 1,
        .message_id = arena_printf(c->arena, "<%.*s>", SLICE(doc->message_id)),
    };

    m.date = arena_copy(c->arena, slice_of(date_format_rfc5322(doc->date).s));
    compose_boundary(&m);
    if (compose_address(c->arena, c->domain.name, arena_printf(c->arena, "no-reply@%.*s", SLICE(host)), &m.from, why) < 0 ||
        compose_address(c->arena, SLICE_NONE, in->email, &m.to, why) < 0 || compose_header(&m, c->arena, &header, why) < 0 ||
        store_blob_write(blob, header, why) < 0)
        return -1;
    doc->size_bytes = (int64_t)(header.n + m.text.n);
    return compose_body(&m, put, blob, why);
}

static int send_mail(struct api_call *c, const struct invitation *in, struct fault *why)
{
    AUTO(store_blob_abort) struct store_blob *blob = store_blob_new(c->api->store);
    struct email_recipient to = { .address = in->email, .notify = LIT("NEVER") };
    struct email_doc doc = {
        .recipients = &to, .recipient_count = 1, .is_bounce = true, .date = clock_wall_ms(), .is_smtputf8 = !slice_is_ascii(in->email),
        .subject = arena_printf(c->arena, "Invitation to %.*s", SLICE(c->domain.name)),
        .message_id = arena_printf(c->arena, "%s@%s", object_id_new().s, c->api->config->smtp_host),
    };

    memcpy(doc.domain, c->domain.id, sizeof(doc.domain));
    memcpy(doc.user, c->user.id, sizeof(doc.user));
    if (write_mail(c, in, &doc, blob, why) < 0 || email_enqueue(c->api->store, &doc, &blob, c->until, why) < 0)
        return -1;
    outbound_publish(c->api->redis, c->arena, doc.id);
    log_event(LOG_INFO, "api.invite.sent", F_ID("domain", c->domain.id), F_ID("user", c->user.id), F_STR("msg", doc.id));
    return 0;
}

static int pull_invite(UNUSED struct api_call *c, UNUSED const struct domain_now *now, struct store_update *u, const void *arg)
{
    const struct slice *email = arg;

    store_pull_where(u, "invites", "email", *email);
    return 0;
}

static int drop_invite(struct api_call *c, struct slice email, struct fault *why)
{
    return api_domain_change(c, pull_invite, &email, why);
}

/* 1: refused and answered. */
static int check_stranger(struct api_call *c, struct slice email, struct fault *why)
{
    struct user_doc user;

    if (user_find_by_email(c->api->store, email, c->arena, c->until, &user, why) < 0)
        return why->code == FAULT_NOT_FOUND ? 0 : -1;
    if (domain_find_member(&c->domain, slice_of(user.id)) == NULL)
        return 0;
    (void)api_refuse(c, 400, "USER_ALREADY_MEMBER");
    return 1;
}

static int create_invite(struct api_call *c, struct fault *why)
{
    struct invitation in = { .group = api_text(c, "group") };
    unsigned char token[TOKEN_BYTES];
    struct fault ignored;
    int r;

    if (!api_email_read(c, api_text(c, "email"), &in.email))
        return api_refuse(c, 400, "INVALID_EMAIL");
    if (!slice_equal(in.group, LIT("admin")) && !slice_equal(in.group, LIT("user")))
        return api_refuse(c, 400, "INVALID_GROUP");
    if ((r = check_stranger(c, in.email, why)) != 0)
        return r < 0 ? -1 : 0;
    random_bytes(token, sizeof(token));
    in.token = hex_encode(c->arena, slice_make(token, sizeof(token)));
    if ((r = api_domain_change(c, add_invite, &in, why)) != 0)
        return r < 0 ? -1 : 0;
    if (send_mail(c, &in, why) == 0)
        return api_domain_reply(c, why);
    if (drop_invite(c, in.email, &ignored) < 0 || why->code != FAULT_INVALID)
        return -1;
    why->code = FAULT_NONE;
    return api_refuse(c, 400, "INVITE_EMAIL_ERROR");
}

static int delete_invite(struct api_call *c, struct fault *why)
{
    struct slice email;

    if (!api_email_read(c, api_text(c, "email"), &email))
        return api_refuse(c, 400, "INVALID_EMAIL");
    return drop_invite(c, email, why) < 0 ? -1 : api_domain_reply(c, why);
}

/* ---- taking one up -------------------------------------------------------------------------------------------------- */

static const json_t *invite_with_token(const json_t *document, struct slice token)
{
    const json_t *found = NULL;
    json_t *invite;
    size_t i;

    json_array_foreach(invites_of(document), i, invite)
        if (secret_equal(json_get_slice(invite, "token"), token))
            found = invite;
    return found;
}

static const json_t *invite_of(const json_t *document, struct slice email)
{
    json_t *invite;
    size_t i;

    json_array_foreach(invites_of(document), i, invite)
        if (slice_equal(json_get_slice(invite, "email"), email))
            return invite;
    return NULL;
}

static int reply_joined(struct api_call *c, const char *form, struct slice group)
{
    return api_reply_text(c, arena_printf(c->arena, "%s %.*s as %s.", form, SLICE(c->domain.name), slice_equal(group, LIT("admin")) ? "an administrator" : "a user"));
}

/* How an invitation is looked for, and what was found. */
struct taking { struct slice token; struct slice group; };   /* no token: by the caller's address */

/* Becomes a member and uses the invitation up, in one change of one document. */
static int join(struct api_call *c, const struct domain_now *now, struct store_update *u, const void *arg)
{
    struct taking *t = (struct taking *)(uintptr_t)arg;
    const json_t *invite = t->token.n > 0 ? invite_with_token(now->document, t->token) : invite_of(now->document, c->user.email);
    const struct domain_member *me = domain_find_member(now->domain, slice_of(c->user.id));
    AUTO(json_release) json_t *member = json_pack("{s:s}", "user", c->user.id);

    if (me != NULL)
        return (void)reply_joined(c, "You belong already to", me->is_admin ? LIT("admin") : LIT("user")), 1;
    if (invite == NULL)
        return (void)api_refuse(c, 404, "INVITE_DOES_NOT_EXIST"), 1;
    if (is_expired(invite))
        return (void)api_refuse(c, 410, "INVITE_EXPIRED"), 1;
    if (!slice_equal(json_get_slice(invite, "email"), c->user.email))
        return (void)api_refuse(c, 403, "INVITE_WRONG_ACCOUNT"), 1;
    if (now->domain->member_count >= DOMAIN_MEMBERS_MAX)
        return (void)api_refuse(c, 400, "TOO_MANY_MEMBERS"), 1;
    t->group = arena_copy(c->arena, json_get_slice(invite, "group"));
    (void)json_set_slice(member, "group", t->group);
    store_push(u, "members", member);
    store_pull_where(u, "invites", "email", c->user.email);
    return 0;
}

static int take_up(struct api_call *c, struct slice token, struct fault *why)
{
    struct taking t = { token, SLICE_NONE };
    int r = api_domain_change(c, join, &t, why);

    if (r != 0)
        return r < 0 ? -1 : 0;
    log_event(LOG_INFO, "api.invite.taken", F_ID("domain", c->domain.id), F_ID("user", c->user.id), F_SLICE("group", t.group));
    return reply_joined(c, "You have joined", t.group);
}

/* The caller is no member yet, so the domain is not looked for in the usual way; and no stranger learns which domains there are. */
static int find_invited(struct api_call *c, struct fault *why)
{
    if (!object_id_is_valid(c->params[0]) ||
        store_find_one(c->api->store, DOMAINS, store_filter_id(c->arena, c->params[0]), NULL, c->until, &c->domain_document, why) < 0) {
        if (object_id_is_valid(c->params[0]) && why->code != FAULT_NOT_FOUND)
            return -1;
        why->code = FAULT_NONE;
        (void)api_refuse(c, 404, "INVITE_DOES_NOT_EXIST");
        return 1;
    }
    return domain_parse(c->domain_document, c->arena, &c->domain, why);
}

static int take_up_by_token(struct api_call *c, struct fault *why)
{
    int r = find_invited(c, why);

    return r != 0 ? (r < 0 ? -1 : 0) : take_up(c, c->params[1], why);
}

static int take_up_by_address(struct api_call *c, struct fault *why)
{
    int r = find_invited(c, why);

    return r != 0 ? (r < 0 ? -1 : 0) : take_up(c, SLICE_NONE, why);
}

static const struct api_param create_params[] = {
    { "email", API_STRING, false, true, "whom to invite" },
    { "group", API_STRING, false, true, "admin or user" },
    { .name = NULL },
};
static const struct api_param delete_params[] = {
    { "email", API_STRING, false, true, "who was invited; may also stand in the query" },
    { .name = NULL },
};

const struct api_route invite_routes[] = {
    { .method = "POST", .path = "/v1/domains/:domain_id/invites", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN, .per_day = 50,
      .handle = create_invite, .params = create_params, .answer = "Domain", .operation = "createInvite", .statuses = "409",
      .summary = "Invites somebody by mail; the invitation is good for some days (API_INVITE_LIFE)." },
    { .method = "GET", .path = "/v1/domains/:domain_id/invites", .auth = API_TOKEN, .handle = take_up_by_address, .answer = "text",
      .operation = "acceptInviteByAddress", .statuses = "400 403 404 409 410", .summary = "Takes up the invitation for your address. The domain is named by its id." },
    { .method = "GET", .path = "/v1/domains/:domain_id/invites/:token", .auth = API_TOKEN, .handle = take_up_by_token, .answer = "text",
      .operation = "acceptInvite", .statuses = "400 403 404 409 410", .summary = "Takes up an invitation. The domain is named by its id." },
    { .method = "DELETE", .path = "/v1/domains/:domain_id/invites", .auth = API_TOKEN, .flags = API_DOMAIN | API_DOMAIN_ADMIN, .handle = delete_invite,
      .params = delete_params, .answer = "Domain", .operation = "deleteInvite", .statuses = "409", .summary = "Takes an invitation back, if there is one." },
    { .path = NULL },
};
