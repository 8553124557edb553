/* A strict reader of the XML that the program writes, for tests of pictures and pages. */
#ifndef MOQA_TESTS_UI_XML_CHECK_H
#define MOQA_TESTS_UI_XML_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* Elements open and close in order, attributes are quoted and not given twice, only known entities,
 * valid UTF-8 without control characters, one root. NULL: well-formed; else what is wrong. */
const char *xml_check(const char *text);

/* Tags of this name, "text", "path". */
size_t xml_count(const char *text, const char *name);

/* The `nth` tag of this name: its attribute as a number; false if there is none. */
bool xml_number(const char *text, const char *name, size_t nth, const char *attribute, double *out);

#endif
