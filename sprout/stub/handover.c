/* The kernel runs as if the firmware had loaded it (UEFI 2.10, sections 7.4 and 9.1): our handle's
 * loaded image protocol describes the kernel while the kernel runs. Another handle would do for
 * everything but Exit, which works for images that the firmware started itself. */
#include "handover.h"

#include <cpu.h>
#include "multiboot2.h"
#include "report.h"

/* Exit hands over no context, so this is the stub's one variable. */
static struct {
    struct handover *running;
    EFI_STATUS(EFIAPI *firmware_exit)
    (EFI_HANDLE image, EFI_STATUS status, UINTN data_size, CHAR16 *data);
} hook;

static void set_exit(EFI_BOOT_SERVICES *boot,
                     EFI_STATUS(EFIAPI *exit)(EFI_HANDLE, EFI_STATUS, UINTN, CHAR16 *))
{
    uint32_t crc = 0;
    boot->Exit = exit;
    /* The table's checksum covers the pointer (section 4.2.1). */
    boot->Hdr.CRC32 = 0;
    if (!EFI_ERROR(boot->CalculateCrc32(boot, boot->Hdr.HeaderSize, &crc)))
        boot->Hdr.CRC32 = crc;
}

/* Linux ends a failed start by Exit, which unloads this image. Without this, a LoadFile2 would stay
 * behind whose code is gone, for the next boot option's kernel to call. */
static EFI_STATUS EFIAPI exit_hook(EFI_HANDLE image, EFI_STATUS status, UINTN data_size,
                                   CHAR16 *data)
{
    struct handover *handover = hook.running;
    EFI_STATUS(EFIAPI *firmware_exit)(EFI_HANDLE, EFI_STATUS, UINTN, CHAR16 *) = hook.firmware_exit;
    if (image == handover->self && handover->hypervisor.entry != NULL) {
        /* Xen says what is wrong and then ends with success (xen/common/efi/boot.c, blexit). */
        status = EFI_ERROR(status) ? status : EFI_LOAD_ERROR;
        handover_undo(handover);
        report_hypervisor_status(handover->system, status);
    } else if (image == handover->self) {
        handover_undo(handover);
        report_kernel_status(handover->system, status);
    }
    return firmware_exit(image, status, data_size, data);
}

static void catch_exit(struct handover *handover)
{
    EFI_BOOT_SERVICES *boot = handover->system->BootServices;
    hook.running = handover;
    hook.firmware_exit = boot->Exit;
    set_exit(boot, exit_hook);
    handover->firmware_image = *handover->image;
}

EFI_STATUS handover_enter(struct handover *handover)
{
    EFI_LOADED_IMAGE_PROTOCOL *image = handover->image;

    catch_exit(handover);
    /* Linux reads its own header through ImageBase and its command line from LoadOptions. The
     * LoadOptions that the firmware gave us are input from outside and are not looked at. */
    image->ImageBase = handover->placement.pages.base;
    image->ImageSize = handover->placement.pages.size;
    image->LoadOptions = handover->cmdline.text;
    image->LoadOptionsSize = handover->cmdline.size;

    const uint8_t *entry = handover->placement.pages.base + handover->kernel.pe.entry;
    EFI_STATUS status = cpu_enter(entry, handover->self, handover->system);
    handover_undo(handover);
    report_kernel_status(handover->system, status);
    return status;
}

_Noreturn void handover_enter_hypervisor(struct handover *handover)
{
    catch_exit(handover);
    /* Its command line is in the information; what the firmware was given from outside is not. */
    handover->image->LoadOptions = NULL;
    handover->image->LoadOptionsSize = 0;
    cpu_enter_multiboot2(handover->hypervisor.entry, MULTIBOOT2_MAGIC,
                         handover->hypervisor.info.base);
}

void handover_undo(struct handover *handover)
{
    EFI_BOOT_SERVICES *boot = handover->system->BootServices;
    if (hook.running != NULL) {
        *handover->image = handover->firmware_image;
        set_exit(boot, hook.firmware_exit);
        hook.running = NULL;
    }
    hypervisor_undo(&handover->hypervisor, boot);
    pages_give_back(&handover->placement.pages, boot);
    initrd_withdraw(&handover->initrd, boot);
}
