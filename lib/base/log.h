/*
 * log: lines that never block the thread that writes them.
 *
 * The error log: log_error() and its sisters format a line and hand it to the log
 * thread.  The access log: each worker has a struct log_stream, into which it puts
 * whole lines.  Both go through bounded buffers; when the disk is slower than the
 * lines, lines are dropped and counted (METRIC_LOG_DROPPED), never waited for.
 *
 * Threads: everything but log_open(), log_reopen() and log_close() (main) from any thread;
 * a log_stream belongs to one thread.  Before log_open() and after log_close() lines go straight to stderr.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"
#include "base/slice.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_options {
    const char *error_file;  /* borrowed for the call; NULL: stderr */
    const char *access_file; /* borrowed for the call; NULL: none; "-": stdout */
    enum log_level level;
};

/* Open the files and start the log thread.  ERR_IO when a file cannot be opened: errno says why, log_refused() which. */
NODISCARD enum err log_open(const struct log_options *opt);

/* Open the files anew under their names (log rotation).  On failure, told as by log_open(), the old ones stay in use. */
NODISCARD enum err log_reopen(void);

/* The name of the file that log_open() or log_reopen() could not open last, maybe cut; "": it was no file.
 * Valid until the next of them. */
const char *log_refused(void);

/* Change the level; any thread. */
void log_set_level(enum log_level level);

/* Write out everything that was handed over, and stop the thread. */
void log_close(void);

/* One line; the time, the level and the newline are added.  At most 2 KiB, longer ones are cut. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each line of `text` as one of its own, "WHAT: line". */
void log_lines(enum log_level level, const char *what, struct slice text);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

struct log_stream; /* one thread's way into the access log */

struct log_stream *log_stream_new(void); /* NULL when out of memory */
void log_stream_free(struct log_stream *s); /* what is in it is still written; NULL is fine */

/*
 * Room for one line of at most `bytes`, to be filled in place; NULL when the buffer is
 * full (the line is counted as dropped).  Then log_stream_end() with what was used.
 */
char *log_stream_begin(struct log_stream *s, size_t bytes);
void log_stream_end(struct log_stream *s, size_t used);

/* True when there is an access log at all: else do not bother to format. */
bool log_has_access(void);

#endif
