/* EFI_BOOT_SERVICES (UEFI 2.10, section 4.4). Services that the stub does not call are untyped. */
#ifndef SPROUT_PROTO_BOOT_SERVICES_H
#define SPROUT_PROTO_BOOT_SERVICES_H
#include "proto/device_path.h"
#include "proto/types.h"

/* EFI_ALLOCATE_TYPE and EFI_MEMORY_TYPE, section 7.2.1. */
#define ALLOCATE_ANY_PAGES 0
#define ALLOCATE_MAX_ADDRESS 1
#define EFI_LOADER_CODE 1
#define EFI_LOADER_DATA 2

typedef struct {
    EFI_TABLE_HEADER Hdr;
    void *RaiseTPL;
    void *RestoreTPL;
    EFI_STATUS(EFIAPI *AllocatePages)
    (uint32_t type, uint32_t memory_type, UINTN pages, EFI_PHYSICAL_ADDRESS *memory);
    EFI_STATUS(EFIAPI *FreePages)(EFI_PHYSICAL_ADDRESS memory, UINTN pages);
    void *GetMemoryMap;
    void *AllocatePool;
    void *FreePool;
    void *CreateEvent;
    void *SetTimer;
    void *WaitForEvent;
    void *SignalEvent;
    void *CloseEvent;
    void *CheckEvent;
    void *InstallProtocolInterface;
    void *ReinstallProtocolInterface;
    void *UninstallProtocolInterface;
    EFI_STATUS(EFIAPI *HandleProtocol)
    (EFI_HANDLE handle, const EFI_GUID *protocol, void **interface);
    void *Reserved;
    void *RegisterProtocolNotify;
    void *LocateHandle;
    EFI_STATUS(EFIAPI *LocateDevicePath)
    (const EFI_GUID *protocol, EFI_DEVICE_PATH_PROTOCOL **path, EFI_HANDLE *handle);
    void *InstallConfigurationTable;
    void *LoadImage;
    void *StartImage;
    EFI_STATUS(EFIAPI *Exit)
    (EFI_HANDLE image, EFI_STATUS status, UINTN data_size, CHAR16 *data);
    void *UnloadImage;
    void *ExitBootServices;
    void *GetNextMonotonicCount;
    void *Stall;
    void *SetWatchdogTimer;
    void *ConnectController;
    void *DisconnectController;
    void *OpenProtocol;
    void *CloseProtocol;
    void *OpenProtocolInformation;
    void *ProtocolsPerHandle;
    void *LocateHandleBuffer;
    EFI_STATUS(EFIAPI *LocateProtocol)
    (const EFI_GUID *protocol, void *registration, void **interface);
    EFI_STATUS(EFIAPI *InstallMultipleProtocolInterfaces)(EFI_HANDLE *handle, ...);
    EFI_STATUS(EFIAPI *UninstallMultipleProtocolInterfaces)(EFI_HANDLE handle, ...);
    EFI_STATUS(EFIAPI *CalculateCrc32)(const void *data, UINTN size, uint32_t *crc);
    void *CopyMem;
    void *SetMem;
    void *CreateEventEx;
} EFI_BOOT_SERVICES;

_Static_assert(offsetof(EFI_BOOT_SERVICES, HandleProtocol) == 152, "UEFI 2.10, section 4.4");
_Static_assert(offsetof(EFI_BOOT_SERVICES, Exit) == 216, "UEFI 2.10, section 4.4");
_Static_assert(offsetof(EFI_BOOT_SERVICES, LocateProtocol) == 320, "UEFI 2.10, section 4.4");
_Static_assert(sizeof(EFI_BOOT_SERVICES) == 376, "UEFI 2.10, section 4.4");

#endif
