/* api_form_fuzz.c - forms from strangers: urlencoded and multipart. First byte: which; multipart's boundary is the first line.
 *
 * What the parser takes is an object of UTF-8 texts, lists of texts and such objects, within the named limits.
 */
#include "api.h"

#include <assert.h>

static void check(const json_t *value, unsigned depth)
{
    const char *key;
    json_t *child;
    size_t i;

    assert(depth <= 10);
    if (json_is_string(value)) {
        assert(slice_is_utf8(slice_make(json_string_value(value), json_string_length(value))));
        return;
    }
    if (json_is_array(value)) {
        assert(json_array_size(value) <= API_LIST_MAX);
        json_array_foreach(value, i, child)
            assert(json_is_string(child));
        return;
    }
    assert(json_is_object(value) && json_object_size(value) <= API_FORM_KEYS_MAX);
    json_object_foreach((json_t *)(uintptr_t)value, key, child)
        check(child, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new(0);
    json_t *object = json_object();
    struct slice in = slice_make(data, n), boundary = SLICE_NONE;
    bool taken;

    if (n > 0 && data[0] == 'm') {
        in = slice_tail(in, 1);
        (void)slice_cut(&in, '\n', &boundary);
        taken = api_multipart_parse(a, boundary, in, object);
    } else {
        taken = api_form_parse(a, slice_tail(in, 1), object);
    }
    if (taken)
        check(object, 0);
    json_decref(object);
    arena_free(&a);
    return 0;
}
