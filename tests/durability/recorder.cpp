// SPDX-License-Identifier: Apache-2.0
// A library for LD_PRELOAD that writes down what a program does to the files below one folder, call
// by call, with the bytes, and what it tells its caller: replay.py makes of it what a disk may hold
// when power goes at any moment. Linux, glibc, 64 bits.
//
//   LUTHIER_RECORD       the log; each record is one line, `OP PID NUMBERS… LENGTH` and then LENGTH
//   bytes and a newline:
//     open PID FD FLAGS LENGTH path      a new name or a file opened to write         write PID FD
//     OFFSET LENGTH bytes sync PID FD 0                      fsync and fdatasync truncate PID FD
//     SIZE 0 mkdir|unlink|rmdir PID LENGTH path                                              rename
//     PID FLAGS LENGTH from NUL to told PID LENGTH bytes              a JSON line to a pipe: an
//     acknowledgement    strange PID LENGTH what: a call that the replay does not know
//   LUTHIER_RECORD_ROOT  the folder, absolute
//
// A call and its record are one step for all threads of a process (one lock); calls that fail leave
// no record.

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <mutex>
#include <string>

namespace {

constexpr int kMostDescriptors = 65536;

std::mutex& lock() {
    static std::mutex mutex;
    return mutex;
}

std::array<bool, kMostDescriptors> watched{};

int logDescriptor() {
    static const int descriptor = [] {
        const char* file = getenv("LUTHIER_RECORD");
        return file ? static_cast<int>(syscall(SYS_openat, AT_FDCWD, file,
                                               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600))
                    : -1;
    }();
    return descriptor;
}

const std::string& root() {
    static const std::string folder =
        getenv("LUTHIER_RECORD_ROOT") ? getenv("LUTHIER_RECORD_ROOT") : "/nowhere";
    return folder;
}

template <typename Function>
Function next(const char* name) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

void record(const std::string& head, const void* data, size_t size) {
    if (logDescriptor() < 0) return;
    std::string line = head + " " + std::to_string(size) + "\n";
    line.append(static_cast<const char*>(data), size);
    line += "\n";
    // One call, so that records of several processes do not mix.
    if (syscall(SYS_write, logDescriptor(), line.data(), line.size()) !=
        static_cast<long>(line.size()))
        abort();
}

void record(const std::string& head, const std::string& text) {
    record(head, text.data(), text.size());
}

std::string process() { return " " + std::to_string(getpid()); }

/// Absolute and without dots; links in it stay as they are.
std::string absolutePath(int folder, const char* path) {
    if (path[0] == '/') return std::filesystem::path(path).lexically_normal().string();
    char buffer[4096];
    ssize_t size = 0;
    if (folder == AT_FDCWD) {
        size = getcwd(buffer, sizeof buffer) ? static_cast<ssize_t>(strlen(buffer)) : 0;
    } else {
        size = readlink(("/proc/self/fd/" + std::to_string(folder)).c_str(), buffer, sizeof buffer);
    }
    return (std::filesystem::path(std::string(buffer, size > 0 ? static_cast<size_t>(size) : 0)) /
            path)
        .lexically_normal()
        .string();
}

bool isWatched(const std::string& path) {
    return path.size() > root().size() && path.compare(0, root().size(), root()) == 0 &&
           path[root().size()] == '/';
}

bool isWatched(int descriptor) {
    return descriptor >= 0 && descriptor < kMostDescriptors &&
           watched[static_cast<size_t>(descriptor)];
}

int opened(int folder, const char* path, int flags, mode_t mode) {
    const std::lock_guard guard(lock());
    const int descriptor = static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
    if (descriptor < 0 || descriptor >= kMostDescriptors) return descriptor;
    const int before = errno;
    const std::string name = absolutePath(folder, path);
    // A folder that is opened to be synced counts too.
    const bool counts = isWatched(name) || name == root();
    watched[static_cast<size_t>(descriptor)] = counts;
    if (counts)
        record("open" + process() + " " + std::to_string(descriptor) + " " + std::to_string(flags),
               name);
    errno = before;
    return descriptor;
}

void told(int descriptor, const void* data, size_t size) {
    struct stat facts{};
    if (size > 0 && *static_cast<const char*>(data) == '{' && fstat(descriptor, &facts) == 0 &&
        S_ISFIFO(facts.st_mode))
        record("told" + process(), data, size);
}

void wrote(int descriptor, const void* data, ssize_t size, long long offset) {
    if (size <= 0) return;
    if (!isWatched(descriptor)) return told(descriptor, data, static_cast<size_t>(size));
    record("write" + process() + " " + std::to_string(descriptor) + " " + std::to_string(offset),
           data, static_cast<size_t>(size));
}

/// Where the `size` bytes that were just written begin (with O_APPEND that is known only now).
long long beginning(int descriptor, ssize_t size) {
    return isWatched(descriptor) ? lseek(descriptor, 0, SEEK_CUR) - size : 0;
}

void strange(const char* what) { record("strange" + process(), what, strlen(what)); }

int synced(int descriptor, long number) {
    const std::lock_guard guard(lock());
    const int code = static_cast<int>(syscall(number, descriptor));
    if (code == 0 && isWatched(descriptor))
        record("sync" + process() + " " + std::to_string(descriptor), "", 0);
    return code;
}

int renamed(int fromFolder, const char* from, int toFolder, const char* to, unsigned flags) {
    const std::lock_guard guard(lock());
    const std::string before = absolutePath(fromFolder, from), after = absolutePath(toFolder, to);
    const int code =
        static_cast<int>(syscall(SYS_renameat2, fromFolder, from, toFolder, to, flags));
    if (code == 0 && (isWatched(before) || isWatched(after)))
        record("rename" + process() + " " + std::to_string(flags), before + '\0' + after);
    return code;
}

int removed(int folder, const char* path, int flags) {
    const std::lock_guard guard(lock());
    const std::string name = absolutePath(folder, path);
    const int code = static_cast<int>(syscall(SYS_unlinkat, folder, path, flags));
    if (code == 0 && isWatched(name))
        record((flags & AT_REMOVEDIR ? "rmdir" : "unlink") + process(), name);
    return code;
}

int made(int folder, const char* path, mode_t mode) {
    const std::lock_guard guard(lock());
    const std::string name = absolutePath(folder, path);
    const int code = static_cast<int>(syscall(SYS_mkdirat, folder, path, mode));
    if (code == 0 && isWatched(name)) record("mkdir" + process(), name);
    return code;
}

}  // namespace

extern "C" {

#define OPEN_BODY(folder)                \
    mode_t mode = 0;                     \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest;                    \
        va_start(rest, flags);           \
        mode = va_arg(rest, mode_t);     \
        va_end(rest);                    \
    }                                    \
    return opened(folder, path, flags, mode);

int open(const char* path, int flags, ...) { OPEN_BODY(AT_FDCWD) }
int open64(const char* path, int flags, ...) { OPEN_BODY(AT_FDCWD) }
int openat(int folder, const char* path, int flags, ...) { OPEN_BODY(folder) }
int openat64(int folder, const char* path, int flags, ...) { OPEN_BODY(folder) }
int creat(const char* path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int descriptor) {
    const std::lock_guard guard(lock());
    if (descriptor >= 0 && descriptor < kMostDescriptors)
        watched[static_cast<size_t>(descriptor)] = false;
    return static_cast<int>(syscall(SYS_close, descriptor));
}

ssize_t write(int descriptor, const void* data, size_t size) {
    const std::lock_guard guard(lock());
    const ssize_t done = syscall(SYS_write, descriptor, data, size);
    wrote(descriptor, data, done, beginning(descriptor, done));
    return done;
}

ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
    const std::lock_guard guard(lock());
    const ssize_t done = syscall(SYS_pwrite64, descriptor, data, size, offset);
    wrote(descriptor, data, done, offset);
    return done;
}
ssize_t pwrite64(int descriptor, const void* data, size_t size, off64_t offset) {
    return pwrite(descriptor, data, size, offset);
}

ssize_t writev(int descriptor, const struct iovec* parts, int count) {
    const std::lock_guard guard(lock());
    const ssize_t done = syscall(SYS_writev, descriptor, parts, count);
    if (done <= 0) return done;
    std::string all;
    for (int i = 0; i < count; ++i)
        all.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    wrote(descriptor, all.data(), done, beginning(descriptor, done));
    return done;
}

int ftruncate(int descriptor, off_t size) {
    const std::lock_guard guard(lock());
    const int code = static_cast<int>(syscall(SYS_ftruncate, descriptor, size));
    if (code == 0 && isWatched(descriptor))
        record(
            "truncate" + process() + " " + std::to_string(descriptor) + " " + std::to_string(size),
            "", 0);
    return code;
}
int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, size); }

int fsync(int descriptor) { return synced(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return synced(descriptor, SYS_fdatasync); }

int rename(const char* from, const char* to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int fromFolder, const char* from, int toFolder, const char* to) {
    return renamed(fromFolder, from, toFolder, to, 0);
}
int renameat2(int fromFolder, const char* from, int toFolder, const char* to, unsigned flags) {
    return renamed(fromFolder, from, toFolder, to, flags);
}
int unlink(const char* path) { return removed(AT_FDCWD, path, 0); }
int rmdir(const char* path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int folder, const char* path, int flags) { return removed(folder, path, flags); }
int remove(const char* path) {
    const int code = removed(AT_FDCWD, path, 0);
    return code != 0 && errno == EISDIR ? removed(AT_FDCWD, path, AT_REMOVEDIR) : code;
}
int mkdir(const char* path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char* path, mode_t mode) { return made(folder, path, mode); }

// What the replay does not model is said when it touches the folder, so that a new way of writing
// cannot slip through unseen.
int link(const char* from, const char* to) {
    const std::lock_guard guard(lock());
    if (isWatched(absolutePath(AT_FDCWD, to))) strange("link");
    return next<int (*)(const char*, const char*)>("link")(from, to);
}

int fallocate(int descriptor, int mode, off_t offset, off_t size) {
    const std::lock_guard guard(lock());
    if (isWatched(descriptor)) strange("fallocate");
    return static_cast<int>(syscall(SYS_fallocate, descriptor, mode, offset, size));
}

ssize_t sendfile(int to, int from, off_t* offset, size_t size) {
    const std::lock_guard guard(lock());
    if (isWatched(to)) strange("sendfile");
    return syscall(SYS_sendfile, to, from, offset, size);
}

ssize_t copy_file_range(int from, off64_t* fromOffset, int to, off64_t* toOffset, size_t size,
                        unsigned flags) {
    const std::lock_guard guard(lock());
    if (isWatched(to)) strange("copy_file_range");
    return syscall(SYS_copy_file_range, from, fromOffset, to, toOffset, size, flags);
}

FILE* fopen(const char* path, const char* mode) {
    FILE* file = next<FILE* (*)(const char*, const char*)>("fopen")(path, mode);
    if (!file) return file;
    const std::lock_guard guard(lock());
    const int descriptor = fileno(file);
    const bool counts = isWatched(absolutePath(AT_FDCWD, path));
    if (descriptor >= 0 && descriptor < kMostDescriptors)
        watched[static_cast<size_t>(descriptor)] = counts;
    if (counts && (strchr(mode, 'w') || strchr(mode, 'a') || strchr(mode, '+')))
        strange("fopen for writing");
    return file;
}
FILE* fopen64(const char* path, const char* mode) { return fopen(path, mode); }

}  // extern "C"
