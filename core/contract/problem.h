// SPDX-License-Identifier: Apache-2.0
#pragma once
// Expected failures are values. A Problem is one sentence for a person plus a code for a program;
// several are reported together when a whole document is checked. Only code that cannot go on
// throws, and it throws a Failure (a Problem inside), which the program's outermost frame turns
// into the one `{"type":"failed"}` object of a failed command.

#include <exception>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace luthier {

/// Exit codes of luthier-cli.
enum class ExitCode : int {
    Done = 0,
    RunFailed = 1,
    BadUsage = 2,
    BadInput = 3,
    OutOfMemory = 4,
    Stopped = 5,
    Internal = 70,
};

struct Problem {
    std::string code;     ///< stable, snake_case: "unknown_key", "file_truncated", …
    std::string message;  ///< what happened, to what; one sentence
    std::string hint;     ///< what to do next; may be empty
    std::string field;    ///< dotted key of RUN.json, or file[:line], or empty
    ExitCode exit = ExitCode::BadInput;
};

using Problems = std::vector<Problem>;

/// All messages of `problems` as lines, each with its hint.
std::string describe(const Problems& problems);

/// Thrown only where returning a value is impossible or pointless; carries what the user will read.
class Failure final : public std::exception {
public:
    explicit Failure(Problem problem);
    const char* what() const noexcept override { return m_text.c_str(); }
    const Problem& problem() const noexcept { return m_problem; }

private:
    Problem m_problem;
    std::string m_text;
};

/// Either a T or at least one Problem.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T held) : m_state(std::in_place_index<0>, std::move(held)) {}
    Result(Problem problem) : m_state(std::in_place_index<1>, Problems{std::move(problem)}) {}
    Result(Problems problems) : m_state(std::in_place_index<1>, std::move(problems)) {}

    bool ok() const { return m_state.index() == 0; }
    explicit operator bool() const { return ok(); }

    T& value() & { return std::get<0>(m_state); }
    const T& value() const& { return std::get<0>(m_state); }
    T&& value() && { return std::get<0>(std::move(m_state)); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }

    const Problems& problems() const { return std::get<1>(m_state); }
    const Problem& problem() const { return problems().front(); }

    /// The value, or a Failure thrown: for code that already runs where exceptions end the run.
    T orThrow() && {
        if (!ok()) throw Failure(problem());
        return std::move(*this).value();
    }

private:
    std::variant<T, Problems> m_state;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Problem problem) : m_problems{std::move(problem)} {}
    Result(Problems problems) : m_problems(std::move(problems)) {}

    bool ok() const { return m_problems.empty(); }
    explicit operator bool() const { return ok(); }
    const Problems& problems() const { return m_problems; }
    const Problem& problem() const { return m_problems.front(); }
    void orThrow() const {
        if (!ok()) throw Failure(problem());
    }

private:
    Problems m_problems;
};

}  // namespace luthier
