"""The text of the printed driver: a network's memory, and its steps."""

from __future__ import annotations

from string import Template

from .optimizers import BETA1, BETA2

RATES = {
    "sgd": "rate, 0, decay",
    "momentum": "rate, momentum, decay",
    "nesterov": "rate, momentum, decay",
    "adamw": f"rate / (1 - pow({BETA1}, n->updates + 1)), 1 / sqrt(1 - pow({BETA2}, n->updates + 1)), rate * decay",
}
"""The three numbers that each optimizer's kernel is given, as `optimizers.py` computes them."""

MEMORY = Template("""// A network's memory: all in numbers of 4 bytes, each part from a multiple of 64 bytes on.
struct net {
    float *weights, *velocity, *squares;  // parameters, and what the optimizer keeps for each
    float *there, *packed, *coefficients, *settings, *scale;
    float *scratch, *halved, *scores;     // of the block in hand
    float *groups;                        // MOST_GROUPS times GROUP
    float *result, *gradients, *sums;     // of the group in hand
    float *batch, *all_kept;              // of all blocks of a batch
    int32_t *classes;                     // likewise; -1 where a block has no image
    float *images, *arena, *kept;         // of the block in hand
    float *training, *predicting;         // what arena is
    int32_t *labels;
    int32_t *words;                       // two for each layer that draws, of a step's own: see neocog/chance.py
    int32_t *counted, *numbers;           // of the images of a batch, and of the block in hand
    int64_t room, updates;                // blocks that there is memory for, steps made
};

static void *at(void *start, int64_t numbers) { return (float *)start + numbers; }

static void *zeros(int64_t numbers) {
    size_t bytes = ((size_t)numbers + 15) / 16 * 64;
    void *memory = aligned_alloc(64, bytes ? bytes : 64);
    if (!memory)
        abort();
    return memset(memory, 0, bytes);
}

static void use_group(struct net *n, int64_t group) {
    n->result = n->groups + group * GROUP;
    n->gradients = n->result + 2 * LANES;
    n->sums = n->gradients + PARAMETERS;
}

static void use_block(struct net *n, int64_t block) {
    n->images = n->batch + block * LANES * IMAGE;
    n->labels = n->classes + block * LANES;
    n->kept = n->all_kept + block * KEPT;
    n->numbers = n->counted + block * LANES;
}

// Which weights a table connects: a row for each input, in it a 1 for each output.
static inline void put_mask(struct net *n, const char *table, int64_t start, int64_t inputs, int64_t taps,
                            int64_t outputs, int64_t row) {
    for (int64_t c = 0; c < inputs; c++)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t o = 0; o < outputs; o++)
                n->there[start + (c * taps + t) * row + o] = table[c * (outputs + 1) + o] == '1';
}

static void fill_masks(struct net *n) {
    (void)n;
$masks
}

void net_open(struct net *n) {
    *n = (struct net){
        .weights = zeros(PARAMETERS), .velocity = zeros(PARAMETERS), .squares = zeros(PARAMETERS),
        .there = zeros(MASKS), .packed = zeros(PACKED), .coefficients = zeros(COEFFICIENTS),
        .settings = zeros(16), .scale = zeros(1), .scratch = zeros(SCRATCH), .halved = zeros(HALVED),
        .words = zeros(2 * DRAWING), .scores = zeros(LANES * CLASSES), .groups = zeros((int64_t)MOST_GROUPS * GROUP),
        .training = zeros(ARENA), .predicting = zeros(PREDICTING),
    };
    fill_masks(n);
}

void net_close(struct net *n) {
    void *all[] = {n->weights, n->velocity, n->squares, n->there, n->packed, n->coefficients, n->settings,
                   n->scale, n->scratch, n->halved, n->scores, n->groups, n->batch, n->all_kept, n->classes,
                   n->words, n->counted, n->training, n->predicting};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        free(all[k]);
}

// Images and their labels, if there are any, in blocks: how many. The last one is filled with zeros and -1.
static int64_t take_batch(struct net *n, const float *images, const int32_t *labels, int64_t count) {
    int64_t blocks = (count + LANES - 1) / LANES;
    if (blocks > n->room) {
        free(n->batch);
        free(n->classes);
        free(n->all_kept);
        free(n->counted);
        n->batch = zeros(blocks * LANES * IMAGE);
        n->classes = zeros(blocks * LANES);
        n->counted = zeros(blocks * LANES);
        n->all_kept = zeros(blocks * KEPT);
        n->room = blocks;
    }
    memset(n->batch, 0, sizeof(float) * blocks * LANES * IMAGE);
    memcpy(n->batch, images, sizeof(float) * count * IMAGE);
    for (int64_t k = 0; k < blocks * LANES; k++)
        n->classes[k] = labels && k < count ? labels[k] : -1, n->counted[k] = (int32_t)k;
    return blocks;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// How many groups blocks are in: a power of two, and each is worth its memory.
static int64_t groups_of(int64_t blocks) {
    int64_t few = least(blocks / FEW, GROUPS), many = least(blocks / MANY, MOST_GROUPS), groups = 1;
    int64_t most = few > many ? few : many;
    most = most > 2 ? most : least(blocks, 2);
    while (2 * groups <= most)
        groups *= 2;
    return groups;
}

static void each_block(struct net *n, int64_t blocks, int64_t groups, void (*part)(struct net *)) {
    for (int64_t g = 0; g < groups; g++) {
        use_group(n, g);
        for (int64_t b = g * blocks / groups; b < (g + 1) * blocks / groups; b++) {
            use_block(n, b);
            part(n);
        }
    }
    use_group(n, 0);
    use_block(n, 0);
}""")

STEP = Template("""static void set_rates(struct net *n, int64_t place, double rate, double momentum, double decay) {
    const double rates[] = {$rates};
    (void)momentum;
    for (int64_t k = 0; k < 3; k++)
        n->settings[place + k] = (float)rates[k];
}

// One update from images [count][IMAGE]: the sum of their losses. Hits are in settings[$hits].
float train(struct net *n, const float *images, const int32_t *labels, int64_t count,
            double rate, double momentum, double decay) {
    int64_t blocks = take_batch(n, images, labels, count), groups = groups_of(blocks);
    set_rates(n, 0, rate, momentum, decay);
    set_rates(n, $not_decaying, rate, momentum, 0);
    n->scale[0] = (float)(1.0 / (double)count);
    n->arena = n->training;
    pack_weights(n);
    for (int64_t g = 0; g < groups; g++) {
        use_group(n, g);
        clear(n);
    }
$segments
    add_up(n, groups);
    add_losses(n, groups);
    update(n, groups);
    float loss = n->settings[$loss];
    n->updates += loss - loss == 0;  // if it is a number
    return loss;
}

// Scores [count][CLASSES] of images [count][IMAGE].
void score(struct net *n, const float *images, int64_t count, float *scores) {
    int64_t blocks = take_batch(n, images, 0, count);
    n->arena = n->predicting;
    prepare(n);
    for (int64_t b = 0; b < blocks; b++) {
        use_block(n, b);
        predict(n);
        for (int64_t k = b * LANES; k < count && k < (b + 1) * LANES; k++)
            for (int64_t c = 0; c < CLASSES; c++)
                scores[k * CLASSES + c] = n->scores[c * LANES + k % LANES];
    }
}
""")
