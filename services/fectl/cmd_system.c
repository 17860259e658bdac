/* cmd_system.c - fectl system: is everything there? Suspends. */
#include "fectl.h"

static int system_status(struct fectl *f, struct fault *why)
{
    struct fault trouble;
    bool store_ok = store_ping(f->store, deadline_in_ms(5000), &trouble) == 0, mailboxes_ok;

    printf("store %s: %s\n", store_engine(f->store), store_ok ? "up" : trouble.text);
    mailboxes_ok = mailbox_server_ping(fectl_mailboxes(f), deadline_in_ms(5000), &trouble) == 0;
    printf("mailbox server %s:%u: %s\n", f->settings.sqlite_host, f->settings.sqlite_port, mailboxes_ok ? "up" : trouble.text);
    return store_ok && mailboxes_ok ? 0 : fault_set(why, FAULT_UNAVAILABLE, "not everything is up");
}

const struct command system_commands[] = {
    { "system", "status", "", "are the store and the mailbox server up", true, system_status },
    { NULL, NULL, NULL, NULL, false, NULL },
};
