/* Copies into a domain's pages, and clears them; none is mapped here for it.
 *
 * Each page is granted to the host in the domain's own grant table, and Xen copies into it (Xen,
 * public/grant_table.h: GNTTABOP_copy): a page mapped and unmapped again is three times the work,
 * since each entry of a page table of a PV host is judged by Xen. The grants are taken back before
 * the domain runs.
 */
#include <errno.h>
#include <sys/mman.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xen/grant_table.h>

#include "launch.h"

#define ENTRIES (XC_PAGE_SIZE / sizeof(grant_entry_v1_t))
#define FIRST GNTTAB_NR_RESERVED_ENTRIES
#define MOST (ENTRIES - FIRST)

static struct copier {
    xengnttab_handle *grants;
    xenforeignmemory_handle *memory;
    uint32_t domain;
    struct xc_dom_image *image;
    volatile grant_entry_v1_t *table; /* the first page of the domain's */
    xenforeignmemory_resource_handle *mapped;
    xengnttab_grant_copy_segment_t copies[MOST];
    uint32_t waiting;
    struct mmuext_op clears[MOST];
    uint32_t to_clear;
    xc_interface *xen;
} copier;

static const unsigned char zeroes[XC_PAGE_SIZE] __attribute__((aligned(XC_PAGE_SIZE)));

bool begin_copies(const struct launch *launch, struct xc_dom_image *image)
{
    void *table = NULL;

    if (!copier.grants)
        copier.grants = xengnttab_open(NULL, 0);
    if (!copier.grants)
        return failed("the host's grants");
    copier.xen = launch->host->xen;
    copier.memory = xc_interface_fmem_handle(copier.xen);
    copier.domain = launch->domain;
    copier.image = image;
    copier.waiting = copier.to_clear = 0;
    copier.mapped = xenforeignmemory_map_resource(
        copier.memory, copier.domain, XENMEM_resource_grant_table,
        XENMEM_resource_grant_table_id_shared, 0, 1, &table, PROT_READ | PROT_WRITE, 0);
    copier.table = table;
    return copier.mapped || failed("its grant table");
}

static bool copy_waiting(void)
{
    uint32_t count = copier.waiting;
    bool done;

    copier.waiting = 0;
    done = count == 0 || xengnttab_grant_copy(copier.grants, count, copier.copies) == 0;
    for (uint32_t i = 0; i < count; i++) {
        done = done && copier.copies[i].status == GNTST_okay;
        copier.table[FIRST + i].flags = 0;
    }
    return done || failed("what it is to have in its memory");
}

static xen_pfn_t frame_of(uint64_t at)
{
    return xc_dom_p2m(copier.image, at >> XC_PAGE_SHIFT);
}

/* Within one page of the domain's. */
static bool copy_piece(xen_pfn_t frame, uint16_t offset, const void *from, uint16_t size)
{
    uint32_t entry = FIRST + copier.waiting;

    errno = 0;
    if (frame > UINT32_MAX) /* as much as an entry holds */
        return failed("its memory lies too high");
    copier.table[entry].domid = HOST;
    copier.table[entry].frame = (uint32_t)frame;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    copier.table[entry].flags = GTF_permit_access;
    copier.copies[copier.waiting++] = (xengnttab_grant_copy_segment_t){
        .source.virt = (void *)(uintptr_t)from,
        .dest.foreign = {.ref = entry, .offset = offset, .domid = (uint16_t)copier.domain},
        .len = size,
        .flags = GNTCOPY_dest_gref,
    };
    return copier.waiting < MOST || copy_waiting();
}

/* Puts `size` bytes to the domain's address `at`. They are read by end_copies() at the latest. */
bool copy_into(uint64_t at, const void *from, uint64_t size)
{
    const unsigned char *bytes = from;

    while (size > 0) {
        uint64_t offset = at % XC_PAGE_SIZE, room = XC_PAGE_SIZE - offset;
        uint64_t piece = size < room ? size : room;

        if (!copy_piece(frame_of(at), (uint16_t)offset, bytes, (uint16_t)piece))
            return false;
        at += piece;
        bytes += piece;
        size -= piece;
    }
    return true;
}

/* Xen clears pages of PV domains for PV hosts alone (MMUEXT_CLEAR_PAGE); else it copies zeroes. */
static bool clear_waiting(void)
{
    uint32_t count = copier.to_clear;
    bool done;

    copier.to_clear = 0;
    if (count == 0 || xc_mmuext_op(copier.xen, copier.clears, count, copier.domain) >= 0)
        return true;
    done = errno == EOPNOTSUPP || failed("what it is to have clear in its memory");
    for (uint32_t i = 0; i < count && done; i++)
        done = copy_piece(copier.clears[i].arg1.mfn, 0, zeroes, XC_PAGE_SIZE);
    return done;
}

static bool clear_page(xen_pfn_t frame)
{
    if (copier.image->container_type == XC_DOM_HVM_CONTAINER)
        return copy_piece(frame, 0, zeroes, XC_PAGE_SIZE);
    copier.clears[copier.to_clear++] =
        (struct mmuext_op){.cmd = MMUEXT_CLEAR_PAGE, .arg1.mfn = frame};
    return copier.to_clear < MOST || clear_waiting();
}

bool clear_in(uint64_t at, uint64_t size)
{
    while (size > 0) {
        uint64_t room = XC_PAGE_SIZE - at % XC_PAGE_SIZE;
        uint64_t piece = size < room ? size : room;

        if (piece == XC_PAGE_SIZE ? !clear_page(frame_of(at)) : !copy_into(at, zeroes, piece))
            return false;
        at += piece;
        size -= piece;
    }
    return true;
}

/* Ends what begin_copies() began; false when anything did not get there. */
bool end_copies(void)
{
    bool done = clear_waiting() && copy_waiting();

    xenforeignmemory_unmap_resource(copier.memory, copier.mapped);
    return done;
}
