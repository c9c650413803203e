/* A transaction of the store whose requests are sent together.
 *
 * libxenstore waits for the answer to each: two changes of program and several calls of the kernel
 * for a request, of which a zone without devices has two dozen.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../host/host.h"
#include "launch.h"

#include <xen/io/xs_wire.h> /* takes the integers' types as given */

#define ROOM 8192 /* a page or two of requests at a time */

static struct batch {
    char requests[ROOM];
    size_t used;
    uint32_t count;
    uint32_t transaction;
    int error; /* of the first that failed */
} batch;

static int error_of(const char *name)
{
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
        if (strcmp(name, xsd_errors[i].errstring) == 0)
            return xsd_errors[i].errnum;
    return EIO;
}

static void take_answer(void)
{
    size_t size;
    bool refused;
    const char *text = store_answer(&size, &refused);

    if (batch.error == 0 && (!text || refused))
        batch.error = text ? error_of(text) : EPIPE;
}

static void send_waiting(void)
{
    uint32_t count = batch.count;

    if (count > 0 && !store_send(batch.requests, batch.used) && batch.error == 0)
        batch.error = EPIPE;
    batch.used = batch.count = 0;
    for (uint32_t i = 0; i < count && batch.error != EPIPE; i++)
        take_answer();
}

static void request(uint32_t type, const char *first, const void *second, size_t second_size)
{
    size_t size = 0;

    for (int tries = 0; tries < 2 && size == 0; tries++) {
        size = store_request(batch.requests + batch.used, ROOM - batch.used, type, batch.transaction,
                             first, second, second_size);
        if (size == 0)
            send_waiting();
    }
    if (size == 0 && batch.error == 0)
        batch.error = E2BIG;
    batch.count += size > 0;
    batch.used += size;
}

bool batch_begin(void)
{
    const char *text;
    size_t size;
    bool refused = true;

    batch = (struct batch){.transaction = 0};
    request(XS_TRANSACTION_START, "", "", 0);
    text = store_send(batch.requests, batch.used) ? store_answer(&size, &refused) : NULL;
    errno = EPIPE;
    if (!text || refused)
        return false;
    batch.used = batch.count = 0;
    batch.transaction = (uint32_t)strtoul(text, NULL, 10);
    return true;
}

void batch_write(const char *path, const char *value)
{
    request(XS_WRITE, path, value, strlen(value));
}

/* `access` is a list of permissions as the store has them, each with its NUL (docs/misc/xenstore.txt). */
void batch_folder(const char *path, const char *access, size_t access_size)
{
    request(XS_MKDIR, path, "", 0);
    request(XS_SET_PERMS, path, access, access_size);
}

/* Makes it all seen at once, or nothing of it; with EAGAIN everything is to be said again. */
bool batch_end(void)
{
    int error;

    send_waiting();
    error = batch.error;
    batch.error = 0;
    if (error != EPIPE) {
        request(XS_TRANSACTION_END, error ? "F" : "T", "", 0);
        send_waiting();
    }
    errno = error ? error : batch.error;
    return errno == 0;
}
