// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/data_page.h"

#include "settings/settings.h"
#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QFileDialog>
#include <QJsonDocument>
#include <QTextEdit>

namespace luthier::ui {

DataPage::DataPage(Workbench& bench) : Page(bench) {
    auto* column = makeColumn(8, 16);
    auto* head = makeRow(8);
    m_facts = makeLabel(tr("Choose data to see its rows as the trainer sees them."), "body", "t2");
    auto* choose = makeButton(tr("Change…"), "plain", 28, "folder");
    auto* back = makeIconButton("chevron-left", tr("Earlier rows"));
    auto* next = makeIconButton("chevron-right", tr("Later rows"));
    head->addWidget(m_facts, 1);
    head->addWidget(back);
    head->addWidget(next);
    head->addWidget(choose);
    column->addLayout(head);
    m_banner = new Banner;
    column->addWidget(m_banner);
    m_rows = new QTextEdit;
    m_rows->setReadOnly(true);
    m_rows->setAccessibleName(tr("Rows"));
    column->addWidget(m_rows, 1);
    setLayout(column);
    connect(choose, &QPushButton::clicked, this, [this] {
        const QString path = QFileDialog::getOpenFileName(this, tr("Data"), m_path);
        if (!path.isEmpty()) open(path);
    });
    connect(back, &QPushButton::clicked, this, [this] { m_first = std::max(0, m_first - 10); load(); });
    connect(next, &QPushButton::clicked, this, [this] { m_first += 10; load(); });
}

void DataPage::enter() {
    if (!m_path.isEmpty()) return;
    const QJsonObject config = QJsonDocument::fromJson(Settings::value("newrun/config").toByteArray()).object();
    const QString path = config.value("data")["train"]["path"].toString();
    if (!path.isEmpty()) open(path);
}

void DataPage::open(const QString& path) {
    m_path = path;
    m_first = 0;
    load();
    emit contextChanged();
}

void DataPage::load() {
    if (m_path.isEmpty()) return;
    QJsonObject config = QJsonDocument::fromJson(Settings::value("newrun/config").toByteArray()).object();
    QJsonObject rows = config["data"].toObject();
    rows["train"] = QJsonObject{{"path", m_path}};
    config["data"] = rows;
    m_bench.quick.request("preview", {{"config", config}, {"directory", m_bench.workspace()}, {"first", m_first}, {"count", 10}}, this, {[this](const QJsonValue& value) {
        m_banner->hide();
        for (const QJsonValue& problem : value["problems"].toArray())
            if (problem["level"].toString() != "note") m_banner->show(problem["level"].toString() == "error" ? "err" : "warn", problem["message"].toString() + " " + problem["hint"].toString());
        m_facts->setText(tr("%1 rows, %2 tokens, %3 with loss, %4 cut at %5").arg(format::count(value["rows"].toInteger()), format::count(value["tokens"].toInteger()),
                         format::count(value["supervised_tokens"].toInteger()), format::count(value["truncated_rows"].toInteger()), format::count(value["max_length"].toInteger())));
        const Tokens& t = Theme::tokens();
        QString html;
        for (const QJsonValue& row : value["preview"].toArray()) {
            html += QStringLiteral("<p><b>%1</b></p><p style=\"line-height:150%; font-family:'Luthier Mono'\">").arg(tr("Row %1").arg(row["row"].toInt()));
            for (const QJsonValue& token : row["tokens"].toArray()) {
                const QString state = token["state"].toString();
                const QString style = state == "loss" ? QStringLiteral("color:%1;background:%2").arg(t.acc.name(), t.soft.name())
                                      : state == "cut" ? QStringLiteral("color:%1;background:%2;text-decoration:line-through").arg(t.err.name(), t.errsoft.name())
                                                       : QStringLiteral("color:%1;background:%2").arg(t.t3.name(), t.frozensoft.name());
                html += QStringLiteral("<span style=\"%1\">%2</span> ").arg(style, token["text"].toString().replace(' ', QStringLiteral("·")).toHtmlEscaped().replace('\n', QStringLiteral("↵")));
            }
            html += "</p>";
        }
        m_rows->setHtml(html);
    }, [this](const ServeProblem& problem) { m_banner->show("err", problem.message + " " + problem.hint); }, {}});
}

}  // namespace luthier::ui
