/* The types that every UEFI table and protocol is made of (UEFI 2.10, section 2.3.1). */
#ifndef SPROUT_PROTO_TYPES_H
#define SPROUT_PROTO_TYPES_H
#include <stddef.h>
#include <stdint.h>

/* The stub is compiled for a Windows target, where plain C has the calling convention that UEFI
 * asks for (section 2.3.4.2). On the host the mock firmware is plain C too. */
#define EFIAPI

typedef uint16_t CHAR16;
typedef uint8_t BOOLEAN;
typedef size_t UINTN;
typedef size_t EFI_STATUS;
typedef void *EFI_HANDLE;
typedef uint64_t EFI_PHYSICAL_ADDRESS;

typedef struct {
    uint32_t data1;
    uint16_t data2;
    uint16_t data3;
    uint8_t data4[8];
} EFI_GUID;

/* Appendix D. */
#define EFI_SUCCESS ((EFI_STATUS)0)
#define EFI_ERROR_BIT ((EFI_STATUS)1 << (sizeof(EFI_STATUS) * 8 - 1))
#define EFI_ERROR(status) (((status) & EFI_ERROR_BIT) != 0)
#define EFI_LOAD_ERROR (EFI_ERROR_BIT | 1)
#define EFI_INVALID_PARAMETER (EFI_ERROR_BIT | 2)
#define EFI_UNSUPPORTED (EFI_ERROR_BIT | 3)
#define EFI_BUFFER_TOO_SMALL (EFI_ERROR_BIT | 5)
#define EFI_OUT_OF_RESOURCES (EFI_ERROR_BIT | 9)
#define EFI_NOT_FOUND (EFI_ERROR_BIT | 14)
#define EFI_ALREADY_STARTED (EFI_ERROR_BIT | 20)
#define EFI_SECURITY_VIOLATION (EFI_ERROR_BIT | 26)

#define EFI_PAGE_SIZE ((size_t)4096)

/* Section 4.2.1. */
typedef struct {
    uint64_t Signature;
    uint32_t Revision;
    uint32_t HeaderSize;
    uint32_t CRC32;
    uint32_t Reserved;
} EFI_TABLE_HEADER;

#endif
