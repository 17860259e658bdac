/* mailbox_pack_fuzz.c - the first byte picks a form; whatever parses must pack again and parse to
 * the same bytes. */
#include <assert.h>
#include "wire/mailbox_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_lists(uint8_t form, struct slice in, struct arena *a, struct buf *out)
{
    struct mailbox_folder *folders;
    struct mailbox_row *rows;
    struct mailbox_section *sections;
    struct uid_set set;
    size_t n;

    if (form == 0 && unpack_uid_set(in, a, &set))
        assert(pack_uid_set(out, set) == 0 && unpack_uid_set(buf_slice(out), a, &set));
    if (form == 1 && unpack_folders(in, a, &folders, &n))
        assert(pack_folders(out, folders, n) == 0 &&
               unpack_folders(buf_slice(out), a, &folders, &n));
    if (form == 2 && unpack_rows(in, a, &rows, &n))
        assert(pack_rows(out, rows, n) == 0 && unpack_rows(buf_slice(out), a, &rows, &n));
    if (form == 3 && unpack_sections(in, a, &sections, &n))
        assert(pack_sections(out, sections, n) == 0 &&
               unpack_sections(buf_slice(out), a, &sections, &n));
}

static void try_structs(uint8_t form, struct slice in, struct arena *a, struct buf *out)
{
    struct mailbox_view view;
    struct mailbox_changes changes;
    struct mailbox_stored stored;
    struct mailbox_append_head head;

    if (form == 4 && unpack_view(in, a, &view))
        assert(pack_view(out, &view) == 0 && unpack_view(buf_slice(out), a, &view));
    if (form == 5 && unpack_changes(in, a, &changes))
        assert(pack_changes(out, &changes) == 0 && unpack_changes(buf_slice(out), a, &changes));
    if (form == 6 && unpack_stored(in, a, &stored))
        assert(pack_stored(out, &stored) == 0 && unpack_stored(buf_slice(out), a, &stored));
    if (form == 7 && unpack_append_head(in, a, &head))
        assert(pack_append_head(out, &head) == 0 && unpack_append_head(buf_slice(out), a, &head));
}

static void try_trees(uint8_t form, struct slice in, struct arena *a, struct buf *out)
{
    struct search_node *tree;
    struct mailbox_fetched message;
    size_t sections;

    if (form == 8 && unpack_search(in, a, &tree))
        assert(pack_search(out, tree) == 0 && unpack_search(buf_slice(out), a, &tree));
    if (form == 9 && unpack_fetched(in, &message, &sections)) {
        struct slice whole, head;
        assert(pack_fetched(out, &message, sections) == 0);
        whole = buf_slice(out);
        assert(unpack_bytes(&whole, &head) && unpack_fetched(head, &message, &sections));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a;
    struct buf out = BUF_INIT(PACK_BYTES_MAX);

    if (size == 0)
        return 0;
    a = arena_new(0);
    try_lists(data[0] % 10, slice_make(data + 1, size - 1), a, &out);
    try_structs(data[0] % 10, slice_make(data + 1, size - 1), a, &out);
    try_trees(data[0] % 10, slice_make(data + 1, size - 1), a, &out);
    buf_free(&out);
    arena_free(&a);
    return 0;
}
