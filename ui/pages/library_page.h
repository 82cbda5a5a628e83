// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Library: the models, datasets and adapters found on this computer, what each is, and whether
// Luthier can train it. The whole page takes drops of folders and files; they stay where they are.

#include "pages/page.h"

#include <utility>

class QLabel;
class QLineEdit;

namespace luthier::ui {

class Banner;
class DropArea;
class LibraryDetail;
class SegmentedControl;
class SimpleTable;

class LibraryPage final : public Page {
    Q_OBJECT
public:
    explicit LibraryPage(Workbench& bench);
    QString title() const override { return tr("Library"); }
    QString context() const override { return tr("Models, data and adapters on this computer"); }
    void enter() override { fill(); }
    bool isSettled() const override;
    void add(const QString& path);  ///< a model, an adapter, data or a folder of them

protected:
    void resizeEvent(QResizeEvent* event) override;
    void dragEnterEvent(QDragEnterEvent* event) override;
    void dragLeaveEvent(QDragLeaveEvent*) override;
    void dropEvent(QDropEvent* event) override;

private:
    enum Kind { Models, Datasets, Adapters, Kinds };
    void fill();
    void fillTables();
    void fillModels(const QString& filter);
    void fillDatasets(const QString& filter);
    void fillAdapters(const QString& filter);
    void choose(Kind kind, const QString& id);
    void showChosen();
    void setFolders(const QStringList& folders);
    void forget(const QString& path);
    void chooseFolder();
    void takeGguf(const QString& path, const QJsonObject& facts);

    int m_import = 0;  // the request that makes a folder of a GGUF model
    std::pair<Kind, QString> m_awaited{Models, {}};  // what was added and is not in the tables yet
    Kind m_kind = Models;
    QString m_chosen;
    bool m_isShown = false;
    SegmentedControl* m_view;
    QLineEdit* m_filter;
    QLabel* m_watched;
    Banner* m_banner;
    QWidget* m_boxes[Kinds];
    QLabel *m_counts[Kinds], *m_empties[Kinds];
    SimpleTable* m_tables[Kinds];
    DropArea* m_drop;
    LibraryDetail* m_detail;
};

}  // namespace luthier::ui
