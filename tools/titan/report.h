/*
 * report.h: the page of `titan report`, embedded; its C is generated from
 * report.html.
 */
#ifndef TITAN_TOOLS_TITAN_REPORT_H
#define TITAN_TOOLS_TITAN_REPORT_H

#include <stddef.h>

typedef struct ReportPage {
    const char *name, *text;
    size_t size;
} ReportPage;

extern const ReportPage report_pages[];

#endif
