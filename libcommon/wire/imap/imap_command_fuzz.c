/* imap_command_fuzz.c - whole commands: framing agrees with itself at every cut, and no argument parser crashes. */
#include <stdlib.h>
#include "wire/imap/imap_fetch_args.h"
#include "wire/imap/imap_folder_args.h"
#include "wire/imap/imap_name.h"
#include "wire/imap/imap_search_args.h"
#include "wire/uid_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_as_everything(struct imap_cursor at, struct arena *a)
{
    struct imap_fetch_args fetch;
    struct imap_search_args search;
    struct imap_list_args list;
    struct imap_create_args create;
    struct imap_select_args select;
    struct imap_append_message message;
    struct imap_flags flags;
    struct uid_set uids = uid_set_make(a, 5, 500);
    struct imap_cursor c;
    struct slice name;
    unsigned items;

    c = at, (void)!imap_take_fetch_args(&c, &fetch);
    c = at, (void)!imap_take_search_args(&c, uids, uids, &search);
    c = at, (void)!imap_take_list_args(&c, &list);
    c = at, (void)!imap_take_create_args(&c, &create);
    c = at, (void)!imap_take_select_args(&c, &select);
    c = at, (void)!imap_take_append_message(&c, &message);
    c = at, (void)!imap_take_flags(&c, IMAP_FLAGS_LIST_OR_BARE, &flags);
    c = at, (void)!imap_take_status_items(&c, &items);
    c = at;
    if (imap_take_mailbox(&c, &name)) {
        struct slice again;
        if (!imap_name_decode(imap_name_encode(name, a), a, &again) || !slice_equal(name, again))
            abort();
        (void)imap_name_matches(name, name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct imap_limits limits = { 4096, 1024, 8192 };
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct slice in = slice_make(data, size);
    struct imap_frame f = imap_frame_scan(in, SIZE_MAX, &limits);
    struct imap_cursor c;
    struct slice tag, word;

    if (f.bytes > size)
        abort();
    if (f.status != IMAP_FRAME_COMPLETE && f.status != IMAP_FRAME_APPEND)
        return 0;
    if (f.bytes > 0 && imap_frame_scan(slice_head(in, f.bytes - 1), SIZE_MAX, &limits).status == IMAP_FRAME_COMPLETE)
        abort();
    c = imap_cursor_make(slice_head(in, f.bytes), size % 2, a);
    if (!imap_take_tag(&c, &tag) || !imap_take_space(&c) || !imap_take_atom(&c, &word) || !imap_take_space(&c))
        return 0;
    parse_as_everything(c, a);
    return 0;
}
