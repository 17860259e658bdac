/* engine_test_util.h - what the engine's tests share: a mailbox in a temporary folder, messages, faults of the disk. */
#pragma once

#include "base/test.h"
#include "mailbox/engine_internal.h"

struct box { char folder[64], path[96]; struct secret *key; struct engine *e; };

bool box_new(struct test *t, struct box *b);              /* an open, fresh mailbox */
void box_free(struct box *b);                             /* closer: removes the folder */
bool box_reopen(struct test *t, struct box *b);
/* Appends `text` to `path`; its UID, 0 on failure. */
uint32_t box_append(struct test *t, struct box *b, const char *path, struct slice text, uint32_t flags);
uint64_t box_folder(struct test *t, struct box *b, const char *path);
struct slice message_text(struct arena *a, const char *subject, const char *body);
/* All bytes of section `s` of message `uid`. */
struct slice box_read(struct test *t, struct box *b, const char *path, uint32_t uid, const struct mailbox_section *s);
bool box_verify(struct test *t, struct box *b);
struct uid_set uids_of(struct test *t, const char *text);

/* ---- fault_vfs_test.c: a VFS over the system's whose operations fail when told ---- */

#define FAULT_VFS "faulty"
enum fault_kind { FAULT_NOTHING, FAULT_WRITE, FAULT_SYNC, FAULT_FULL, FAULT_SHORT_WRITE, FAULT_KILL };
void fault_vfs_register(void);
/* The n-th write or sync (from 1) from now on, and all after it, behave so. FAULT_KILL: SIGKILL before it. */
void fault_vfs_arm(enum fault_kind kind, unsigned n);
unsigned fault_vfs_count(void);                           /* operations since arm */
