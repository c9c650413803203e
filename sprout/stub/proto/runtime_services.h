/* EFI_RUNTIME_SERVICES (UEFI 2.10, section 4.5); variables are section 8.2. */
#ifndef SPROUT_PROTO_RUNTIME_SERVICES_H
#define SPROUT_PROTO_RUNTIME_SERVICES_H
#include "proto/types.h"

#define EFI_VARIABLE_BOOTSERVICE_ACCESS 2u
#define EFI_VARIABLE_RUNTIME_ACCESS 4u

typedef struct {
    EFI_TABLE_HEADER Hdr;
    void *GetTime;
    void *SetTime;
    void *GetWakeupTime;
    void *SetWakeupTime;
    void *SetVirtualAddressMap;
    void *ConvertPointer;
    EFI_STATUS(EFIAPI *GetVariable)
    (const CHAR16 *name, const EFI_GUID *vendor, uint32_t *attributes, UINTN *size, void *data);
    void *GetNextVariableName;
    EFI_STATUS(EFIAPI *SetVariable)
    (const CHAR16 *name, const EFI_GUID *vendor, uint32_t attributes, UINTN size,
     const void *data);
    void *GetNextHighMonotonicCount;
    void *ResetSystem;
    void *UpdateCapsule;
    void *QueryCapsuleCapabilities;
    void *QueryVariableInfo;
} EFI_RUNTIME_SERVICES;

_Static_assert(offsetof(EFI_RUNTIME_SERVICES, GetVariable) == 72, "UEFI 2.10, section 4.5");
_Static_assert(sizeof(EFI_RUNTIME_SERVICES) == 136, "UEFI 2.10, section 4.5");

#endif
