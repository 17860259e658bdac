/* mailbox_pack_search.c - packed sections of a FETCH and search trees.
 *
 * Owns nothing. Called by both sides of the RPC. A tree is written depth first; depth and number of
 * nodes are limited, so neither writer nor reader can exhaust a fiber's stack. Never suspends.
 */
#include "wire/mailbox_pack_internal.h"

/* ---- sections ---- */

static void put_section(struct buf *out, const struct mailbox_section *s)
{
    (void)buf_put_varint(out, (unsigned)s->kind);
    (void)buf_put_varint(out, s->path_len);
    for (size_t i = 0; i < s->path_len; i++)
        (void)buf_put_varint(out, s->path[i]);
    put_names(out, s->fields, s->field_count);
    (void)buf_put_varint(out, s->decode ? 1 : 0);
    (void)buf_put_varint(out, s->from);
    (void)buf_put_varint(out, s->length);
}

static bool take_section(struct slice *in, struct arena *a, struct mailbox_section *out)
{
    uint32_t kind;

    if (!take_u32(in, &kind) || kind > SECTION_FIELDS_NOT)
        return false;
    out->kind = (enum mailbox_section_kind)kind;
    if (!take_count(in, MAILBOX_SECTION_DEPTH, 1, &out->path_len))
        return false;
    for (size_t i = 0; i < out->path_len; i++)
        if (!take_u32(in, &out->path[i]))
            return false;
    return take_names(in, a, PACK_SECTION_FIELDS_MAX, &out->fields, &out->field_count) &&
           take_bool(in, &out->decode) && unpack_varint(in, &out->from) &&
           unpack_varint(in, &out->length);
}

int pack_sections(struct buf *out, const struct mailbox_section *sections, size_t count)
{
    if (count > MAILBOX_SECTIONS_MAX)
        return -1;
    (void)buf_put_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        if (sections[i].path_len > MAILBOX_SECTION_DEPTH ||
            sections[i].field_count > PACK_SECTION_FIELDS_MAX)
            return -1;
        put_section(out, &sections[i]);
    }
    return put_result(out);
}

bool unpack_sections(struct slice in, struct arena *a, struct mailbox_section **out, size_t *count)
{
    struct mailbox_section *sections;
    size_t n;

    if (!take_count(&in, MAILBOX_SECTIONS_MAX, 6, &n))
        return false;
    sections = ARENA_ARRAY(a, struct mailbox_section, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!take_section(&in, a, &sections[i]))
            return false;
    if (in.n > 0)
        return false;
    *out = sections;
    *count = n;
    return true;
}

/* ---- search trees ---- */

static size_t count_children(const struct search_node *node)
{
    size_t n = 0;

    for (const struct search_node *c = node->children; c != NULL; c = c->next)
        n++;
    return n;
}

static int put_node(struct buf *out, const struct search_node *node, unsigned depth, size_t *left)
{
    if (depth > PACK_SEARCH_DEPTH_MAX || *left == 0)
        return -1;
    (*left)--;
    (void)buf_put_varint(out, (unsigned)node->op);
    (void)buf_put_varint(out, node->number);
    (void)buf_put_bytes(out, node->field);
    (void)buf_put_bytes(out, node->text);
    if (pack_uid_set(out, node->uids) < 0)
        return -1;
    (void)buf_put_varint(out, count_children(node));
    for (const struct search_node *c = node->children; c != NULL; c = c->next)
        if (put_node(out, c, depth + 1, left) < 0)
            return -1;
    return put_result(out);
}

int pack_search(struct buf *out, const struct search_node *program)
{
    static const struct search_node all = {.op = SEARCH_ALL};
    size_t left = PACK_SEARCH_NODES_MAX;

    return put_node(out, program == NULL ? &all : program, 1, &left);
}

static bool children_fit(enum search_op op, size_t count)
{
    if (op == SEARCH_NOT)
        return count == 1;
    return op == SEARCH_AND || op == SEARCH_OR ? count > 0 : count == 0;
}

static bool take_node(struct slice *in, struct arena *a, unsigned depth, size_t *left,
                      struct search_node **out)
{
    struct search_node *node, **end;
    uint32_t op;
    size_t count;

    if (depth > PACK_SEARCH_DEPTH_MAX || *left == 0)
        return false;
    (*left)--;
    node = ARENA_NEW(a, struct search_node);
    if (!take_u32(in, &op) || op > SEARCH_TEXT || !unpack_varint(in, &node->number) ||
        !unpack_bytes(in, &node->field) || !unpack_bytes(in, &node->text) ||
        !take_uid_set(in, a, &node->uids) || !take_count(in, PACK_SEARCH_NODES_MAX, 6, &count))
        return false;
    node->op = (enum search_op)op;
    if (!children_fit(node->op, count))
        return false;
    end = &node->children;
    for (size_t i = 0; i < count; i++) {
        if (!take_node(in, a, depth + 1, left, end))
            return false;
        end = &(*end)->next;
    }
    *out = node;
    return true;
}

bool unpack_search(struct slice in, struct arena *a, struct search_node **out)
{
    size_t left = PACK_SEARCH_NODES_MAX;
    struct search_node *node = NULL;

    if (!take_node(&in, a, 1, &left, &node) || in.n > 0)
        return false;
    *out = node;
    return true;
}
