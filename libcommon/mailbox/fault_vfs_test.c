/* fault_vfs_test.c - a shim over SQLite's VFS that makes writes and syncs fail, fall short, or kill the process.
 *
 * Owns one counter for the process. Used by the engine's tests through engine_options.vfs.
 */
#include "mailbox/engine_test_util.h"

#include <signal.h>
#include <unistd.h>

static struct { enum fault_kind kind; unsigned at, count; } plan;
static sqlite3_vfs shim;
static sqlite3_io_methods methods;

struct shim_file { sqlite3_file base; sqlite3_file *real; };

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct shim_file *)(void *)f)->real;
}

static bool strikes(enum fault_kind kind)
{
    if (plan.kind == FAULT_NOTHING)
        return false;
    plan.count++;
    if (plan.count < plan.at)
        return false;
    if (plan.kind == FAULT_KILL)
        (void)kill(getpid(), SIGKILL);
    return plan.kind == kind;
}

static int shim_close(sqlite3_file *f)
{
    sqlite3_file *real = real_of(f);
    int rc = real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;

    free(real);
    return rc;
}

static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    sqlite3_file *real = real_of(f);

    if (strikes(FAULT_SHORT_WRITE)) {
        (void)real->pMethods->xWrite(real, p, n / 2, at);
        return SQLITE_IOERR_WRITE;
    }
    if (plan.kind == FAULT_WRITE && plan.count >= plan.at)
        return SQLITE_IOERR_WRITE;
    if (plan.kind == FAULT_FULL && plan.count >= plan.at)
        return SQLITE_FULL;
    return real->pMethods->xWrite(real, p, n, at);
}

static int shim_sync(sqlite3_file *f, int flags)
{
    if (strikes(FAULT_SYNC))
        return SQLITE_IOERR_FSYNC;
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}

#define PASS(name, params, args) \
    static int shim_##name params { sqlite3_file *r = real_of(f); return r->pMethods->x##name args; }
PASS(Read, (sqlite3_file *f, void *p, int n, sqlite3_int64 at), (r, p, n, at))
PASS(Truncate, (sqlite3_file *f, sqlite3_int64 n), (r, n))
PASS(FileSize, (sqlite3_file *f, sqlite3_int64 *n), (r, n))
PASS(Lock, (sqlite3_file *f, int l), (r, l))
PASS(Unlock, (sqlite3_file *f, int l), (r, l))
PASS(CheckReservedLock, (sqlite3_file *f, int *out), (r, out))
PASS(FileControl, (sqlite3_file *f, int op, void *p), (r, op, p))
PASS(SectorSize, (sqlite3_file *f), (r))
PASS(DeviceCharacteristics, (sqlite3_file *f), (r))
PASS(ShmMap, (sqlite3_file *f, int pg, int n, int x, void volatile **p), (r, pg, n, x, p))
PASS(ShmLock, (sqlite3_file *f, int o, int n, int flags), (r, o, n, flags))
PASS(ShmUnmap, (sqlite3_file *f, int del), (r, del))

static void shim_ShmBarrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int shim_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *f, int flags, int *out_flags)
{
    struct shim_file *s = (struct shim_file *)(void *)f;
    sqlite3_vfs *real = vfs->pAppData;
    int rc;

    s->real = calloc(1, (size_t)real->szOsFile);
    if (!s->real)
        abort();
    rc = real->xOpen(real, name, s->real, flags, out_flags);
    s->base.pMethods = &methods;      /* closed by SQLite also when opening failed */
    return rc;
}

void fault_vfs_register(void)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);

    if (sqlite3_vfs_find(FAULT_VFS))
        return;
    methods = (sqlite3_io_methods){
        .iVersion = 2, .xClose = shim_close, .xRead = shim_Read, .xWrite = shim_write, .xTruncate = shim_Truncate,
        .xSync = shim_sync, .xFileSize = shim_FileSize, .xLock = shim_Lock, .xUnlock = shim_Unlock,
        .xCheckReservedLock = shim_CheckReservedLock, .xFileControl = shim_FileControl,
        .xSectorSize = shim_SectorSize, .xDeviceCharacteristics = shim_DeviceCharacteristics,
        .xShmMap = shim_ShmMap, .xShmLock = shim_ShmLock, .xShmBarrier = shim_ShmBarrier,
        .xShmUnmap = shim_ShmUnmap };
    shim = *real;
    shim.zName = FAULT_VFS;
    shim.szOsFile = (int)sizeof(struct shim_file);
    shim.pAppData = real;
    shim.pNext = NULL;
    shim.xOpen = shim_open;
    (void)sqlite3_vfs_register(&shim, 0);
}

void fault_vfs_arm(enum fault_kind kind, unsigned n)
{
    plan.kind = kind;
    plan.at = n;
    plan.count = 0;
}

unsigned fault_vfs_count(void)
{
    return plan.count;
}
