/*
 * config_json.h: what stands beside weights says of the model's numbers.
 */
#ifndef TITAN_CONFIG_JSON_H
#define TITAN_CONFIG_JSON_H

#include "titan.h"

/* A warning on stderr for each number or word of DIR/config.json that the
 * program knows by that name and has otherwise.  Where there is no such file,
 * or no JSON in it, nothing is said. */
void config_json_compare(const TitanImage *im, const char *dir);

#endif
