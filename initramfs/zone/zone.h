/* What the parts of the zone's init share. Each part is the .c file named above its functions. */
#ifndef ZONE_H
#define ZONE_H

#include "../common/init.h"

/* The program's exit status that asks for a reboot; the one systemd-nspawn uses for the same. */
#define STATUS_REBOOT 133

/* mounts.c */
extern const struct mount zone_mounts[];
extern const size_t zone_mount_count;

/* ready.c */
void format_ready(struct line *line, const struct sprout_ready *ready);
void announce(const struct sprout_ready *ready);

/* cmdline.c */
size_t words_after_dashes(const char *cmdline, size_t size);
char **program_words(int argc, char **argv);

/* supervise.c */
enum ending supervise(pid_t program, const char *name);

#endif
