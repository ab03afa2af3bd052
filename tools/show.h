/*
 * show.h: what the compiler's tools print: diagnostics, remarks, passes.
 */
#ifndef TITAN_TOOLS_SHOW_H
#define TITAN_TOOLS_SHOW_H

#include <stdio.h>

#include "../ir/base/base.h"
#include "../runtime/option.h"

/* The options that take one of a few words.  False: OUT says which is wrong,
 * for exit 2. */
bool show_options_valid(const Options *o, char error[OPTION_ERROR]);
/* All reports on stderr, as --diagnostics and --color ask. */
void show_reports(const Diag *d, const Options *o);
/* Remarks of passes that match -Rpass, or -Rpass-missed, are collected among
 * the reports.  The options must outlive the Diag. */
void show_ask_remarks(Diag *d, const Options *o);
/* The passes and the pipelines, a line each, on stdout. */
void show_passes(void);

#endif
