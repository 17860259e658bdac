/* imap_dispatch.c - the table of commands: in which states each may run, and what it may do to message numbers.
 *
 * Owns constant tables. Called by imap_session for each complete command; the bytes stay in `arena` until it is answered.
 * Answers BAD for what it does not know. Suspends as handlers do.
 */
#include "imap_dispatch.h"
#include "commands.h"
#include "imap_session.h"
#include "base/log.h"

enum command_flags {
    TAKES_UID = 1,                  /* "UID x" is a command too */
    KEEPS_NUMBERS = 2,              /* by message number: no EXPUNGE before it ends (RFC 9051 7.5.1) */
    HAS_SECRETS = 4,                /* its bytes are wiped */
    UID_ONLY_ARGS = 8,              /* takes arguments only as "UID x" */
    NO_ARGS = 16,
};

enum {
    ANY = IMAP_NOT_AUTHENTICATED | IMAP_AUTHENTICATED | IMAP_SELECTED,
    BEFORE = IMAP_NOT_AUTHENTICATED,
    AFTER = IMAP_AUTHENTICATED | IMAP_SELECTED,
    SELECTED = IMAP_SELECTED,
};

static const struct imap_command {
    const char *name;
    int (*run)(struct imap_cmd *cmd);
    unsigned states, flags;
} commands[] = {
    { "CAPABILITY", cmd_capability, ANY, NO_ARGS },
    { "NOOP", cmd_noop, ANY, NO_ARGS },
    { "LOGOUT", cmd_logout, ANY, NO_ARGS },
    { "ID", cmd_id, ANY, 0 },
    { "STARTTLS", cmd_starttls, BEFORE, NO_ARGS },
    { "LOGIN", cmd_login, BEFORE, HAS_SECRETS },
    { "AUTHENTICATE", cmd_authenticate, BEFORE, HAS_SECRETS },
    { "ENABLE", cmd_enable, AFTER, 0 },
    { "NAMESPACE", cmd_namespace, AFTER, NO_ARGS },
    { "LIST", cmd_list, AFTER, 0 },
    { "LSUB", cmd_lsub, AFTER, 0 },
    { "STATUS", cmd_status, AFTER, 0 },
    { "SELECT", cmd_select, AFTER, 0 },
    { "EXAMINE", cmd_examine, AFTER, 0 },
    { "CREATE", cmd_create, AFTER, 0 },
    { "DELETE", cmd_delete, AFTER, 0 },
    { "RENAME", cmd_rename, AFTER, 0 },
    { "SUBSCRIBE", cmd_subscribe, AFTER, 0 },
    { "UNSUBSCRIBE", cmd_unsubscribe, AFTER, 0 },
    { "APPEND", cmd_append, AFTER, 0 },
    { "IDLE", cmd_idle, AFTER, NO_ARGS },
    { "GETQUOTA", cmd_getquota, AFTER, 0 },
    { "GETQUOTAROOT", cmd_getquotaroot, AFTER, 0 },
    { "SETQUOTA", cmd_setquota, AFTER, 0 },
    { "CHECK", cmd_noop, SELECTED, NO_ARGS },
    { "CLOSE", cmd_close, SELECTED, NO_ARGS },
    { "UNSELECT", cmd_unselect, SELECTED, NO_ARGS },
    { "FETCH", cmd_fetch, SELECTED, TAKES_UID | KEEPS_NUMBERS },
    { "STORE", cmd_store, SELECTED, TAKES_UID | KEEPS_NUMBERS },
    { "SEARCH", cmd_search, SELECTED, TAKES_UID | KEEPS_NUMBERS },
    { "COPY", cmd_copy, SELECTED, TAKES_UID },
    { "MOVE", cmd_move, SELECTED, TAKES_UID },
    { "EXPUNGE", cmd_expunge, SELECTED, TAKES_UID | UID_ONLY_ARGS },
};

static const struct imap_command *command_find(struct slice name)
{
    for (size_t i = 0; i < COUNT(commands); i++)
        if (slice_equal_nocase(name, slice_of(commands[i].name)))
            return &commands[i];
    return NULL;
}

struct slice imap_command_tag(struct slice command)
{
    struct imap_cursor c = imap_cursor_make(command, false, NULL);
    struct slice tag;

    return imap_take_tag(&c, &tag) ? tag : LIT("*");
}

/* The name, with "UID " in front of it or not. NULL: there is no such command. */
static const struct imap_command *take_name(struct imap_cmd *cmd)
{
    const struct imap_command *found;
    struct slice name;

    if (!imap_take_atom(&cmd->args, &name))
        return NULL;
    if (slice_equal_nocase(name, LIT("UID"))) {
        cmd->by_uid = true;
        if (!imap_take_space(&cmd->args) || !imap_take_atom(&cmd->args, &name))
            return NULL;
    }
    found = command_find(name);
    return found && cmd->by_uid && !(found->flags & TAKES_UID) ? NULL : found;
}

static const char *state_complaint(const struct imap_session *s, const struct imap_command *command)
{
    if (s->state == IMAP_NOT_AUTHENTICATED)
        return "log in first";
    if (command->states == BEFORE)
        return "already logged in";
    return "select a mailbox first";
}

static int run(struct imap_cmd *cmd, const struct imap_command *command)
{
    bool wants_args = !(command->flags & NO_ARGS) && (!(command->flags & UID_ONLY_ARGS) || cmd->by_uid);

    cmd->name = command->name;
    cmd->keeps_numbers = (command->flags & KEEPS_NUMBERS) && !cmd->by_uid;
    if (!(command->states & cmd->session->state))
        return imap_reply_bad(cmd, state_complaint(cmd->session, command));
    if (wants_args ? !imap_take_space(&cmd->args) : !imap_at_end(&cmd->args))
        return imap_reply_args(cmd);
    return command->run(cmd);
}

static void account(struct imap_cmd *cmd)
{
    struct imap_session *s = cmd->session;
    uint64_t took_us = clock_now_us() - cmd->begun_us;
    bool fine = cmd->result ? cmd->result[0] == 'o' : !s->broken;

    s->command_count++;
    metric_add(s->server->commands, 1);
    metric_observe_us(s->server->command_us, took_us);
    log_event(fine ? LOG_DEBUG : LOG_INFO, "imap.cmd.done", F_ID("conn", s->id.s), F_STR("cmd", cmd->name),
              F_BOOL("uid", cmd->by_uid), F_STR("result", cmd->result ? cmd->result : s->broken ? "broken" : "waits"),
              F_INT("took_us", took_us), F_INT("bytes_out", s->bytes_out));
}

int imap_dispatch(struct imap_session *s, struct slice command, struct arena *arena)
{
    struct imap_cmd cmd = {
        .session = s, .arena = arena, .tag = LIT("*"), .name = "?", .until = deadline_in_ms(IMAP_COMMAND_MS),
        .args = imap_cursor_make(command, imap_session_uses_utf8(s), arena), .begun_us = clock_now_us(),
    };
    const struct imap_command *found = NULL;
    int r;

    if (!imap_take_tag(&cmd.args, &cmd.tag))
        r = imap_reply_bad(&cmd, "a command begins with a tag");
    else if (!imap_take_space(&cmd.args) || !(found = take_name(&cmd)))
        r = imap_reply_bad(&cmd, "unknown command");
    else
        r = run(&cmd, found);
    account(&cmd);
    if (!found || (found->flags & HAS_SECRETS))
        memory_wipe((void *)(uintptr_t)command.p, command.n);
    return r;
}
