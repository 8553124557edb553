/*
 * Messages for a person, always to stderr (data goes to stdout). A sink can be replaced, e.g. by
 * the workbench's log pane. Every line passes the sanitizer. Thread-safe.
 */
#ifndef MOQA_DATA_BASE_LOG_H
#define MOQA_DATA_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

typedef void (*log_sink)(void *context, enum log_level level, const char *line);

/* "moqa: warning: LINE" to stderr, as without a sink; for sinks that keep lines and print them. */
void log_print(enum log_level level, const char *line);

void log_set_level(enum log_level level);        /* default LOG_INFO */
void log_set_sink(log_sink sink, void *context); /* NULL: stderr */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
