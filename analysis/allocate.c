#include "analysis/allocate.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

enum { NO_NODE = -1, NODES_MAX = 1 << 22, COST_BITS = 62 };

/* Losses are sums of up to thousands of terms: differences below this part of them are rounding. */
static const double rounding_part = 1e-13;

static bool is_allowed(const struct allocate_problem *p, size_t item, size_t choice)
{
    return !p->allowed || p->allowed[item * p->choices + choice];
}

static int check_problem(const struct allocate_problem *p, struct err *err)
{
    uint64_t dearest = 0;
    if (p->choices < 1 || p->choices > ALLOCATE_CHOICES_MAX)
        return err_set(err, ERR_USAGE, NULL, "%zu choices an item, expected 1 to %d", p->choices,
                       ALLOCATE_CHOICES_MAX);
    for (size_t i = 0; i < p->items; i++) {
        bool any = false;
        uint64_t most = 0;
        for (size_t c = 0; c < p->choices; c++) {
            if (!is_allowed(p, i, c))
                continue;
            any = true;
            size_t at = i * p->choices + c;
            if (!isfinite(p->loss[at]))
                return err_set(err, ERR_USAGE, NULL, "item %zu, choice %zu: its loss is not finite",
                               i, c);
            most = p->cost[at] > most ? p->cost[at] : most;
        }
        if (!any)
            return err_set(err, ERR_USAGE, NULL, "item %zu has no choice", i);
        if (most >> COST_BITS || (dearest += most) >> COST_BITS)
            return err_set(err, ERR_USAGE, NULL, "the costs overflow");
    }
    return 0;
}

/* --- Hulls --- */

/* From one vertex of an item's lower convex hull to the next. */
struct increment {
    double slope; /* loss saved for a unit of cost, > 0 */
    uint32_t item;
    uint8_t from, to;
};

struct hulls {
    size_t count;
    struct increment *increment; /* falling slope; those of an item in the order of its hull */
    uint8_t *first;              /* [items] cheapest choice, the best of equals */
    uint64_t cost;               /* of the first choices */
    double loss;
};

static void hulls_release(struct hulls *h)
{
    free(h->increment);
    free(h->first);
    *h = (struct hulls){0};
}

struct vertex {
    uint64_t cost;
    double loss;
    uint8_t choice;
};

/* Choices by rising cost; of equal cost by loss, then number. */
static size_t sorted_choices(struct vertex *out, const struct allocate_problem *p, size_t item)
{
    size_t count = 0;
    for (size_t c = 0; c < p->choices; c++) {
        if (!is_allowed(p, item, c))
            continue;
        size_t at = item * p->choices + c, k = count++;
        struct vertex v = {p->cost[at], p->loss[at], (uint8_t)c};
        for (; k > 0 && (out[k - 1].cost > v.cost ||
                         (out[k - 1].cost == v.cost && out[k - 1].loss > v.loss));
             k--)
            out[k] = out[k - 1];
        out[k] = v;
    }
    return count;
}

static double slope_of(const struct vertex *a, const struct vertex *b)
{
    return (a->loss - b->loss) / (double)(b->cost - a->cost);
}

/* Keeps the vertices of the lower convex hull of falling loss; returns how many. */
static size_t keep_hull(struct vertex *v, size_t count)
{
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (v[i].loss >= v[kept - 1].loss)
            continue;
        while (kept > 1 && slope_of(&v[kept - 2], &v[kept - 1]) <= slope_of(&v[kept - 1], &v[i]))
            kept--;
        v[kept++] = v[i];
    }
    return kept;
}

static int compare_increments(const void *a, const void *b)
{
    const struct increment *x = a, *y = b;
    if (x->slope != y->slope)
        return x->slope > y->slope ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static int hulls_make(struct hulls *h, const struct allocate_problem *p, struct err *err)
{
    size_t room;
    *h = (struct hulls){0};
    int rc = check_problem(p, err);
    if (rc < 0)
        return rc;
    if (!mem_mul(&room, p->items, p->choices) || p->items > UINT32_MAX)
        return err_set(err, ERR_USAGE, NULL, "%zu items overflow", p->items);
    h->increment = mem_array(room, sizeof *h->increment, err);
    h->first = mem_array(p->items, sizeof *h->first, err);
    if (!h->increment || !h->first) {
        hulls_release(h);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < p->items; i++) {
        struct vertex v[ALLOCATE_CHOICES_MAX];
        size_t count = keep_hull(v, sorted_choices(v, p, i));
        h->first[i] = v[0].choice;
        h->cost += v[0].cost;
        h->loss += v[0].loss;
        for (size_t k = 1; k < count; k++)
            h->increment[h->count++] = (struct increment){slope_of(&v[k - 1], &v[k]), (uint32_t)i,
                                                          v[k - 1].choice, v[k].choice};
    }
    /* Slopes on a hull fall strictly, so no two increments of an item compare as equal. */
    qsort(h->increment, h->count, sizeof *h->increment, compare_increments);
    return 0;
}

static uint64_t increment_cost(const struct allocate_problem *p, const struct increment *s)
{
    return p->cost[s->item * p->choices + s->to] - p->cost[s->item * p->choices + s->from];
}

/* --- The core --- */

/* A choice of a core item beside its base choice. */
struct option {
    int64_t cost;
    double loss; /* both less those of the base choice */
    double reduced;
    uint8_t choice;
};

struct core_item {
    uint32_t item;
    double least; /* smallest reduced cost of its options */
    size_t count;
    struct option option[ALLOCATE_CHOICES_MAX];
};

/* Sums over the core items seen so far, less those of the base choices. */
struct state {
    int64_t cost;
    double loss;
    int32_t node;
};

/* How a state came to be. */
struct node {
    int32_t parent;
    uint32_t item;
    uint8_t choice;
};

struct core {
    const struct allocate_problem *p;
    double lambda;
    int64_t slack; /* budget less the cost of the base choices */
    double gain;   /* best known loss less that of the base choices, <= 0 or of a repair */
    bool found;    /* a better one than the given solution */
    int32_t best;  /* its node */
    double tolerance;
    size_t count;
    struct core_item *item;
    int64_t *down, *up; /* [count + 1] what the items from here on can save or add in cost */
    struct state *state, *next;
    size_t states, states_room, next_room;
    struct node *node;
    size_t nodes, nodes_room;
    bool cut;
};

static void core_release(struct core *c)
{
    free(c->item);
    free(c->down);
    free(c->up);
    free(c->state);
    free(c->next);
    free(c->node);
}

static int compare_items(const void *a, const void *b)
{
    const struct core_item *x = a, *y = b;
    if (x->least != y->least)
        return x->least < y->least ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

/* Room between the best known solution and the bound: a reduced cost beyond it is of no use.
 * base loss + gain - (base loss - lambda slack) */
static double core_gap(const struct core *c)
{
    return c->gain + c->lambda * (double)c->slack + c->tolerance;
}

/* Options whose reduced cost fits into the gap, items by falling promise. */
static int core_init(struct core *c, const uint8_t *base, struct err *err)
{
    const struct allocate_problem *p = c->p;
    c->item = mem_array(p->items, sizeof *c->item, err);
    if (!c->item)
        return ERR_NOMEM;
    for (size_t i = 0; i < p->items; i++) {
        struct core_item *x = &c->item[c->count];
        size_t from = i * p->choices + base[i];
        *x = (struct core_item){.item = (uint32_t)i, .least = INFINITY};
        for (size_t k = 0; k < p->choices; k++) {
            size_t at = i * p->choices + k;
            struct option o = {(int64_t)p->cost[at] - (int64_t)p->cost[from],
                               p->loss[at] - p->loss[from], 0, (uint8_t)k};
            o.reduced = o.loss + c->lambda * (double)o.cost;
            if (k == base[i] || !is_allowed(p, i, k) || o.reduced > core_gap(c))
                continue;
            x->option[x->count++] = o;
            x->least = fmin(x->least, o.reduced);
        }
        c->count += x->count > 0;
    }
    qsort(c->item, c->count, sizeof *c->item, compare_items);
    c->down = mem_array(c->count + 1, sizeof *c->down, err);
    c->up = mem_array(c->count + 1, sizeof *c->up, err);
    if (!c->down || !c->up)
        return ERR_NOMEM;
    for (size_t i = c->count; i > 0; i--) {
        int64_t down = 0, up = 0;
        for (size_t k = 0; k < c->item[i - 1].count; k++) {
            int64_t cost = c->item[i - 1].option[k].cost;
            down = cost < down ? cost : down;
            up = cost > up ? cost : up;
        }
        c->down[i - 1] = c->down[i] + down;
        c->up[i - 1] = c->up[i] + up;
    }
    return 0;
}

/* Can a state behind `done` items still become better than the best known solution? The budget
 * that must stay unused costs lambda a unit. */
static bool core_promising(const struct core *c, const struct state *s, size_t done)
{
    if (s->cost + c->down[done] > c->slack)
        return false;
    int64_t unused = c->slack - s->cost - c->up[done];
    double waste = unused > 0 ? c->lambda * (double)unused : 0.0;
    return s->loss + c->lambda * (double)s->cost + waste <= core_gap(c);
}

/* A state whose other items keep their base choices is a solution. */
static void core_note(struct core *c, const struct state *s)
{
    if (s->cost <= c->slack && s->loss < c->gain) {
        c->gain = s->loss;
        c->best = s->node;
        c->found = true;
    }
}

static int core_node(struct core *c, int32_t parent, uint32_t item, uint8_t choice, struct err *err)
{
    void *nodes = c->node;
    int rc = mem_grow(&nodes, &c->nodes_room, c->nodes + 1, sizeof *c->node, err);
    c->node = nodes;
    if (rc < 0)
        return rc;
    c->node[c->nodes++] = (struct node){parent, item, choice};
    return 0;
}

/* The states of all options of an item side by side: run 0 keeps the base choice. */
struct runs {
    size_t count;
    size_t at[ALLOCATE_CHOICES_MAX + 1];
    const struct option *option[ALLOCATE_CHOICES_MAX + 1]; /* NULL: base */
};

static struct state moved(const struct core *c, const struct runs *r, size_t run)
{
    struct state s = c->state[r->at[run]];
    if (r->option[run]) {
        s.cost += r->option[run]->cost;
        s.loss += r->option[run]->loss;
    }
    return s;
}

/* The cheapest state of all runs, the one of the least loss among equals; -1: none left. */
static int next_state(const struct core *c, const struct runs *r, struct state *out)
{
    int best = -1;
    for (size_t i = 0; i < r->count; i++) {
        if (r->at[i] == c->states)
            continue;
        struct state s = moved(c, r, i);
        if (best < 0 || s.cost < out->cost || (s.cost == out->cost && s.loss < out->loss)) {
            best = (int)i;
            *out = s;
        }
    }
    return best;
}

/* One more item: merges its runs by cost and drops what is dominated or cannot win any more. */
static int core_step(struct core *c, size_t index, struct err *err)
{
    const struct core_item *x = &c->item[index];
    struct runs r = {.count = 1};
    struct state s;
    size_t made = 0;
    int run, rc = 0;
    for (size_t k = 0; k < x->count; k++)
        r.option[r.count++] = &x->option[k];
    void *next = c->next;
    rc = mem_grow(&next, &c->next_room, c->states * r.count, sizeof *c->next, err);
    c->next = next;
    while (rc == 0 && (run = next_state(c, &r, &s)) >= 0) {
        r.at[run]++;
        if ((made && s.loss >= c->next[made - 1].loss) || !core_promising(c, &s, index + 1))
            continue;
        if (r.option[run]) {
            rc = core_node(c, s.node, x->item, r.option[run]->choice, err);
            s.node = (int32_t)c->nodes - 1;
            core_note(c, &s);
        }
        c->next[made++] = s;
    }
    struct state *swap = c->state;
    size_t room = c->states_room;
    c->state = c->next;
    c->states_room = c->next_room;
    c->next = swap;
    c->next_room = room;
    c->states = made;
    return rc;
}

static int core_run(struct core *c, const uint8_t *base, struct err *err)
{
    int rc = core_init(c, base, err);
    size_t wanted = c->p->states_max;
    size_t limit = wanted && wanted < NODES_MAX ? wanted : NODES_MAX;
    void *state = NULL;
    if (rc == 0)
        rc = mem_grow(&state, &c->states_room, 1, sizeof *c->state, err);
    c->state = state;
    if (rc < 0)
        return rc;
    c->state[c->states++] = (struct state){.node = NO_NODE};
    /* Every option of the items behind costs at least as much as the first's: once that does
     * not fit, nothing of them can be part of a better solution. */
    for (size_t i = 0; rc == 0 && i < c->count && c->item[i].least <= core_gap(c); i++) {
        size_t most = c->states * (c->item[i].count + 1);
        bool stop = c->p->stop && c->p->stop(c->p->stop_context);
        if (stop || most > limit || c->nodes > limit - most) {
            c->cut = true;
            break;
        }
        rc = core_step(c, i, err);
    }
    return rc;
}

/* --- Solving --- */

static void measure(struct allocate_result *out, const uint8_t *choice,
                    const struct allocate_problem *p)
{
    out->cost = 0;
    out->loss = 0;
    for (size_t i = 0; i < p->items; i++) {
        out->cost += p->cost[i * p->choices + choice[i]];
        out->loss += p->loss[i * p->choices + choice[i]];
    }
}

/* Takes increments while they fit. base: up to the first that does not; choice: goes on behind it
 * with those that do, each item in the order of its hull. Returns the first that does not fit. */
static size_t take_greedily(const struct hulls *h, const struct allocate_problem *p, uint8_t *base,
                            uint8_t *choice)
{
    uint64_t cost = h->cost;
    size_t first = h->count;
    memcpy(base, h->first, p->items);
    memcpy(choice, h->first, p->items);
    for (size_t i = 0; i < h->count; i++) {
        const struct increment *s = &h->increment[i];
        uint64_t more = increment_cost(p, s);
        bool fits = choice[s->item] == s->from && cost + more <= p->budget;
        if (!fits) {
            first = first == h->count ? i : first;
            continue;
        }
        cost += more;
        choice[s->item] = s->to;
        if (first == h->count)
            base[s->item] = s->to;
    }
    return first;
}

static double magnitude(const struct allocate_problem *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->items; i++) {
        double most = 0;
        for (size_t c = 0; c < p->choices; c++)
            if (is_allowed(p, i, c))
                most = fmax(most, fabs(p->loss[i * p->choices + c]));
        sum += most;
    }
    return sum;
}

/* From the greedy solution to the best one. base: the choices that the multiplier alone gives. */
static int improve(struct allocate_result *out, uint8_t *choice, const uint8_t *base, double lambda,
                   const struct allocate_problem *p, struct err *err)
{
    struct allocate_result at_base = {0};
    measure(&at_base, base, p);
    measure(out, choice, p);
    struct core c = {.p = p,
                     .lambda = lambda,
                     .slack = (int64_t)(p->budget - at_base.cost),
                     .gain = out->loss - at_base.loss,
                     .best = NO_NODE,
                     .tolerance = rounding_part * magnitude(p)};
    out->bound = fmin(at_base.loss - lambda * (double)c.slack, out->loss);
    int rc = core_run(&c, base, err);
    if (rc == 0 && c.found) {
        memcpy(choice, base, p->items);
        for (int32_t n = c.best; n != NO_NODE; n = c.node[n].parent)
            choice[c.node[n].item] = c.node[n].choice;
        measure(out, choice, p);
    }
    out->exact = !c.cut;
    if (out->exact)
        out->bound = out->loss;
    core_release(&c);
    return rc;
}

int allocate_solve(struct allocate_result *out, uint8_t *choice, const struct allocate_problem *p,
                   struct err *err)
{
    struct hulls h;
    *out = (struct allocate_result){0};
    int rc = hulls_make(&h, p, err);
    if (rc < 0)
        return rc;
    uint8_t *base = mem_array(p->items, sizeof *base, err);
    if (!base) {
        rc = ERR_NOMEM;
        goto cleanup;
    }
    if (h.cost > p->budget) {
        rc = err_set(err, ERR_USAGE, NULL,
                     "the budget is %" PRIu64 ", but the cheapest choices cost %" PRIu64, p->budget,
                     h.cost);
        goto cleanup;
    }
    size_t broke = take_greedily(&h, p, base, choice);
    if (broke < h.count) {
        rc = improve(out, choice, base, h.increment[broke].slope, p, err);
    } else {
        measure(out, choice, p);
        out->bound = out->loss;
        out->exact = true;
    }
cleanup:
    free(base);
    hulls_release(&h);
    return rc;
}

/* --- The front --- */

void allocate_front_release(struct allocate_front *f)
{
    free(f->cost);
    free(f->loss);
    free(f->item);
    free(f->to);
    free(f->first);
    *f = (struct allocate_front){0};
}

int allocate_front_make(struct allocate_front *out, const struct allocate_problem *p,
                        struct err *err)
{
    struct hulls h;
    *out = (struct allocate_front){0};
    int rc = hulls_make(&h, p, err);
    if (rc < 0)
        return rc;
    out->steps = h.count + 1;
    out->cost = mem_array(out->steps, sizeof *out->cost, err);
    out->loss = mem_array(out->steps, sizeof *out->loss, err);
    out->item = mem_array(out->steps, sizeof *out->item, err);
    out->to = mem_array(out->steps, sizeof *out->to, err);
    out->first = h.first;
    h.first = NULL;
    if (out->cost && out->loss && out->item && out->to) {
        out->cost[0] = h.cost;
        out->loss[0] = h.loss;
        for (size_t i = 0; i < h.count; i++) {
            const struct increment *s = &h.increment[i];
            const double *loss = p->loss + s->item * p->choices;
            out->cost[i + 1] = out->cost[i] + increment_cost(p, s);
            out->loss[i + 1] = out->loss[i] + loss[s->to] - loss[s->from];
            out->item[i + 1] = s->item;
            out->to[i + 1] = s->to;
        }
    } else {
        allocate_front_release(out);
        rc = ERR_NOMEM;
    }
    hulls_release(&h);
    return rc;
}

int allocate_front_at(const struct allocate_front *f, size_t items, uint64_t budget, size_t *step,
                      uint8_t *choice, struct err *err)
{
    if (f->cost[0] > budget)
        return err_set(err, ERR_USAGE, NULL,
                       "the budget is %" PRIu64 ", but the cheapest choices cost %" PRIu64, budget,
                       f->cost[0]);
    size_t low = 0, high = f->steps;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (f->cost[middle] <= budget)
            low = middle;
        else
            high = middle;
    }
    *step = low;
    if (choice) {
        memcpy(choice, f->first, items);
        for (size_t i = 1; i <= low; i++)
            choice[f->item[i]] = f->to[i];
    }
    return 0;
}
