// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/new_run_page.h"

#include "client/cli_locator.h"
#include "pages/compare_methods.h"
#include "pages/method_help.h"
#include "pages/estimate_pane.h"
#include "pages/method_picker.h"
#include "settings/settings.h"
#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/model_map.h"
#include "widgets/picker.h"
#include "widgets/schema_form.h"

#include <QClipboard>
#include <QDialog>
#include <QFileDialog>
#include <QFileInfo>
#include <QGuiApplication>
#include <QJsonDocument>
#include <QLineEdit>
#include <QMenu>
#include <QPlainTextEdit>
#include <QRegularExpression>
#include <QScrollArea>
#include <QSplitter>

#include <cmath>

namespace luthier::ui {

namespace {
const QStringList kMapKeys = {"target_modules"};

QStringList namesOf(const QJsonValue& value) {
    if (value.isString()) return {value.toString()};
    QStringList names;
    for (const QJsonValue& item : value.toArray()) names << item.toString();
    return names;
}
}  // namespace

NewRunPage::NewRunPage(Workbench& bench) : Page(bench) {
    auto* open = makeButton(tr("Load…"), "plain", 28, "folder");
    auto* save = makeButton(tr("Save as…"), "plain", 28);
    m_actions = {open, save};
    for (QWidget* action : m_actions) action->setParent(this), action->hide();
    connect(open, &QPushButton::clicked, this, &NewRunPage::loadFile);
    connect(save, &QPushButton::clicked, this, &NewRunPage::saveFile);

    auto* column = makeColumn(0);
    auto* strip = new QWidget;
    buildStrip(strip);
    column->addWidget(strip);
    column->addWidget(makeRule());
    m_splitter = new QSplitter(Qt::Horizontal);
    m_methods = new MethodPicker;
    m_methods->setMinimumWidth(px(220));
    m_estimatePane = new EstimatePane;
    m_estimatePane->setMinimumWidth(px(300));
    m_splitter->addWidget(m_methods);
    m_splitter->addWidget(buildCentre());
    m_splitter->setStretchFactor(0, 0);
    m_splitter->setStretchFactor(1, 1);
    m_splitter->setSizes({px(408), px(960)});
    m_body = m_splitter;
    column->addWidget(m_body, 1);
    m_noEngine = new EmptyState("error", tr("The engine does not answer"), {}, tr("Try again"));
    m_noEngine->hide();
    connect(m_noEngine, &EmptyState::triggered, this,
            [this] { m_bench.catalogue.refreshMethods(); });
    column->addWidget(m_noEngine, 1);
    setLayout(column);

    m_estimateTimer.setSingleShot(true);
    m_estimateTimer.setInterval(150);
    connect(&m_estimateTimer, &QTimer::timeout, this, &NewRunPage::ask);
    connect(m_methods, &MethodPicker::chosen, this, &NewRunPage::chooseMethod);
    connect(m_form, &SchemaForm::changed, this, &NewRunPage::formChanged);
    connect(m_form, &SchemaForm::helpWanted, this,
            [this](const QString& label, const QString& key, const QString& help) {
                m_helpName->setText(label);
                m_helpKey->setText(Settings::showPeftNames() ? key : QString());
                m_help->setText(help);
            });
    connect(m_map, &ModelMap::partToggled, this, [this](const QString& label, bool trained) {
        QStringList names;
        const QJsonValue value = m_form->value("method", "target_modules");
        for (const QString& name : m_map->projections())
            if (value.isNull() || namesOf(value).contains(name)) names << name;
        if (trained && !names.contains(label)) names << label;
        if (!trained) names.removeAll(label);
        if (!names.isEmpty())
            m_form->setValue("method", "target_modules", QJsonArray::fromStringList(names));
        else
            m_bench.say(tr("At least one part has to train."), {}, {}, "warn");
    });
    connect(m_map, &ModelMap::layersChosen, this, [this](const QSet<int>& layers) {
        QList<int> sorted(layers.begin(), layers.end());
        std::sort(sorted.begin(), sorted.end());
        QJsonArray list;
        for (int layer : sorted) list << layer;
        m_form->setValue(
            "method", "layers_to_transform",
            list.size() == m_map->layerCount() ? QJsonValue(QJsonValue::Null) : QJsonValue(list));
    });
    connect(m_presets, &SegmentedControl::changed, this, [this](int index) {
        const QStringList roles[] = {
            {"query", "value", "fused_qkv"},
            {"query", "key", "value", "fused_qkv", "attention_out"},
            {"gate", "up", "down"},
            {"query", "key", "value", "fused_qkv", "attention_out", "gate", "up", "down"}};
        m_form->setValue("method", "target_modules",
                         QJsonArray::fromStringList(m_map->projectionsWithRole(roles[index])));
    });
    connect(m_estimatePane, &EstimatePane::startClicked, this, [this] { start(true); });
    connect(m_estimatePane, &EstimatePane::queueClicked, this, [this] { start(false); });
    connect(m_estimatePane, &EstimatePane::compareClicked, this, &NewRunPage::compareMethods);
    connect(&bench.catalogue, &Catalogue::methodsChanged, this, &NewRunPage::applySchemas);
    connect(&bench.catalogue, &Catalogue::modelsChanged, this, [this] {
        if (m_model.isEmpty() && m_pending.isEmpty() && !m_bench.catalogue.models().empty() &&
            m_bench.catalogue.models().size() == 1)
            chooseModel(m_bench.catalogue.models().front()["path"].toString());
    });
    connect(&Theme::instance(), &Theme::changed, this, [this] { m_map->update(); });
    m_pending = QJsonDocument::fromJson(Settings::value("newrun/config").toByteArray()).object();
    m_origin = Settings::value("newrun/origin").toString();
    if (bench.catalogue.methodsLoaded()) applySchemas();
}

void NewRunPage::buildStrip(QWidget* strip) {
    auto* row = makeRow(8);
    row->setContentsMargins(16, 8, 16, 8);
    m_modelPicker = new PickerButton("cube", tr("Model"));
    m_dataPicker = new PickerButton("data", tr("Data"));
    m_name = new PickerField("pencil", tr("Name"));
    m_group = new PickerField("folder", tr("Group"));
    m_devicePicker = new PickerButton("cpu", tr("Device"));
    row->addWidget(m_modelPicker, 31);
    row->addWidget(m_dataPicker, 31);
    row->addWidget(m_name, 24);
    row->addWidget(m_group, 20);
    row->addWidget(m_devicePicker, 18);
    strip->setLayout(row);
    connect(m_modelPicker, &QAbstractButton::clicked, this, &NewRunPage::modelMenu);
    connect(m_dataPicker, &QAbstractButton::clicked, this, &NewRunPage::dataMenu);
    connect(m_devicePicker, &QAbstractButton::clicked, this, &NewRunPage::deviceMenu);
    connect(m_name->edit(), &QLineEdit::textEdited, this, [this] {
        m_nameIsOurs = false;
        keepState();
    });
    connect(m_group->edit(), &QLineEdit::textEdited, this, [this] { keepState(); });
}

QWidget* NewRunPage::buildCentre() {
    auto* centre = new QWidget;
    auto* column = makeColumn(0);
    auto* mapHeader = new PaneHeader(tr("Where it trains"));
    mapHeader->setNote(tr("click a part to train or freeze it"));
    m_presets = new SegmentedControl({tr("q v"), tr("Attention"), tr("MLP"), tr("All linear")}, 24);
    m_presets->setAccessibleName(tr("Parts that train"));
    mapHeader->addRight(m_presets);
    m_map = new ModelMap;
    column->addWidget(mapHeader);
    column->addWidget(m_map, 3);
    column->addWidget(makeRule());

    auto* lower = new QSplitter(Qt::Horizontal);
    auto* settings = new QWidget;
    auto* left = makeColumn(0);
    auto* header = new PaneHeader(tr("Settings"));
    m_changed = new Chip;
    header->addLeft(m_changed);
    auto* filter = new QLineEdit;
    filter->setPlaceholderText(tr("Filter"));
    filter->setAccessibleName(tr("Filter settings"));
    filter->setProperty("size", "24");
    filter->setMaximumWidth(px(120));
    m_usual = new SegmentedControl({tr("Usual"), tr("All")}, 24);
    m_usual->setAccessibleName(tr("Settings shown"));
    auto* reset = makeIconButton("undo", tr("Restore all defaults"), 24);
    header->addRight(filter);
    header->addRight(m_usual);
    header->addRight(reset);
    left->addWidget(header);
    left->addWidget(makeRule());
    m_form = new SchemaForm;
    left->addWidget(makeScroll(m_form), 1);
    left->addWidget(makeRule());
    auto* helpBar = new QWidget;
    helpBar->setProperty("surface", "bg0");
    helpBar->setAttribute(Qt::WA_StyledBackground);
    helpBar->setFixedHeight(px(52));
    auto* help = makeRow(8);
    help->setContentsMargins(16, 4, 16, 4);
    m_helpName = makeLabel(tr("Settings"), "strong");
    m_helpKey = makeLabel({}, "mono", "t3");
    m_help =
        makeLabel(tr("A dot marks what differs from its default; click the dot to restore it."),
                  "table", "t2");
    m_help->setWordWrap(true);
    auto* runJson = makeButton(tr("RUN.json"), "ghost", 28, "terminal");
    help->addWidget(m_helpName);
    help->addWidget(m_helpKey);
    help->addWidget(m_help, 1);
    auto* about = makeButton(tr("About the method"), "ghost", 28, "info");
    about->setToolTip(tr("Idea, formula, when to use it, knobs and papers"));
    connect(about, &QPushButton::clicked, this, [this] {
        if (const MethodInfo* info = m_bench.catalogue.method(m_method))
            MethodHelp(*info, *m_map, window()).exec();
    });
    help->addWidget(about);
    help->addWidget(runJson);
    helpBar->setLayout(help);
    left->addWidget(helpBar);
    settings->setLayout(left);
    settings->setMinimumWidth(px(420));
    lower->addWidget(settings);
    lower->addWidget(m_estimatePane);
    lower->setStretchFactor(0, 1);
    lower->setStretchFactor(1, 0);
    lower->setSizes({px(608), px(352)});
    Settings::keepSplitter(lower, "newrun-lower");
    column->addWidget(lower, 5);
    centre->setLayout(column);
    connect(filter, &QLineEdit::textChanged, m_form, &SchemaForm::setFilter);
    connect(m_usual, &SegmentedControl::changed, this,
            [this](int index) { m_form->setShowAll(index == 1); });
    connect(reset, &QPushButton::clicked, m_form, &SchemaForm::resetAll);
    connect(runJson, &QPushButton::clicked, this, &NewRunPage::showRunJson);
    return centre;
}

void NewRunPage::enter() {
    if (!m_bench.catalogue.methodsLoaded() && !m_bench.catalogue.problem()) return;
    applySchemas();
}

void NewRunPage::resizeEvent(QResizeEvent* event) {
    Page::resizeEvent(event);
    const bool isNarrow = width() < px(1288);
    m_methods->setAsRows(isNarrow);
    static bool first = true;
    const int wanted = px(isNarrow ? 264 : 408);
    if (first || qAbs(m_splitter->sizes().value(0) - wanted) > 4) {
        const int total = m_splitter->width();
        m_splitter->setSizes({wanted, total - wanted});
        first = false;
    }
}

void NewRunPage::applySchemas() {
    const Catalogue& catalogue = m_bench.catalogue;
    m_noEngine->setVisible(!catalogue.methodsLoaded());
    m_body->setVisible(catalogue.methodsLoaded());
    if (!catalogue.methodsLoaded()) {
        const ServeProblem* problem = catalogue.problem();
        m_noEngine->set(
            "error", tr("The engine does not answer"),
            problem ? problem->message + " " + problem->hint : tr("luthier-cli is starting."),
            tr("Try again"), problem != nullptr);
        m_isLoaded = true;
        return;
    }
    if (!m_isLoaded) m_methods->setMethods(catalogue.methods());
    const bool isFirst = !m_isLoaded;
    m_isLoaded = true;
    if (!catalogue.method(m_method)) m_method = defaultMethod();
    if (isFirst || !m_pending.isEmpty()) {
        const QJsonObject config =
            m_pending.isEmpty() ? QJsonObject() : std::exchange(m_pending, {});
        const QString typed = m_name->edit()->isModified()
                                  ? m_name->edit()->text()
                                  : QString();  // while the engine was starting
        load(config, m_origin);
        if (!typed.isEmpty()) {
            m_name->edit()->setText(typed);
            m_name->edit()->setModified(true);
            m_nameIsOurs = false;
        }
    }
}

void NewRunPage::load(const QJsonObject& config, const QString& origin) {
    m_origin = origin;
    if (!m_bench.catalogue.methodsLoaded()) {
        m_pending = config;
        return;
    }
    if (!m_isLoaded) {
        m_pending = config;
        return applySchemas();
    }
    m_isLoading = true;
    const QJsonObject method = config["method"].toObject();
    const QString type = method["type"].toString(m_method);
    if (m_bench.catalogue.method(type)) m_method = type;
    m_methodValues.clear();
    m_methodValues[m_method] = method;
    chooseMethod(m_method);
    m_form->setValues("model", config["model"].toObject());
    m_form->setValues("data", config["data"].toObject());
    m_form->setValues("train", config["train"].toObject());
    m_device = config["device"].toString("auto");
    m_name->edit()->setText(config["name"].toString());
    m_nameIsOurs = config["name"].toString().isEmpty();
    m_group->edit()->setText(config["group"].toString());
    chooseData(config["data"]["train"]["path"].toString());
    chooseModel(config["model"]["path"].toString());
    m_isLoading = false;
    formChanged();
    emit contextChanged();
}

QJsonObject NewRunPage::config() const {
    QJsonObject method = m_form->values("method");
    QJsonObject ordered{{"type", m_method}};
    for (auto it = method.begin(); it != method.end(); ++it) ordered[it.key()] = it.value();
    QJsonObject model = m_form->values("model");
    model["path"] = m_model;
    QJsonObject rows = m_form->values("data");
    QJsonObject source = rows["train"].toObject();
    source["path"] = m_data;
    rows["train"] = source;
    return {{"name", m_name->edit()->text().trimmed()},
            {"group", m_group->edit()->text().trimmed()},
            {"model", model},
            {"method", ordered},
            {"data", rows},
            {"train", m_form->values("train")},
            {"device", m_device}};
}

void NewRunPage::chooseMethod(const QString& method) {
    if (m_form->hasField("train", "learning_rate") && !m_isLoading)
        m_methodValues[m_method] = m_form->values("method");
    m_method = method;
    m_methods->setCurrent(method);
    const MethodInfo* info = m_bench.catalogue.method(method);
    if (!info) return;
    QJsonObject kept[] = {m_form->values("model"), m_form->values("data"), m_form->values("train")};
    const Catalogue& c = m_bench.catalogue;
    m_form->setSections({{"method", info->title, info->fields, 0, {}},
                         {"data", tr("Data"), c.section("data"), 0, {"train.path"}},
                         {"train", tr("Training"), c.section("train"), 1, {}},
                         {"model", tr("Model"), c.section("model"), 1, {"path"}}});
    m_form->setValues("method", m_methodValues.value(method));
    m_form->setValues("model", kept[0]);
    m_form->setValues("data", kept[1]);
    m_form->setValues("train", kept[2]);
    m_usual->setItems({tr("Usual"), tr("All %1").arg(m_form->fieldCount())});
    if (!m_isLoading) formChanged();
}

void NewRunPage::chooseModel(const QString& path) {
    m_model = path;
    m_modelInfo = {};
    m_counts.clear();
    if (path.isEmpty()) {
        m_map->setModel({});
        updateStrip();
        return;
    }
    updateStrip();
    m_bench.catalogue.inspect(
        path, this,
        [this, path](const QJsonObject& info) {
            if (path != m_model) return;
            m_modelInfo = info;
            m_map->setModel(info);
            updateStrip();
            formChanged();
            askCounts();
        },
        [this, path](const ServeProblem& problem) {
            if (path != m_model) return;
            m_estimatePane->showProblem(problem.message, problem.hint);
            m_problem = problem.message;
            m_modelPicker->setProblem(true);
            updateStart();
        });
}

void NewRunPage::chooseData(const QString& path) {
    if (!m_isLoading && !m_data.isEmpty() && path != m_data)
        m_nameIsOurs = true;  // a name that was typed for other rows
    m_data = path;
    m_dataInfo = {};
    updateStrip();
    if (path.isEmpty()) return;
    m_bench.catalogue.inspect(
        path, this,
        [this, path](const QJsonObject& info) {
            if (path != m_data) return;
            m_dataInfo = info;
            updateStrip();
        },
        [this](const ServeProblem&) { m_dataPicker->setProblem(true); });
    if (!m_isLoading) formChanged();
}

void NewRunPage::updateStrip() {
    m_modelPicker->setProblem(false);
    m_dataPicker->setProblem(false);
    m_modelPicker->set(QFileInfo(m_model).fileName(),
                       m_modelInfo.isEmpty()
                           ? QString()
                           : format::shortCount(m_modelInfo["parameters"].toDouble()));
    m_modelPicker->setToolTip(m_model);
    const double rows = m_dataInfo["rows"].toDouble(m_dataInfo["count"].toDouble());
    m_dataPicker->set(
        QFileInfo(m_data).completeBaseName(),
        rows > 0 ? tr("%1 rows").arg(format::count(static_cast<std::int64_t>(rows))) : QString());
    m_dataPicker->setToolTip(m_data);
    const SystemReading& r = m_bench.probe.reading();
    const bool hasGpu = !r.gpus.empty();
    if (m_device == "auto")
        m_devicePicker->set(hasGpu ? "GPU 0" : "CPU", tr("automatic"));
    else
        m_devicePicker->set(m_device == "cpu"
                                ? "CPU"
                                : "GPU " + m_device.section(':', 1, 1, QString::SectionDefault),
                            {});
    if (m_nameIsOurs && !m_data.isEmpty())
        m_name->edit()->setText(QFileInfo(m_data).completeBaseName() + "-" +
                                QString(m_method).replace("_", "-"));
}

void NewRunPage::formChanged() {
    if (m_isLoading) return;
    const int changed = m_form->changedCount();
    m_changed->set(tr("%n changed", nullptr, changed), "soft");
    m_changed->setVisible(changed > 0);
    updateMap();
    updateStrip();
    keepState();
    m_estimateTimer.start();
    updateStart();
}

void NewRunPage::updateMap() {
    const bool hasTargets = m_form->hasField("method", "target_modules");
    const bool isLora = hasTargets && !m_form->hasField("method", "feedforward_modules");
    m_map->setEditable(hasTargets, m_form->hasField("method", "layers_to_transform"));
    m_presets->setVisible(isLora);
    QSet<QString> labels;
    QSet<int> layers;
    QHash<QString, qint64> added;
    const QJsonObject byPart = m_estimate["by_part"].toObject();
    for (auto it = byPart.begin(); it != byPart.end(); ++it) {
        const QString label = it.key().section('.', -1);
        added[label] += it->toInteger();
        if (it->toDouble() > 0) labels << label;
    }
    if (hasTargets) {
        const QJsonValue value = m_form->value("method", "target_modules");
        const QStringList named = namesOf(value);
        if (!value.isNull() && !named.isEmpty()) {
            QSet<QString> chosen;
            for (const QString& name : m_map->projections())
                for (const QString& target : named)
                    if (name == target || target.endsWith("." + name) || target == "all-linear" ||
                        target == "all")
                        chosen << name;
            for (const QString& label : labels)
                if (!m_map->projections().contains(label)) chosen << label;
            labels = chosen;
        }
        const QStringList now = m_map->projections().filter(QRegularExpression(".*"));
        int preset = -1;
        const QStringList roles[] = {
            {"query", "value", "fused_qkv"},
            {"query", "key", "value", "fused_qkv", "attention_out"},
            {"gate", "up", "down"},
            {"query", "key", "value", "fused_qkv", "attention_out", "gate", "up", "down"}};
        for (int i = 0; i < 4 && preset < 0; ++i) {
            const QStringList names = m_map->projectionsWithRole(roles[i]);
            if (QSet<QString>(names.begin(), names.end()) == labels && !names.isEmpty()) preset = i;
        }
        m_presets->setCurrent(preset);
    }
    const MethodInfo& facts = methodFacts(m_method);
    if (facts.hasMark("all"))
        for (const QString& name : m_map->projections()) labels << name;
    for (const QJsonValue& layer : m_form->value("method", "layers_to_transform").toArray())
        layers << layer.toInt();
    if (!facts.trainedBlocksKey.isEmpty()) {
        const int last = m_form->value("method", facts.trainedBlocksKey).toInt();
        for (int i = m_map->layerCount() - last; i < m_map->layerCount(); ++i)
            if (i >= 0) layers << i;
        if (last > 0)
            for (const QString& name : m_map->projections()) labels << name;
    }
    m_map->setTrained(facts.marks, labels, layers, added);
}

void NewRunPage::ask() {
    if (m_model.isEmpty() || m_data.isEmpty()) {
        m_problem = m_model.isEmpty() ? tr("Choose a model first.") : tr("Choose data first.");
        m_estimatePane->showWaiting(m_problem);
        updateStart();
        return;
    }
    const int question = ++m_question;
    m_isAsking = true;
    QJsonObject asked = config();
    m_bench.quick.request(
        "estimate", {{"config", asked}, {"directory", m_bench.workspace()}}, this,
        {[this, question](const QJsonValue& value) {
             if (question != m_question) return;
             m_isAsking = false;
             m_problem.clear();
             m_form->clearProblems();
             m_estimate = value.toObject();
             m_estimatePane->showEstimate(m_estimate, secondsPerStep());
             m_methods->setCount(m_method, format::shortCount(m_estimate["trainable"].toDouble()));
             updateMap();
             updateStart();
         },
         [this, question](const ServeProblem& problem) {
             if (question != m_question) return;
             m_isAsking = false;
             m_form->clearProblems();
             m_problem = problem.message;
             m_estimatePane->showProblem(problem.message, problem.hint);
             if (!problem.field.isEmpty()) m_form->setProblem(problem.field, problem.message);
             for (const QJsonValue& one : problem.all)
                 m_form->setProblem(one["field"].toString(), one["message"].toString());
             updateStart();
         },
         {}});
}

void NewRunPage::askCounts() {
    m_pendingCounts.clear();
    for (const MethodInfo& info : m_bench.catalogue.methods()) m_pendingCounts << info.name;
    const QString model = m_model;
    auto* step = new QTimer(this);  // one question at a time, so that the user's own estimate never
                                    // waits behind fifteen of these
    step->setInterval(10);
    auto busy = std::make_shared<bool>(false);
    connect(step, &QTimer::timeout, this, [this, step, busy, model] {
        if (model != m_model || m_pendingCounts.isEmpty() || m_data.isEmpty()) {
            if (model == m_model) m_pendingCounts.clear();
            step->deleteLater();
            return step->stop();
        }
        if (*busy || m_isAsking) return;
        *busy = true;
        const QString method = m_pendingCounts.takeFirst();
        QJsonObject asked = config();
        if (method != m_method) asked["method"] = QJsonObject{{"type", method}};
        m_bench.quick.request(
            "estimate", {{"config", asked}, {"directory", m_bench.workspace()}}, this,
            {[this, busy, method, model](const QJsonValue& value) {
                 *busy = false;
                 if (model == m_model)
                     m_methods->setCount(method, format::shortCount(value["trainable"].toDouble()));
             },
             [this, busy, method, model](const ServeProblem& problem) {
                 *busy = false;
                 const bool aboutMethod =
                     problem.field.startsWith("method") || problem.code.contains("method");
                 if (model == m_model && aboutMethod && method != m_method)
                     m_methods->setCount(method, tr("none"), problem.message);
             },
             {}});
    });
    step->start();
}

double NewRunPage::secondsPerStep() const {
    for (const RunInfo& run : m_bench.runs.runs()) {
        const bool isLike = run.modelPath == m_model &&
                            run.config["data"]["train"]["path"].toString() == m_data &&
                            run.method == m_method &&
                            run.config["train"]["batch_size"].toInt(4) ==
                                m_form->value("train", "batch_size").toInt(4);
        if (isLike && run.steps > 4 && run.seconds > 0)
            return run.seconds / static_cast<double>(run.steps);
    }
    return kNoNumber;
}

void NewRunPage::updateStart() {
    QString reason = m_problem;
    if (m_model.isEmpty())
        reason = tr("Choose a model first.");
    else if (m_data.isEmpty())
        reason = tr("Choose data first.");
    else if (!m_form->firstProblem().isEmpty())
        reason = m_form->firstProblem();
    const bool isBusy = !m_bench.queue.activeId().isEmpty();
    m_estimatePane->setStart(reason.isEmpty(), reason,
                             isBusy ? tr("Start after the current run") : tr("Start run"));
}

void NewRunPage::start(bool first) {
    updateStart();
    if (m_model.isEmpty() || m_data.isEmpty() || !m_problem.isEmpty() ||
        !m_form->firstProblem().isEmpty())
        return;
    QString error;
    const bool wasBusy = !m_bench.queue.activeId().isEmpty();
    const QString id = m_bench.queue.add(config(), first, &error);
    if (id.isEmpty()) return m_bench.say(error, {}, {}, "err");
    Settings::set("firstSteps/started", true);
    if (first && !wasBusy) return m_bench.openRun(id);
    m_bench.say(tr("%1 waits in the queue.").arg(m_name->edit()->text()), tr("Undo"),
                [this, id] { m_bench.queue.remove(id); });
}

void NewRunPage::compareMethods() {
    m_methodValues[m_method] = m_form->values("method");
    CompareMethods dialog(m_bench, config(), m_methodValues, window());
    if (dialog.exec() != QDialog::Accepted) return;
    QString error, first;
    int queued = 0;
    for (const QJsonObject& run : dialog.configs()) {
        const QString id = m_bench.queue.add(run, false, &error);
        if (id.isEmpty()) return m_bench.say(error, {}, {}, "err");
        if (queued++ == 0) first = id;
    }
    m_bench.say(tr("%1 runs wait in the queue.").arg(queued));
    m_bench.openRun(first);
}

bool NewRunPage::perform(PageCommand command) {
    if (command == PageCommand::Start)
        start(true);
    else if (command == PageCommand::AddToQueue)
        start(false);
    else
        return false;
    return true;
}

void NewRunPage::keepState() {
    if (m_isLoading) return;
    Settings::set("newrun/config", QJsonDocument(config()).toJson(QJsonDocument::Compact));
    Settings::set("newrun/origin", m_origin);
}

void NewRunPage::modelMenu() {
    QMenu menu;
    for (const QJsonObject& model : m_bench.catalogue.models()) {
        const QString path = model["path"].toString();
        QString words = model["name"].toString();
        if (model["parameters"].toDouble() > 0)
            words += "    " + format::shortCount(model["parameters"].toDouble());
        QAction* action = menu.addAction(words, this, [this, path] {
            chooseModel(path);
            formChanged();
        });
        if (model.contains("can_train") && !model["can_train"].toBool()) {
            action->setEnabled(false);
            action->setText(words + "    " + model["reason"].toString());
        }
    }
    if (!menu.isEmpty()) menu.addSeparator();
    menu.addAction(tr("Choose a folder…"), this, [this] {
        const QString path =
            QFileDialog::getExistingDirectory(this, tr("Folder of a model"), m_model);
        if (!path.isEmpty()) {
            chooseModel(path);
            formChanged();
        }
    });
    menu.setMinimumWidth(m_modelPicker->width());
    menu.exec(m_modelPicker->mapToGlobal(QPoint(0, m_modelPicker->height() + 2)));
}

void NewRunPage::dataMenu() {
    QMenu menu;
    for (const QJsonObject& entry : m_bench.catalogue.datasets()) {
        const QString path = entry["path"].toString();
        QString words = QFileInfo(path).fileName();
        if (entry["rows"].toDouble() > 0)
            words += "    " + tr("%1 rows").arg(format::count(
                                  static_cast<std::int64_t>(entry["rows"].toDouble())));
        menu.addAction(words, this, [this, path] { chooseData(path); });
    }
    if (!menu.isEmpty()) menu.addSeparator();
    menu.addAction(tr("Choose a file…"), this, [this] {
        const QString path =
            QFileDialog::getOpenFileName(this, tr("Data"), m_data, dataFileFilter());
        if (!path.isEmpty()) chooseData(path);
    });
    menu.addAction(tr("Choose a folder…"), this, [this] {
        const QString path =
            QFileDialog::getExistingDirectory(this, tr("Folder with data"), m_data);
        if (!path.isEmpty()) chooseData(path);
    });
    if (!m_data.isEmpty())
        menu.addAction(tr("Look at the rows"), this, [this] { m_bench.openData(m_data); });
    menu.setMinimumWidth(m_dataPicker->width());
    menu.exec(m_dataPicker->mapToGlobal(QPoint(0, m_dataPicker->height() + 2)));
}

void NewRunPage::deviceMenu() {
    QMenu menu;
    const auto add = [&](const QString& words, const QString& device) {
        menu.addAction(words, this, [this, device] {
            m_device = device;
            formChanged();
        });
    };
    add(tr("Automatic"), "auto");
    add("CPU", "cpu");
    const auto& gpus = m_bench.probe.reading().gpus;
    for (std::size_t i = 0; i < gpus.size(); ++i)
        add(QStringLiteral("GPU %1   %2").arg(i).arg(gpus[i].name),
            QStringLiteral("cuda:%1").arg(i));
    menu.setMinimumWidth(m_devicePicker->width());
    menu.exec(m_devicePicker->mapToGlobal(QPoint(0, m_devicePicker->height() + 2)));
}

void NewRunPage::loadFile() {
    const QString path =
        QFileDialog::getOpenFileName(this, tr("Load a run configuration"), m_bench.workspace(),
                                     tr("Run configuration (*.json)"));
    if (path.isEmpty()) return;
    QString error;
    const QJsonObject config = readJsonWithComments(path, &error);
    if (config.isEmpty())
        return m_bench.say(tr("%1 could not be read: %2").arg(QFileInfo(path).fileName(), error),
                           {}, {}, "err");
    load(withAbsolutePaths(config.contains("config") ? config["config"].toObject() : config,
                           QFileInfo(path).absolutePath()),
         QFileInfo(path).fileName());
}

void NewRunPage::saveFile() {
    const QString path =
        QFileDialog::getSaveFileName(this, tr("Save the run configuration"),
                                     m_bench.workspace() + "/" + m_name->edit()->text() + ".json",
                                     tr("Run configuration (*.json)"));
    if (path.isEmpty()) return;
    QFile file(path);
    if (file.open(QIODevice::WriteOnly) && file.write(QJsonDocument(config()).toJson()) > 0)
        m_bench.say(tr("Saved as %1").arg(QFileInfo(path).fileName()));
    else
        m_bench.say(tr("%1 could not be written: %2").arg(path, file.errorString()), {}, {}, "err");
}

void NewRunPage::showRunJson() {
    QDialog dialog(window());
    dialog.setWindowTitle("RUN.json");
    dialog.resize(px(560), px(600));
    auto* column = makeColumn(12, 16);
    column->addWidget(makeLabel(
        tr("The same run for luthier-cli train. Keys that keep their default are left out."),
        "body", "t2"));
    auto* text = new QPlainTextEdit(QString::fromUtf8(QJsonDocument(config()).toJson()));
    text->setReadOnly(true);
    text->setProperty("mono", "true");
    column->addWidget(text, 1);
    auto* row = makeRow(8);
    auto* copy = makeButton(tr("Copy"), "plain", 28, "copy");
    auto* close = makeButton(tr("Close"), "plain", 28);
    row->addStretch(1);
    row->addWidget(copy);
    row->addWidget(close);
    column->addLayout(row);
    dialog.setLayout(column);
    connect(copy, &QPushButton::clicked, &dialog,
            [text] { QGuiApplication::clipboard()->setText(text->toPlainText()); });
    connect(close, &QPushButton::clicked, &dialog, &QDialog::accept);
    dialog.exec();
}

}  // namespace luthier::ui
