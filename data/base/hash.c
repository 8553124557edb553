#include "data/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/mem.h"

struct hash {
    EVP_MD_CTX *context;
};

static int failed(struct err *err)
{
    return err_set(err, ERR_NOMEM, NULL, "SHA-256 failed: no memory, or not offered by libcrypto");
}

int hash_new(struct hash **out, struct err *err)
{
    struct hash *h = mem_array(1, sizeof *h, err);
    if (!h)
        return ERR_NOMEM;
    h->context = EVP_MD_CTX_new();
    if (!h->context || EVP_DigestInit_ex(h->context, EVP_sha256(), NULL) != 1) {
        hash_free(h);
        return failed(err);
    }
    *out = h;
    return 0;
}

int hash_update(struct hash *h, const void *bytes, size_t count, struct err *err)
{
    return EVP_DigestUpdate(h->context, bytes, count) == 1 ? 0 : failed(err);
}

int hash_finish(struct hash *h, char out[HASH_HEX_SIZE], struct err *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_DigestFinal_ex(h->context, raw, &size) != 1 || size != 32)
        return failed(err);
    for (unsigned i = 0; i < size; i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[2 * size] = '\0';
    return 0;
}

void hash_free(struct hash *h)
{
    if (h)
        EVP_MD_CTX_free(h->context);
    free(h);
}

int hash_bytes(char out[HASH_HEX_SIZE], const void *bytes, size_t count, struct err *err)
{
    struct hash *h = NULL;
    int rc = hash_new(&h, err);
    if (rc == 0)
        rc = hash_update(h, bytes, count, err);
    if (rc == 0)
        rc = hash_finish(h, out, err);
    hash_free(h);
    return rc;
}

int hash_file(char out[HASH_HEX_SIZE], const char *path, struct err *err)
{
    return hash_file_watched(out, path, NULL, err);
}

static uint64_t size_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

int hash_file_watched(char out[HASH_HEX_SIZE], const char *path, const struct watch *watch,
                      struct err *err)
{
    enum { CHUNK = 1 << 16 };
    uint64_t done = 0;
    struct hash *h = NULL;
    unsigned char *buffer = NULL;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_INPUT, path, "cannot open");
    buffer = mem_array(CHUNK, 1, err);
    rc = buffer ? hash_new(&h, err) : ERR_NOMEM;
    uint64_t total = size_of(fd);
    while (rc == 0) {
        if (watch_cancelled(watch)) {
            rc = err_set(err, ERR_CANCELLED, path, "reading was cancelled");
            break;
        }
        ssize_t got = read(fd, buffer, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = err_set_errno(err, ERR_INPUT, path, "cannot read");
        else if (got == 0)
            break;
        else
            rc = hash_update(h, buffer, (size_t)got, err);
        done += got > 0 ? (uint64_t)got : 0;
        watch_tell(watch, WATCH_HASH, done, total);
    }
    if (rc == 0)
        rc = hash_finish(h, out, err);
    hash_free(h);
    free(buffer);
    close(fd);
    return rc;
}
