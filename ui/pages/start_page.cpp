// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/start_page.h"

#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/simple_table.h"

namespace luthier::ui {

StartPage::StartPage(Workbench& bench) : Page(bench) {
    auto* column = makeColumn(16, 24);
    auto* entries = makeRow(16);
    const auto entry = [&](const QString& icon, const QString& title, const QString& text, bool leads, std::function<void()> run) {
        auto* card = new QFrame;
        card->setProperty("card", leads ? "selected" : "true");
        auto* inner = makeColumn(8, 16);
        inner->addWidget(makeLabel(title, "title"));
        auto* words = makeLabel(text, "body", "t2");
        words->setWordWrap(true);
        inner->addWidget(words, 1);
        auto* button = makeButton(title, leads ? "primary" : "plain", 32, icon);
        connect(button, &QPushButton::clicked, this, run);
        inner->addWidget(button, 0, Qt::AlignLeft);
        card->setLayout(inner);
        entries->addWidget(card, 1);
    };
    const bool hasDemo = !bench.demoConfig().isEmpty();
    if (hasDemo) entry("play", tr("Open the demo"), tr("A small story model and poems, included. Ctrl+D"), true, [this] { m_bench.editAsNewRun(m_bench.demoConfig(), tr("the demo")); });
    entry("plus", tr("New run"), tr("Choose a model, a method and data. You see what it costs before you start. Ctrl+N"), !hasDemo, [this] { m_bench.goTo(PageId::NewRun); });
    entry("library", tr("Library"), tr("Models and data on this computer, and whether Luthier can train them. Alt+2"), false, [this] { m_bench.goTo(PageId::Library); });
    column->addLayout(entries);
    column->addWidget(makeLabel(tr("Recent runs"), "strong"));
    m_table = new SimpleTable({QString(), tr("Run"), tr("Method"), tr("Model"), tr("Loss"), tr("Best evaluation"), tr("When")}, {36, 240, 180, 180, 110, 130, 110}, 1);
    m_empty = new EmptyState("runs", tr("No runs yet"), tr("Runs of this workspace appear here."));
    column->addWidget(m_table, 1);
    column->addWidget(m_empty, 1);
    setLayout(column);
    connect(m_table, &SimpleTable::activatedRow, &bench, &Workbench::openRun);
    connect(m_table, &SimpleTable::selected, &bench, &Workbench::openRun);
    connect(&bench.runs, &RunLibrary::changed, this, &StartPage::fill);
    connect(&Theme::instance(), &Theme::changed, this, &StartPage::fill);
    fill();
}

void StartPage::fill() {
    const Tokens& t = Theme::tokens();
    std::vector<TableRow> rows;
    for (const RunInfo& run : m_bench.runs.runs()) {
        if (rows.size() >= 40) break;
        TableCell state;
        state.icon = statusLook(run.status).icon;
        state.color = run.status == "finished" ? t.ok : run.status == "failed" ? t.err : run.isActive() ? t.acc : t.t3;
        TableCell name{run.name};
        name.isStrong = true;
        TableCell curve;
        curve.sparkline = run.sparkline;
        TableCell best{run.status == "failed" ? tr("failed") : format::loss(run.bestEval)}, when{format::moment(run.created)};
        best.isRight = when.isRight = true;
        rows.push_back({run.id, {state, name, {run.methodWords()}, {run.modelName()}, curve, best, when}});
    }
    m_table->setVisible(!rows.empty());
    m_empty->setVisible(rows.empty());
    m_table->setRows(std::move(rows));
}

}  // namespace luthier::ui
