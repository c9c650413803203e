/* A client of xenstored: one request at a time over its socket.
 *
 * The messages are those of Xen, docs/misc/xenstore.txt and public/io/xs_wire.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "host.h"

enum { XS_DIRECTORY = 1, XS_READ = 2, XS_WATCH = 4, XS_WRITE = 11, XS_WATCH_EVENT = 15, XS_ERROR = 16 };

/* struct xsd_sockmsg */
struct message {
    uint32_t type;
    uint32_t request;
    uint32_t transaction;
    uint32_t size;
};

#define PATH "/run/xenstored/socket"
#define MAX_PAYLOAD 4096
#define LIMIT_S 5

static int connection = -1;
static bool happened;
static char payload[MAX_PAYLOAD + 1];

static void disconnect(void)
{
    if (connection >= 0)
        close(connection);
    connection = -1;
}

bool store_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = PATH};
    const struct timeval limit = {.tv_sec = LIMIT_S};

    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0)
        return false;
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(connection, (struct sockaddr *)&address, sizeof(address)) == 0)
        return true;
    disconnect();
    return false;
}

int store_socket(void)
{
    return connection;
}

static bool receive(void *data, size_t size)
{
    char *at = data;

    while (size > 0) {
        ssize_t got = recv(connection, at, size, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

/* Receives one message; its payload ends with a NUL. */
static bool receive_message(struct message *head)
{
    if (!receive(head, sizeof(*head)) || head->size > MAX_PAYLOAD || !receive(payload, head->size))
        return false;
    payload[head->size] = '\0';
    return true;
}

/* Sends one request or several, whole. A connection that is out of step is of no more use. */
bool store_send(const void *requests, size_t size)
{
    if (connection >= 0 && write_all(connection, requests, size))
        return true;
    disconnect();
    return false;
}

/* Takes the answer to the oldest request that has none: its text, which stays until the next. NULL
 * when there is none; `refused` when it is an error's name. */
const char *store_answer(size_t *size, bool *refused)
{
    struct message head = {.type = XS_WATCH_EVENT};

    while (head.type == XS_WATCH_EVENT) {
        if (connection < 0 || !receive_message(&head)) {
            disconnect();
            return NULL;
        }
        if (head.type == XS_WATCH_EVENT)
            happened = true;
    }
    *size = head.size;
    *refused = head.type == XS_ERROR;
    return payload;
}

/* Puts a request of two strings, the first with its NUL, at `to`; gives its size, or 0 without room. */
size_t store_request(void *to, size_t room, uint32_t type, uint32_t transaction, const char *first,
                     const void *second, size_t second_size)
{
    size_t first_size = strlen(first) + 1;
    struct message head = {.type = type, .transaction = transaction};
    char *at = to;

    if (second_size > MAX_PAYLOAD || first_size > MAX_PAYLOAD - second_size ||
        room < sizeof(head) + first_size + second_size)
        return 0;
    head.size = (uint32_t)(first_size + second_size);
    memcpy(at, &head, sizeof(head));
    memcpy(at + sizeof(head), first, first_size);
    memcpy(at + sizeof(head) + first_size, second, second_size);
    return sizeof(head) + head.size;
}

/* Gives the answer's size, or -1. */
static ssize_t ask(uint32_t type, const char *first, const void *second, size_t second_size)
{
    static char request[sizeof(struct message) + MAX_PAYLOAD];
    size_t size = store_request(request, sizeof(request), type, 0, first, second, second_size);
    bool refused;

    if (size == 0 || !store_send(request, size) || !store_answer(&size, &refused) || refused)
        return -1;
    return (ssize_t)size;
}

bool store_read(const char *path, char *value, size_t size)
{
    ssize_t got = ask(XS_READ, path, "", 0);

    if (got < 0 || (size_t)got >= size)
        return false;
    memcpy(value, payload, (size_t)got + 1);
    return true;
}

bool store_write(const char *path, const char *value)
{
    return ask(XS_WRITE, path, value, strlen(value)) >= 0;
}

/* Gives the bytes of names that there are, each with a NUL. */
size_t store_list(const char *path, char *names, size_t size)
{
    ssize_t got = ask(XS_DIRECTORY, path, "", 0);

    if (got < 0 || (size_t)got > size)
        return 0;
    memcpy(names, payload, (size_t)got);
    return (size_t)got;
}

bool store_watch(const char *path)
{
    return ask(XS_WATCH, path, "w", sizeof("w")) >= 0;
}

/* Takes what has come in since; true when something that is watched happened. */
bool store_happened(void)
{
    struct message head;
    bool result;

    while (connection >= 0) {
        ssize_t got = recv(connection, &head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            break;
        if (got <= 0 || !receive_message(&head))
            disconnect();
        happened = true;
    }
    result = happened;
    happened = false;
    return result;
}

/* head NUMBER tail, with a NUL behind it. */
struct line store_path(const char *head, uint64_t number, const char *tail)
{
    struct line line = {.used = 0};

    line_text(&line, head);
    line_number(&line, number);
    line_text(&line, tail);
    line.text[line.used] = '\0';
    return line;
}
