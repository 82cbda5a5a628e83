// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/playground_column.h"

#include "theme/format.h"
#include "theme/icons.h"
#include "widgets/basics.h"
#include "widgets/color_dot.h"
#include "widgets/heat_text.h"
#include "widgets/stat_strip.h"
#include "widgets/value_slider.h"

#include <QJsonArray>
#include <QMenu>

#include <cmath>

namespace luthier::ui {

PlaygroundColumn::PlaygroundColumn() {
    setMinimumWidth(px(224));
    auto* column = makeColumn(0);
    auto* head = new QWidget;
    head->setFixedHeight(px(56));
    auto* headRow = makeRow(8);
    headRow->setContentsMargins(16, 8, 8, 8);
    auto* names = makeColumn(0);
    auto* first = makeRow(8);
    m_dot = new ColorDot;
    m_title = new ElidedLabel({}, "strong");
    m_note = new ElidedLabel({}, "table", "t2");
    m_menu = makeIconButton("chevron-down", tr("Adapter of this column"), 28);
    first->addWidget(m_dot);
    first->addWidget(m_title, 1);
    auto* second = makeRow(0);
    second->setContentsMargins(px(10) + 8, 0, 0, 0);
    second->addWidget(m_note, 1);
    names->addLayout(first);
    names->addLayout(second);
    headRow->addLayout(names, 1);
    headRow->addWidget(m_menu, 0, Qt::AlignTop);
    head->setLayout(headRow);
    column->addWidget(head);
    column->addWidget(makeRule());
    m_mix = new QWidget;
    auto* mixColumn = makeColumn(0);
    mixColumn->setContentsMargins(16, 6, 16, 6);
    m_sliders = makeColumn(0);
    mixColumn->addLayout(m_sliders);
    m_mix->setLayout(mixColumn);
    column->addWidget(m_mix);
    m_problem = makeLabel({}, "body", "err");
    m_problem->setWordWrap(true);
    m_problem->setContentsMargins(16, 16, 16, 0);
    m_problem->hide();
    column->addWidget(m_problem);
    m_text = new HeatText(tr("Text"));
    m_text->setPlaceholder(tr("Its text appears here."));
    column->addWidget(m_text, 1);
    column->addWidget(makeRule());
    m_stats = new StatStrip;
    auto* foot = makeRow(0);
    foot->setContentsMargins(16, 6, 8, 6);
    foot->addWidget(m_stats);
    column->addLayout(foot);
    setLayout(column);
    connect(m_menu, &QPushButton::clicked, this, &PlaygroundColumn::openMenu);
    begin();
}

const AdapterChoice* PlaygroundColumn::choice(const QString& path) const {
    for (const AdapterChoice& each : m_choices)
        if (each.path == path) return &each;
    return nullptr;
}

void PlaygroundColumn::setChoices(const QString& modelName,
                                  const std::vector<AdapterChoice>& choices) {
    m_modelName = modelName;
    m_choices = choices;
    showSpec();
}

void PlaygroundColumn::setSpec(const ColumnSpec& spec) {
    m_spec = spec;
    showSpec();
}

QString PlaygroundColumn::title() const {
    if (m_spec.isEmpty()) return tr("Base");
    if (m_spec.size() > 1) return tr("Mix");
    const AdapterChoice* one = choice(m_spec.first().path);
    return one ? one->name : m_spec.first().path.section('/', -1);
}

QList<QColor> PlaygroundColumn::colors() const {
    QList<QColor> colors;
    for (const WeightedAdapter& adapter : m_spec)
        if (const AdapterChoice* each = choice(adapter.path)) colors << each->color;
    return colors;
}

QJsonObject PlaygroundColumn::request() const {
    QJsonArray adapters;
    for (const WeightedAdapter& adapter : m_spec)
        adapters << QJsonObject{{"path", adapter.path}, {"weight", adapter.weight}};
    return {{"adapters", adapters}};
}

void PlaygroundColumn::showSpec() {
    const QList<QColor> shown = colors();
    m_dot->setColors(shown);
    m_text->setTokenColor(shown.isEmpty() ? Theme::tokens().t2 : shown.first());
    m_title->setWhole(title());
    m_text->setAccessibleName(tr("Text of %1").arg(title()));
    QStringList parts;
    for (const WeightedAdapter& adapter : m_spec) {
        const AdapterChoice* each = choice(adapter.path);
        const QString name = each ? each->name : adapter.path.section('/', -1);
        parts << (m_spec.size() > 1
                      ? QStringLiteral("%1 %2").arg(adapter.weight, 0, 'f', 2).arg(name)
                      : tr("%1, weight %2")
                            .arg(each ? each->words : name)
                            .arg(adapter.weight, 0, 'f', 2));
    }
    m_note->setWhole(m_spec.isEmpty() ? tr("%1, no adapter").arg(m_modelName) : parts.join(" + "));
    m_mix->setVisible(m_spec.size() > 1);
    if (m_sliders->count() == (m_spec.size() > 1 ? m_spec.size() : 0)) {
        for (int i = 0; i < m_sliders->count(); ++i)
            static_cast<ValueSlider*>(m_sliders->itemAt(i)->widget())->setValue(m_spec[i].weight);
        bool isSame = true;
        for (int i = 0; i < m_sliders->count(); ++i)
            isSame = isSame &&
                     m_sliders->itemAt(i)->widget()->property("path").toString() == m_spec[i].path;
        if (isSame) return;
    }
    while (QLayoutItem* item = m_sliders->takeAt(0)) {
        item->widget()->deleteLater();
        delete item;
    }
    if (m_spec.size() < 2) return;
    for (qsizetype i = 0; i < m_spec.size(); ++i) {
        const AdapterChoice* each = choice(m_spec[i].path);
        auto* slider = new ValueSlider(each ? each->name : m_spec[i].path.section('/', -1), 0, 2,
                                       0.05, ValueSlider::Arrangement::OneLine);
        slider->setProperty("path", m_spec[i].path);
        slider->setDot(each ? each->color : QColor());
        slider->setValue(m_spec[i].weight);
        connect(slider, &ValueSlider::edited, this, [this, i](double, double after) {
            ColumnSpec wanted = m_spec;
            wanted[i].weight = after;
            emit specWanted(wanted, true);
        });
        m_sliders->addWidget(slider);
    }
}

void PlaygroundColumn::openMenu() {
    QMenu menu(this);
    const auto entry = [&](QMenu& into, const QString& text, bool isChecked,
                           const ColumnSpec& spec) {
        QAction* action =
            into.addAction(text, this, [this, spec] { emit specWanted(spec, false); });
        action->setCheckable(true);
        action->setChecked(isChecked);
    };
    entry(menu, tr("Base, no adapter"), m_spec.isEmpty(), {});
    for (const AdapterChoice& each : m_choices)
        entry(menu, each.name + "   " + each.words,
              m_spec.size() == 1 && m_spec.first().path == each.path, {{each.path, 1.0}});
    if (!m_spec.isEmpty() && m_choices.size() > 1) {
        menu.addSeparator();
        QMenu* with = menu.addMenu(tr("Mix with"));
        for (const AdapterChoice& each : m_choices) {
            const auto has =
                std::find_if(m_spec.cbegin(), m_spec.cend(),
                             [&](const WeightedAdapter& a) { return a.path == each.path; });
            ColumnSpec wanted = m_spec;
            if (has != m_spec.cend()) {
                if (m_spec.size() == 1) continue;
                wanted.removeAt(has - m_spec.cbegin());
                if (wanted.size() == 1) wanted.first().weight = 1;
            } else {
                if (wanted.size() == 1 && wanted.first().weight == 1) wanted.first().weight = 0.5;
                wanted << WeightedAdapter{each.path, 0.5};
            }
            entry(*with, each.name, has != m_spec.cend(), wanted);
        }
    }
    menu.addSeparator();
    menu.addAction(themedIcon("close"), tr("Remove column"), this, &PlaygroundColumn::removeWanted);
    menu.exec(m_menu->mapToGlobal(QPoint(0, m_menu->height() + 2)));
}

void PlaygroundColumn::begin() {
    m_count = 0;
    m_cacheBytes = 0;
    m_problem->hide();
    m_text->show();
    m_text->clear();
    const QString none = QStringLiteral("–");
    m_stats->set({{tr("Tokens"), none, {}},
                  {tr("Tokens/s"), none, {}},
                  {tr("Perplexity"), none, {}},
                  {tr("KL to base"), none, {}}});
}

void PlaygroundColumn::take(const QJsonObject& token) {
    HeatToken heat{token["text"].toString(), token["probability"].toDouble(), -1, {}};
    for (const QJsonValue& other : token["alternatives"].toArray())
        heat.alternatives.push_back({other["text"].toString(), other["probability"].toDouble()});
    m_text->append(std::move(heat));
    ++m_count;
    const QString none = QStringLiteral("–");
    m_stats->set({{tr("Tokens"), format::count(m_count), {}},
                  {tr("Tokens/s"), none, {}},
                  {tr("Perplexity"), none, {}},
                  {tr("KL to base"), none, {}}});
}

void PlaygroundColumn::finish(const QJsonObject& document) {
    if (document.contains("problem"))
        return showProblem(document["problem"]["message"].toString() + " " +
                           document["problem"]["hint"].toString());
    const auto count = static_cast<double>(document["ids"].toArray().size());
    const double seconds = document["seconds"].toDouble();
    m_cacheBytes = document["cache_bytes"].toDouble();
    const QString none = QStringLiteral("–");
    const auto two = [](double value) {
        return value >= 100 ? format::count(std::llround(value)) : QString::number(value, 'f', 2);
    };
    m_stats->set({{tr("Tokens"), format::count(static_cast<std::int64_t>(count)), {}},
                  {tr("Tokens/s"),
                   count > 0 && seconds > 0 ? count / seconds < 10
                                                  ? QString::number(count / seconds, 'f', 1)
                                                  : format::count(std::llround(count / seconds))
                                            : none,
                   {}},
                  {tr("Perplexity"),
                   count > 0 ? two(std::exp(-document["mean_logprob"].toDouble())) : none,
                   {}},
                  {tr("KL to base"),
                   document.contains("kl_to_base") ? two(document["kl_to_base"].toDouble()) : none,
                   {}}});
    std::vector<double> base;
    for (const QJsonValue& value : document["base_probabilities"].toArray())
        base.push_back(value.isDouble() ? value.toDouble() : -1);
    if (!base.empty()) m_text->setBaseProbabilities(base);
}

void PlaygroundColumn::showProblem(const QString& sentence) {
    m_problem->setText(sentence);
    m_problem->show();
    m_text->setVisible(!m_text->tokens().empty());
}

}  // namespace luthier::ui
