// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/export_page.h"

#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/simple_table.h"

#include <QProgressBar>

#include <cmath>

namespace luthier::ui {

ExportPage::ExportPage(Workbench& bench) : Page(bench) {
    auto* row = makeRow(0);
    m_table = new SimpleTable({tr("Adapter"), tr("Method"), tr("Best evaluation"), tr("Size")}, {240, 170, 120, 90}, 0);
    row->addWidget(m_table, 3);
    row->addWidget(makeRule(Qt::Vertical));
    auto* side = makeColumn(12, 16);
    m_peft = makeButton(tr("Export PEFT folder"), "primary", 32, "plug");
    m_merged = makeButton(tr("Export merged model"), "plain", 32, "cube");
    m_phase = makeLabel({}, "table", "t2");
    m_bar = new QProgressBar;
    m_bar->hide();
    m_banner = new Banner;
    m_result = makeLabel(tr("An export is written beside its target, read back, compared, then renamed. A failed export leaves nothing behind."), "body", "t2");
    m_result->setWordWrap(true);
    m_result->setTextInteractionFlags(Qt::TextSelectableByMouse);
    for (QWidget* widget : {static_cast<QWidget*>(m_peft), static_cast<QWidget*>(m_merged), static_cast<QWidget*>(m_phase), static_cast<QWidget*>(m_bar), static_cast<QWidget*>(m_banner), static_cast<QWidget*>(m_result)}) side->addWidget(widget);
    side->addStretch(1);
    row->addLayout(side, 2);
    setLayout(row);
    connect(m_peft, &QPushButton::clicked, this, [this] { write("peft"); });
    connect(m_merged, &QPushButton::clicked, this, [this] { write("merged"); });
    connect(&bench.runs, &RunLibrary::changed, this, &ExportPage::fill);
    fill();
}

void ExportPage::fill() {
    std::vector<TableRow> rows;
    for (const RunInfo& run : m_bench.runs.runs()) {
        if (!run.hasAdapter && !run.hasFullModel) continue;
        TableCell name{run.name}, best{format::loss(run.bestEval)}, size{std::isnan(run.adapterBytes) ? QStringLiteral("–") : format::bytes(run.adapterBytes)};
        name.sample = Theme::instance().runColor(run.color);
        best.isRight = size.isRight = true;
        rows.push_back({run.id, {name, {run.methodWords()}, best, size}});
    }
    const QString first = rows.empty() ? QString() : rows.front().id;
    m_peft->setEnabled(!rows.empty());
    m_merged->setEnabled(!rows.empty());
    m_table->setRows(std::move(rows));
    if (m_table->currentId().isEmpty()) m_table->select(first);
}

void ExportPage::select(const QString& runId) { m_table->select(runId); }

void ExportPage::write(const QString& format) {
    const RunInfo* run = m_bench.runs.find(m_table->currentId());
    if (!run) return;
    const QString out = m_bench.workspace() + "/exports/" + run->id + "-" + format;
    m_banner->hide();
    m_bar->show();
    m_peft->setEnabled(false);
    m_merged->setEnabled(false);
    const auto done = [this] {
        m_bar->hide();
        m_phase->clear();
        m_peft->setEnabled(true);
        m_merged->setEnabled(true);
    };
    m_bench.heavy.request("export", {{"source", run->folder}, {"format", format}, {"out", out}}, this, {[this, done](const QJsonValue& value) {
        done();
        QString text = value["path"].toString() + "\n\n";
        for (const QJsonValue& file : value["files"].toArray()) text += file["name"].toString() + "   " + format::bytes(file["bytes"].toDouble()) + "\n";
        text += "\n" + tr("Certificate") + "\n";
        const QJsonObject certificate = value["certificate"].toObject();
        for (auto it = certificate.begin(); it != certificate.end(); ++it) text += QString(it.key()).replace('_', ' ') + ": " + it->toVariant().toString() + "\n";
        m_result->setText(text);
        m_banner->show("ok", tr("Verified by reloading"));
    }, [this, done](const ServeProblem& problem) {
        done();
        m_banner->show("err", problem.message + " " + problem.hint);
    }, [this](const QJsonObject& event) {
        m_phase->setText(event["name"].toString());
        m_bar->setRange(0, std::max(1, event["total"].toInt()));
        m_bar->setValue(event["done"].toInt());
    }});
}

}  // namespace luthier::ui
