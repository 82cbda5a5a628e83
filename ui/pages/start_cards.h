// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The cards of the Start page beside its entries: the first steps, this computer, and what the
// workspace holds.

#include "client/workbench.h"

#include <QFrame>
#include <QFutureWatcher>

class QLabel;

namespace luthier::ui {

class FactRows;

/// Four steps to a first adapter; done ones are ticked, the next is filled. Gone when all are done
/// or it is closed.
class FirstSteps final : public QFrame {
    Q_OBJECT
public:
    explicit FirstSteps(Workbench& bench);
    void refresh();

private:
    Workbench& m_bench;
    QLabel *m_words, *m_marks[4], *m_titles[4], *m_notes[4];
};

/// Devices, processor, memory and disk as they are now, read every two seconds.
class ComputerCard final : public QFrame {
    Q_OBJECT
public:
    explicit ComputerCard(Workbench& bench);
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return {200, sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    void describe();
    Workbench& m_bench;
};

/// Counts and bytes of the workspace's parts, measured by a worker thread.
class WorkspaceCard final : public QFrame {
    Q_OBJECT
public:
    explicit WorkspaceCard(Workbench& bench);
    void refresh();

private:
    struct Sizes {
        int checkpoints = 0, exports = 0;
        double checkpointBytes = 0, exportBytes = 0;
    };
    void showSizes();
    Workbench& m_bench;
    Sizes m_sizes;
    QFutureWatcher<Sizes> m_watcher;
    QLabel *m_title, *m_path;
    FactRows* m_rows;
};

}  // namespace luthier::ui
