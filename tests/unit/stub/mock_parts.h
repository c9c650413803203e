/* What the rooms of the mock firmware know of each other. */
#ifndef SPROUT_MOCK_PARTS_H
#define SPROUT_MOCK_PARTS_H
#include "check.h"
#include "mock.h"

/* What the handles of the stub's own image and of the device it was read from point to. */
extern char mock_self_handle, mock_device_handle;

static inline bool same_guid(const EFI_GUID *left, const EFI_GUID *right)
{
    return memcmp(left, right, sizeof(*left)) == 0;
}

/* Each puts its services into the tables, which are empty. */
void mock_reset_memory(void);
void mock_reset_attributes(void);
void mock_reset_protocols(void);
void mock_reset_variables(void);

/* Whether no attributes were ever asked of or set for the page, or it has these. */
bool mock_has_attributes_or_none(const void *address, uint64_t attributes);

#endif
