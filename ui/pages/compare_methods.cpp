// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/compare_methods.h"

#include "contract/shootout.h"
#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/memory_bar.h"
#include "widgets/method_glyph.h"

#include <QCheckBox>
#include <QGridLayout>
#include <QJsonDocument>
#include <QLineEdit>
#include <QPainter>
#include <QScrollArea>

#include <cmath>

namespace luthier::ui {

namespace {

constexpr int kSeedCounts[] = {1, 3, 5};
constexpr int kRateTries[] = {1, 3};
constexpr int kColumns = 8, kMemoryColumn = 6;

class Glyph final : public QWidget {
public:
    explicit Glyph(const QString& method) : m_method(method) { setFixedSize(34, 22); }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter p(this);
        drawMethodGlyph(p, methodFacts(m_method).glyph, QPointF(1, 1), true);
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

Json toJson(const QJsonObject& object) {
    return Json::parse(QJsonDocument(object).toJson(QJsonDocument::Compact).toStdString());
}
QJsonObject fromJson(const Json& json) {
    return QJsonDocument::fromJson(QByteArray::fromStdString(json.dump())).object();
}

/// From the method's values or, where they are silent, its defaults.
QString settingsWords(const MethodInfo& info, const QJsonObject& values) {
    return methodSettings(info.name, [&](const QString& key) {
        for (const QJsonValue field : info.fields)
            if (field["key"].toString() == key)
                return values.contains(key) ? values[key] : field["default"];
        return QJsonValue(QJsonValue::Undefined);
    });
}

}  // namespace

CompareMethods::CompareMethods(Workbench& bench, const QJsonObject& config,
                               const QHash<QString, QJsonObject>& kept, QWidget* parent)
    : FramedDialog(tr("Compare methods"), {px(960), px(640)}, parent),
      m_bench(bench),
      m_config(config),
      m_current(config["method"].toObject()["type"].toString()),
      m_kept(kept) {
    auto* column = makeColumn(0);
    auto* head = makeColumn(4);
    head->setContentsMargins(24, 16, 24, 16);
    head->addWidget(makeLabel(tr("Compare methods"), "title"));
    head->addWidget(makeLabel(
        tr("One run per method on the same model, data and seeds, in one group"), "body", "t2"));
    column->addLayout(head);
    column->addWidget(makeRule());
    column->addLayout(makeChoices());
    column->addWidget(makeRule());
    column->addWidget(makeScroll(makeList()), 1);
    column->addWidget(makeRule());
    column->addLayout(makeFoot());
    setLayout(column);
    refresh();
    askNext();
}

CompareMethods::~CompareMethods() {
    if (m_measuring >= 0) m_bench.heavy.cancel(m_measuring);
}

QLayout* CompareMethods::makeChoices() {
    auto* shared = makeRow(24);
    shared->setContentsMargins(24, 14, 24, 14);
    m_same = new SegmentedControl({tr("Steps"), tr("Time")});
    m_amount = new UnitField(tr("steps"));
    m_amount->setText(QString::number(m_config["train"].toObject()["max_steps"].toInt(200)));
    m_amount->setMaximumWidth(px(130));
    m_seeds = new SegmentedControl({"1", "3", "5"});
    m_rates = new SegmentedControl({tr("Usual"), tr("Best of 3")});
    m_rates->setToolTip(tr(
        "Usual: where each method is usually trained. Best of 3: also a third and three times of "
        "that, since a rate that suits one method and not another makes a comparison unfair."));
    m_group = new QLineEdit(m_config["group"].toString().isEmpty() ? tr("methods")
                                                                   : m_config["group"].toString());
    shared->addWidget(captioned(tr("Same for every run"), m_same));
    shared->addWidget(captioned(tr("Amount"), m_amount));
    shared->addWidget(captioned(tr("Seeds"), m_seeds));
    shared->addWidget(captioned(tr("Learning rates"), m_rates));
    shared->addWidget(captioned(tr("Group"), m_group), 1);
    connect(m_same, &SegmentedControl::changed, this, [this](int index) {
        m_amount->setUnit(index == 0 ? tr("steps") : tr("s"));
        m_amount->setText(
            index == 0 ? QString::number(m_config["train"].toObject()["max_steps"].toInt(200))
                       : QStringLiteral("60"));
        refresh();
    });
    connect(m_amount, &QLineEdit::textChanged, this, &CompareMethods::refresh);
    connect(m_seeds, &SegmentedControl::changed, this, &CompareMethods::refresh);
    connect(m_rates, &SegmentedControl::changed, this, &CompareMethods::refresh);
    return shared;
}

QWidget* CompareMethods::makeList() {
    auto* list = new QWidget;
    auto* grid = new QGridLayout;
    grid->setContentsMargins(24, 8, 24, 8);
    grid->setHorizontalSpacing(16);
    grid->setVerticalSpacing(4);
    const QString titles[kColumns] = {
        {},           {},        tr("Method"), tr("Settings"), tr("Learning rate"), tr("Trainable"),
        tr("Memory"), tr("Time")};
    for (int i = 0; i < kColumns; ++i) {
        QLabel* title = makeLabel(titles[i], "caption", "t2");
        if (i == kMemoryColumn) m_memoryTitle = title;
        grid->addWidget(title, 0, i, i == 5 || i == 7 ? Qt::AlignRight : Qt::AlignLeft);
    }
    const MethodInfo* current = m_bench.catalogue.method(m_current);
    const double rate = m_config["train"].toObject()["learning_rate"].toDouble(2e-4);
    const double scale = current && current->usualRate > 0 ? rate / current->usualRate : 1;
    for (const MethodInfo& info : m_bench.catalogue.methods())
        addRow(grid, info, info.name == m_current ? rate : info.usualRate * scale);
    grid->setColumnStretch(2, 2);
    grid->setColumnStretch(3, 2);
    grid->setRowStretch(grid->rowCount(), 1);
    list->setLayout(grid);
    return list;
}

void CompareMethods::addRow(QGridLayout* grid, const MethodInfo& info, double rate) {
    Row row;
    row.method = info.name;
    row.title = info.title;
    row.stepSeconds = std::nan("");
    row.values = info.name == m_current ? m_config["method"].toObject() : m_kept.value(info.name);
    row.values["type"] = info.name;
    row.box = new QCheckBox;
    row.box->setAccessibleName(info.title);
    row.box->setChecked(info.name == m_current);
    row.rate = new QLineEdit(format::rate(rate));
    row.rate->setAccessibleName(tr("Learning rate of %1").arg(info.title));
    row.rate->setToolTip(info.rateSource.isEmpty()
                             ? QString()
                             : tr("%1: %2. In proportion to the rate set in New run.")
                                   .arg(format::rate(info.usualRate), info.rateSource));
    row.rate->setFixedWidth(px(84));
    row.settings = new ElidedLabel(settingsWords(info, row.values), "table", "t2");
    row.trainable = makeLabel(QStringLiteral("…"), "table", "t2");
    row.bar = new MemoryBar(8);
    row.bar->setFixedWidth(px(96));
    row.memory = makeLabel({}, "table", "t2");
    row.memory->setMinimumWidth(px(84));
    row.time = makeLabel(QStringLiteral("–"), "table", "t2");
    auto* memory = new QWidget;
    auto* memoryRow = makeRow(8);
    memoryRow->addWidget(row.bar);
    memoryRow->addWidget(row.memory, 1);
    memory->setLayout(memoryRow);
    grid->addWidget(makeRule(), grid->rowCount(), 0, 1, kColumns);
    const int line = grid->rowCount();
    grid->addWidget(row.box, line, 0);
    grid->addWidget(new Glyph(info.name), line, 1);
    grid->addWidget(makeLabel(info.title, "name"), line, 2);
    grid->addWidget(row.settings, line, 3);
    grid->addWidget(row.rate, line, 4);
    grid->addWidget(row.trainable, line, 5, Qt::AlignRight | Qt::AlignVCenter);
    grid->addWidget(memory, line, kMemoryColumn);
    grid->addWidget(row.time, line, 7, Qt::AlignRight | Qt::AlignVCenter);
    connect(row.box, &QCheckBox::toggled, this, &CompareMethods::refresh);
    connect(row.rate, &QLineEdit::textChanged, this, &CompareMethods::refresh);
    m_rows.push_back(row);
}

QLayout* CompareMethods::makeFoot() {
    auto* foot = makeRow(8);
    foot->setContentsMargins(24, 14, 24, 14);
    auto* words = makeColumn(2);
    m_summary = makeLabel({}, "strong");
    m_note = makeLabel({}, "table", "t2");
    words->addWidget(m_summary);
    words->addWidget(m_note);
    m_measure = makeButton(tr("Measure times"), "plain", 32);
    m_measure->setToolTip(
        tr("Takes six steps of every ticked method, each in a process of its own, and throws them "
           "away."));
    auto* cancel = makeButton(tr("Cancel"), "plain", 32);
    m_queue = makeButton(tr("Queue"), "primary", 32, "play");
    foot->addLayout(words, 1);
    foot->addWidget(m_measure);
    foot->addWidget(cancel);
    foot->addWidget(m_queue);
    connect(m_measure, &QPushButton::clicked, this,
            [this] { m_measuring >= 0 ? endMeasuring() : measureNext(); });
    connect(cancel, &QPushButton::clicked, this, &QDialog::reject);
    connect(m_queue, &QPushButton::clicked, this, &QDialog::accept);
    return foot;
}

bool CompareMethods::isByTime() const { return m_same->current() == 1; }
int CompareMethods::runsEach() const {
    return kSeedCounts[m_seeds->current()] * kRateTries[m_rates->current()];
}

/// 0 while a method's pace is not known.
std::int64_t CompareMethods::stepsOf(const Row& row) const {
    const double amount = m_amount->text().toDouble();
    if (!isByTime()) return static_cast<std::int64_t>(amount);
    return row.stepSeconds > 0
               ? std::max<std::int64_t>(1, static_cast<std::int64_t>(amount / row.stepSeconds))
               : 0;
}

QJsonObject CompareMethods::configOf(const Row& row) const {
    QJsonObject config = m_config;
    config["method"] = row.values;
    QJsonObject train = config["train"].toObject();
    train.remove("epochs");
    train["learning_rate"] = row.rate->text().toDouble();
    config["train"] = train;
    return config;
}

std::vector<QJsonObject> CompareMethods::configs() const {
    std::vector<Contender> contenders;
    for (const Row& row : m_rows)
        if (row.box->isChecked())
            contenders.push_back({toJson(row.values), row.rate->text().toDouble(), stepsOf(row)});
    QJsonObject base = m_config;
    QJsonObject train = base["train"].toObject();
    train.remove("epochs");
    base["train"] = train;
    std::vector<QJsonObject> configs;
    for (const Json& config :
         shootoutConfigs(toJson(base), contenders,
                         {m_group->text().trimmed().toStdString(), kSeedCounts[m_seeds->current()],
                          kRateTries[m_rates->current()]}))
        configs.push_back(fromJson(config));
    return configs;
}

/// One method after the other, so that the page's own estimate never waits behind all of them.
void CompareMethods::askNext() {
    if (m_asked >= m_rows.size()) return;
    const std::size_t index = m_asked++;
    m_bench.quick.request(
        "estimate", {{"config", configOf(m_rows[index])}, {"directory", m_bench.workspace()}}, this,
        {[this, index](const QJsonValue& value) {
             showEstimate(m_rows[index], value);
             refresh();
             askNext();
         },
         [this, index](const ServeProblem& problem) {
             Row& row = m_rows[index];
             row.trainable->setText(tr("none"));
             row.settings->setWhole(problem.message);
             row.bar->hide();
             row.box->setChecked(false);
             row.box->setEnabled(false);
             row.rate->setEnabled(false);
             refresh();
             askNext();
         },
         {}});
}

void CompareMethods::showEstimate(Row& row, const QJsonValue& value) {
    row.trainable->setText(format::shortCount(value["trainable"].toDouble()));
    const QJsonObject memory = value["memory"].toObject();
    double sum = 0;
    for (const QJsonValue part : memory) sum += part.toDouble();
    const double capacity = value["device"]["total_bytes"].toDouble();
    const bool fits = capacity <= 0 || sum <= capacity,
               isTight = fits && capacity > 0 && sum > capacity * 0.9;
    if (fits)
        row.bar->set(
            {{MemoryPart::Frozen, sum}}, 0,
            capacity);  // the title names the capacity: a line in every row would say it again
    else
        row.bar->set({{MemoryPart::Frozen, sum}}, capacity);
    if (capacity > 0) m_memoryTitle->setText(tr("Memory, of %1").arg(format::bytes(capacity)));
    row.memory->setText(!fits     ? tr("%1 too much").arg(format::bytes(sum - capacity))
                        : isTight ? tr("%1 tight").arg(format::bytes(sum))
                                  : format::bytes(sum));
    row.memory->setToolTip(
        capacity > 0 ? tr("%1 of %2").arg(format::bytes(sum), format::bytes(capacity)) : QString());
    setTone(row.memory, !fits ? "err" : isTight ? "warn" : "t2");
}

/// The next ticked method without a pace; in the session that generates and exports, so that
/// estimates go on.
void CompareMethods::measureNext() {
    const auto next = std::find_if(m_rows.begin(), m_rows.end(), [](const Row& row) {
        return row.box->isChecked() && !(row.stepSeconds > 0);
    });
    if (next == m_rows.end()) return endMeasuring();
    const auto index = static_cast<std::size_t>(next - m_rows.begin());
    m_progress = tr("Measuring %1").arg(next->title);
    m_measuring = m_bench.heavy.request(
        "measure", {{"config", configOf(*next)}, {"directory", m_bench.workspace()}}, this,
        {[this, index](const QJsonValue& value) {
             m_rows[index].stepSeconds = value["step_seconds"].toDouble();
             measureNext();
         },
         [this, index](const ServeProblem& problem) {
             Row& row = m_rows[index];
             if (problem.code == "cancelled")
                 return;  // endMeasuring() has put things right, and another may be under way
             row.box->setChecked(false);
             row.settings->setWhole(problem.message);
             measureNext();
         },
         [this, index](const QJsonObject& event) {
             if (event["done"].toInt() > 0)
                 m_progress = tr("Measuring %1, step %2 of %3")
                                  .arg(m_rows[index].title)
                                  .arg(event["done"].toInt())
                                  .arg(event["total"].toInt());
             refresh();
         }});
    refresh();
}

void CompareMethods::endMeasuring() {
    if (m_measuring >= 0) m_bench.heavy.cancel(std::exchange(m_measuring, -1));
    m_progress.clear();
    refresh();
}

QString CompareMethods::problem() const {
    const double amount = m_amount->text().toDouble();
    if (isByTime() ? !(amount > 0) : amount < 1 || amount != std::floor(amount))
        return isByTime() ? tr("Time is a number of seconds above 0.")
                          : tr("Steps is a whole number of at least 1.");
    for (const Row& row : m_rows) {
        if (!row.box->isChecked()) continue;
        bool isNumber = false;
        const double rate = row.rate->text().toDouble(&isNumber);
        if (!isNumber || !(rate >= 0) || rate > 100)
            return tr("The learning rate of %1 is a number from 0 to 100.").arg(row.title);
        if (stepsOf(row) == 0)
            return tr("Measure times first: how many steps fit follows from each method's own.");
    }
    return m_group->text().trimmed().isEmpty() ? tr("The group needs a name.") : QString();
}

void CompareMethods::refreshTimes() {
    for (Row& row : m_rows) {
        if (!(row.stepSeconds > 0))
            row.time->setText(QStringLiteral("–"));
        else
            row.time->setText(
                isByTime() ? tr("%1 steps").arg(format::count(stepsOf(row)))
                           : format::duration(row.stepSeconds * static_cast<double>(stepsOf(row))));
    }
}

void CompareMethods::refresh() {
    int runs = 0, unknown = 0;
    double seconds = 0;
    for (const Row& row : m_rows) {
        if (!row.box->isChecked()) continue;
        runs += runsEach();
        if (row.stepSeconds > 0)
            seconds +=
                runsEach() * (isByTime() ? m_amount->text().toDouble()
                                         : row.stepSeconds * static_cast<double>(stepsOf(row)));
        else
            ++unknown;
    }
    refreshTimes();
    const QString wrong = problem(), count = runs == 1 ? tr("1 run") : tr("%1 runs").arg(runs);
    m_summary->setText(runs == 0 || unknown > 0
                           ? count
                           : tr("%1, about %2").arg(count, format::roughDuration(seconds)));
    m_note->setText(!m_progress.isEmpty() ? m_progress
                    : wrong.isEmpty()     ? tr("A failure does not stop the queue.")
                                          : wrong);
    setTone(m_note, !m_progress.isEmpty() || wrong.isEmpty() ? "t2" : "err");
    m_measure->setText(m_measuring >= 0 ? tr("Stop measuring") : tr("Measure times"));
    m_measure->setEnabled(m_measuring >= 0 || unknown > 0);
    m_queue->setText(" " + tr("Queue %1").arg(count));
    m_queue->setAccessibleName(m_queue->text().trimmed());
    m_queue->setEnabled(runs > 0 && wrong.isEmpty() && m_measuring < 0);
}

}  // namespace luthier::ui
