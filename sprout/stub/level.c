/* SBAT generations (SBAT.md of the shim project) in binary tables: sprout/format/levels.py. Without
 * shim nothing but the stub itself looks at them, and whatever is in doubt is refused: otherwise a
 * damaged variable would bring back every image that it revokes. */
#include "level.h"

#include "sections.h"
#include "sprout_levels.h"
#include "sprout_stamps.h"

#define REFUSED(what, why) FAILURE(EFI_SECURITY_VIOLATION, (what), (why))

static const EFI_GUID vendor_guid = SPROUT_STAMPS_GUID;

static const uint8_t *row(struct span table, size_t index)
{
    return table.data + sizeof(struct sprout_levels) + index * sizeof(struct sprout_level);
}

static uint16_t row_count(struct span table)
{
    return read16(table.data + offsetof(struct sprout_levels, count));
}

static uint32_t generation(const uint8_t *row)
{
    return read32(row + offsetof(struct sprout_level, generation));
}

static int compare_components(const uint8_t *left, const uint8_t *right)
{
    return __builtin_memcmp(left, right, sizeof(((struct sprout_level *)0)->component));
}

/* A name, then NULs, one at least. */
static bool is_component(const uint8_t *text)
{
    size_t size = sizeof(((struct sprout_level *)0)->component), length = 0;
    while (length < size && text[length] > ' ' && text[length] <= '~' && text[length] != ',')
        length++;
    if (length == 0 || length == size)
        return false;
    while (length < size && text[length] == '\0')
        length++;
    return length == size;
}

static const char *check_row(const uint8_t *at)
{
    if (!is_component(at))
        return "component is no name";
    if (generation(at) == 0 || generation(at) > SPROUT_LEVELS_MAX_GENERATION)
        return "generation is out of range";
    if (read32(at + offsetof(struct sprout_level, reserved)) != 0)
        return "reserved is not 0";
    return NULL;
}

/* Gives NULL when every byte is as it has to be, or the field and what is wrong with it. */
static const char *check_table(struct span table)
{
    if (!span_holds(table, 0, sizeof(struct sprout_levels)))
        return "table is cut short";
    if (read32(table.data) != SPROUT_LEVELS_MAGIC)
        return "magic is wrong";
    if (read16(table.data + offsetof(struct sprout_levels, version)) != SPROUT_LEVELS_VERSION)
        return "version is unknown";
    size_t count = row_count(table);
    if (count > SPROUT_LEVELS_MAX_ROWS ||
        table.size != sizeof(struct sprout_levels) + count * sizeof(struct sprout_level))
        return "count does not fit the size";
    for (size_t i = 0; i < count; i++) {
        const char *wrong = check_row(row(table, i));
        if (wrong != NULL)
            return wrong;
        if (i > 0 && compare_components(row(table, i - 1), row(table, i)) >= 0)
            return "components are out of order";
    }
    return NULL;
}

struct failure level_compare(struct span machine, struct span image)
{
    const char *wrong = check_table(machine);
    if (wrong != NULL)
        return REFUSED(SPROUT_LEVELS_VARIABLE, wrong);
    wrong = check_table(image);
    if (wrong != NULL)
        return REFUSED(SPROUT_LEVELS_SECTION, wrong);
    size_t least = 0, own = 0;
    while (least < row_count(machine) && own < row_count(image)) {
        const uint8_t *wanted = row(machine, least), *found = row(image, own);
        int order = compare_components(wanted, found);
        if (order == 0 && generation(found) < generation(wanted))
            return REFUSED((const char *)found, "revoked: below this machine's SbatLevel");
        least += order <= 0;
        own += order >= 0;
    }
    return SUCCESS;
}

struct failure level_check(EFI_RUNTIME_SERVICES *runtime, const struct pe *self)
{
    uint8_t data[SPROUT_LEVELS_MAX_BYTES];
    UINTN size = sizeof(data);
    uint32_t attributes = 0;
    EFI_STATUS status = runtime->GetVariable(u"" SPROUT_LEVELS_VARIABLE, &vendor_guid, &attributes,
                                             &size, data);
    if (status == EFI_NOT_FOUND)
        return SUCCESS;
    if (status == EFI_BUFFER_TOO_SMALL || size > sizeof(data))
        return REFUSED(SPROUT_LEVELS_VARIABLE, "longer than any table");
    if (EFI_ERROR(status))
        return REFUSED(SPROUT_LEVELS_VARIABLE, "the firmware cannot read it");
    /* Anybody who runs in the operating system can make a variable that is not authenticated. */
    if (attributes != SPROUT_LEVELS_ATTRIBUTES)
        return REFUSED(SPROUT_LEVELS_VARIABLE, "is not an authenticated variable");

    struct section section;
    struct failure failure = sections_find(self, SPROUT_LEVELS_SECTION, false, &section);
    if (failure.status != EFI_SUCCESS)
        return REFUSED(failure.what, failure.why);
    if (section.bytes.size == 0)
        return REFUSED(SPROUT_LEVELS_SECTION, "is missing, and this machine has an SbatLevel");
    return level_compare((struct span){data, size}, section.bytes);
}
