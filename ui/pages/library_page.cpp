// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/library_page.h"

#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/simple_table.h"

#include <QFileDialog>
#include <QFileInfo>

namespace luthier::ui {

LibraryPage::LibraryPage(Workbench& bench) : Page(bench) {
    auto* column = makeColumn(8, 16);
    auto* head = makeRow(8);
    auto* add = makeButton(tr("Add folder…"), "plain", 28, "folder");
    head->addWidget(makeLabel(tr("Models"), "strong"));
    head->addStretch(1);
    head->addWidget(add);
    column->addLayout(head);
    m_models = new SimpleTable({tr("Model"), tr("Family"), tr("Parameters"), tr("Layers"), tr("Context"), tr("On disk"), tr("Problems")}, {260, 120, 110, 80, 100, 110, 300}, 0);
    column->addWidget(m_models, 1);
    column->addWidget(makeLabel(tr("Datasets"), "strong"));
    m_datasets = new SimpleTable({tr("Dataset"), tr("Format"), tr("Rows"), tr("Problems")}, {360, 220, 110, 300}, 0);
    column->addWidget(m_datasets, 1);
    setLayout(column);
    connect(add, &QPushButton::clicked, this, [this] {
        const QString path = QFileDialog::getExistingDirectory(this, tr("Folder with models or data"));
        if (!path.isEmpty()) m_bench.addFolder(path);
    });
    connect(m_datasets, &SimpleTable::activatedRow, &bench, &Workbench::openData);
    connect(m_models, &SimpleTable::activatedRow, this, [this](const QString& path) { m_bench.openPlayground(path, {}); });
    connect(&bench.catalogue, &Catalogue::modelsChanged, this, &LibraryPage::fill);
    fill();
}

void LibraryPage::fill() {
    const Tokens& t = Theme::tokens();
    const auto number = [](const QString& text) { TableCell cell{text}; cell.isRight = true; return cell; };
    const auto problemOf = [&](const QJsonObject& entry) {
        QString words = entry["problems"].toArray().isEmpty() ? QString() : entry["problems"].toArray().first()["message"].toString();
        if (words.isEmpty() && entry.contains("can_train") && !entry["can_train"].toBool()) words = entry["reason"].toString();
        TableCell cell{words};
        if (!words.isEmpty()) { cell.icon = "error"; cell.color = t.err; }
        return cell;
    };
    std::vector<TableRow> rows;
    for (const QJsonObject& m : m_bench.catalogue.models())
        rows.push_back({m["path"].toString(), {{m["name"].toString()}, {m["family"].toString()}, number(format::shortCount(m["parameters"].toDouble())), number(QString::number(m["layers"].toInt())),
                        number(format::count(m["context"].toInt())), number(format::bytes(m["bytes"].toDouble())), problemOf(m)}});
    m_models->setRows(std::move(rows));
    std::vector<TableRow> sets;
    for (const QJsonObject& d : m_bench.catalogue.datasets())
        sets.push_back({d["path"].toString(), {{QFileInfo(d["path"].toString()).fileName()}, {QString(d["format"].toString()).replace('_', ' ')}, number(d["rows"].toDouble() > 0 ? format::count(d["rows"].toInteger()) : QStringLiteral("–")), problemOf(d)}});
    m_datasets->setRows(std::move(sets));
}

}  // namespace luthier::ui
