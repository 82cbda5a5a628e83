# SPDX-License-Identifier: Apache-2.0
# Every outside library, found once. Torch is the PyPI wheel unpacked by packaging/bootstrap (see LuthierTorch.cmake).
find_package(nlohmann_json 3.11 REQUIRED)
find_package(Threads REQUIRED)
include(LuthierTorch)
