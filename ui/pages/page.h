// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What the frame knows of a page: its title and context line, its buttons in the top bar, and the
// keys it answers to. Pages are built when first shown.

#include "client/workbench.h"

#include <QWidget>

namespace luthier::ui {

enum class PageCommand { Start, AddToQueue, PauseOrResume, Checkpoint, Stop, ExportPlot };

class Page : public QWidget {
    Q_OBJECT
public:
    explicit Page(Workbench& bench) : m_bench(bench) {
        setProperty("surface", "bg1");
        setAttribute(Qt::WA_StyledBackground);
    }

    virtual QString title() const = 0;
    virtual QString context() const { return {}; }
    virtual QList<QWidget*> actions() {
        return {};
    }  ///< placed at the right of the top bar while the page shows
    virtual void enter() {}  ///< each time the page comes to the front
    virtual bool perform(PageCommand) { return false; }
    virtual bool isSettled() const {
        return true;
    }  ///< for --screenshot: nothing more is expected to change soon

signals:
    void contextChanged();

protected:
    Workbench& m_bench;
};

}  // namespace luthier::ui
