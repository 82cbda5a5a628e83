// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/playground_page.h"

#include "widgets/basics.h"
#include "widgets/controls.h"

#include <QComboBox>
#include <QPlainTextEdit>

namespace luthier::ui {

PlaygroundPage::PlaygroundPage(Workbench& bench) : Page(bench) {
    auto* column = makeColumn(12, 16);
    auto* top = makeRow(8);
    m_model = new QComboBox;
    m_adapter = new QComboBox;
    m_model->setAccessibleName(tr("Base model"));
    m_adapter->setAccessibleName(tr("Adapter"));
    m_temperature = new UnitField(tr("temperature"));
    m_length = new UnitField(tr("tokens"));
    m_seed = new UnitField(tr("seed"));
    m_temperature->setText("0.7");
    m_length->setText("96");
    m_seed->setText("7");
    top->addWidget(m_model, 2);
    top->addWidget(m_adapter, 2);
    for (QLineEdit* field : {m_temperature, m_length, m_seed}) top->addWidget(field, 1);
    column->addLayout(top);
    auto* prompt = makeRow(8);
    m_prompt = new QPlainTextEdit("Once upon a time");
    m_prompt->setFixedHeight(72);
    m_prompt->setAccessibleName(tr("Prompt"));
    m_go = makeButton(tr("Generate"), "primary", 32, "play");
    prompt->addWidget(m_prompt, 1);
    prompt->addWidget(m_go, 0, Qt::AlignTop);
    column->addLayout(prompt);
    m_banner = new Banner;
    column->addWidget(m_banner);
    auto* columns = makeRow(16);
    const auto pane = [&](const QString& name) {
        auto* inner = makeColumn(8);
        inner->addWidget(makeLabel(name, "strong"));
        auto* text = new QPlainTextEdit;
        text->setReadOnly(true);
        text->setAccessibleName(name);
        inner->addWidget(text, 1);
        columns->addLayout(inner, 1);
        return text;
    };
    m_base = pane(tr("Base"));
    m_tuned = pane(tr("With adapter"));
    column->addLayout(columns, 1);
    setLayout(column);
    connect(m_go, &QPushButton::clicked, this, &PlaygroundPage::generate);
    connect(&bench.runs, &RunLibrary::changed, this, &PlaygroundPage::fill);
    connect(&bench.catalogue, &Catalogue::modelsChanged, this, &PlaygroundPage::fill);
    fill();
}

void PlaygroundPage::fill() {
    const QString model = m_model->currentData().toString(), adapter = m_adapter->currentData().toString();
    m_model->clear();
    for (const QJsonObject& entry : m_bench.catalogue.models()) m_model->addItem(entry["name"].toString(), entry["path"].toString());
    m_adapter->clear();
    m_adapter->addItem(tr("No adapter"), QString());
    for (const RunInfo& run : m_bench.runs.runs())
        if (run.hasAdapter) m_adapter->addItem(run.name, run.folder + "/adapter");
    open(model, adapter);
}

void PlaygroundPage::open(const QString& model, const QString& adapter) {
    if (!model.isEmpty() && m_model->findData(model) < 0) m_model->addItem(model.section('/', -1), model);
    if (!model.isEmpty()) m_model->setCurrentIndex(m_model->findData(model));
    if (m_adapter->findData(adapter) >= 0) m_adapter->setCurrentIndex(m_adapter->findData(adapter));
}

void PlaygroundPage::generate() {
    if (m_request) return m_bench.heavy.cancel(m_request);
    m_base->clear();
    m_tuned->clear();
    m_banner->hide();
    QJsonArray columns{QJsonObject{{"adapters", QJsonArray()}}};
    const QString adapter = m_adapter->currentData().toString();
    if (!adapter.isEmpty()) columns << QJsonObject{{"adapters", QJsonArray{QJsonObject{{"path", adapter}, {"weight", 1.0}}}}};
    m_go->setText(tr(" Stop"));
    const auto done = [this] {
        m_request = 0;
        m_go->setText(tr(" Generate"));
    };
    m_request = m_bench.heavy.request("generate", {{"model", m_model->currentData().toString()}, {"columns", columns}, {"prompt", m_prompt->toPlainText()},
                                                   {"max_new_tokens", m_length->text().toInt()}, {"temperature", m_temperature->text().toDouble()}, {"top_p", 0.95}, {"top_k", 50}, {"seed", m_seed->text().toInt()}},
                                      this, {[done](const QJsonValue&) { done(); }, [this, done](const ServeProblem& problem) {
        done();
        m_banner->show("err", problem.message + " " + problem.hint);
    }, [this](const QJsonObject& event) {
        if (event["type"].toString() != "token") return;
        QPlainTextEdit* pane = event["column"].toInt() == 0 ? m_base : m_tuned;
        pane->moveCursor(QTextCursor::End);
        pane->insertPlainText(event["text"].toString());
    }});
}

bool PlaygroundPage::perform(PageCommand command) {
    if (command != PageCommand::Start) return false;
    generate();
    return true;
}

}  // namespace luthier::ui
