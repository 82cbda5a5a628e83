// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Ctrl+K: one field over pages, commands, runs and models.

#include <QDialog>

#include <functional>
#include <vector>

class QLineEdit;
class QListWidget;

namespace luthier::ui {

struct PaletteEntry {
    QString icon, title, note;
    std::function<void()> run;
};

class CommandPalette final : public QDialog {
    Q_OBJECT
public:
    CommandPalette(std::vector<PaletteEntry> entries, QWidget* window);

protected:
    bool eventFilter(QObject* object, QEvent* event) override;

private:
    void fill(const QString& filter);
    void runCurrent();
    std::vector<PaletteEntry> m_entries;
    QLineEdit* m_field;
    QListWidget* m_list;
};

}  // namespace luthier::ui
