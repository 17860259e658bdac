/* mime_section.c - finding parts of a tree by the numbers IMAP gives them (RFC 9051 6.4.5.1).
 *
 * Owns nothing. Called by the mailbox engine. Never fails beyond "there is none", never suspends.
 */
#include "wire/mime.h"

const struct mime_part *mime_next_part(const struct mime_part *part)
{
    if (part->first_child)
        return part->first_child;
    while (part && !part->next)
        part = part->parent;
    return part ? part->next : NULL;
}

static const struct mime_part *child_number(const struct mime_part *part, uint32_t number)
{
    const struct mime_part *child = part->first_child;

    for (uint32_t n = 1; child && n < number; n++)
        child = child->next;
    return number ? child : NULL;
}

const struct mime_part *mime_find_part(const struct mime_part *root, const uint32_t *path, size_t path_len, bool *is_body)
{
    const struct mime_part *node = root;
    bool at_root = true;

    *is_body = false;
    for (size_t i = 0; i < path_len; i++) {
        if (!at_root && node->kind == MIME_MESSAGE) {
            node = node->first_child;
            at_root = true;
        }
        if (node->kind == MIME_MULTIPART) {
            node = child_number(node, path[i]);
            *is_body = false;
        } else if (at_root && path[i] == 1) {
            *is_body = true;
        } else {
            return NULL;
        }
        if (!node)
            return NULL;
        at_root = false;
    }
    return node;
}

static bool give(size_t from, size_t n, size_t *at, size_t *length)
{
    *at = from;
    *length = n;
    return true;
}

bool mime_find_section(const struct mime_part *root, const uint32_t *path, size_t path_len, enum mime_section section,
                       size_t *at, size_t *length, const struct mime_part **part)
{
    bool is_body;
    const struct mime_part *node = mime_find_part(root, path, path_len, &is_body);
    const struct mime_part *message = path_len == 0 ? node : node && node->kind == MIME_MESSAGE ? node->first_child : NULL;

    if (!node)
        return false;
    if (part)
        *part = node;
    switch (section) {
    case MIME_SECTION_ALL:
        if (path_len == 0)
            return give(node->header_at, node->header_len + node->body_len, at, length);
        return give(node->body_at, node->body_len, at, length);
    case MIME_SECTION_MIME:
        return path_len > 0 && give(node->header_at, node->header_len, at, length);
    case MIME_SECTION_HEADER:
    case MIME_SECTION_TEXT:
        if (!message)
            return false;
        if (part)
            *part = message;
        if (section == MIME_SECTION_HEADER)
            return give(message->header_at, message->header_len, at, length);
        return give(message->body_at, message->body_len, at, length);
    }
    return false;
}
