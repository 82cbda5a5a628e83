// SPDX-License-Identifier: Apache-2.0
#include "faults.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace {

bool watching = false;
bool flagsUnsupported = false;
bool inFsync = false;
int countdown = -1;
int errorToSet = 0;
bool reached = false;

bool fails(bool isFsync = false) {
    if (!watching || countdown < 0 || countdown-- != 0) return false;
    reached = true;
    inFsync = isFsync;
    errno = errorToSet;
    return true;
}

}  // namespace

extern "C" {

int fsync(int fd) { return fails(true) ? -1 : static_cast<int>(::syscall(SYS_fsync, fd)); }

ssize_t write(int fd, const void* data, size_t size) {
    return fails() ? -1 : static_cast<ssize_t>(::syscall(SYS_write, fd, data, size));
}

int renameat2(int oldFolder, const char* from, int newFolder, const char* to,
              unsigned flags) noexcept {
    if (watching && flagsUnsupported && flags != 0) {
        errno = EINVAL;
        return -1;
    }
    return fails()
               ? -1
               : static_cast<int>(::syscall(SYS_renameat2, oldFolder, from, newFolder, to, flags));
}

int rename(const char* from, const char* to) noexcept {
    return fails() ? -1
                   : static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0u));
}

}  // extern "C"

namespace luthier::test {

Fault::Fault(int call, int error, Renames renames) {
    countdown = call;
    errorToSet = error;
    reached = inFsync = false;
    flagsUnsupported = renames == Renames::Plain;
    watching = true;
}

Fault::~Fault() { watching = flagsUnsupported = false; }

bool Fault::happened() { return reached; }
bool Fault::happenedInFsync() { return reached && inFsync; }

}  // namespace luthier::test
