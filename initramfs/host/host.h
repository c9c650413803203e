/* What the parts of the host's init share. Each part is the .c file named above its functions. */
#ifndef HOST_H
#define HOST_H

#include "../common/init.h"
#include "sprout_zones.h"

/* mounts.c */
bool mount_host(void);

/* table.c */
const char *zones_problem(const uint8_t *data, size_t size);
bool read_zones(void);
size_t zone_rows(const struct sprout_zone **rows);

/* xl.c: starts a zone by Xen's own tool, where its row says so. */
pid_t start_by_xl(const struct sprout_zone *row, int output);

/* config.c: a whole file, or `full` where it had no room. */
struct config {
    char text[8192];
    size_t used;
    bool full;
};
void format_config(struct config *config, const struct sprout_zone *row);

/* launcher.c */
enum launcher_event { ZONE_STARTED, ZONE_LATE, ZONE_FAILED, ZONE_SHUT_DOWN, ZONE_ENDED };
pid_t start_launcher(void);
int launcher_channel(void);
bool tell_launcher(const char *verb, size_t row);
bool hear_launcher(void);

/* store.c: the store's answers are cut to the size that is asked for, and end with a NUL. */
bool store_connect(void);
int store_socket(void);
bool store_read(const char *path, char *value, size_t size);
bool store_write(const char *path, const char *value);
size_t store_list(const char *path, char *names, size_t size);
bool store_watch(const char *path);
bool store_happened(void);
bool store_send(const void *requests, size_t size);
const char *store_answer(size_t *size, bool *refused);
size_t store_request(void *to, size_t room, uint32_t type, uint32_t transaction, const char *first,
                     const void *second, size_t second_size);
struct line store_path(const char *head, uint64_t number, const char *tail);

/* services.c */
bool start_services(void);
const char *service_of(pid_t child);
void expect_services_to_end(void);
enum service_end { OTHER, ENDED_FOR_GOOD, STARTED_AGAIN };
enum service_end service_ended(pid_t child, int wait_status);
void end_launcher(void);

/* relay.c: cuts a console's bytes into lines. */
struct relay {
    char text[448];
    size_t used;
};
typedef void relay_line(void *context, const char *text, size_t size);
void relay_bytes(struct relay *relay, const char *bytes, size_t size, relay_line *line, void *context);
void relay_rest(struct relay *relay, relay_line *line, void *context);
bool parse_ready(const char *text, size_t size, struct sprout_ready *ready);

/* tail.c: `pipe` is -1 while there is nothing to read. */
struct tail {
    int pipe;
    char text[1024];
    size_t used;
};
int tail_open(struct tail *tail);
void tail_read(struct tail *tail);
void tail_close(struct tail *tail);
void tail_say(struct tail *tail, char *tool);
void say_of(const char *tool, const char *text);
void say_zone(const char *zone, const char *what, const char *why);

/* report.c */
uint64_t in_host_ticks(uint64_t ticks, uint64_t hz, uint64_t host_hz);
uint64_t nanoseconds_in_ticks(uint64_t seconds, uint64_t nanoseconds, uint64_t hz);
void format_zone_ready(struct line *line, const char *zone, const struct sprout_zone_ready *ready);
void format_host_ready(struct line *line, const struct sprout_host_ready *ready);
void begin_report(uint64_t started);
void services_are_up(void);
uint64_t host_hz(void);
void announce_zone(const char *zone, const struct sprout_zone_ready *ready);
void announce_host(void);

/* zones.c */
void begin_zones(void);
void launcher_is_up(void);
void launcher_is_gone(void);
void zone_event(enum launcher_event event, uint64_t row, const char *rest);
void zones_progress(void);
bool zone_tool_ended(pid_t child, int wait_status);
int64_t zones_next_ms(int64_t now);
bool zones_running(void);
void stop_zones(void);
const char *zone_state(size_t row);
const char *zone_why(size_t row);
bool want_zone(size_t row);
bool stop_zone(size_t row);

/* control.c */
void open_control(void);
size_t control_descriptors(int *descriptors, size_t most);
int64_t control_next_ms(int64_t now);
bool control_readable(int descriptor);
void tell_memory(uint64_t free_kib, const char *total_kib);
void tell_event(const char *event, const char *zone, const char *why);

/* consoles.c: those of the zones, by their rows. A line that is not `shown` may still say something. */
typedef void console_line(size_t row, const char *text, size_t size, bool shown);
void begin_consoles(const struct sprout_zone *rows, size_t count, console_line *line);
void attach_consoles(void);
bool has_console(size_t row);
void read_console(size_t row);
void drop_console(size_t row);
size_t console_descriptors(int *descriptors, size_t most);
bool console_readable(int descriptor);
size_t console_kept(size_t row, const char **text);

/* supervise.c */
enum ending supervise_host(void);

/* hotplug.c */
bool is_hotplug(const char *called_as);
int run_hotplug(const char *called_as, const char *action);

#endif
