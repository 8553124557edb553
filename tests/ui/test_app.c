#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app_fixture.h"
#include "data/base/atomic_file.h"
#include "picture.h"

static const char olmoe_model[] = TEST_SAMPLE "/tiny-olmoe";
static const char qwen_model[] = TEST_GOLDEN "/tiny-qwen2moe/model";

static int open_olmoe(void **state)
{
    static struct fixture f;
    fixture_open(&f, "tiny-olmoe", olmoe_model);
    *state = &f;
    return 0;
}

static int open_without_model(void **state)
{
    static struct fixture f;
    fixture_open(&f, "tiny-olmoe", NULL);
    *state = &f;
    return 0;
}

static int open_qwen(void **state)
{
    static struct fixture f;
    fixture_open(&f, "tiny-qwen2moe", qwen_model);
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    return 0;
}

static char *copy_frame(struct fixture *f, int w, int h)
{
    char *copy = strdup(fixture_frame(f, w, h));
    assert_non_null(copy);
    return copy;
}

static void test_hints_end_with_help_on_every_screen(void **state)
{
    struct fixture *f = *state;
    for (char view = '1'; view <= '7'; view++)
        for (int w = 40; w <= 200; w += 20) {
            int x, y;
            fixture_type(f, (char[]){view, '\0'});
            fixture_frame(f, w, 24);
            assert_true(fixture_find(f, "? more  q quit", &x, &y));
            assert_int_equal(y, 23);
        }
    fixture_frame(f, 500, 24); /* all have room */
    assert_true(fixture_find(f, "? help  q quit", &(int){0}, &(int){0}));
    assert_true(fixture_find(f, "g glyphs", &(int){0}, &(int){0}));
}

/* want: the beginning of the hint row. */
static void assert_hints(struct fixture *f, const char *keys, const char *want)
{
    char row[256];
    fixture_type(f, keys);
    snprintf(row, sizeof row, "\n %s", want);
    const char *frame = fixture_frame(f, 80, 24);
    if (!strstr(frame, row))
        fail_msg("\"%s\" is not on the screen:\n%s", want, frame);
}

static void test_hints_begin_with_the_most_useful_keys_of_a_screen(void **state)
{
    struct fixture *f = *state;
    assert_hints(f, "1", "Tab slider  ← → change  Enter value  v other chart  / find");
    assert_hints(f, "3", "Tab slider  ← → change  [ ] layer  < > expert  o layer's rule");
    assert_hints(f, "5", "< > expert  p pin  b budget  w write  Tab slider  ← → change");
    assert_hints(f, "6", "x run  b best  Tab slider");
    assert_hints(f, "5i", "< > expert  ↑ ↓ scroll  Esc Enter close  p pin");
}

static void test_keys_without_a_use_are_not_among_the_hints(void **state)
{
    struct fixture *f = *state;
    int x, y;
    fixture_type(f, "6");
    fixture_frame(f, 200, 24);
    assert_false(fixture_find(f, "Ctrl-C cancel", &x, &y)); /* nothing runs */
    assert_false(fixture_find(f, "r resume", &x, &y));
    fixture_type(f, "5");
    fixture_frame(f, 200, 24);
    assert_false(fixture_find(f, "w write", &x, &y)); /* that needs a model */
}

static void test_v_says_what_it_did_whether_one_chart_has_room_or_both(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "3");
    fixture_frame(f, 80, 24);
    fixture_type(f, "v");
    fixture_assert_shows(f, "the second chart; v changes between them");
    fixture_type(f, "v");
    fixture_assert_shows(f, "the first chart; v changes between them");
    fixture_frame(f, 160, 50);
    fixture_type(f, "v");
    fixture_assert_shows(f, "both charts have room; W writes the second");
}

static void test_another_config_than_the_traces_is_told(void **state)
{
    struct fixture *f = *state;
    fixture_assert_hides(f, "not the trace's own");
    memset(f->trace.config_sha256, 'f', HASH_HEX_SIZE - 1);
    f->trace.config_sha256[HASH_HEX_SIZE - 1] = '\0';
    fixture_restart(f);
    fixture_assert_shows(f, "the trace was made with another config.json than this model's");
    fixture_type(f, "2");
    fixture_assert_hides(f, "another config.json");
    fixture_type(f, "1");
    fixture_assert_shows(f, "config.json  "); /* for good */
    fixture_assert_shows(f, "not the trace's own");
}

static void test_a_step_changes_numbers_in_the_same_frame(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "3");
    char *before = copy_frame(f, 80, 24);
    fixture_key(f, TERM_KEY_RIGHT);
    fixture_key(f, TERM_KEY_RIGHT);
    assert_string_not_equal(fixture_frame(f, 80, 24), before);
    fixture_assert_shows(f, "plan not written");
    free(before);
}

static void test_undo_and_redo_restore_exactly(void **state)
{
    struct fixture *f = *state;
    static const char *const edits[] = {"L", "\n0.77\n", "p", "]p", "H", "3\n0.5\n", "5pp", "o"};
    enum { EDITS = sizeof edits / sizeof edits[0] };
    struct plan at[EDITS + 1];
    memset(at, 0, sizeof at);
    for (size_t i = 0; i < EDITS; i++) {
        at[i] = fixture_written(f);
        fixture_type(f, edits[i]);
    }
    at[EDITS] = fixture_written(f);
    for (int way = 0; way < 2; way++) {
        struct plan p;
        int steps = 0;
        for (size_t k = 0; k <= EDITS; k++) {
            const struct plan *want = &at[way ? k : EDITS - k];
            bool same = false;
            for (int tries = 0; tries < 4 && !same; tries++) {
                p = fixture_written(f);
                same = settings_equal(&p.settings, &want->settings);
                for (size_t l = 0; l < p.layers_count; l++)
                    for (size_t e = 0; e < p.experts; e++)
                        same = same &&
                               p.layers[l].experts[e].bits == want->layers[l].experts[e].bits &&
                               p.layers[l].experts[e].pinned == want->layers[l].experts[e].pinned;
                plan_release(&p);
                if (!same) {
                    fixture_type(f, way ? "U" : "u");
                    steps++;
                }
            }
            assert_true(same);
        }
        assert_true(steps >= EDITS - 1);
    }
    for (size_t i = 0; i <= EDITS; i++)
        plan_release(&at[i]);
}

static void test_undo_says_when_nothing_is_left(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "u");
    fixture_assert_shows(f, "nothing to undo");
    fixture_type(f, "U");
    fixture_assert_shows(f, "nothing to redo");
}

static void test_pins_survive_recomputation(void **state)
{
    struct fixture *f = *state;
    struct plan p = fixture_written(f);
    unsigned free_bits = p.layers[1].experts[0].bits;
    plan_release(&p);
    fixture_type(f, "5]ppppp"); /* 2, 3, 4, 8, 16 */
    fixture_type(f, "3\n2\n1LLLL");
    p = fixture_written(f);
    assert_true(p.layers[1].experts[0].pinned);
    assert_int_equal(p.layers[1].experts[0].bits, 16);
    assert_int_not_equal(free_bits, 16);
    plan_release(&p);
    fixture_type(f, "5p");
    p = fixture_written(f);
    assert_false(p.layers[1].experts[0].pinned);
    plan_release(&p);
}

static void test_typed_values_are_taken_or_refused_with_a_message(void **state)
{
    struct fixture *f = *state;
    struct plan p;
    fixture_type(f, "1");
    for (int i = 0; i < 12 && !(fixture_type(f, "\n"), fixture_shows(f, "alpha: _")); i++) {
        fixture_key(f, TERM_KEY_ESC);
        fixture_key(f, TERM_KEY_TAB);
    }
    fixture_type(f, "0.625\n");
    p = fixture_written(f);
    assert_float_equal(p.settings.alpha, 0.625, 0);
    plan_release(&p);
    fixture_type(f, "\n-1e9\n");
    fixture_assert_shows(f, "alpha");
    fixture_assert_shows(f, "-1e9");
    fixture_type(f, "\nbanana\n");
    fixture_assert_shows(f, "banana");
    p = fixture_written(f);
    assert_float_equal(p.settings.alpha, 0.625, 0);
    plan_release(&p);
    fixture_type(f, "\n0.9");
    fixture_key(f, TERM_KEY_BACKSPACE);
    fixture_type(f, "1");
    fixture_key(f, TERM_KEY_ESC);
    fixture_type(f, "0");
    p = fixture_written(f);
    assert_float_equal(p.settings.alpha, 0.3, 0);
    plan_release(&p);
}

static void press_all(struct fixture *f, const uint32_t *keys)
{
    for (; *keys; keys++)
        fixture_key(f, *keys);
}

static void test_typed_text_is_edited_at_its_cursor(void **state)
{
    struct fixture *f = *state;
    static const uint32_t inside[] = {TERM_KEY_LEFT, TERM_KEY_LEFT, TERM_KEY_BACKSPACE, '7', 0};
    static const uint32_t ends[] = {TERM_KEY_HOME, TERM_KEY_DELETE, '1', TERM_KEY_END, '4', 0};
    static const uint32_t clear[] = {
        21, 0xe9, 0x20ac, 0x1f600, 'x', TERM_KEY_LEFT, TERM_KEY_LEFT, TERM_KEY_BACKSPACE, 0};
    fixture_type(f, "3\n0.325");
    press_all(f, inside); /* 0.|25 -> 0.725 */
    fixture_assert_shows(f, "alpha: 0.725");
    press_all(f, ends);
    fixture_assert_shows(f, "alpha: 1.7254");
    fixture_type(f, "\n");
    fixture_assert_shows(f, "1.7254");
    fixture_type(f, "/");
    fixture_type(f, "one two/three");
    fixture_key(f, 23);
    fixture_assert_shows(f, "find: one two/_");
    fixture_key(f, 23);
    fixture_assert_shows(f, "find: one _");
    press_all(f, clear);
    fixture_assert_shows(f, "find: \u00e9\U0001f600x"); /* without the euro */
    for (int i = 0; i < 300; i++)
        fixture_key(f, i % 3 ? 'w' : TERM_KEY_HOME);
    fixture_frame(f, 40, 10);
}

static void test_leaving_with_unwritten_changes_asks(void **state)
{
    struct fixture *f = *state;
    assert_false(fixture_key(f, 'q'));
    fixture_type(f, "5p");
    assert_true(fixture_key(f, 'q'));
    fixture_assert_shows(f, "Quit?");
    assert_true(fixture_key(f, 'n'));
    fixture_assert_hides(f, "Quit?");
    assert_true(fixture_key(f, 'q'));
    assert_true(fixture_key(f, TERM_KEY_ENTER));
    assert_true(fixture_key(f, 'q'));
    assert_false(fixture_key(f, 'y'));
    assert_true(fixture_key(f, 'n'));
    fixture_type(f, "w");
    fixture_assert_shows(f, f->plan_path);
    assert_false(fixture_key(f, 'q'));
}

static void test_a_plan_that_cannot_be_written_stays_unwritten(void **state)
{
    struct fixture *f = *state;
    f->options.plan_path = "/proc/none/x.plan.json";
    fixture_type(f, "5pw");
    fixture_assert_shows(f, "not written");
    fixture_assert_shows(f, "plan not written");
    assert_true(fixture_key(f, 'q'));
    assert_true(fixture_key(f, 'w'));
    fixture_assert_shows(f, "not written");
}

static void test_a_plan_of_others_is_replaced_only_on_yes(void **state)
{
    struct fixture *f = *state;
    char text[16] = "";
    FILE *file = fopen(f->plan_path, "w");
    assert_non_null(file);
    fputs("notes", file);
    fclose(file);
    fixture_type(f, "3L5w");
    fixture_assert_shows(f, "There is a file");
    fixture_type(f, "n");
    fixture_assert_shows(f, "not written");
    file = fopen(f->plan_path, "r");
    assert_non_null(fgets(text, sizeof text, file));
    assert_string_equal(text, "notes");
    fclose(file);
    fixture_type(f, "q");
    fixture_type(f, "w"); /* asks, too */
    fixture_assert_shows(f, "There is a file");
    fixture_type(f, "y");
    fixture_assert_shows(f, "plan written");
    fixture_type(f, "3L5w"); /* it is this session's now */
    fixture_assert_shows(f, "plan written");
}

/* Settings of which no plan can be made are taken back: what `w` writes is what the sliders say. */
static void test_settings_without_a_plan_are_taken_back(void **state)
{
    struct fixture *f = *state;
    struct plan before = fixture_written(f), after;
    fixture_type(f, "5\t\t\t\t\n16\n");
    fixture_assert_shows(f, "bits_channel: found 16");
    fixture_type(f, "\t\t\njenks\n");
    after = fixture_written(f);
    assert_int_equal(after.settings.rule, RULE_JENKS);
    assert_int_equal(after.settings.bits_channel, before.settings.bits_channel);
    plan_release(&before);
    plan_release(&after);
}

static void test_a_refused_change_leaves_undo_and_redo_alone(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5");
    fixture_key(f, TERM_KEY_RIGHT); /* bits_high */
    fixture_key(f, TERM_KEY_RIGHT);
    struct plan after = fixture_written(f), p;
    fixture_type(f, "u");
    struct plan before = fixture_written(f);
    fixture_type(f, "\t\t\t\t");
    fixture_key(f, TERM_KEY_RIGHT); /* bits_channel */
    fixture_assert_shows(f, "bits_channel: found 16");
    fixture_type(f, "U");
    fixture_assert_shows(f, "redo: 0 more");
    p = fixture_written(f);
    assert_true(settings_equal(&p.settings, &after.settings));
    plan_release(&p);
    fixture_key(f, TERM_KEY_RIGHT);
    fixture_assert_shows(f, "bits_channel: found 16");
    fixture_type(f, "u");
    fixture_assert_shows(f, "undo: 1 more");
    p = fixture_written(f);
    assert_true(settings_equal(&p.settings, &before.settings));
    plan_release(&p);
    plan_release(&before);
    plan_release(&after);
}

static void test_a_run_starts_only_on_yes(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5pppp"); /* 8 bits */
    fixture_type(f, "x");
    fixture_assert_shows(f, "writes to runs/001");
    fixture_key(f, TERM_KEY_ENTER);
    assert_int_equal(f->starts, 0);
    fixture_type(f, "xn");
    assert_int_equal(f->starts, 0);
    fixture_type(f, "xy");
    assert_int_equal(f->starts, 1);
    assert_int_equal(f->started_bits, 8);
    assert_true(app_busy(f->app));
    fixture_type(f, "x");
    assert_int_equal(f->starts, 1);
}

static void test_nobody_agrees_to_a_dry_run_that_is_not_there_yet(void **state)
{
    struct fixture *f = *state;
    f->dry_run_phase = APP_ASK_WORKING;
    fixture_type(f, "x");
    fixture_assert_shows(f, "Working out");
    assert_true(app_busy(f->app));
    fixture_type(f, "y");
    assert_int_equal(f->starts, 0);
    f->dry_run_phase = APP_ASK_READY;
    fixture_assert_shows(f, "writes to runs/001");
    fixture_type(f, "y");
    assert_int_equal(f->starts, 1);
}

static void test_a_dry_run_that_fails_says_why(void **state)
{
    struct fixture *f = *state;
    f->dry_run_phase = APP_ASK_WORKING;
    fixture_type(f, "x");
    f->dry_run_phase = APP_ASK_FAILED;
    fixture_assert_shows(f, "cannot run: no tokenizer.json");
    fixture_type(f, "y");
    assert_int_equal(f->starts, 0);
}

static void test_a_long_dry_run_scrolls_up_to_its_last_line(void **state)
{
    struct fixture *f = *state;
    f->dry_run_lines = 40;
    fixture_type(f, "x");
    fixture_assert_shows(f, "writes to runs/001");
    fixture_assert_shows(f, "Up Down: more");
    assert_int_equal(f->starts, 0);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_assert_hides(f, "writes to runs/001");
    fixture_key(f, TERM_KEY_END);
    fixture_assert_shows(f, "39");
    fixture_key(f, TERM_KEY_UP); /* at once, not from beyond the end */
    fixture_assert_hides(f, "39");
    fixture_key(f, TERM_KEY_HOME);
    fixture_assert_shows(f, "writes to runs/001");
    fixture_type(f, "y");
    assert_int_equal(f->starts, 1);
}

static void test_a_long_line_of_a_dry_run_is_whole(void **state)
{
    struct fixture *f = *state;
    char note[600];
    int used = snprintf(note, sizeof note, "calibration texts  ");
    for (int i = 0; i < 40; i++)
        used += snprintf(note + used, sizeof note - (size_t)used, "texts/%03d.txt ", i);
    f->dry_run_note = note;
    fixture_type(f, "x");
    fixture_key(f, TERM_KEY_END);
    fixture_assert_shows(f, "texts/039.txt");
}

static void test_best_rounding_is_one_step_to_and_fro(void **state)
{
    struct fixture *f = *state;
    struct plan before = fixture_written(f), p;
    fixture_type(f, "6b");
    fixture_assert_shows(f, "best rounding");
    p = fixture_written(f);
    for (const struct setting_value *v = settings_best_rounding; v->name; v++) {
        char value[64];
        settings_get(&p.settings, settings_find(v->name), value, sizeof value);
        assert_string_equal(value, v->value);
    }
    plan_release(&p);
    fixture_type(f, "b");
    p = fixture_written(f);
    assert_true(settings_equal(&p.settings, &before.settings));
    plan_release(&p);
    fixture_type(f, "bu");
    p = fixture_written(f);
    assert_true(settings_equal(&p.settings, &before.settings));
    plan_release(&p);
    plan_release(&before);
}

static void test_without_best_rounding_it_is_what_it_was(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "6\t\t\t\n5\n"); /* refine */
    struct plan before = fixture_written(f), p;
    assert_int_equal(before.settings.refine, 5);
    fixture_type(f, "bb");
    fixture_assert_shows(f, "best rounding is off");
    p = fixture_written(f);
    assert_true(settings_equal(&p.settings, &before.settings));
    plan_release(&p);
    plan_release(&before);
}

static void test_ctrl_c_cancels_the_run_and_r_resumes(void **state)
{
    struct fixture *f = *state;
    fixture_key(f, TERM_KEY_CTRL_C);
    assert_int_equal(f->cancels, 0);
    fixture_type(f, "xy");
    assert_true(fixture_key(f, TERM_KEY_CTRL_C));
    assert_int_equal(f->cancels, 1);
    f->run.phase = APP_RUN_CANCELLED;
    app_tick(f->app);
    fixture_assert_shows(f, "cancelled");
    assert_false(app_busy(f->app));
    fixture_type(f, "6r");
    assert_int_equal(f->starts, 2);
    assert_true(f->resumed);
    f->run.phase = APP_RUN_FAILED;
    snprintf(f->run.message, sizeof f->run.message, "no space left on \x1b[31mdevice");
    app_tick(f->app);
    fixture_assert_shows(f, "no space left");
    assert_null(strchr(fixture_frame(f, 80, 24), '\x1b'));
}

static void test_leaving_leaves_the_run_alone(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "xy");
    assert_false(fixture_key(f, 'q'));
    fixture_type(f, "p");
    assert_true(fixture_key(f, 'q'));
    fixture_assert_shows(f, "the next session finds it again");
    assert_false(fixture_key(f, 'y'));
    assert_int_equal(f->cancels, 0);
}

static void test_a_run_that_is_found_again_is_told(void **state)
{
    struct fixture *f = *state;
    f->run.phase = APP_RUN_RUNNING;
    app_tick(f->app);
    fixture_assert_shows(f, "a run is under way, found again");
    assert_true(app_busy(f->app));
}

static void test_a_run_that_was_cut_can_be_resumed(void **state)
{
    struct fixture *f = *state;
    f->run.phase = APP_RUN_FAILED;
    app_tick(f->app);
    fixture_assert_shows(f, "the last run is not finished");
    fixture_type(f, "6r");
    assert_int_equal(f->starts, 1);
    assert_true(f->resumed);
}

static void test_without_a_model_it_says_what_to_pass(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "4");
    fixture_assert_shows(f, "--model");
    fixture_type(f, "5");
    fixture_assert_shows(f, "--model");
    fixture_type(f, "6");
    fixture_assert_shows(f, "--model");
    fixture_type(f, "1x");
    fixture_assert_shows(f, "--model");
    assert_int_equal(f->starts, 0);
    fixture_type(f, "w");
    fixture_assert_shows(f, "--model");
    assert_int_not_equal(access(f->plan_path, F_OK), 0);
}

static void test_without_a_model_the_plan_screen_shows_what_the_rule_gives(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5");
    picture_assert("plan-without-model-80x24", fixture_frame(f, 80, 24));
    picture_assert("plan-without-model-160x50", fixture_frame(f, 160, 50));
    fixture_assert_shows(f, "trace.h5 --model DIR");
    fixture_type(f, "ppppp"); /* 16 bits */
    fixture_assert_shows(f, "layer 0, expert 0: 16 bits, pinned");
    fixture_assert_shows(f, "2.9375"); /* 108 at 2, 83 at 4 and one at 16 bits */
    fixture_type(f, "v");
    fixture_frame(f, 46, 14);
    assert_true(fixture_find(f, "2  4  4  2  4", &(int){0}, &(int){0}));
}

static void test_similarity_shows_progress_and_failure(void **state)
{
    struct fixture *f = *state;
    f->cosine_phase = APP_COSINE_RUNNING;
    fixture_type(f, "4");
    fixture_assert_shows(f, "37 %");
    assert_true(app_busy(f->app));
    f->cosine_phase = APP_COSINE_FAILED;
    fixture_assert_shows(f, "cut short");
}

static void test_help_searches(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "?");
    fixture_assert_shows(f, "Help");
    fixture_type(f, "snapshot");
    fixture_assert_shows(f, "A B");
    fixture_assert_hides(f, "Ctrl-L");
    fixture_type(f, "zzz");
    fixture_assert_shows(f, "nothing matches");
    fixture_key(f, TERM_KEY_ESC);
    fixture_assert_hides(f, "nothing matches");
}

static void test_search_finds_experts_and_tokens(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "2/1.5\n");
    fixture_assert_shows(f, "expert 5 of layer 1");
    fixture_type(f, "/99.5\n");
    fixture_assert_shows(f, "no layer 99");
    fixture_type(f, "/qqqq\n");
    fixture_assert_shows(f, "no expert and no token");
    fixture_type(f, "/the\n");
    fixture_assert_shows(f, "rank");
}

static void test_snapshots_compare_plans(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5A");
    fixture_assert_shows(f, "snapshot A");
    char *before = copy_frame(f, 80, 24);
    fixture_type(f, "ppppp");
    assert_string_not_equal(fixture_frame(f, 80, 24), before);
    fixture_type(f, "u");
    free(before);
}

static void test_copy_gives_the_command_line_once(void **state)
{
    struct fixture *f = *state;
    assert_null(app_take_copy(f->app));
    fixture_type(f, "y");
    const char *text = app_take_copy(f->app);
    assert_non_null(text);
    assert_string_equal(text, "moqa plan --alpha 0.3");
    assert_null(app_take_copy(f->app));
}

static void test_a_saved_session_comes_back(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5]pp3\n1.5\nL");
    fixture_type(f, "s");
    fixture_assert_shows(f, "session saved");
    struct plan before = fixture_written(f);
    fixture_restart(f);
    fixture_assert_shows(f, "session restored");
    struct plan after = fixture_written(f);
    assert_true(settings_equal(&before.settings, &after.settings));
    assert_true(after.layers[1].experts[0].pinned);
    assert_int_equal(after.layers[1].experts[0].bits, 3);
    plan_release(&before);
    plan_release(&after);
    fixture_type(f, "u"); /* the options' own settings */
    after = fixture_written(f);
    assert_true(settings_equal(&f->options.settings, &after.settings));
    assert_false(after.layers[1].experts[0].pinned);
    plan_release(&after);
}

/* Everything that is looked at, by what it shows: the same frames before and after. The Plan
 * screen also shows what the last change cost, which is not kept. */
static void test_a_saved_session_brings_back_screens_looks_and_snapshots(void **state)
{
    struct fixture *f = *state;
    static const char screens[] = "2134671", settled[] = "2";
    char *before[sizeof screens];
    fixture_type(f, "5A\t\t3>>pp]B"); /* two snapshots, a pin between them */
    fixture_type(f, "4ae2+ltg1v");
    fixture_type(f, settled);
    for (size_t i = 0; screens[i]; i++) {
        fixture_key(f, (uint32_t)screens[i]);
        before[i] = strdup(fixture_frame(f, 120, 40));
    }
    fixture_type(f, "c");
    fixture_assert_shows(f, "Compare plans");
    char *compared = strdup(fixture_frame(f, 120, 40));
    fixture_type(f, "qs");
    fixture_assert_shows(f, "session saved");
    fixture_restart(f);
    fixture_type(f, settled);
    for (size_t i = 0; screens[i]; i++) {
        fixture_key(f, (uint32_t)screens[i]);
        assert_string_equal(fixture_frame(f, 120, 40), before[i]);
        free(before[i]);
    }
    fixture_type(f, "c");
    fixture_assert_shows(f, "Compare plans");
    assert_string_equal(fixture_frame(f, 120, 40), compared);
    free(compared);
}

/* One session without colours and outside UTF-8 does not make the next one so. */
static void test_what_a_terminal_forces_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct style_look full = f->look;
    fixture_type(f, "tgs"); /* light, blocks */
    f->look = (struct style_look){STYLE_MONO, STYLE_DEPTH_NONE, STYLE_ASCII};
    fixture_restart(f);
    assert_int_equal(app_look(f->app)->theme, STYLE_MONO);
    assert_int_equal(app_look(f->app)->glyphs, STYLE_ASCII);
    fixture_type(f, "s");
    f->look = full;
    fixture_restart(f);
    assert_int_equal(app_look(f->app)->theme, full.theme);
    assert_int_equal(app_look(f->app)->glyphs, full.glyphs);
}

/* Each is passed over with a message; what the screen needs is there. */
static void test_hostile_sessions_are_passed_over(void **state)
{
    struct fixture *f = *state;
    char path[1024], good[4096] = "", bad[8192];
    struct err err = {0};
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"\"zoom\": 0", "\"zoom\": 99"},
        {"\"zoom\": 0", "\"zoom\": -1"},
        {"\"zoom\": 0", "\"zoom\": \"1\""},
        {"\"expanded\": 0", "\"expanded\": 7"},
        {"\"result_sort\": 0", "\"result_sort\": 123456"},
        {"\"snapshots\": {}", "\"snapshots\": {\"A\": 7}"},
        {"\"snapshots\": {}", "\"snapshots\": {\"B\": {\"settings\": {}}}"},
        {"\"pins\": {}", "\"pins\": {\"99.99\": 2}"},
        {"\"layer\": 0", "\"layer\": 99"},
    };
    fixture_type(f, "s");
    snprintf(path, sizeof path, "%s/moqa/session-%.16s.json", getenv("XDG_STATE_HOME"),
             f->options.trace_sha256);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fread(good, 1, sizeof good - 1, file) > 0);
    fclose(file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = strstr(good, cases[i].from);
        if (!at)
            fail_msg("%s is not in\n%s", cases[i].from, good);
        int length = snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - good), good, cases[i].to,
                              at + strlen(cases[i].from));
        assert_int_equal(atomic_file_save(path, bad, (size_t)length, &err), 0);
        fixture_restart(f);
        if (!fixture_shows(f, "session was not taken"))
            fail_msg("%s was taken", cases[i].to);
    }
}

static void test_a_broken_session_is_passed_over(void **state)
{
    struct fixture *f = *state;
    char path[1024];
    struct err err = {0};
    fixture_type(f, "s");
    snprintf(path, sizeof path, "%s/moqa/session-%.16s.json", getenv("XDG_STATE_HOME"),
             f->options.trace_sha256);
    assert_int_equal(access(path, F_OK), 0);
    static const char text[] =
        "{\"schema\": \"moqa.session\", \"schema_version\": 1, \"view\": 99}";
    assert_int_equal(atomic_file_save(path, text, sizeof text - 1, &err), 0);
    fixture_restart(f);
    fixture_assert_shows(f, "session was not taken");
    assert_false(fixture_key(f, 'q'));
}

static void test_sigterm_saves_the_session_and_leaves(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5p?");
    assert_false(fixture_key(f, TERM_KEY_QUIT));
    fixture_restart(f);
    struct plan p = fixture_written(f);
    assert_true(p.layers[0].experts[0].pinned);
    plan_release(&p);
}

static void test_tiny_screens_say_what_they_need_and_can_be_left(void **state)
{
    struct fixture *f = *state;
    assert_non_null(strstr(fixture_frame(f, 39, 10), "40"));
    assert_non_null(strstr(fixture_frame(f, 40, 9), "40"));
    fixture_frame(f, 1, 1);
    assert_false(fixture_key(f, 'q'));
    fixture_type(f, "5p");
    assert_true(fixture_key(f, 'q'));
    assert_non_null(strstr(fixture_frame(f, 39, 9), "y quits"));
    assert_false(fixture_key(f, 'y'));
}

/* Tokens and names are the file's own: the trace here has none beyond ASCII on its screens. */
static void test_ascii_glyphs_leave_nothing_else_on_the_screen(void **state)
{
    struct fixture *f = *state;
    f->cosine_phase = APP_COSINE_READY;
    f->run.phase = APP_RUN_RUNNING;
    f->look.glyphs = STYLE_ASCII;
    fixture_restart(f);
    for (char view = '1'; view <= '7'; view++) {
        static const char *const modes[] = {"", "?", "\n", "/"};
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
            fixture_type(f, (char[]){view, '\0'});
            fixture_type(f, modes[i]);
            for (const char *p = fixture_frame(f, 120, 40); *p; p++)
                if ((unsigned char)*p > 126)
                    fail_msg("screen %c: beyond ASCII:\n%s", view, fixture_frame(f, 120, 40));
            fixture_key(f, TERM_KEY_ESC);
        }
    }
}

static void test_the_mouse_chooses_screens_and_sliders(void **state)
{
    struct fixture *f = *state;
    int x, y;
    fixture_type(f, "m");
    assert_true(app_wants_mouse(f->app));
    fixture_frame(f, 160, 50);
    assert_true(fixture_find(f, "Significance", &x, &y));
    fixture_mouse(f, TERM_MOUSE_PRESS, x, y, 0);
    fixture_mouse(f, TERM_MOUSE_RELEASE, x, y, 0);
    fixture_frame(f, 160, 50);
    assert_true(fixture_find(f, "threshold_sigmas", &x, &y));
    fixture_mouse(f, TERM_MOUSE_WHEEL, x, y, -1);
    struct plan p = fixture_written(f);
    assert_true(p.settings.threshold_sigmas > 0);
    plan_release(&p);
}

/* Keys, mouse and sizes at random: nothing crashes, all stays inside the frame. */
static uint32_t random_key(uint64_t *seed)
{
    static const uint32_t special[] = {
        TERM_KEY_TAB,        TERM_KEY_BACKTAB,     TERM_KEY_ENTER,   TERM_KEY_ESC,
        TERM_KEY_UP,         TERM_KEY_DOWN,        TERM_KEY_LEFT,    TERM_KEY_RIGHT,
        TERM_KEY_SHIFT_LEFT, TERM_KEY_SHIFT_RIGHT, TERM_KEY_PAGE_UP, TERM_KEY_PAGE_DOWN,
        TERM_KEY_HOME,       TERM_KEY_END,         TERM_KEY_CTRL_C,  TERM_KEY_BACKSPACE,
        TERM_KEY_UNKNOWN,    TERM_KEY_F1,          0x20ac,           0x1f600};
    double x = picture_random(seed);
    if (x < 0.45)
        return special[(size_t)(picture_random(seed) * (sizeof special / sizeof special[0]))];
    return 32 + (uint32_t)(picture_random(seed) * 95);
}

static void random_event(struct fixture *f, uint64_t *seed)
{
    struct term_event e = {.key = random_key(seed)};
    if (picture_random(seed) < 0.15) {
        e.key = TERM_KEY_MOUSE;
        e.mouse = (enum term_mouse)(picture_random(seed) * 4);
        e.button = 1;
        e.wheel = picture_random(seed) < 0.5 ? -1 : 1;
        e.x = (int)(picture_random(seed) * 200) - 5;
        e.y = (int)(picture_random(seed) * 60) - 2;
    }
    if (!app_event(f->app, &e) && picture_random(seed) < 0.01)
        fixture_restart(f);
}

static void test_random_keys_and_sizes_never_break_it(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 0x9e3779b97f4a7c15u;
    int w = 80, h = 24;
    for (int i = 0; i < 20000; i++) {
        random_event(f, &seed);
        if (i % 40 == 0) {
            w = 1 + (int)(picture_random(&seed) * 219);
            h = 1 + (int)(picture_random(&seed) * 69);
            f->cosine_phase = (enum app_cosine_phase)(picture_random(&seed) * 4);
            f->run.phase = (enum app_run_phase)(picture_random(&seed) * 6);
            f->results = (size_t)(picture_random(&seed) * (FIXTURE_RESULTS + 1));
        }
        if (i % 10 == 0) {
            fixture_frame(f, w, h);
            assert_true(rect_contains(cells_area(&f->cells), f->cells.clip.x, f->cells.clip.y));
        }
    }
}

/* --- A folder of its own, since random keys write pictures into the current one --- */

static struct {
    char before[1024], folder[64];
} work;

static int enter_folder(void **state)
{
    (void)state;
    snprintf(work.folder, sizeof work.folder, "/tmp/moqa-keys-XXXXXX");
    assert_non_null(getcwd(work.before, sizeof work.before));
    assert_non_null(mkdtemp(work.folder));
    return chdir(work.folder);
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *files = opendir(".");
    assert_non_null(files);
    for (struct dirent *e; (e = readdir(files));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlink(e->d_name);
    closedir(files);
    return chdir(work.before) < 0 || rmdir(work.folder) < 0 ? -1 : 0;
}

#define WITH(open, name) cmocka_unit_test_setup_teardown(name, open, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(open_olmoe, test_hints_end_with_help_on_every_screen),
        WITH(open_olmoe, test_hints_begin_with_the_most_useful_keys_of_a_screen),
        WITH(open_without_model, test_keys_without_a_use_are_not_among_the_hints),
        WITH(open_olmoe, test_v_says_what_it_did_whether_one_chart_has_room_or_both),
        WITH(open_olmoe, test_another_config_than_the_traces_is_told),
        WITH(open_olmoe, test_a_step_changes_numbers_in_the_same_frame),
        WITH(open_olmoe, test_undo_and_redo_restore_exactly),
        WITH(open_olmoe, test_undo_says_when_nothing_is_left),
        WITH(open_olmoe, test_pins_survive_recomputation),
        WITH(open_olmoe, test_typed_values_are_taken_or_refused_with_a_message),
        WITH(open_olmoe, test_typed_text_is_edited_at_its_cursor),
        WITH(open_olmoe, test_leaving_with_unwritten_changes_asks),
        WITH(open_olmoe, test_a_plan_that_cannot_be_written_stays_unwritten),
        WITH(open_olmoe, test_a_plan_of_others_is_replaced_only_on_yes),
        WITH(open_olmoe, test_settings_without_a_plan_are_taken_back),
        WITH(open_olmoe, test_a_refused_change_leaves_undo_and_redo_alone),
        WITH(open_olmoe, test_a_run_starts_only_on_yes),
        WITH(open_olmoe, test_nobody_agrees_to_a_dry_run_that_is_not_there_yet),
        WITH(open_olmoe, test_a_dry_run_that_fails_says_why),
        WITH(open_olmoe, test_a_long_dry_run_scrolls_up_to_its_last_line),
        WITH(open_olmoe, test_a_long_line_of_a_dry_run_is_whole),
        WITH(open_olmoe, test_best_rounding_is_one_step_to_and_fro),
        WITH(open_olmoe, test_without_best_rounding_it_is_what_it_was),
        WITH(open_olmoe, test_ctrl_c_cancels_the_run_and_r_resumes),
        WITH(open_olmoe, test_leaving_leaves_the_run_alone),
        WITH(open_olmoe, test_a_run_that_is_found_again_is_told),
        WITH(open_olmoe, test_a_run_that_was_cut_can_be_resumed),
        WITH(open_without_model, test_without_a_model_it_says_what_to_pass),
        WITH(open_without_model, test_without_a_model_the_plan_screen_shows_what_the_rule_gives),
        WITH(open_olmoe, test_similarity_shows_progress_and_failure),
        WITH(open_olmoe, test_help_searches),
        WITH(open_olmoe, test_search_finds_experts_and_tokens),
        WITH(open_olmoe, test_snapshots_compare_plans),
        WITH(open_olmoe, test_copy_gives_the_command_line_once),
        WITH(open_olmoe, test_a_saved_session_comes_back),
        WITH(open_olmoe, test_a_saved_session_brings_back_screens_looks_and_snapshots),
        WITH(open_olmoe, test_what_a_terminal_forces_is_not_kept),
        WITH(open_olmoe, test_hostile_sessions_are_passed_over),
        WITH(open_olmoe, test_a_broken_session_is_passed_over),
        WITH(open_olmoe, test_sigterm_saves_the_session_and_leaves),
        WITH(open_olmoe, test_tiny_screens_say_what_they_need_and_can_be_left),
        WITH(open_olmoe, test_ascii_glyphs_leave_nothing_else_on_the_screen),
        WITH(open_olmoe, test_the_mouse_chooses_screens_and_sliders),
        WITH(open_olmoe, test_random_keys_and_sizes_never_break_it),
        WITH(open_qwen, test_random_keys_and_sizes_never_break_it),
        WITH(open_without_model, test_random_keys_and_sizes_never_break_it),
    };
    return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
