/* Reads what to watch for: one thing a line, numbers in hexadecimal without 0x.
 *
 *     phase NAME                          the next phase; the first one runs from power-on
 *     image PHASE STAMP SIZE ENTRY        PHASE begins at the entry point of that PE image
 *     physical PHASE ADDRESS              PHASE begins there, in low memory
 *     code PHASE BYTES                    PHASE begins at a block in low memory that begins with
 *                                         these 8 bytes, a little-endian number
 *     kernel PHASE                        PHASE begins at the kernel's own addresses, whichever
 *     kernel PHASE ADDRESS                PHASE begins at the kernel's own addresses; the first
 *                                         instruction there is linked at ADDRESS
 *     span PHASE ADDRESS                  a function of the kernel, linked at ADDRESS
 *     thunk ADDRESS END                   code of the kernel that passes a call on: the function
 *                                         that it reaches counts as the one called
 *     forward ADDRESS                     a function of the kernel, linked at ADDRESS: the clock is
 *                                         put forward to the next full step when it begins
 *     forward-phase PHASE                 and when PHASE begins
 *     user PHASE                          PHASE begins with user space's first instruction
 *     end OFFSET                          counting ends, bytes after user space's first instruction
 *
 * Where a hypervisor runs a host and its zones, all of these are the host's, and there are too
 *
 *     hypervisor                          it is so
 *     hypervisor-span PHASE ADDRESS       a function of the hypervisor
 *     zone-span PHASE ADDRESS             a function of the zones' kernel
 *     hypervisor-thunk, zone-thunk ADDRESS END
 *     guest PHASE AFTER ADDRESS BYTES     PHASE begins when the phase is AFTER, at that address and
 *                                         at these bytes (in their order, at most 32)
 *     program PHASE AFTER BYTES           the same, wherever in user space
 *     at PHASE AFTER OFFSET BYTES         the same, bytes after user space's first instruction
 */
#include "counter.h"

#include <inttypes.h>
#include <string.h>

static bool find_phase(const struct config *config, const char *name, unsigned *phase)
{
    for (*phase = 0; *phase < config->phase_count; ++*phase)
        if (strcmp(config->phases[*phase], name) == 0)
            return true;
    return false;
}

static const char *add_phase(struct config *config, const char *name)
{
    unsigned known;

    if (config->phase_count == MAX_PHASES)
        return "too many phases";
    if (find_phase(config, name, &known))
        return "a phase is named twice";
    memcpy(config->phases[config->phase_count++], name, strlen(name) + 1);
    return NULL;
}

static const char *add_mark(struct config *config, const struct mark *mark)
{
    if (config->mark_count == 0)
        config->mark_count = 1; /* 0 is no mark */
    if (config->mark_count == MAX_MARKS)
        return "too many marks";
    config->marks[config->mark_count++] = *mark;
    return NULL;
}

static const char *add_forward(struct config *config, const char *name)
{
    unsigned phase;

    if (!find_phase(config, name, &phase))
        return "an unknown phase is to put the clock forward";
    config->forward[phase] = true;
    return NULL;
}

static bool read_bytes(struct mark *mark, const char *text)
{
    size_t count = strlen(text) / 2;

    if (count == 0 || count > MAX_CODE || strlen(text) % 2)
        return false;
    for (size_t index = 0; index < count; index++)
        if (sscanf(text + 2 * index, "%2" SCNx8, &mark->bytes[index]) != 1)
            return false;
    mark->byte_count = (unsigned)count;
    return true;
}

/* The marks of a hypervisor's guests. Gives false where the line is none of them. */
static bool read_guest_line(const struct config *config, const char *line, struct mark *mark)
{
    char name[MAX_NAME], after[MAX_NAME], bytes[2 * MAX_CODE + 1];
    int end = 0;

    if (sscanf(line, "guest %31s %31s %" SCNx64 " %64[0-9a-f] %n", name, after, &mark->address,
               bytes, &end) == 4 && line[end] == '\0')
        mark->kind = MARK_GUEST;
    else if (sscanf(line, "at %31s %31s %" SCNx64 " %64[0-9a-f] %n", name, after, &mark->address,
                    bytes, &end) == 4 && line[end] == '\0')
        mark->kind = MARK_AT;
    else if (sscanf(line, "program %31s %31s %64[0-9a-f] %n", name, after, bytes, &end) == 3 &&
             line[end] == '\0')
        mark->kind = MARK_PROGRAM;
    else
        return false;
    mark->ordered = true;
    return find_phase(config, name, &mark->phase) && find_phase(config, after, &mark->after) &&
           read_bytes(mark, bytes);
}

/* Takes the space off a line's first word. */
static const char *read_space(const char *line, enum space *space)
{
    static const char hypervisor[] = "hypervisor-", zone[] = "zone-";

    *space = SPACE_HOST;
    if (strncmp(line, hypervisor, sizeof(hypervisor) - 1) == 0) {
        *space = SPACE_HYPERVISOR;
        return line + sizeof(hypervisor) - 1;
    }
    if (strncmp(line, zone, sizeof(zone) - 1) == 0) {
        *space = SPACE_ZONE;
        return line + sizeof(zone) - 1;
    }
    return line;
}

static const char *read_line(struct config *config, const char *line)
{
    char name[MAX_NAME];
    int end = 0;
    struct mark mark = {0};

    if (strcmp(line, "hypervisor\n") == 0) {
        config->hypervisor = true;
        return NULL;
    }
    if (read_guest_line(config, line, &mark))
        return add_mark(config, &mark);
    memset(&mark, 0, sizeof(mark));
    line = read_space(line, &mark.space);
    if (sscanf(line, "phase %31s %n", name, &end) == 1 && line[end] == '\0')
        return add_phase(config, name);
    if (sscanf(line, "forward-phase %31s %n", name, &end) == 1 && line[end] == '\0')
        return add_forward(config, name);
    if (sscanf(line, "forward %" SCNx64 " %n", &mark.address, &end) == 1 && line[end] == '\0') {
        mark.kind = MARK_FORWARD;
        return add_mark(config, &mark);
    }
    if (sscanf(line, "end %" SCNx64 " %n", &mark.address, &end) == 1 && line[end] == '\0') {
        mark.kind = MARK_END;
        return add_mark(config, &mark);
    }
    if (sscanf(line, "thunk %" SCNx64 " %" SCNx64 " %n", &mark.address, &mark.end, &end) == 2 &&
        line[end] == '\0') {
        mark.kind = MARK_THUNK;
        return add_mark(config, &mark);
    }
    if (sscanf(line, "image %31s %" SCNx32 " %" SCNx32 " %" SCNx32 " %n", name, &mark.stamp,
               &mark.size, &mark.entry, &end) == 4 && line[end] == '\0')
        mark.kind = MARK_IMAGE;
    else if (sscanf(line, "physical %31s %" SCNx64 " %n", name, &mark.address, &end) == 2 &&
             line[end] == '\0')
        mark.kind = MARK_PHYSICAL;
    else if (sscanf(line, "code %31s %" SCNx64 " %n", name, &mark.code, &end) == 2 && mark.code &&
             line[end] == '\0')
        mark.kind = MARK_CODE;
    else if (sscanf(line, "kernel %31s %n", name, &end) == 1 && line[end] == '\0') {
        mark.kind = MARK_KERNEL;
        mark.anywhere = true;
    } else if (sscanf(line, "kernel %31s %" SCNx64 " %n", name, &mark.address, &end) == 2 &&
             line[end] == '\0')
        mark.kind = MARK_KERNEL;
    else if (sscanf(line, "span %31s %" SCNx64 " %n", name, &mark.address, &end) == 2 &&
             line[end] == '\0')
        mark.kind = MARK_SPAN;
    else if (sscanf(line, "user %31s %n", name, &end) == 1 && line[end] == '\0')
        mark.kind = MARK_USER;
    else
        return "a line is not understood";
    if (!find_phase(config, name, &mark.phase))
        return "a mark names an unknown phase";
    return add_mark(config, &mark);
}

const char *config_read(struct config *config, FILE *file)
{
    char line[256];

    memset(config, 0, sizeof(*config));
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *wrong;

        if (strchr(line, '\n') == NULL)
            return "a line is too long";
        wrong = read_line(config, line);
        if (wrong != NULL)
            return wrong;
    }
    return config->phase_count == 0 ? "no phase is named" : NULL;
}
