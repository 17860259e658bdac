/* api_alias_text_fuzz.c - texts of documents: what jansson takes for an object with an id is read, and what is written is JSON again. */
#include "api_alias.h"

#include "base/json.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    AUTO(json_release) json_t *document = NULL;
    AUTO(json_release) json_t *object = NULL;
    AUTO(buf_free) struct buf text = BUF_INIT((size_t)1 << 20);
    AUTO(buf_free) struct buf out = BUF_INIT((size_t)1 << 20);
    const struct alias_context x = { LIT("{}"), LIT("\"admin\"") };
    struct alias_text a;
    struct fault why;

    if (size > 20000)
        return 0;
    ignore_result(alias_text_read(slice_make(data, size), &a, &why));      /* anything: no access beyond it */
    if (json_parse(slice_make(data, size), size, &document, &why) < 0 || !json_is_object(document))
        return 0;
    (void)json_set_slice(document, "_id", LIT("0123456789abcdef01234567"));
    if (json_format(document, &text) < 0 || alias_text_read(buf_slice(&text), &a, &why) < 0)
        abort();
    alias_text_write(&out, &a, &x, LIT("\"a@b.c\""), 7);
    if (json_parse(buf_slice(&out), out.n, &object, &why) < 0)
        abort();
    return 0;
}
