/* The boot stub: starts the Linux in this image's own sections, with the initrd and the command
 * line beside it, or the hypervisor there with that Linux as its host. Everything it needs is in
 * the image, and is covered by the image's signature.
 *
 * Nothing is printed and nothing waits, unless something is wrong; then one line says what, and the
 * firmware goes on with its next boot option. */
#include "clock.h"
#include <cpu.h>
#include "handover.h"
#include "level.h"
#include "partition.h"
#include "report.h"
#include "sections.h"
#include "variables.h"

static const EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;

EFI_STATUS EFIAPI efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system);

static struct failure find_itself(struct handover *handover, struct pe *self)
{
    void *image = NULL;
    EFI_STATUS status = handover->system->BootServices->HandleProtocol(
        handover->self, &loaded_image_guid, &image);
    if (EFI_ERROR(status))
        return FAILURE(status, "boot image", "the firmware does not say where it is loaded");
    handover->image = image;
    struct span loaded = {handover->image->ImageBase, handover->image->ImageSize};
    return sections_open(loaded, self);
}

static struct failure read_cmdline(struct handover *handover, const struct pe *self)
{
    struct section section;
    struct failure failure = sections_find(self, ".cmdline", false, &section);
    if (failure.status != EFI_SUCCESS)
        return failure;
    return cmdline_convert(section.bytes, &handover->cmdline);
}

static struct failure offer_initrd(struct handover *handover, const struct pe *self)
{
    struct section section;
    struct failure failure = sections_find(self, ".initrd", false, &section);
    if (failure.status != EFI_SUCCESS)
        return failure;
    return initrd_install(&handover->initrd, handover->system->BootServices, section.bytes);
}

static struct failure place_kernel(struct handover *handover, const struct pe *self)
{
    struct section section;
    struct failure failure = sections_find(self, ".linux", true, &section);
    if (failure.status == EFI_SUCCESS)
        failure = kernel_read(section, &handover->kernel);
    if (failure.status != EFI_SUCCESS)
        return failure;
    return placement_make(&handover->placement, handover->system->BootServices,
                          &handover->kernel);
}

static struct failure prepare_linux(struct handover *handover, const struct pe *self)
{
    struct failure failure = read_cmdline(handover, self);
    if (failure.status == EFI_SUCCESS)
        failure = offer_initrd(handover, self);
    if (failure.status == EFI_SUCCESS)
        failure = place_kernel(handover, self);
    return failure;
}

/* A command line for Xen, which takes it as it is. */
static struct failure find_text(const struct pe *self, const char *name, bool required,
                                struct span *text)
{
    struct section section;
    struct failure failure = sections_find(self, name, required, &section);
    if (failure.status != EFI_SUCCESS)
        return failure;
    *text = cmdline_trim(section.bytes);
    const char *wrong = text->size > HYPERVISOR_MAX_CMDLINE ? "longer than 1023 bytes"
                                                            : cmdline_check(*text);
    return wrong == NULL ? SUCCESS : FAILURE(EFI_LOAD_ERROR, name, wrong);
}

static struct failure prepare_hypervisor(struct handover *handover, const struct pe *self,
                                         struct section hv)
{
    struct hypervisor_parts parts = {.image = {hv.bytes.data, hv.file_size}};
    struct failure failure = find_text(self, ".hvcmd", true, &parts.cmdline);
    if (failure.status == EFI_SUCCESS)
        failure = find_text(self, ".cmdline", false, &parts.kernel_cmdline);
    for (size_t i = 0; i < HYPERVISOR_MODULES && failure.status == EFI_SUCCESS; i++) {
        struct section module;
        failure = sections_find(self, hypervisor_modules[i], i != HYPERVISOR_MICROCODE, &module);
        parts.modules[i] = module.bytes;
    }
    if (failure.status != EFI_SUCCESS)
        return failure;
    return hypervisor_make(&handover->hypervisor, handover->system, handover->self, &parts);
}

/* An image with a hypervisor in it starts that; the sections of Linux are then its host's. */
static struct failure prepare(struct handover *handover)
{
    struct pe self;
    struct section hv;
    struct failure failure = find_itself(handover, &self);
    /* Before anything of this image is used, and before there is anything to take back. */
    if (failure.status == EFI_SUCCESS)
        failure = level_check(handover->system->RuntimeServices, &self);
    if (failure.status == EFI_SUCCESS)
        failure = sections_find(&self, ".hv", false, &hv);
    if (failure.status != EFI_SUCCESS)
        return failure;
    if (hv.bytes.data == NULL)
        return prepare_linux(handover, &self);
    return prepare_hypervisor(handover, &self, hv);
}

/* The stamp of the hand-over is in the variables, so it has to be taken before they are written,
 * and the writing counts as the kernel's time. To keep that short, whatever does not need the stamp
 * is published before it (the PM timer is calibrated across that), and two variables remain; OVMF
 * 2022.11 and 2025.02 take 0.27 to 0.29 million instructions for each variable.
 * `bytes_copied` is what has been copied by then: Linux fetches its initrd later. */
static void publish(struct handover *handover, struct clock *clock, uint64_t entered)
{
    EFI_RUNTIME_SERVICES *runtime = handover->system->RuntimeServices;
    uint8_t guid[16];
    bool known = partition_guid(handover->system->BootServices, handover->image->DeviceHandle, guid);
    variables_publish_names(runtime, known ? guid : NULL);

    struct sprout_stamps stamps = {
        .magic = SPROUT_STAMPS_MAGIC,
        .version = SPROUT_STAMPS_VERSION,
        .size = sizeof(stamps),
        .tsc_entry = entered,
        .tsc_hz = clock_finish(clock),
        .bytes_copied = handover->placement.bytes_copied + handover->hypervisor.bytes_copied,
    };
    variables_publish_entry(runtime, &stamps);
    stamps.tsc_handover = cpu_ticks();
    variables_publish_handover(runtime, &stamps);
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    uint64_t entered = cpu_ticks();
    struct handover handover = {.self = self, .system = system};
    struct clock clock;
    clock_start(&clock, system);

    struct failure failure = prepare(&handover);
    if (failure.status != EFI_SUCCESS) {
        handover_undo(&handover);
        report_failure(system, failure);
        return failure.status;
    }
    publish(&handover, &clock, entered);
    if (handover.hypervisor.entry != NULL)
        handover_enter_hypervisor(&handover);
    return handover_enter(&handover);
}
