#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "picture.h"
#include "ui/cells/layout.h"

enum { MANY = 6 };

static void test_rows_share_what_is_left_by_weight(void **state)
{
    (void)state;
    const struct layout_item item[] = {{.want = 1, .min = 1},
                                       {.weight = 2, .min = 3},
                                       {.weight = 1, .min = 3},
                                       {.want = 2, .min = 1}};
    struct rect out[4];
    layout_rows(out, (struct rect){5, 7, 40, 24}, item, 4, 0);
    assert_int_equal(out[0].h, 1);
    assert_int_equal(out[1].h, 13); /* 3 + 10 of the 15 left */
    assert_int_equal(out[2].h, 8);
    assert_int_equal(out[3].h, 2);
    assert_int_equal(out[0].y, 7);
    assert_int_equal(out[3].y + out[3].h, 7 + 24);
    assert_int_equal(out[2].x, 5);
    assert_int_equal(out[2].w, 40);
}

static void test_least_important_item_is_dropped_when_minima_do_not_fit(void **state)
{
    (void)state;
    const struct layout_item item[] = {{.want = 20, .min = 10, .priority = 5},
                                       {.want = 30, .min = 20, .priority = 1},
                                       {.weight = 1, .min = 30, .priority = 9}};
    struct rect out[3];
    layout_columns(out, (struct rect){0, 0, 45, 9}, item, 3, 1);
    assert_int_equal(out[1].w, 0);
    assert_int_equal(out[1].h, 0);
    assert_int_equal(out[0].w, 14); /* shrinks from 20, since the third keeps its 30 */
    assert_int_equal(out[2].w, 30);
    assert_int_equal(out[2].x, 15);
}

static void test_items_shrink_before_any_is_dropped(void **state)
{
    (void)state;
    const struct layout_item item[] = {{.want = 10, .min = 2, .priority = 1},
                                       {.want = 10, .min = 2, .priority = 2}};
    struct rect out[2];
    layout_columns(out, (struct rect){0, 0, 13, 1}, item, 2, 0);
    assert_int_equal(out[0].w, 3);
    assert_int_equal(out[1].w, 10);
    layout_columns(out, (struct rect){0, 0, 5, 1}, item, 2, 0);
    assert_int_equal(out[0].w, 2);
    assert_int_equal(out[1].w, 3);
}

static void test_maximum_bounds_growth(void **state)
{
    (void)state;
    const struct layout_item item[] = {{.weight = 5, .min = 1, .max = 12}, {.weight = 1, .min = 1}};
    struct rect out[2];
    layout_columns(out, (struct rect){0, 0, 60, 3}, item, 2, 2);
    assert_int_equal(out[0].w, 12);
    assert_int_equal(out[1].w, 46);
}

static void test_random_layouts_neither_overlap_nor_leave_the_area(void **state)
{
    (void)state;
    uint64_t seed = 20250117;
    for (int round = 0; round < 20000; round++) {
        struct layout_item item[MANY];
        struct rect out[MANY];
        struct rect area = {3, 4, (int)(picture_random(&seed) * 90), 10};
        int gap = (int)(picture_random(&seed) * 3), used = 0, kept = 0;
        for (int i = 0; i < MANY; i++)
            item[i] = (struct layout_item){.want = (int)(picture_random(&seed) * 20),
                                           .min = (int)(picture_random(&seed) * 12),
                                           .weight = (int)(picture_random(&seed) * 3),
                                           .priority = (int)(picture_random(&seed) * 4)};
        layout_columns(out, area, item, MANY, gap);
        int end = area.x, growing = 0;
        for (int i = 0; i < MANY; i++) {
            if (out[i].w == 0)
                continue;
            assert_true(out[i].x >= end + (kept ? gap : 0));
            assert_true(out[i].w >= item[i].min);
            end = out[i].x + out[i].w;
            used += out[i].w + (kept++ ? gap : 0);
            growing += item[i].weight > 0;
        }
        assert_true(end <= area.x + area.w);
        if (growing)
            assert_int_equal(used, area.w);
    }
}

static void test_empty_area_gives_empty_rectangles(void **state)
{
    (void)state;
    const struct layout_item item[] = {{.want = 1, .min = 1}, {.weight = 1, .min = 1}};
    struct rect out[2];
    layout_rows(out, (struct rect){0, 0, 0, 20}, item, 2, 0);
    assert_true(rect_empty(out[0]));
    assert_true(rect_empty(out[1]));
    layout_rows(out, (struct rect){0, 0, 20, -3}, item, 2, 0);
    assert_true(rect_empty(out[0]));
    assert_true(rect_empty(out[1]));
}

static void test_intersection_of_apart_rectangles_is_empty(void **state)
{
    (void)state;
    struct rect r = rect_intersect((struct rect){0, 0, 5, 5}, (struct rect){5, 0, 5, 5});
    assert_true(rect_empty(r));
    r = rect_intersect((struct rect){0, 0, 5, 5}, (struct rect){3, 4, 9, 9});
    assert_int_equal(r.x, 3);
    assert_int_equal(r.y, 4);
    assert_int_equal(r.w, 2);
    assert_int_equal(r.h, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_share_what_is_left_by_weight),
        cmocka_unit_test(test_least_important_item_is_dropped_when_minima_do_not_fit),
        cmocka_unit_test(test_items_shrink_before_any_is_dropped),
        cmocka_unit_test(test_maximum_bounds_growth),
        cmocka_unit_test(test_random_layouts_neither_overlap_nor_leave_the_area),
        cmocka_unit_test(test_empty_area_gives_empty_rectangles),
        cmocka_unit_test(test_intersection_of_apart_rectangles_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
