/* UAPI Unified Kernel Image specification, "UKI Components". */
#include "sections.h"

struct failure sections_open(struct span loaded, struct pe *self)
{
    const char *wrong = pe_read(loaded, self);
    if (wrong == NULL && self->image_size > loaded.size)
        wrong = "SizeOfImage is above what the firmware loaded";
    return wrong == NULL ? SUCCESS : FAILURE(EFI_LOAD_ERROR, "boot image", wrong);
}

static bool has_name(const struct pe_section *section, const char *name)
{
    for (size_t i = 0; i < sizeof(section->name); i++) {
        if (section->name[i] != (uint8_t)name[i])
            return false;
        if (name[i] == '\0')
            return true;
    }
    return name[sizeof(section->name)] == '\0';
}

struct failure sections_find(const struct pe *self, const char *name, bool required,
                             struct section *found)
{
    struct span image = {self->bytes.data, self->image_size};
    *found = (struct section){{NULL, 0}, 0};
    for (uint32_t i = 0; i < self->sections; i++) {
        struct pe_section header = pe_section(self, i);
        if (!has_name(&header, name))
            continue;
        /* Which of two was meant is anybody's guess, and a signature does not tell. */
        if (found->bytes.data != NULL)
            return FAILURE(EFI_LOAD_ERROR, name, "there are two sections of this name");
        if (header.virtual_address < self->headers_size ||
            !span_holds(image, header.virtual_address, header.virtual_size))
            return FAILURE(EFI_LOAD_ERROR, name, "VirtualSize goes beyond SizeOfImage");
        found->bytes = (struct span){image.data + header.virtual_address, header.virtual_size};
        found->file_size =
            header.raw_size < header.virtual_size ? header.raw_size : header.virtual_size;
    }
    if (required && found->bytes.size == 0)
        return FAILURE(EFI_LOAD_ERROR, name, "section is missing or empty");
    return SUCCESS;
}
