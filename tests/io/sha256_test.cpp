// SPDX-License-Identifier: Apache-2.0
#include "io/sha256.h"

#include "fixtures.h"

#include <doctest/doctest.h>

using namespace luthier;
using namespace luthier::test;

TEST_CASE("sha256AgreesWithTheStandardsVectors") {
    CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(sha256("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqk"
                 "lmnopqrlmnopqrsmnopqrstnopqrstu") ==
          "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    CHECK(sha256(std::string(1'000'000, 'a')) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("sha256PadsEveryLengthAroundABlock") {
    // Hash of the hashes of "a" * n, n = 0…130, computed with Python's hashlib.
    std::string all;
    for (std::size_t length = 0; length <= 130; ++length) all += sha256(std::string(length, 'a'));
    CHECK(sha256(all) == "5eee4c50e1b5ec4f1a47f34c25ca988850b49da7904f5ab1b3abc5cc0ae66ef9");
}

TEST_CASE("sha256OfAFileEqualsThatOfItsBytesAndReportsProgress") {
    const TemporaryFolder folder;
    const std::string bytes((std::size_t{2} << 20) + 77, 'x');
    writeBytes(folder / "f", bytes);
    std::uint64_t last = 0;
    const Result<std::string> hash =
        sha256OfFile(folder / "f", [&](std::uint64_t done, std::uint64_t total) {
            CHECK(done > last);
            CHECK(total == bytes.size());
            last = done;
            return true;
        });
    REQUIRE(hash.ok());
    CHECK(*hash == sha256(bytes));
    CHECK(last == bytes.size());
}

TEST_CASE("sha256OfAFileCanBeCancelled") {
    const TemporaryFolder folder;
    writeBytes(folder / "f", std::string(std::size_t{3} << 20, 'x'));
    int calls = 0;
    const Result<std::string> hash =
        sha256OfFile(folder / "f", [&](std::uint64_t, std::uint64_t) { return ++calls < 2; });
    REQUIRE_FALSE(hash.ok());
    CHECK(hash.problem().code == "cancelled");
    CHECK(calls == 2);
}

TEST_CASE("sha256OfWhatIsNoFileIsAProblem") {
    const TemporaryFolder folder;
    CHECK(sha256OfFile(folder / "absent").problem().code == "file_missing");
    CHECK(sha256OfFile(folder.path()).problem().code == "file_unreadable");
}
