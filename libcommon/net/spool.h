/* spool.h - the bytes of one message while we hold it: in memory when small, else in an encrypted file without a name.
 *
 * Owns      up to SPOOL_MEMORY_BYTES of memory per message; beyond, an O_TMPFILE file in 64 KiB blocks under a random key that
 *           only this process knows (XChaCha20-Poly1305, spool id and block number in the nonce). Gone with the process.
 * Used by   mx, smtp (DATA), smtp-bree (bodies).
 * Threads   the loop thread; file I/O and encryption on the FILE pool. One appender, then any number of readers at once.
 */
#pragma once

#include "base/fault.h"
#include "base/slice.h"
#include "base/time.h"

#define SPOOL_MEMORY_BYTES ((size_t)256 << 10)
#define SPOOL_BLOCK_BYTES  ((size_t)64 << 10)

struct spool_dir;                     /* where files go, and the key */
struct spool;
struct spool_reader;

/* `path`: a folder on a file system with O_TMPFILE. Checked at once. */
int spool_dir_open(const char *path, struct spool_dir **out, struct fault *why) MUST_CHECK;
void spool_dir_close(struct spool_dir **d);       /* after all its spools */

struct spool *spool_new(struct spool_dir *d);
void spool_free(struct spool **s);                /* closer; after its readers. Never suspends */
/* Faults: FAULT_DISK_FULL, FAULT_IO, FAULT_UNAVAILABLE (pool full). After a fault the spool can only be freed. */
int spool_append(struct spool *s, struct slice bytes, struct fault *why) MUST_CHECK SUSPENDS;
uint64_t spool_size_bytes(const struct spool *s);
bool spool_is_in_memory(const struct spool *s);
void spool_sha256(const struct spool *s, unsigned char out[32]);      /* of all appended so far */

/* Readers start at `offset`; appending is over. */
struct spool_reader *spool_reader_new(const struct spool *s, uint64_t offset);
void spool_reader_free(struct spool_reader **r);  /* closer */
/* 1: the next piece (at most 64 KiB), borrowed until the next call; 0: end. FAULT_CORRUPT: the file was tampered with. */
int spool_reader_next(struct spool_reader *r, struct slice *piece, struct fault *why) MUST_CHECK SUSPENDS;
/* Same, in the shape of smtp_client_mail.pull; arg is the reader. */
int spool_reader_pull(void *reader, struct slice *piece, struct fault *why) SUSPENDS;
