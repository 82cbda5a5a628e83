// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/compare_methods.h"

#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/method_glyph.h"

#include <QCheckBox>
#include <QGridLayout>
#include <QLineEdit>
#include <QPainter>
#include <QScrollArea>

#include <cmath>

namespace luthier::ui {

namespace {

constexpr int kSeedCounts[] = {1, 3, 5};

class Glyph final : public QWidget {
public:
    explicit Glyph(const QString& method) : m_method(method) { setFixedSize(34, 22); }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter p(this);
        drawMethodGlyph(p, m_method, QPointF(1, 1), true);
    }

private:
    QString m_method;
};

QWidget* captioned(const QString& caption, QWidget* field) {
    auto* box = new QWidget;
    auto* column = makeColumn(4);
    column->addWidget(makeLabel(caption, "table", "t2"));
    column->addWidget(field);
    box->setLayout(column);
    field->setAccessibleName(caption);
    return box;
}

}  // namespace

double usualRateFactor(const QString& method) {
    // Against LoRA at 2e-4. IA3 3e-3: Liu et al. 2022 (T-Few); prompt tuning 0.3: Lester et al. 2021; VeRA 4e-3: Kopiczko et al. 2024;
    // full 2e-5 and prefix tuning 1e-2: what PEFT's and Transformers' examples use. The user sees and may change each.
    static const QHash<QString, double> factors = {{"full", 0.1}, {"freeze", 0.25}, {"ia3", 15}, {"prompt_tuning", 1500}, {"prefix_tuning", 50}, {"vera", 20}};
    return factors.value(method, 1);
}

CompareMethods::CompareMethods(Workbench& bench, const QJsonObject& config, const QHash<QString, QJsonObject>& kept, double secondsPerStep, QWidget* parent)
    : QDialog(parent), m_bench(bench), m_config(config), m_secondsPerStep(secondsPerStep) {
    setWindowTitle(tr("Compare methods"));
    setModal(true);
    resize(px(840), px(600));
    const QString current = config["method"].toObject()["type"].toString();
    const QJsonObject train = config["train"].toObject();
    auto* column = makeColumn(0);
    auto* head = makeColumn(4);
    head->setContentsMargins(24, 16, 24, 16);
    head->addWidget(makeLabel(tr("Compare methods"), "title"));
    head->addWidget(makeLabel(tr("One run per method on the same model, data, steps and seeds, in one group"), "body", "t2"));
    column->addLayout(head);
    column->addWidget(makeRule());
    auto* shared = makeRow(24);
    shared->setContentsMargins(24, 14, 24, 14);
    m_steps = new UnitField(tr("steps"));
    m_steps->setText(QString::number(train["max_steps"].toInt(200)));
    m_steps->setMaximumWidth(px(140));
    m_seeds = new SegmentedControl({"1", "3", "5"});
    m_group = new QLineEdit(config["group"].toString().isEmpty() ? tr("methods") : config["group"].toString());
    shared->addWidget(captioned(tr("Steps"), m_steps));
    shared->addWidget(captioned(tr("Seeds"), m_seeds));
    shared->addWidget(captioned(tr("Group"), m_group), 1);
    column->addLayout(shared);
    column->addWidget(makeRule());

    auto* list = new QWidget;
    auto* grid = new QGridLayout;
    grid->setContentsMargins(24, 8, 24, 8);
    grid->setHorizontalSpacing(16);
    grid->setVerticalSpacing(6);
    const QString titles[] = {{}, {}, tr("Method"), tr("Learning rate"), tr("Trainable"), tr("Memory"), {}};
    for (int i = 0; i < 6; ++i) grid->addWidget(makeLabel(titles[i], "caption", "t2"), 0, i, i >= 4 ? Qt::AlignRight : Qt::AlignLeft);
    const double rate = train["learning_rate"].toDouble(2e-4) / usualRateFactor(current);
    for (const MethodInfo& info : bench.catalogue.methods()) {
        Row row;
        row.method = info.name;
        row.title = info.title;
        row.values = info.name == current ? config["method"].toObject() : kept.value(info.name);
        row.values["type"] = info.name;
        row.box = new QCheckBox;
        row.box->setAccessibleName(info.title);
        row.box->setChecked(info.name == current);
        row.rate = new QLineEdit(format::rate(info.name == current ? train["learning_rate"].toDouble(2e-4) : std::min(0.3, rate * usualRateFactor(info.name))));
        row.rate->setAccessibleName(tr("Learning rate of %1").arg(info.title));
        row.rate->setToolTip(tr("Starts where this method is usually trained, in proportion to the rate set in New run."));
        row.rate->setMaximumWidth(px(110));
        row.trainable = makeLabel(QStringLiteral("…"), "table", "t2");
        row.memory = makeLabel({}, "table", "t2");
        const int line = static_cast<int>(m_rows.size()) + 1;
        grid->addWidget(row.box, line, 0);
        grid->addWidget(new Glyph(info.name), line, 1);
        grid->addWidget(makeLabel(info.title, "name"), line, 2);
        grid->addWidget(row.rate, line, 3);
        grid->addWidget(row.trainable, line, 4, Qt::AlignRight);
        grid->addWidget(row.memory, line, 5, Qt::AlignRight);
        connect(row.box, &QCheckBox::toggled, this, &CompareMethods::refresh);
        connect(row.rate, &QLineEdit::textChanged, this, &CompareMethods::refresh);
        m_rows.push_back(row);
    }
    grid->setColumnStretch(2, 2);
    grid->setColumnStretch(5, 1);
    grid->setRowStretch(static_cast<int>(m_rows.size()) + 1, 1);
    list->setLayout(grid);
    column->addWidget(makeScroll(list), 1);
    column->addWidget(makeRule());
    auto* foot = makeRow(8);
    foot->setContentsMargins(24, 14, 24, 14);
    auto* words = makeColumn(2);
    m_summary = makeLabel({}, "strong");
    m_note = makeLabel(tr("A failure does not stop the queue."), "table", "t2");
    words->addWidget(m_summary);
    words->addWidget(m_note);
    auto* cancel = makeButton(tr("Cancel"), "plain", 32);
    m_queue = makeButton(tr("Queue"), "primary", 32, "play");
    foot->addLayout(words, 1);
    foot->addWidget(cancel);
    foot->addWidget(m_queue);
    column->addLayout(foot);
    setLayout(column);
    connect(cancel, &QPushButton::clicked, this, &QDialog::reject);
    connect(m_queue, &QPushButton::clicked, this, &QDialog::accept);
    connect(m_steps, &QLineEdit::textChanged, this, &CompareMethods::refresh);
    connect(m_seeds, &SegmentedControl::changed, this, &CompareMethods::refresh);
    refresh();
    askNext();
}

void CompareMethods::paintEvent(QPaintEvent* event) {
    QDialog::paintEvent(event);
    QPainter p(this);
    p.setPen(Theme::tokens().line2);
    p.drawRect(rect().adjusted(0, 0, -1, -1));
}

QJsonObject CompareMethods::configOf(const Row& row, int seed) const {
    QJsonObject config = m_config;
    config["method"] = row.values;
    config["group"] = m_group->text().trimmed();
    QJsonObject train = config["train"].toObject();
    train["max_steps"] = m_steps->text().toInt();
    train.remove("epochs");
    train["learning_rate"] = row.rate->text().toDouble();
    const int first = train["seed"].toInt(42);
    train["seed"] = first + seed;
    config["train"] = train;
    QString name = m_group->text().trimmed() + "-" + QString(row.method).replace('_', '-');
    if (kSeedCounts[m_seeds->current()] > 1) name += QStringLiteral("-seed%1").arg(first + seed);
    config["name"] = name;
    return config;
}

std::vector<QJsonObject> CompareMethods::configs() const {
    std::vector<QJsonObject> configs;
    for (const Row& row : m_rows)
        for (int seed = 0; row.box->isChecked() && seed < kSeedCounts[m_seeds->current()]; ++seed) configs.push_back(configOf(row, seed));
    return configs;
}

/// One method after the other, so that the page's own estimate never waits behind all of them.
void CompareMethods::askNext() {
    if (m_asked >= m_rows.size()) return;
    const std::size_t index = m_asked++;
    m_bench.quick.request("estimate", {{"config", configOf(m_rows[index], 0)}, {"directory", m_bench.workspace()}}, this, {[this, index](const QJsonValue& value) {
        Row& row = m_rows[index];
        row.trainable->setText(format::shortCount(value["trainable"].toDouble()));
        double sum = 0;
        for (const QJsonValue part : value["memory"].toObject()) sum += part.toDouble();
        const double capacity = value["device"]["total_bytes"].toDouble();
        const bool fits = capacity <= 0 || sum <= capacity;
        row.memory->setText(fits ? format::bytes(sum) : tr("%1, %2 too much").arg(format::bytes(sum), format::bytes(sum - capacity)));
        setTone(row.memory, fits ? "t2" : "err");
        refresh();
        askNext();
    }, [this, index](const ServeProblem& problem) {
        Row& row = m_rows[index];
        row.trainable->setText(tr("none"));
        row.memory->setText(problem.message);
        row.memory->setWordWrap(true);
        row.box->setChecked(false);
        row.box->setEnabled(false);
        row.rate->setEnabled(false);
        refresh();
        askNext();
    }, {}});
}

void CompareMethods::refresh() {
    std::size_t runs = 0;
    QString problem;
    for (const Row& row : m_rows) {
        if (!row.box->isChecked()) continue;
        runs += static_cast<std::size_t>(kSeedCounts[m_seeds->current()]);
        bool isNumber = false;
        const double rate = row.rate->text().toDouble(&isNumber);
        if (!isNumber || !(rate >= 0) || rate > 100) problem = tr("The learning rate of %1 is a number from 0 to 100.").arg(row.title);
    }
    const int steps = m_steps->text().toInt();
    if (steps < 1) problem = tr("Steps is a whole number of at least 1.");
    const QString count = runs == 1 ? tr("1 run") : tr("%1 runs").arg(runs);
    const double seconds = m_secondsPerStep * steps * static_cast<double>(runs);
    m_summary->setText(std::isnan(seconds) || runs == 0 ? count : tr("%1, about %2").arg(count, format::roughDuration(seconds)));
    m_note->setText(problem.isEmpty() ? tr("A failure does not stop the queue.") : problem);
    setTone(m_note, problem.isEmpty() ? "t2" : "err");
    m_queue->setText(" " + tr("Queue %1").arg(count));
    m_queue->setAccessibleName(m_queue->text().trimmed());
    m_queue->setEnabled(runs > 0 && problem.isEmpty());
}

}  // namespace luthier::ui
