#include "data/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/base/sanitize.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_level level_limit = LOG_INFO;
static log_sink current_sink;
static void *current_context;

void log_set_level(enum log_level level)
{
    pthread_mutex_lock(&lock);
    level_limit = level;
    pthread_mutex_unlock(&lock);
}

void log_set_sink(log_sink sink, void *context)
{
    pthread_mutex_lock(&lock);
    current_sink = sink;
    current_context = context;
    pthread_mutex_unlock(&lock);
}

void log_print(enum log_level level, const char *line)
{
    static const char *const names[] = {"error: ", "warning: ", "", "debug: "};
    fprintf(stderr, "moqa: %s%s\n", names[level], line);
}

void log_write(enum log_level level, const char *format, ...)
{
    char raw[2048], line[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    sanitize(line, sizeof line, raw, strlen(raw));
    pthread_mutex_lock(&lock);
    if (level <= level_limit) {
        if (current_sink)
            current_sink(current_context, level, line);
        else
            log_print(level, line);
    }
    pthread_mutex_unlock(&lock);
}
