/* imap_fake.h - a mailbox in memory with the calls of rpc/mailbox.h, for tests that need faults at a chosen moment.
 *
 * Owns one global mailbox of two folders, INBOX (1) and There (2). Unit tests only; one test at a time.
 */
#pragma once

#include "base/fault.h"
#include "rpc/mailbox.h"

#define FAKE_MESSAGES_MAX 64

struct fake_message {
    uint32_t uid, flags;
    uint64_t modseq;
    const char *body;
    bool gone;
};

struct fake_folder {
    struct fake_message messages[FAKE_MESSAGES_MAX];
    size_t count;
};

struct fake {
    struct fake_folder folders[2];
    uint64_t modseq, generation;
    enum fault_code fail;              /* the next call fails with it */
    unsigned change_calls;             /* of mailbox_get_changes */
    bool cut_body;                     /* mailbox_fetch_read fails after half of a section */
    bool folder_gone;
};

extern struct fake fake;

void fake_reset(void);
uint32_t fake_add(unsigned folder, const char *body, uint32_t flags);      /* as if another session did it */
void fake_flag(unsigned folder, uint32_t uid, uint32_t flags);
void fake_remove(unsigned folder, uint32_t uid);
