#include "src/model/texts.h"

#include <stdlib.h>

#include "data/base/str.h"
#include "data/trace_h5.h"

static const size_t file_limit = (size_t)1 << 30;

int texts_encode(struct token_ids *out, const struct tokenizer *t, const char *const *paths,
                 size_t count, struct err *err)
{
    struct str joined = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char *text = NULL;
        size_t size;
        if (trace_h5_probe(paths[i]))
            rc = err_set(err, ERR_INPUT, paths[i], "is an HDF5 file, expected a text");
        else
            rc = str_read_file(&text, &size, paths[i], file_limit, err);
        if (rc == 0)
            str_append_bytes(&joined, text, size);
        free(text);
    }
    if (rc == 0)
        rc = str_ok(&joined, err);
    if (rc == 0)
        rc = tokenizer_encode(t, str_get(&joined), joined.length, out, err);
    str_release(&joined);
    return rc;
}
