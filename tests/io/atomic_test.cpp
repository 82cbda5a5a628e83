// SPDX-License-Identifier: Apache-2.0
// Every test that injects a fault does so at each watched system call in turn, until the operation
// no longer reaches it, and asks of every outcome: old or new, whole, and nothing left over.
#include "io/atomic.h"
#include "io/safetensors.h"

#include "faults.h"
#include "fixtures.h"

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <optional>

using namespace luthier;
using namespace luthier::test;

namespace {

constexpr int kErrors[] = {EIO, ENOSPC, EROFS, EINTR};

const char* codeFor(int error) {
    return error == ENOSPC ? "disk_full" : error == EROFS ? "folder_not_writable" : "write_failed";
}

/// A published folder holds "a" and "sub/b", both with the same text: its generation. Anything else
/// is a half.
Result<AtomicDir> prepare(const fs::path& target, const std::string& generation) {
    Result<AtomicDir> folder = AtomicDir::begin(target);
    if (!folder) return folder;
    writeBytes(folder->path() / "a", generation);
    fs::create_directory(folder->path() / "sub");
    writeBytes(folder->path() / "sub" / "b", generation);
    fs::create_symlink("a", folder->path() / "link");
    return folder;
}

Result<void> publish(const fs::path& target, const std::string& generation, Existing existing) {
    Result<AtomicDir> folder = prepare(target, generation);
    if (!folder) return folder.problems();
    return folder->commit(existing);
}

std::string generationOf(const fs::path& target) {
    if (!fs::exists(target)) return "none";
    if (namesIn(target) != std::set<std::string>{"a", "link", "sub"}) return "half";
    const std::string a = readBytes(target / "a");
    return readBytes(target / "sub" / "b") == a ? a : "half";
}

/// A file system of 1 MiB, where this program may mount one.
class SmallDisk final {
public:
    SmallDisk()
        : m_isMounted(::mount("none", m_folder.path().c_str(), "tmpfs", 0, "size=1m") == 0) {}
    ~SmallDisk() {
        if (m_isMounted) ::umount(m_folder.path().c_str());
    }
    bool isMounted() const { return m_isMounted; }
    const fs::path& path() const { return m_folder.path(); }

private:
    TemporaryFolder m_folder;
    bool m_isMounted;
};

}  // namespace

TEST_CASE("aFolderAppearsOnlyWhenCommitted") {
    const TemporaryFolder root;
    const fs::path target = root / "run";
    {
        auto folder = AtomicDir::begin(target);
        REQUIRE(folder.ok());
        CHECK(folder->path().filename().string().rfind(".run.tmp-", 0) == 0);
        CHECK(folder->path().parent_path() == root.path());
        writeBytes(folder->path() / "a", "text");
        CHECK_FALSE(fs::exists(target));
        REQUIRE(folder->commit(Existing::Refuse).ok());
        CHECK(folder->path() == target);
        CHECK(folder->commit(Existing::Replace).problem().exit == ExitCode::Internal);
    }
    CHECK(readBytes(target / "a") == "text");
    CHECK(namesIn(root.path()) == std::set<std::string>{"run"});
}

TEST_CASE("aFolderNotCommittedIsRemoved") {
    const TemporaryFolder root;
    {
        auto folder = AtomicDir::begin(root / "run");
        REQUIRE(folder.ok());
        fs::create_directories(folder->path() / "deep" / "er");
        writeBytes(folder->path() / "deep" / "er" / "file", "text");
    }
    CHECK(namesIn(root.path()).empty());
}

TEST_CASE("movingAFolderMovesItsFate") {
    const TemporaryFolder root;
    std::optional<AtomicDir> kept;
    {
        auto folder = AtomicDir::begin(root / "one");
        REQUIRE(folder.ok());
        kept.emplace(std::move(*folder));
    }
    CHECK(namesIn(root.path()).size() == 1);
    auto second = AtomicDir::begin(root / "two");
    REQUIRE(second.ok());
    *kept = std::move(*second);
    CHECK(namesIn(root.path()).size() == 1);
    REQUIRE(kept->commit(Existing::Refuse).ok());
    CHECK(namesIn(root.path()) == std::set<std::string>{"two"});
}

TEST_CASE("missingParentsAreCreatedAndATrailingSlashIsNoName") {
    const TemporaryFolder root;
    REQUIRE(publish(root / "x" / "y" / "run/", "1", Existing::Refuse).ok());
    CHECK(generationOf(root / "x" / "y" / "run") == "1");
    CHECK_FALSE(AtomicDir::begin("").ok());
    CHECK_FALSE(AtomicDir::begin("/").ok());
    writeBytes(root / "file", "");
    CHECK_FALSE(AtomicDir::begin(root / "file" / "run").ok());
}

TEST_CASE("anExistingFolderIsRefusedOrReplacedWhole") {
    for (const Fault::Renames renames : {Fault::Renames::WithFlags, Fault::Renames::Plain}) {
        const TemporaryFolder root;
        const Fault none(Fault::kNever, 0, renames);
        REQUIRE(publish(root / "run", "1", Existing::Replace).ok());
        const auto refused = publish(root / "run", "2", Existing::Refuse);
        REQUIRE_FALSE(refused.ok());
        CHECK(refused.problem().code == "target_exists");
        CHECK(generationOf(root / "run") == "1");
        writeBytes(root / "run" / "of the old one", "");
        REQUIRE(publish(root / "run", "3", Existing::Replace).ok());
        CHECK(generationOf(root / "run") == "3");
        CHECK(namesIn(root.path()) == std::set<std::string>{"run"});
    }
}

TEST_CASE("anEmptyFolderIsNotReplacedUnasked") {
    const TemporaryFolder root;
    fs::create_directory(root / "run");
    CHECK(publish(root / "run", "1", Existing::Refuse).problem().code == "target_exists");
    CHECK(fs::is_empty(root / "run"));
}

TEST_CASE("aFileIsNeverReplacedByAFolder") {
    const TemporaryFolder root;
    writeBytes(root / "run", "mine");
    CHECK(publish(root / "run", "1", Existing::Replace).problem().code == "target_exists");
    CHECK(readBytes(root / "run") == "mine");
    CHECK(namesIn(root.path()) == std::set<std::string>{"run"});
}

TEST_CASE("whicheverCallFailsANewFolderIsThereWholeOrNotAtAll") {
    for (const int error : kErrors) {
        int call = 0;
        for (bool wasReached = true; wasReached; ++call) {
            const TemporaryFolder root;
            auto folder = prepare(root / "run", "1");
            REQUIRE(folder.ok());
            const Fault fault(call, error);
            const auto committed = folder->commit(Existing::Refuse);
            wasReached = Fault::happened();
            CAPTURE(call);
            CAPTURE(error);
            CHECK(committed.ok() == !wasReached);
            if (!committed.ok()) CHECK(committed.problem().code == codeFor(error));
            const std::string generation = generationOf(root / "run");
            // Only the fsync of the parent comes after the rename.
            CHECK((generation == "none" || generation == "1"));
            CHECK(namesIn(root.path()).size() == (generation == "none" ? 0 : 1));
        }
        // Two files, two folders, the rename, the parent, and the pass without a fault.
        CHECK(call == 7);
    }
}

TEST_CASE("whicheverCallFailsAReplacedFolderIsOldOrNew") {
    for (const int error : kErrors) {
        int call = 0;
        for (bool wasReached = true; wasReached; ++call) {
            const TemporaryFolder root;
            REQUIRE(publish(root / "run", "1", Existing::Refuse).ok());
            auto folder = prepare(root / "run", "2");
            REQUIRE(folder.ok());
            const Fault fault(call, error);
            const auto committed = folder->commit(Existing::Replace);
            wasReached = Fault::happened();
            CAPTURE(call);
            CAPTURE(error);
            CHECK(committed.ok() == !wasReached);
            const std::string generation = generationOf(root / "run");
            CHECK((generation == "1" || generation == "2"));
            if (committed.ok()) CHECK(generation == "2");
            // What is left beside it after the last fsync failed is the old folder, whole.
            for (const std::string& name : namesIn(root.path())) {
                if (name == "run") continue;
                CHECK(Fault::happenedInFsync());
                CHECK(generation == "2");
                CHECK(generationOf(root / name.c_str()) == "1");
            }
        }
        // As above, and the exchange.
        CHECK(call == 8);
    }
}

TEST_CASE("whicheverCallFailsWithoutExchangeTheOldFolderComesBack") {
    for (int call = 0;; ++call) {
        const TemporaryFolder root;
        REQUIRE(publish(root / "run", "1", Existing::Refuse).ok());
        auto folder = prepare(root / "run", "2");
        REQUIRE(folder.ok());
        const Fault fault(call, EIO, Fault::Renames::Plain);
        const auto committed = folder->commit(Existing::Replace);
        CAPTURE(call);
        CHECK(committed.ok() == !Fault::happened());
        const std::string generation = generationOf(root / "run");
        CHECK((generation == "1" || generation == "2"));
        if (committed.ok()) break;
        if (generation == "1") CHECK(namesIn(root.path()) == std::set<std::string>{"run"});
    }
}

TEST_CASE("whicheverCallFailsAFileIsOldOrNew") {
    for (const int error : {EIO, ENOSPC, EROFS}) {
        for (const bool isCopy : {false, true}) {
            for (int call = 0;; ++call) {
                const TemporaryFolder root;
                const TemporaryFolder elsewhere;
                writeBytes(root / "file", "old");
                writeBytes(elsewhere / "source", "new");
                Result<void> written;
                bool wasReached = false;
                {
                    const Fault fault(call, error);
                    written = isCopy ? copyFileDurably(elsewhere / "source", root / "file")
                                     : writeFileAtomically(root / "file", "new");
                    wasReached = Fault::happened();
                }
                CAPTURE(call);
                CHECK(written.ok() == !wasReached);
                const std::string text = readBytes(root / "file");
                CHECK(namesIn(root.path()) == std::set<std::string>{"file"});
                if (!wasReached) {
                    CHECK(text == "new");
                    CHECK(call == 4);  // write, fsync, rename, fsync of the folder
                    break;
                }
                CHECK(written.problem().code == codeFor(error));
                CHECK((text == "old" || text == "new"));
            }
        }
    }
}

TEST_CASE("anInterruptedWriteGoesOnButAFailedFsyncIsNotRetried") {
    const TemporaryFolder root;
    {
        const Fault fault(0, EINTR);
        CHECK(writeFileAtomically(root / "file", "text").ok());
        CHECK(Fault::happened());
    }
    const Fault fault(1, EINTR);
    CHECK_FALSE(writeFileAtomically(root / "other", "text").ok());
    CHECK(Fault::happenedInFsync());
    CHECK(namesIn(root.path()) == std::set<std::string>{"file"});
}

TEST_CASE("whicheverCallFailsSafetensorsLeaveNoPart") {
    const std::string data(4, 'x');
    const TensorView tensor{
        "w", DType::U8, {4}, reinterpret_cast<const std::byte*>(data.data()), data.size()};
    for (int call = 0;; ++call) {
        const TemporaryFolder root;
        const Fault fault(call, ENOSPC);
        const auto written = writeSafetensors(root / "f", {tensor}, {});
        CHECK(written.ok() == !Fault::happened());
        if (written.ok()) break;
        CHECK(written.problem().code == "disk_full");
        CHECK(written.problem().message.find(root.path().string()) != std::string::npos);
        CHECK(written.problem().message.find("bytes are free") != std::string::npos);
        for (const std::string& name : namesIn(root.path())) CHECK(name == "f");
        if (fs::exists(root / "f")) CHECK(SafetensorsFile::open(root / "f").ok());
    }
}

TEST_CASE("aFullDiskLeavesTheOldStateAndNoRest") {
    const SmallDisk disk;
    if (!disk.isMounted()) {
        MESSAGE("no tmpfs can be mounted here; the injected ENOSPC above has to do");
        return;
    }
    REQUIRE(publish(disk.path() / "run", "1", Existing::Refuse).ok());
    const std::string large(std::size_t{2} << 20, 'x');
    CHECK(writeFileAtomically(disk.path() / "file", large).problem().code == "disk_full");
    const TensorView tensor{
        "w", DType::U8, {2 << 20}, reinterpret_cast<const std::byte*>(large.data()), large.size()};
    const auto written = writeSafetensors(disk.path() / "f.safetensors", {tensor}, {});
    REQUIRE_FALSE(written.ok());
    CHECK(written.problem().code == "disk_full");
    CHECK(written.problem().exit == ExitCode::RunFailed);
    {
        auto folder = AtomicDir::begin(disk.path() / "run");
        REQUIRE(folder.ok());
        CHECK(writeSafetensors(folder->path() / "f.safetensors", {tensor}, {}).problem().code ==
              "disk_full");
    }
    CHECK(namesIn(disk.path()) == std::set<std::string>{"run"});
    CHECK(generationOf(disk.path() / "run") == "1");
    // All the room is back.
    CHECK(writeFileAtomically(disk.path() / "file", std::string(std::size_t{900} << 10, 'x')).ok());
}

TEST_CASE("aReadOnlyDiskIsTold") {
    const SmallDisk disk;
    if (!disk.isMounted() ||
        ::mount("none", disk.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, "size=1m") != 0) {
        MESSAGE("no tmpfs can be mounted here");
        return;
    }
    CHECK(AtomicDir::begin(disk.path() / "run").problem().code == "folder_not_writable");
    CHECK(writeFileAtomically(disk.path() / "file", "x").problem().code == "folder_not_writable");
    CHECK(writeSafetensors(disk.path() / "f", {}, {}).problem().code == "folder_not_writable");
}

TEST_CASE("jsonIsIndentedAndEndsWithANewline") {
    const TemporaryFolder root;
    REQUIRE(writeJsonAtomically(root / "f.json", Json{{"b", 1}, {"a", {1, 2}}}).ok());
    CHECK(readBytes(root / "f.json") == "{\n  \"b\": 1,\n  \"a\": [\n    1,\n    2\n  ]\n}\n");
    CHECK(writeJsonAtomically(root / "bad.json", Json("\xff")).ok());
    CHECK(writeJsonAtomically(root / "absent" / "f.json", Json()).problem().code ==
          "folder_missing");
}

TEST_CASE("copiesKeepBytesAndPermissions") {
    const TemporaryFolder root;
    const std::string bytes((std::size_t{2} << 20) + 5, 'c');
    writeBytes(root / "from", bytes);
    fs::permissions(root / "from",
                    fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
    REQUIRE(copyFileDurably(root / "from", root / "to").ok());
    CHECK(readBytes(root / "to") == bytes);
    CHECK(fs::status(root / "to").permissions() == fs::status(root / "from").permissions());
    CHECK(copyFileDurably(root / "absent", root / "x").problem().code == "file_missing");
    CHECK(copyFileDurably(root.path(), root / "x").problem().code == "file_unreadable");
    CHECK_FALSE(fs::exists(root / "x"));
}

TEST_CASE("longNamesStillFindRoomForTheirTemporarySibling") {
    const TemporaryFolder root;
    const std::string name(255, 'n');
    CHECK(writeFileAtomically(root.path() / name, "text").ok());
    CHECK(readBytes(root.path() / name) == "text");
}
