/*
 * attr.h: the three compiler attributes we use, and nothing else.
 */
#ifndef TITAN_BASE_ATTR_H
#define TITAN_BASE_ATTR_H

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_USE          __attribute__((warn_unused_result))
#define NORETURN          __attribute__((noreturn))

#endif
