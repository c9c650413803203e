/* A guest that fails at once, so that firmware goes on to the next boot option. */
#include <stdint.h>

/* UEFI 2.10, appendix D */
#define EFI_ABORTED (UINT64_C(1) << 63 | 21)

uint64_t efi_main(void *image, const void *system);

uint64_t efi_main(void *image, const void *system)
{
    (void)image;
    (void)system;
    return EFI_ABORTED;
}
