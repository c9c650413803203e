/* What the readers of `.hv` make of damaged files: its ELF headers and its Multiboot2 header. */
#include "check.h"
#include "elf.h"
#include "images.h"
#include "multiboot2.h"

static struct elf elf;
static struct multiboot2_header header;

/* Reads a copy of exactly `size` bytes, so that the address sanitizer sees a step beyond it. */
static const char *read_elf(const uint8_t *file, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    memcpy(copy + 1, file, size);
    const char *wrong = elf_read((struct span){copy + 1, size}, &elf);
    free(copy);
    return wrong;
}

static const char *find_header(const uint8_t *file, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    memcpy(copy + 1, file, size);
    const char *wrong = multiboot2_find((struct span){copy + 1, size}, &header);
    free(copy);
    return wrong;
}

struct change {
    size_t at;
    uint32_t value;
    const char *wrong;
};

static void expect_each(const struct change *changes, size_t count,
                        const char *(*read)(const uint8_t *, size_t))
{
    for (size_t i = 0; i < count; i++) {
        uint8_t file[HV_FILE_SIZE];
        hypervisor_file(file);
        put32(file + changes[i].at, changes[i].value);
        const char *wrong = read(file, sizeof(file));
        CHECK_TEXT(wrong == NULL ? "nothing" : wrong, changes[i].wrong);
    }
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

TEST(elf_is_read)
{
    uint8_t file[HV_FILE_SIZE];
    hypervisor_file(file);
    CHECK(elf_read((struct span){file, sizeof(file)}, &elf) == NULL);
    CHECK(elf.start == HV_ADDRESS && elf.size == HV_SEGMENT_MEMORY && elf.headers == 2);
    CHECK(elf_segment(&elf, 0).file_size == HV_SEGMENT_FILE);
    CHECK(elf_segment(&elf, 1).memory_size == 0);
    CHECK(elf_has_code(&elf, HV_ADDRESS));
    CHECK(elf_has_code(&elf, HV_ADDRESS + HV_SEGMENT_FILE - 1));
    CHECK(!elf_has_code(&elf, HV_ADDRESS + HV_SEGMENT_FILE));
    CHECK(!elf_has_code(&elf, HV_ADDRESS - 1) && !elf_has_code(&elf, 0));
    put32(file + HV_PROGRAM_AT + 24, 6);
    CHECK(!elf_has_code(&elf, HV_ADDRESS));
}

TEST(elf_that_is_damaged_is_refused)
{
    enum { OFFSET = HV_PROGRAM_AT + 4, ADDRESS = HV_PROGRAM_AT + 12, FILE = HV_PROGRAM_AT + 16,
           MEMORY = HV_PROGRAM_AT + 20, SECOND = HV_PROGRAM_AT + 32 };
    static const struct change changes[] = {
        {0, 0, "is no 32-bit little-endian ELF file"},
        {4, 0x00010102, "is no 32-bit little-endian ELF file"},
        {16, 0x00030003, "is no ELF executable for x86"},
        {16, 0x003e0002, "is no ELF executable for x86"},
        {28, HV_FILE_SIZE - 63, "program headers go beyond the file"},
        {28, 0xffffffff, "program headers go beyond the file"},
        {42, 0x00020038, "e_phentsize is not 32"},
        {42, 0x00000020, "e_phnum is 0 or above 16"},
        {42, 0x00110020, "e_phnum is 0 or above 16"},
        {42, 0xffff0020, "e_phnum is 0 or above 16"},
        {OFFSET, HV_FILE_SIZE - HV_SEGMENT_FILE + 1, "a segment goes beyond the file"},
        {OFFSET, 0xffffffff, "a segment goes beyond the file"},
        {FILE, HV_SEGMENT_MEMORY + 1, "a segment's p_filesz is above its p_memsz"},
        {FILE, HV_SEGMENT_FILE + 1, "a segment goes beyond the file"},
        {MEMORY, 0, "a segment's p_filesz is above its p_memsz"},
        {MEMORY, ELF_MAX_MEMORY + 1, "its segments take more than 64 MiB"},
        {MEMORY, 0xffffffff, "its segments take more than 64 MiB"},
        {ADDRESS, 0xffffffff, "a segment goes beyond 4 GiB"},
        {HV_PROGRAM_AT, 4, "has no segment to load"},
        {SECOND, 1, "segments overlap or are out of order"},
    };
    expect_each(changes, COUNT(changes), read_elf);
}

TEST(elf_segments_far_apart_are_refused)
{
    uint8_t file[HV_FILE_SIZE];
    hypervisor_file(file);
    put32(file + HV_PROGRAM_AT + 32, 1);
    put32(file + HV_PROGRAM_AT + 32 + 12, 0x80000000);
    CHECK_TEXT(read_elf(file, sizeof(file)), "its segments take more than 64 MiB");
    put32(file + HV_PROGRAM_AT + 32 + 12, HV_ADDRESS + HV_SEGMENT_MEMORY);
    CHECK(read_elf(file, sizeof(file)) == NULL && elf.size == HV_SEGMENT_MEMORY + 0x24);
    put32(file + HV_PROGRAM_AT + 32 + 12, HV_ADDRESS + HV_SEGMENT_MEMORY - 1);
    CHECK_TEXT(read_elf(file, sizeof(file)), "segments overlap or are out of order");
}

/* What is read is either refused or whole, wherever the file is cut. */
TEST(elf_and_header_that_are_cut_off_are_refused)
{
    uint8_t file[HV_FILE_SIZE];
    hypervisor_file(file);
    for (size_t size = 0; size < HV_SEGMENT_OFFSET + HV_SEGMENT_FILE; size++)
        CHECK(read_elf(file, size) != NULL);
    for (size_t size = 0; size < HV_END_AT + 8; size += 1 + size / 64)
        CHECK(find_header(file, size) != NULL);
    CHECK(find_header(file, HV_END_AT + 8) == NULL);
}

TEST(multiboot2_header_is_found)
{
    uint8_t file[HV_FILE_SIZE];
    hypervisor_file(file);
    CHECK(find_header(file, sizeof(file)) == NULL);
    CHECK(header.entry == HV_ADDRESS + HV_ENTRY && header.alignment == HV_ALIGNMENT);
    CHECK(header.least == HV_ADDRESS && header.last == 0xffffffff);
    put32(file + HV_RELOCATABLE_AT + 16, 0); /* "no alignment" */
    CHECK(find_header(file, sizeof(file)) == NULL && header.alignment == 1);
}

TEST(multiboot2_header_is_looked_for_where_it_may_be)
{
    static uint8_t file[0x8000 + HV_FILE_SIZE];
    hypervisor_file(file);
    memmove(file + 0x8000 - HV_HEADER_SIZE, file + HV_HEADER_AT, HV_HEADER_SIZE);
    memset(file + HV_HEADER_AT, 0, 4);
    CHECK(find_header(file, sizeof(file)) == NULL);
    memmove(file + 0x8000 - HV_HEADER_SIZE + 8, file + 0x8000 - HV_HEADER_SIZE, HV_HEADER_SIZE);
    CHECK_TEXT(find_header(file, sizeof(file)),
               "Multiboot2 header goes beyond the first 32 KiB");
    memmove(file + 0x8000, file + 0x8000 - HV_HEADER_SIZE + 8, HV_HEADER_SIZE);
    memset(file + 0x8000 - HV_HEADER_SIZE + 8, 0, HV_HEADER_SIZE - 8);
    CHECK_TEXT(find_header(file, sizeof(file)), "has no Multiboot2 header");
    hypervisor_file(file);
    memmove(file + HV_HEADER_AT + 4, file + HV_HEADER_AT, HV_HEADER_SIZE); /* not aligned */
    memset(file + HV_HEADER_AT, 0, 4);
    CHECK_TEXT(find_header(file, HV_FILE_SIZE), "has no Multiboot2 header");
}

TEST(multiboot2_header_that_is_damaged_is_refused)
{
    static const char no_start[] =
        "Multiboot2 header has no relocatable start with EFI boot services";
    static const char beyond[] = "a Multiboot2 tag goes beyond the header";
    static const struct change changes[] = {
        {HV_HEADER_AT, 0xe85250d7, "has no Multiboot2 header"},
        {HV_HEADER_AT + 12, 0, "has no Multiboot2 header"},
        {HV_TAGS_AT + 4, 0, beyond},
        {HV_TAGS_AT + 4, 7, beyond},
        {HV_TAGS_AT + 4, HV_HEADER_SIZE, beyond},
        {HV_TAGS_AT + 4, 0xfffffff8, beyond},
        {HV_TAGS_AT + 4, 0xffffffff, beyond},
        {HV_TAGS_AT, 2, "Multiboot2 header requires what this stub does not have"},
        {HV_TAGS_AT, 0xffff, "Multiboot2 header requires what this stub does not have"},
        {HV_RELOCATABLE_AT, 0x1000b, no_start},
        {HV_SERVICES_AT, 0x1000b, no_start},
        {HV_ENTRY_AT, 0x1000b, no_start},
        {HV_TAGS_AT, 0, no_start},
        {HV_RELOCATABLE_AT + 4, 16, "Multiboot2 relocatable tag is too small"},
        {HV_RELOCATABLE_AT + 16, 3, "Multiboot2 alignment is no power of two up to 1 GiB"},
        {HV_RELOCATABLE_AT + 16, 0x80000000, "Multiboot2 alignment is no power of two up to 1 GiB"},
        {HV_ENTRY_AT + 4, 8, "Multiboot2 entry tag is too small"},
        {HV_END_AT, 0x1000b, "Multiboot2 header has no end"},
        {HV_END_AT + 4, 16, beyond},
    };
    expect_each(changes, COUNT(changes), find_header);
    uint8_t file[HV_FILE_SIZE];
    hypervisor_file(file);
    put32(file + HV_HEADER_AT + 4, 4); /* MIPS */
    put32(file + HV_HEADER_AT + 12, 0u - 0xe85250d6u - HV_HEADER_SIZE - 4);
    CHECK_TEXT(find_header(file, sizeof(file)), "Multiboot2 header is for another architecture");
}

TEST(multiboot2_information_that_has_no_room_is_a_failure)
{
    uint64_t block[16], whole[16];
    struct multiboot2_info info = multiboot2_begin((uint8_t *)whole, sizeof(whole));
    multiboot2_add_efi(&info, whole, block);
    multiboot2_add_cmdline(&info, "xen ", (struct span){(const uint8_t *)"a", 1});
    CHECK(multiboot2_end(&info));
    for (size_t room = 8; room <= info.used; room += 8) {
        uint8_t *copy = malloc(room);
        struct multiboot2_info next = multiboot2_begin(copy, room);
        multiboot2_add_efi(&next, whole, block);
        multiboot2_add_cmdline(&next, "xen ", (struct span){(const uint8_t *)"a", 1});
        CHECK(multiboot2_end(&next) == (room == info.used) && next.used <= room);
        free(copy);
    }
}
