/* Whole boots for the tests: an image that the firmware has loaded, and kernels to look around. */
#ifndef SPROUT_BOOTS_H
#define SPROUT_BOOTS_H
#include "proto/system_table.h"
#include "sprout_stamps.h"

extern const char boots_cmdline[], boots_initrd[];
extern uint8_t *image; /* as the firmware loaded it; see boot_image */

/* A firmware that has loaded a boot image, with LoadOptions that ask for evil. */
void prepare(void);

/* The same with a `.linux` of that VirtualSize; `text` and `archive` may be NULL. */
void prepare_with(uint32_t linux_size, const char *text, const char *archive);

/* Everything was given back; frees the image, whose memory Linux would keep. */
void finish(void);

/* The boot services' checksum is right. */
void check_crc(void);

/* Kernels: one that finds itself, its command line and its initrd as they are in the image; one
 * that finds neither of the two; one that returns and one that calls Exit with an error. */
EFI_STATUS linux_starts(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system);
EFI_STATUS linux_without_extras(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system);
EFI_STATUS linux_returns(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system);
EFI_STATUS linux_exits(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system);

/* What the stub published. */
struct sprout_stamps stamps(void);

/* The image gives `status`, prints `line`, runs no kernel and leaves nothing behind. */
void expect_refused(EFI_STATUS status, const char *line);

#endif
