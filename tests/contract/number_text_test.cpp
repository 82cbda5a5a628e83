// SPDX-License-Identifier: Apache-2.0
#include "contract/number_text.h"

#include <doctest/doctest.h>

using namespace luthier;

TEST_CASE("texts of others give a terminal no orders") {
    CHECK(printable("plain, größer, 日本, 🙂") == "plain, größer, 日本, 🙂");
    CHECK(printable("\x1b]0;owned\x07") == "\\x1b]0;owned\\x07");
    CHECK(printable("a\nb\tc\r") == "a\\nb c\\x0d");
    CHECK(printable("\x7f\xc2\x9b"
                    "31m") == "\\x7f\\xc2\\x9b31m");
    CHECK(printable("\xff\xc3(") == "\\xff\\xc3(");
    CHECK(printable("cut \xe6\x97") == "cut \\xe6\\x97");
    CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
}

TEST_CASE("names of others stay text in tables, spreadsheets and pages") {
    CHECK(markdownText("a|b <img> `x` [l](u) *b*") == "a\\|b \\<img\\> \\`x\\` \\[l\\](u) \\*b\\*");
    CHECK(markdownText("two\nlines") == "two\\\\nlines");
    CHECK(markdownText("p_tuning_v2, +0.5") == "p_tuning_v2, +0.5");
    CHECK(csvField("plain \"q\"") == "\"plain \"\"q\"\"\"");
    for (const char* formula : {"=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"})
        CHECK(csvField(formula) == "\"'" + std::string(formula) + "\"");
    CHECK(csvField("").size() == 2);
    CHECK(htmlText("<script>\"'&") == "&lt;script&gt;&quot;&#39;&amp;");
    CHECK(htmlText("a\x1b"
                   "b") ==
          "a\xEF\xBF\xBD"
          "b");
}
