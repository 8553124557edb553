#include "data/base/jsonio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "data/base/atomic_file.h"
#include "data/base/mem.h"

int jsonio_parse(json_t **out, const char *text, size_t size, const char *name, struct err *err)
{
    json_error_t e;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (*out)
        return 0;
    return err_set_at(err, ERR_INPUT, name, (uint64_t)(e.position < 0 ? 0 : e.position),
                      "not valid JSON: line %d, column %d: %s", e.line, e.column, e.text);
}

int jsonio_load(json_t **out, const char *path, size_t limit, struct err *err)
{
    char *text = NULL;
    size_t size = 0;
    *out = NULL;
    int rc = str_read_file(&text, &size, path, limit, err);
    if (rc == 0)
        rc = jsonio_parse(out, text, size, path, err);
    free(text);
    return rc;
}

/* --- Bytes --- */

void jsonio_escape(struct str *out, const char *text)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    while (*at) {
        utf8proc_int32_t code;
        utf8proc_ssize_t size = utf8proc_iterate(at, -1, &code);
        bool escape = size < 1 || (at[0] == '\\' && at[1] == 'x');
        size = size < 1 ? 1 : size;
        if (escape)
            str_appendf(out, "\\x%02X", at[0]);
        else
            str_append_bytes(out, at, (size_t)size);
        at += size;
    }
}

json_t *jsonio_bytes(const char *text)
{
    struct str escaped = {0};
    jsonio_escape(&escaped, text);
    json_t *value = escaped.failed ? NULL : json_string(str_get(&escaped));
    str_release(&escaped);
    return value;
}

static int digit(char c)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

void jsonio_unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        int high = from[0] == '\\' && from[1] == 'x' ? digit(from[2]) : -1;
        int low = high >= 0 ? digit(from[3]) : -1;
        bool escaped = low >= 0 && high + low > 0;
        *to = escaped ? (char)(16 * high + low) : *from;
        from += escaped ? 4 : 1;
    }
    *to = '\0';
}

/* --- Files --- */

int jsonio_write(struct str *out, const json_t *value, const char *name, struct err *err)
{
    char *text = json_dumps(value, JSON_INDENT(1) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
    if (!text)
        return err_set(err, ERR_NOMEM, name, "no memory to write JSON");
    str_append(out, text);
    str_append(out, "\n");
    free(text);
    return str_ok(out, err);
}

int jsonio_save(const json_t *value, const char *path, struct err *err)
{
    struct str text = {0};
    int rc = jsonio_write(&text, value, path, err);
    if (rc == 0)
        rc = atomic_file_save(path, text.data, text.length, err);
    str_release(&text);
    return rc;
}

int jsonio_hash(char out[HASH_HEX_SIZE], const json_t *value, const char *name, struct err *err)
{
    struct str text = {0};
    int rc = jsonio_write(&text, value, name, err);
    if (rc == 0)
        rc = hash_bytes(out, text.data, text.length, err);
    str_release(&text);
    return rc;
}

bool jsonio_has(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value);
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null"};
    return value ? names[json_typeof(value)] : "nothing";
}

static int mismatch(const json_t *found, const char *key, const char *expected, struct jsonio_at at,
                    struct err *err)
{
    return err_set(err, ERR_INPUT, at.file, "%s%s%s: found %s, expected %s", at.path,
                   at.path[0] ? "." : "", key, type_name(found), expected);
}

int jsonio_object(json_t **out, const json_t *object, const char *key, struct jsonio_at at,
                  struct err *err)
{
    *out = json_object_get(object, key);
    return json_is_object(*out) ? 0 : mismatch(*out, key, "an object", at, err);
}

int jsonio_array(json_t **out, const json_t *object, const char *key, struct jsonio_at at,
                 struct err *err)
{
    *out = json_object_get(object, key);
    return json_is_array(*out) ? 0 : mismatch(*out, key, "an array", at, err);
}

int jsonio_string(const char **out, const json_t *object, const char *key, struct jsonio_at at,
                  struct err *err)
{
    const json_t *value = json_object_get(object, key);
    *out = json_string_value(value);
    if (!*out)
        return mismatch(value, key, "a string", at, err);
    if (strlen(*out) != json_string_length(value))
        return err_set(err, ERR_INPUT, at.file, "%s%s%s: the string holds a NUL character", at.path,
                       at.path[0] ? "." : "", key);
    return 0;
}

int jsonio_text(char *out, size_t size, const json_t *object, const char *key, struct jsonio_at at,
                struct err *err)
{
    const char *text;
    int rc = jsonio_string(&text, object, key, at, err);
    if (rc < 0)
        return rc;
    char *copy = mem_strdup(text, err);
    if (!copy)
        return ERR_NOMEM;
    jsonio_unescape(copy);
    if (strlen(copy) < size)
        memcpy(out, copy, strlen(copy) + 1);
    else
        rc = err_set(err, ERR_INPUT, at.file, "%s%s%s: longer than %zu bytes", at.path,
                     at.path[0] ? "." : "", key, size - 1);
    free(copy);
    return rc;
}

int jsonio_size(size_t *out, const json_t *object, const char *key, size_t max, struct jsonio_at at,
                struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        return mismatch(value, key, "an integer", at, err);
    json_int_t number = json_integer_value(value);
    if (number < 0 || (uint64_t)number > max)
        return err_set(err, ERR_INPUT, at.file,
                       "%s%s%s: found %" JSON_INTEGER_FORMAT ", expected 0 to %zu", at.path,
                       at.path[0] ? "." : "", key, number, max);
    *out = (size_t)number;
    return 0;
}

int jsonio_real(double *out, const json_t *object, const char *key, struct jsonio_at at,
                struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        return mismatch(value, key, "a number", at, err);
    *out = json_number_value(value);
    return 0;
}

int jsonio_bool(bool *out, const json_t *object, const char *key, struct jsonio_at at,
                struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value))
        return mismatch(value, key, "true or false", at, err);
    *out = json_is_true(value);
    return 0;
}

int jsonio_check_schema(const json_t *object, const char *schema, size_t version, const char *file,
                        struct err *err)
{
    struct jsonio_at at = {file, ""};
    const char *found;
    size_t number;
    if (!json_is_object(object))
        return err_set(err, ERR_INPUT, file, "found %s at the top, expected an object",
                       type_name(object));
    int rc = jsonio_string(&found, object, "schema", at, err);
    if (rc < 0)
        return rc;
    if (strcmp(found, schema) != 0)
        return err_set(err, ERR_INPUT, file, "schema: found \"%s\", expected \"%s\"", found,
                       schema);
    rc = jsonio_size(&number, object, "schema_version", SIZE_MAX, at, err);
    if (rc < 0)
        return rc;
    if (number != version)
        return err_set(err, ERR_UNSUPPORTED, file,
                       "schema_version: found %zu, expected %zu; made by another version of moqa",
                       number, version);
    return 0;
}
