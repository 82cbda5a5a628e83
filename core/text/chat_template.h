// SPDX-License-Identifier: Apache-2.0
#pragma once
// A chat template is a stranger's program. It runs in a child process with 512 MiB and two seconds
// a chat; inside, the bridge bounds instructions, recursion and output. A child that dies or is
// late costs the chat it was given; after the third one every later chat is a problem.

#include "contract/problem.h"

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace luthier {

enum class TemplateUse {
    Chat,
    Rows,  ///< a user's template over a row: context {"row": {…}, "named_tokens": {…}}; values
           ///< stand between U+FDD2 and U+FDD3, generation blocks between U+FDD0 and U+FDD1, and a
           ///< key that is not there is an error
};

class ChatTemplate final {
public:
    /// Neither compiles nor starts anything yet.
    explicit ChatTemplate(std::string source, TemplateUse use = TemplateUse::Chat);
    ~ChatTemplate();
    ChatTemplate(const ChatTemplate&) = delete;
    ChatTemplate& operator=(const ChatTemplate&) = delete;

    /// `context`: a JSON object of variables. Problem codes: template_raised, template_failed,
    /// template_limit (this chat only); template_invalid, template_stopped (after several that were
    /// too much), template_process. May be called by several threads; they take turns.
    Result<std::string> render(std::string_view context);

    const std::string& source() const { return m_source; }

private:
    bool start();
    void stop();
    Result<std::string> giveUp(Problem problem);
    Problem problemOf(int status, const std::string& words) const;

    std::string m_source;
    TemplateUse m_use;
    std::mutex m_mutex;
    int m_socket = -1;
    int m_process = -1;
    int m_lost = 0;                  ///< children that died or were late
    std::unique_ptr<Problem> m_end;  ///< set once there is no use in another
};

}  // namespace luthier
