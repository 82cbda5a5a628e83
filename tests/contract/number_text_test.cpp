// SPDX-License-Identifier: Apache-2.0
#include "contract/number_text.h"

#include <doctest/doctest.h>

using namespace luthier;

TEST_CASE("texts of others give a terminal no orders") {
    CHECK(printable("plain, größer, 日本, 🙂") == "plain, größer, 日本, 🙂");
    CHECK(printable("\x1b]0;owned\x07") == "\\x1b]0;owned\\x07");
    CHECK(printable("a\nb\tc\r") == "a\\nb c\\x0d");
    CHECK(printable("\x7f\xc2\x9b" "31m") == "\\x7f\\xc2\\x9b31m");
    CHECK(printable("\xff\xc3(") == "\\xff\\xc3(");
    CHECK(printable("cut \xe6\x97") == "cut \\xe6\\x97");
    CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
}
