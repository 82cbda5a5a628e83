// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The window: rail, top bar, page, status bar, toasts, keyboard map. Pages are built when first
// shown, so that the window is there at once. It takes files and folders dropped on any page: data
// go to Data, models and adapters to the library.

#include "pages/page.h"

#include <QMainWindow>
#include <QStackedWidget>

#include <array>

namespace luthier::ui {

class DropVeil;
class Rail;
class TopBar;
class ToastArea;

class MainWindow final : public QMainWindow {
    Q_OBJECT
public:
    explicit MainWindow(Workbench& bench);
    void showPage(PageId id);
    Page* page(PageId id);  ///< built if need be
    void openDemo();
    PageId current() const { return m_current; }
    void restore();

protected:
    void closeEvent(QCloseEvent*) override;
    void dragEnterEvent(QDragEnterEvent* event) override;
    void dragLeaveEvent(QDragLeaveEvent*) override;
    void dropEvent(QDropEvent* event) override;

private:
    void bindKeys();
    void showContext();
    void updatePill();
    void openPalette();
    void undo();
    void redo();
    void chooseWorkspace();

    Workbench& m_bench;
    Rail* m_rail;
    TopBar* m_top;
    ToastArea* m_toasts;
    DropVeil* m_veil;
    QStackedWidget* m_stack;
    std::array<Page*, 9> m_pages{};
    PageId m_current = PageId::Start;
    std::shared_ptr<RunFeed> m_pillFeed;
};

/// "new-run" and the like, for --screenshot and the settings file.
QString pageKey(PageId id);
bool pageFromKey(const QString& key, PageId* id);

}  // namespace luthier::ui
