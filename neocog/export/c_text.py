"""The text around the kernels of an exported model in C."""

from __future__ import annotations

from string import Template

DECLARATIONS = Template("""/* $name: a trained convolutional network, written by neocog.
 *
$network
 */
#ifndef ${upper}_H
#define ${upper}_H

#include <stdint.h>

#define ${upper}_INPUT $input /* numbers of an image, $shape: channels, then rows, then columns */
#define ${upper}_OUTPUTS $outputs /* scores of an image */
#define ${upper}_SCRATCH $scratch /* floats of memory that an image's scores are made in */

/* The scores of an image. The memory that they are made in is static: one call at a time. */
void ${name}_scores(const float *input, float *output);

/* The same in memory of the caller's, ${upper}_SCRATCH floats, of which every caller may have its own. */
void ${name}_scores_in(const float *input, float *output, float *scratch);
$of_bytes
/* The number of the class that scores speak for: the $best one's. */
int ${name}_answer(const float *output);

/* The classes' names, in UTF-8. */
extern const char *const ${name}_classes[$classes];

#endif
""")

OF_BYTES_DECLARED = Template("""
/* The scores of an image of bytes, as files hold it: rows, then columns, then channels. */
void ${name}_scores_of_bytes(const uint8_t *pixels, float *output);
""")

DEFINITIONS = Template("""/* $name: a trained convolutional network in C11, written by neocog.
 *
$network
 *
 * cc -std=c11 -O2 -c $name.c
 */
#include "$name.h"

$helpers

/* Weights, in the order in which they are read. */

$constants

/* Kernels: a volume's channels lie one after the other, in each its rows, with zeros around them where windows need. */

$kernels

void ${name}_scores_in(const float *input, float *output, float *scratch) {
    memset(scratch, 0, ${upper}_SCRATCH * sizeof(float));
$calls
}

void ${name}_scores(const float *input, float *output) {
    static float scratch[${upper}_SCRATCH];
    ${name}_scores_in(input, output, scratch);
}

$tables
""")

LARGEST = Template("""    int best = 0;
    for (int k = 1; k < ${upper}_OUTPUTS; k++)
        if (output[k] $less output[best])
            best = k;
    return best;""")
YES_OR_NO = "    return output[0] > 0;"

TABLES = Template("""int ${name}_answer(const float *output) {
$answer
}

const char *const ${name}_classes[$classes] = {
$names
};
""")

OF_BYTES = Template("""
void ${name}_scores_of_bytes(const uint8_t *pixels, float *output) {
    static const float scale[$channels] = {$scale};
    static const float shift[$channels] = {$shift};
    static const float ground[$channels] = {$ground};
    static float input[${upper}_INPUT];
    for (int c = 0; c < $channels; c++) {
        float *channel = input + c * $positions;
        for (int k = 0; k < $positions; k++)
            channel[k] = ground[c];
        for (int y = 0; y < $height; y++)
            for (int x = 0; x < $width; x++) {
                uint8_t pixel = pixels[($at) * $channels + c];
                channel[${first}y * $row + x] = (float)pixel * scale[c] + shift[c];
            }
    }
    ${name}_scores(input, output);
}
""")
