// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Settings: categories left, rows in the middle, the keyboard at the right. Every change is saved
// at once and can be undone.

#include "pages/page.h"

class QBoxLayout;
class QButtonGroup;
class QLineEdit;
class QListWidget;
class QSlider;
class QStackedWidget;
class QVBoxLayout;

namespace luthier::ui {

class ElidedLabel;
class SegmentedControl;
class Toggle;
class UnitField;

class SettingsPage final : public Page {
    Q_OBJECT
public:
    explicit SettingsPage(Workbench& bench);
    QString title() const override { return tr("Settings"); }
    QString context() const override { return tr("saved as you change them"); }
    void enter() override { showValues(); }

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    QWidget* buildAppearance();
    QWidget* buildFolders();
    QWidget* buildKeyboard();
    QWidget* buildAbout();
    QWidget* buildShortcutPane();
    void addRow(QVBoxLayout* into, const QString& name, const QString& help, QWidget* control);
    /// Sets `key`, applies it, and makes the change one step of undo.
    void change(const QString& key, const QVariant& value, const QVariant& fallback,
                const QString& what);
    void showValues();
    void fillFolders();
    void setFolders(const QStringList& folders);

    QList<QBoxLayout*> m_rows;
    QListWidget* m_categories;
    QStackedWidget* m_pages;
    QWidget* m_shortcuts;
    QButtonGroup* m_themes;
    QSlider* m_size;
    UnitField* m_sizeField;
    SegmentedControl* m_density;
    Toggle* m_peftNames;
    ElidedLabel *m_workspace, *m_exports;
    QVBoxLayout* m_folders;
};

}  // namespace luthier::ui
