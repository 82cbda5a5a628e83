// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One step of the window's undo stack made of two functions. The change has been made already when
// it is recorded.

#include <QUndoCommand>
#include <QUndoStack>

#include <functional>

namespace luthier::ui {

class FunctionStep final : public QUndoCommand {
public:
    FunctionStep(const QString& text, std::function<void()> redo, std::function<void()> undo)
        : QUndoCommand(text), m_redo(std::move(redo)), m_undo(std::move(undo)) {}
    void redo() override {
        if (std::exchange(m_isDone, false)) return;
        m_redo();
    }
    void undo() override { m_undo(); }

private:
    std::function<void()> m_redo, m_undo;
    bool m_isDone = true;
};

/// `text` as in "Undone: text". `redo` and `undo` must stay valid as long as the stack does.
inline void recordStep(QUndoStack& stack, const QString& text, std::function<void()> redo,
                       std::function<void()> undo) {
    stack.push(new FunctionStep(text, std::move(redo), std::move(undo)));
}

}  // namespace luthier::ui
