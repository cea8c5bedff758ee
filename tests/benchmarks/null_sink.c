/* An S3 server that reads request bodies and drops them, so that a benchmark measures the client.
 *
 *     cc -O2 -pthread [-DWITH_TLS] null_sink.c -o null_sink [-lssl -lcrypto]
 *     null_sink [--delay-ms N] [--mbit N] [--answers checksums|md5|nothing] [CERTIFICATE.pem KEY.pem]
 *
 * It waits so long before each answer, takes so much a second from all connections together (as a link would), and
 * confirms by the checksum that the request named, by the MD5 of the body as ETag (built with TLS), or by neither.
 * Prints the port of 127.0.0.1 that it listens on, and ends with its standard input. Answers what the AWS CLI, s5cmd,
 * rclone and upload-console ask for an upload; remembers of every object its name, size and checksum, so that
 * HeadObject and listings find it. Signatures and bodies are not checked: a checksum of the request comes back in the
 * answer. GET /_stats gives "objects bytes requests" since the last DELETE /_stats, which also forgets all objects.
 *
 * A thread for each connection. Over plain TCP bodies are discarded inside the kernel (MSG_TRUNC, tcp(7)).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/evp.h>
#include <openssl/ssl.h>
static SSL_CTX *tls;
#else
typedef void SSL;
#endif

static enum { CHECKSUMS, MD5, NOTHING } answers;
static long delay_us;
static double bytes_per_second; /* of the link; 0: as fast as it goes */

enum { HEAD = 32 * 1024, SCRATCH = 256 * 1024, BUCKETS = 1 << 16, TAIL = 512, MOST_LISTED = 1000 };

/* What is remembered of an object or an open multipart upload; `name` is the path, or path?uploadId. */
struct entry {
    struct entry *next;
    char *name;
    uint64_t size;
    unsigned parts;
    char etag[64], checksum[128]; /* the latter a whole header line, or empty */
};

static struct entry *table[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t objects, bytes, requests, uploads;

struct connection {
    int fd;
    SSL *ssl;
    char *scratch;
    void *md5; /* of the body that is being read, where that is the answer */
    size_t have; /* bytes in `head` that were read */
    size_t used; /* of those, how many the parser is through with */
    char head[HEAD + 1];
};

struct request {
    char method[8], path[2048], query[2048], md5[32], algorithm[24], checksum[128];
    uint64_t length; /* of the body as it is stored */
    uint64_t wire;   /* of the body as it is sent, without `Transfer-Encoding: chunked` */
    bool chunked, expects, has_trailer, is_last;
};

/* ---- bytes ---- */

/* Wait until the link has carried so many bytes more. */
static void carry(ssize_t count) {
    static pthread_mutex_t link = PTHREAD_MUTEX_INITIALIZER;
    static double is_free_at;
    if (count <= 0 || bytes_per_second <= 0) return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    pthread_mutex_lock(&link);
    is_free_at = (is_free_at > at ? is_free_at : at) + (double)count / bytes_per_second;
    double seconds = is_free_at - at;
    pthread_mutex_unlock(&link);
    struct timespec wait = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&wait, NULL);
}

static void sum(struct connection *c, const void *data, size_t length) {
#ifdef WITH_TLS
    if (c->md5) EVP_DigestUpdate(c->md5, data, length);
#endif
}

static ssize_t receive(struct connection *c, void *buffer, size_t length) {
#ifdef WITH_TLS
    if (c->ssl) {
        int got = SSL_read(c->ssl, buffer, (int)length);
        carry(got);
        return got;
    }
#endif
    ssize_t got = recv(c->fd, buffer, length, 0);
    carry(got);
    return got;
}

static bool reply(struct connection *c, const char *data, size_t length) {
    while (length) {
#ifdef WITH_TLS
        ssize_t sent = c->ssl ? SSL_write(c->ssl, data, (int)length) : send(c->fd, data, length, MSG_NOSIGNAL);
#else
        ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
#endif
        if (sent <= 0) return false;
        data += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* Read `length` bytes of body; the last of them, at most TAIL, go into `tail` (of TAIL + 1) where it is given. */
static bool drop(struct connection *c, uint64_t length, char *tail) {
    size_t kept = 0;
    while (length) {
        size_t held = c->have - c->used;
        if (held) {
            size_t take = held < length ? held : (size_t)length;
            sum(c, c->head + c->used, take);
            if (tail) {
                size_t keep = take < TAIL ? take : TAIL;
                memcpy(tail, c->head + c->used + take - keep, keep);
                tail[kept = keep] = 0;
            }
            c->used += take;
            length -= take;
            continue;
        }
        if (!c->ssl && !c->md5 && (!tail || length > TAIL)) {
            size_t most = tail ? (size_t)(length - TAIL) : (size_t)length, piece = bytes_per_second > 0 ? SCRATCH : 1u << 30;
            ssize_t got = recv(c->fd, c->scratch, most > piece ? piece : most, MSG_TRUNC);
            if (got <= 0) return false;
            carry(got);
            length -= (uint64_t)got;
            kept = 0;
            continue;
        }
        ssize_t got = receive(c, c->scratch, length < SCRATCH ? (size_t)length : SCRATCH);
        if (got <= 0) return false;
        sum(c, c->scratch, (size_t)got);
        length -= (uint64_t)got;
        if (tail) { /* the new bytes behind those kept, then the last TAIL of both */
            size_t keep = (size_t)got < TAIL ? (size_t)got : TAIL, old = kept < TAIL - keep ? kept : TAIL - keep;
            memmove(tail, tail + kept - old, old);
            memcpy(tail + old, c->scratch + (size_t)got - keep, keep);
            tail[kept = old + keep] = 0;
        }
    }
    return true;
}

/* More bytes behind those in `head`, making room first. */
static bool more(struct connection *c) {
    if (c->used) {
        memmove(c->head, c->head + c->used, c->have - c->used);
        c->have -= c->used;
        c->used = 0;
    }
    if (c->have == HEAD) return false;
    ssize_t got = receive(c, c->head + c->have, HEAD - c->have);
    if (got <= 0) return false;
    c->have += (size_t)got;
    c->head[c->have] = 0;
    return true;
}

/* The next line without its end, valid until the next call. */
static char *line(struct connection *c) {
    for (;;) {
        char *end = c->have > c->used ? memmem(c->head + c->used, c->have - c->used, "\r\n", 2) : NULL;
        if (end) {
            char *start = c->head + c->used;
            *end = 0;
            c->used = (size_t)(end - c->head) + 2;
            return start;
        }
        if (!more(c)) return NULL;
    }
}

/* ---- requests ---- */

static void read_trailer(struct request *r, const char *text) {
    const char *value = r->algorithm[0] ? strcasestr(text, r->algorithm) : NULL;
    if (value && (value = strchr(value, ':')))
        snprintf(r->checksum, sizeof r->checksum, "%s: %.*s\r\n", r->algorithm, (int)strcspn(value + 1, "\r\n"), value + 1);
}

static void read_header(struct request *r, char *name) {
    char *value = strchr(name, ':');
    if (!value) return;
    *value++ = 0;
    value += strspn(value, " \t");
    for (char *p = name; *p; p++) *p = (char)tolower(*p);
    if (!strcmp(name, "content-length")) r->wire = r->length = strtoull(value, NULL, 10);
    else if (!strcmp(name, "transfer-encoding")) r->chunked = strcasestr(value, "chunked") != NULL;
    else if (!strcmp(name, "expect")) r->expects = true;
    else if (!strcmp(name, "connection")) r->is_last = strcasestr(value, "close") != NULL;
    else if (!strcmp(name, "content-md5")) snprintf(r->md5, sizeof r->md5, "%s", value);
    else if (!strcmp(name, "x-amz-trailer")) r->has_trailer = true, snprintf(r->algorithm, sizeof r->algorithm, "%s", value);
    else if (!strncmp(name, "x-amz-checksum-", 15) && strcmp(name + 15, "algorithm") && strcmp(name + 15, "type"))
        snprintf(r->checksum, sizeof r->checksum, "%.40s: %.80s\r\n", name, value);
}

static bool read_request(struct connection *c, struct request *r) {
    memset(r, 0, sizeof *r);
    char *start = line(c), *decoded = NULL, name[512];
    if (!start || sscanf(start, "%7s %2047s", r->method, r->path) != 2) return false;
    char *query = strchr(r->path, '?');
    if (query) snprintf(r->query, sizeof r->query, "%s", query + 1), *query = 0;
    uint64_t stored = UINT64_MAX;
    for (char *header; (header = line(c));) {
        if (!*header) {
            if (stored != UINT64_MAX) r->length = stored;
            return true;
        }
        snprintf(name, sizeof name, "%s", header);
        if (!strncasecmp(name, "x-amz-decoded-content-length:", 29) && (decoded = strchr(name, ':')))
            stored = strtoull(decoded + 1, NULL, 10);
        else
            read_header(r, name);
    }
    return false;
}

static bool read_content(struct connection *c, struct request *r) {
    char tail[TAIL + 1] = "";
    if (r->expects && !reply(c, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return false;
    if (!r->chunked) {
        if (!drop(c, r->wire, r->has_trailer ? tail : NULL)) return false;
    } else {
        uint64_t total = 0;
        for (;;) {
            char *size = line(c);
            if (!size) return false;
            uint64_t chunk = strtoull(size, NULL, 16);
            if (!chunk) break;
            if (!drop(c, chunk, r->has_trailer ? tail : NULL) || !line(c)) return false;
            total += chunk;
        }
        for (char *trailer; (trailer = line(c)) && *trailer;) read_trailer(r, trailer);
        if (!r->length) r->length = total;
    }
    if (r->has_trailer) read_trailer(r, tail);
    return true;
}

static bool read_body(struct connection *c, struct request *r) {
#ifdef WITH_TLS
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (answers == MD5 && !strcmp(r->method, "PUT")) {
        c->md5 = EVP_MD_CTX_new();
        EVP_DigestInit(c->md5, EVP_md5());
    }
#endif
    bool is_whole = read_content(c, r);
#ifdef WITH_TLS
    if (c->md5) {
        EVP_DigestFinal(c->md5, digest, NULL);
        EVP_MD_CTX_free(c->md5);
        c->md5 = NULL;
        EVP_EncodeBlock((unsigned char *)r->md5, digest, 16);
    }
#endif
    if (answers != CHECKSUMS) r->checksum[0] = 0;
    if (answers == NOTHING) r->md5[0] = 0;
    return is_whole;
}

/* ---- objects ---- */

static struct entry **slot(const char *name) {
    uint64_t hash = 1469598103934665603u;
    for (const char *p = name; *p; p++) hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    struct entry **at = &table[hash % BUCKETS];
    while (*at && strcmp((*at)->name, name)) at = &(*at)->next;
    return at;
}

static struct entry *keep(const char *name) {
    struct entry **at = slot(name);
    if (!*at) {
        *at = calloc(1, sizeof **at);
        (*at)->name = strdup(name);
    }
    return *at;
}

static void forget(struct entry **at) {
    struct entry *gone = *at;
    *at = gone->next;
    free(gone->name);
    free(gone);
}

/* Content-MD5 as the ETag that S3 would give; without one, an ETag that nobody takes for an MD5. */
static void make_etag(char etag[64], const char *md5, uint64_t number) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (strlen(md5) != 24) {
        snprintf(etag, 64, "null-sink-%llu", (unsigned long long)number);
        return;
    }
    uint32_t bits = 0;
    for (int i = 0, held = 0, out = 0; i < 22 && out < 32; i++) {
        const char *digit = strchr(digits, md5[i]);
        bits = bits << 6 | (uint32_t)(digit ? digit - digits : 0);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out += snprintf(etag + out, 3, "%02x", bits >> held & 0xff);
        }
    }
}

static bool answer(struct connection *c, const char *status, const char *headers, const char *body) {
    char out[4096];
    size_t size = strlen(body);
    usleep((useconds_t)delay_us);
    int length = snprintf(out, sizeof out, "HTTP/1.1 %s\r\nServer: null-sink\r\nx-amz-request-id: 1\r\n%sContent-Length: %zu\r\n\r\n%s",
                          status, headers, size, size < 1024 ? body : "");
    return reply(c, out, (size_t)length) && (size < 1024 || reply(c, body, size));
}

static bool fail(struct connection *c, const char *status, const char *code, bool is_head) {
    char body[256];
    snprintf(body, sizeof body, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, code);
    return answer(c, status, is_head ? "" : "Content-Type: application/xml\r\n", is_head ? "" : body);
}

static const char *parameter(const struct request *r, const char *name, char value[256]) {
    size_t length = strlen(name);
    for (const char *p = r->query; *p; p += strcspn(p, "&"), p += *p == '&')
        if (!strncmp(p, name, length) && (p[length] == '=' || p[length] == '&' || !p[length])) {
            const char *from = p[length] == '=' ? p + length + 1 : p + length;
            snprintf(value, 256, "%.*s", (int)strcspn(from, "&"), from);
            return value;
        }
    return NULL;
}

static void unquote(char *text) {
    char *out = text;
    for (; *text; text++, out++) {
        unsigned code;
        if (*text == '%' && sscanf(text + 1, "%2x", &code) == 1) *out = (char)code, text += 2;
        else *out = *text;
    }
    *out = 0;
}

static bool list(struct connection *c, const struct request *r) {
    char prefix[256] = "", start[2400], *body = malloc(MOST_LISTED * 512 + 1024);
    parameter(r, "prefix", prefix);
    unquote(prefix);
    snprintf(start, sizeof start, "%s%s%s", r->path, r->path[strlen(r->path) - 1] == '/' ? "" : "/", prefix);
    size_t skip = strlen(r->path) + (r->path[strlen(r->path) - 1] != '/');
    int length = sprintf(body, "<?xml version=\"1.0\"?><ListBucketResult><Prefix></Prefix><MaxKeys>%d</MaxKeys>"
                               "<IsTruncated>false</IsTruncated>", MOST_LISTED), count = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < BUCKETS && count < MOST_LISTED; i++)
        for (struct entry *e = table[i]; e && count < MOST_LISTED; e = e->next)
            if (!strchr(e->name, '?') && !strncmp(e->name, start, strlen(start)) && ++count)
                length += snprintf(body + length, 500, "<Contents><Key>%.250s</Key><LastModified>2026-01-01T00:00:00.000Z"
                    "</LastModified><ETag>\"%s\"</ETag><Size>%llu</Size></Contents>", e->name + skip, e->etag, (unsigned long long)e->size);
    pthread_mutex_unlock(&lock);
    sprintf(body + length, "<KeyCount>%d</KeyCount></ListBucketResult>", count);
    bool sent = answer(c, "200 OK", "Content-Type: application/xml\r\n", body);
    free(body);
    return sent;
}

static bool put(struct connection *c, const struct request *r, const char *upload_id) {
    char headers[512], name[2400];
    pthread_mutex_lock(&lock);
    struct entry *e;
    if (upload_id) {
        snprintf(name, sizeof name, "%s?%s", r->path, upload_id);
        e = *slot(name);
        if (!e) {
            pthread_mutex_unlock(&lock);
            return fail(c, "404 Not Found", "NoSuchUpload", false);
        }
        e->size += r->length;
        e->parts++;
    } else {
        e = keep(r->path);
        e->size = r->length;
        objects++;
    }
    bytes += r->length;
    make_etag(e->etag, r->md5, ++uploads);
    snprintf(e->checksum, sizeof e->checksum, "%s", r->checksum);
    snprintf(headers, sizeof headers, "ETag: \"%s\"\r\n%s", e->etag, r->checksum);
    pthread_mutex_unlock(&lock);
    return answer(c, "200 OK", headers, "");
}

static bool create(struct connection *c, const struct request *r) {
    char body[4096], name[2400], id[32];
    pthread_mutex_lock(&lock);
    snprintf(id, sizeof id, "upload%llu", (unsigned long long)++uploads);
    snprintf(name, sizeof name, "%s?%s", r->path, id);
    keep(name);
    pthread_mutex_unlock(&lock);
    char *key = strchr(r->path + 1, '/');
    snprintf(body, sizeof body, "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><Bucket>%.*s</Bucket><Key>%s</Key>"
             "<UploadId>%s</UploadId></InitiateMultipartUploadResult>", (int)(key - r->path - 1), r->path + 1, key + 1, id);
    return answer(c, "200 OK", "Content-Type: application/xml\r\n", body);
}

/* `how`: 'c' complete, 'a' abort, 'l' list the parts (their number alone is known: the list is empty) */
static bool multipart(struct connection *c, const struct request *r, const char *id, char how) {
    char body[4096], name[2400], checksum[256] = "", etag[64] = "";
    snprintf(name, sizeof name, "%s?%s", r->path, id);
    pthread_mutex_lock(&lock);
    struct entry **at = slot(name);
    if (!*at) {
        pthread_mutex_unlock(&lock);
        return fail(c, "404 Not Found", "NoSuchUpload", false);
    }
    if (how == 'c') {
        struct entry *e = keep(r->path);
        e->size = (*at)->size;
        snprintf(e->etag, sizeof e->etag, "null-sink-%llu-%u", (unsigned long long)++uploads, (*at)->parts);
        snprintf(e->checksum, sizeof e->checksum, "%s", r->checksum);
        strcpy(etag, e->etag);
        objects++;
    }
    if (how != 'l') forget(slot(name));
    pthread_mutex_unlock(&lock);
    if (how == 'a') return answer(c, "204 No Content", "", "");
    char algorithm[16] = "", value[96] = "";
    if (sscanf(r->checksum, "x-amz-checksum-%15[^:]: %95s", algorithm, value) == 2) {
        for (char *p = algorithm; *p; p++) *p = (char)toupper(*p);
        snprintf(checksum, sizeof checksum, "<Checksum%s>%s</Checksum%s><ChecksumType>FULL_OBJECT</ChecksumType>", algorithm, value, algorithm);
    }
    char *key = strchr(r->path + 1, '/');
    const char *root = how == 'c' ? "CompleteMultipartUploadResult" : "ListPartsResult";
    snprintf(body, sizeof body, "<?xml version=\"1.0\"?><%s><Bucket>%.*s</Bucket><Key>%s</Key>%s%s%s%s<IsTruncated>false</IsTruncated></%s>",
             root, (int)(key - r->path - 1), r->path + 1, key + 1, *etag ? "<ETag>" : "", etag, *etag ? "</ETag>" : "", checksum, root);
    return answer(c, "200 OK", "Content-Type: application/xml\r\n", body);
}

static bool look(struct connection *c, const struct request *r) {
    char head[512];
    pthread_mutex_lock(&lock);
    struct entry *e = *slot(r->path);
    int length = e ? snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\nETag: \"%s\"\r\n%sLast-Modified: "
                              "Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/octet-stream\r\n\r\n",
                              (unsigned long long)e->size, e->etag, e->checksum) : 0;
    pthread_mutex_unlock(&lock);
    if (e) usleep((useconds_t)delay_us);
    return e ? reply(c, head, (size_t)length) : fail(c, "404 Not Found", "NotFound", true);
}

static bool stats(struct connection *c, bool reset) {
    char body[128];
    pthread_mutex_lock(&lock);
    snprintf(body, sizeof body, "%llu %llu %llu\n", (unsigned long long)objects, (unsigned long long)bytes, (unsigned long long)requests);
    if (reset) {
        for (int i = 0; i < BUCKETS; i++)
            while (table[i]) forget(&table[i]);
        objects = bytes = requests = 0;
    }
    pthread_mutex_unlock(&lock);
    return answer(c, "200 OK", "", body);
}

static bool serve(struct connection *c, struct request *r) {
    char value[256];
    if (!strcmp(r->path, "/_stats")) return stats(c, !strcmp(r->method, "DELETE"));
    __atomic_add_fetch(&requests, 1, __ATOMIC_RELAXED);
    const char *key = strchr(r->path + 1, '/');
    bool has_key = key && key[1];
    const char *upload_id = parameter(r, "uploadId", value);
    if (!strcmp(r->method, "PUT")) return has_key ? put(c, r, upload_id) : answer(c, "200 OK", "", "");
    if (!strcmp(r->method, "HEAD")) return has_key ? look(c, r) : answer(c, "200 OK", "x-amz-bucket-region: us-east-1\r\n", "");
    if (!strcmp(r->method, "POST") && has_key)
        return upload_id ? multipart(c, r, upload_id, 'c') : create(c, r);
    if (!strcmp(r->method, "DELETE")) {
        if (upload_id) return multipart(c, r, upload_id, 'a');
        pthread_mutex_lock(&lock);
        struct entry **at = slot(r->path);
        if (*at) forget(at);
        pthread_mutex_unlock(&lock);
        return answer(c, "204 No Content", "", "");
    }
    if (!strcmp(r->method, "GET") && has_key && upload_id) return multipart(c, r, upload_id, 'l');
    if (!strcmp(r->method, "GET") && !has_key && r->path[1]) {
        if (parameter(r, "location", value)) return answer(c, "200 OK", "", "<LocationConstraint/>");
        if (parameter(r, "uploads", value))
            return answer(c, "200 OK", "", "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>");
        return list(c, r);
    }
    return fail(c, "501 Not Implemented", "NotImplemented", false);
}

/* ---- connections ---- */

static void *talk(void *argument) {
    struct connection *c = argument;
    struct request r;
    int yes = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    c->scratch = malloc(SCRATCH);
#ifdef WITH_TLS
    if (tls) {
        c->ssl = SSL_new(tls);
        SSL_set_fd(c->ssl, c->fd);
        if (SSL_accept(c->ssl) != 1) goto end;
    }
#endif
    while (read_request(c, &r) && read_body(c, &r) && serve(c, &r) && !r.is_last) {}
#ifdef WITH_TLS
end:
    if (c->ssl) SSL_free(c->ssl);
#endif
    close(c->fd);
    free(c->scratch);
    free(c);
    return NULL;
}

static void *end_with_input(void *unused) {
    char byte;
    while (read(0, &byte, 1) > 0) {}
    exit(0);
    return unused;
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    for (; count > 2 && !strncmp(arguments[1], "--", 2); arguments += 2, count -= 2) {
        const char *name = arguments[1], *value = arguments[2];
        if (!strcmp(name, "--delay-ms")) delay_us = atol(value) * 1000;
        else if (!strcmp(name, "--mbit")) bytes_per_second = atof(value) * 125000;
        else if (!strcmp(name, "--answers")) answers = !strcmp(value, "md5") ? MD5 : !strcmp(value, "nothing") ? NOTHING : CHECKSUMS;
    }
    if (count == 3) {
#ifdef WITH_TLS
        tls = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(tls, arguments[1]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, arguments[2], SSL_FILETYPE_PEM) != 1)
            return fprintf(stderr, "null_sink: no certificate and key in %s and %s\n", arguments[1], arguments[2]), 2;
#else
        return fprintf(stderr, "null_sink: built without TLS\n"), 2;
#endif
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int window = 64 * 1024; /* a slow link holds little on its way */
    if (bytes_per_second > 0) setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    if (bind(listener, (void *)&address, size) || listen(listener, 1024) || getsockname(listener, (void *)&address, &size))
        return perror("null_sink"), 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    pthread_t thread;
    pthread_create(&thread, NULL, end_with_input, NULL);
    pthread_detach(thread);
    for (;;) {
        struct connection *c = calloc(1, sizeof *c);
        c->fd = accept(listener, NULL, NULL);
        if (c->fd < 0 || pthread_create(&thread, NULL, talk, c)) {
            if (c->fd >= 0) close(c->fd);
            free(c);
            continue;
        }
        pthread_detach(thread);
    }
}
