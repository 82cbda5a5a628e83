// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/serve_client.h"

#include <QFileInfo>
#include <QJsonDocument>

namespace luthier::ui {

ServeClient::ServeClient(QString program, int silenceLimitMs, QObject* parent)
    : QObject(parent), m_program(std::move(program)) {
    m_silence.setSingleShot(true);
    m_silence.setInterval(silenceLimitMs);
    connect(&m_silence, &QTimer::timeout, this, &ServeClient::endHung);
}

ServeClient::~ServeClient() {
    if (!m_process) return;
    m_process->disconnect(this);
    m_process->closeWriteChannel();
    if (!m_process->waitForFinished(300)) {
        m_process->kill();
        m_process->waitForFinished(300);
    }
}

bool ServeClient::start() {
    if (m_program.isEmpty() || !QFileInfo(m_program).isExecutable()) return false;
    if (m_process) {  // it may be the one that just told us of its end
        m_process->disconnect(this);
        m_process->deleteLater();
    }
    m_buffer.clear();
    m_process = new QProcess(this);
    if (!m_folder.isEmpty()) m_process->setWorkingDirectory(m_folder);
    connect(m_process, &QProcess::readyReadStandardOutput, this, &ServeClient::read);
    connect(m_process, &QProcess::readyReadStandardError, this, [this] {
        m_errors += m_process->readAllStandardError();
        if (m_errors.size() > 64 * 1024) m_errors = m_errors.right(32 * 1024);
    });
    const auto gone = [this](const QString& sentence) {
        const QString hint = lastWords().trimmed().section('\n', -1);
        failAll({"engine_died",
                 sentence,
                 hint.isEmpty() ? tr("It starts again with your next action.") : hint,
                 {},
                 {}});
        emit died(sentence);
    };
    connect(m_process, &QProcess::finished, this, [gone](int code, QProcess::ExitStatus status) {
        gone(status == QProcess::CrashExit
                 ? tr("The engine process ended unexpectedly.")
                 : tr("The engine process ended with code %1.").arg(code));
    });
    connect(m_process, &QProcess::errorOccurred, this, [this, gone](QProcess::ProcessError error) {
        if (error == QProcess::FailedToStart)
            gone(tr("The engine could not be started: %1").arg(m_process->errorString()));
    });
    m_process->start(m_program, {"serve"});
    return true;
}

int ServeClient::request(const QString& command, QJsonObject parameters, QObject* context,
                         Handlers handlers) {
    const int id = m_nextId++;
    if (!isRunning() && !start()) {
        QTimer::singleShot(0, context, [this, handlers] {
            if (handlers.problem)
                handlers.problem({"engine_missing",
                                  tr("luthier-cli was not found."),
                                  tr("Put it beside luthier or set LUTHIER_CLI to its path."),
                                  m_program,
                                  {}});
        });
        return id;
    }
    parameters["id"] = id;
    parameters["command"] = command;
    const bool wasIdle = m_pending.empty();
    m_pending[id] = {context, std::move(handlers)};
    m_process->write(QJsonDocument(parameters).toJson(QJsonDocument::Compact) + '\n');
    if (wasIdle) m_silence.start();
    if (wasIdle) emit busyChanged(true);
    return id;
}

void ServeClient::cancel(int id) {
    if (!isRunning() || !m_pending.contains(id)) return;
    const QJsonObject order{{"id", m_nextId++}, {"command", "cancel"}, {"target", id}};
    m_process->write(QJsonDocument(order).toJson(QJsonDocument::Compact) + '\n');
}

void ServeClient::read() {
    m_silence.start();
    m_buffer += m_process->readAllStandardOutput();
    qsizetype from = 0;
    for (;;) {
        const qsizetype end = m_buffer.indexOf('\n', from);
        if (end < 0) break;
        const QJsonDocument document = QJsonDocument::fromJson(
            QByteArray::fromRawData(m_buffer.constData() + from, end - from));
        from = end + 1;
        if (document.isObject()) take(document.object());
    }
    m_buffer.remove(0, from);
    if (m_pending.empty()) m_silence.stop();
}

void ServeClient::take(const QJsonObject& answer) {
    const auto found = m_pending.find(answer["id"].toInt(-1));
    if (found == m_pending.end()) return;
    const QString type = answer["type"].toString();
    const bool isLast = type == "result" || type == "failed";
    const Pending pending = found->second;
    if (isLast) {
        m_pending.erase(found);
        if (m_pending.empty()) emit busyChanged(false);
    }
    if (!pending.context) return;
    if (type == "result") {
        if (pending.handlers.result) pending.handlers.result(answer["value"]);
    } else if (type == "failed") {
        if (pending.handlers.problem)
            pending.handlers.problem({answer["code"].toString(), answer["message"].toString(),
                                      answer["hint"].toString(), answer["field"].toString(),
                                      answer["problems"].toArray()});
    } else if (pending.handlers.event) {
        pending.handlers.event(answer);
    }
}

void ServeClient::endHung() {
    if (!isRunning()) return;
    m_process->disconnect(this);
    m_process->kill();
    m_process->waitForFinished(1000);
    const QString sentence =
        tr("The engine has not answered for %1 s and was ended.").arg(m_silence.interval() / 1000);
    failAll({"engine_silent", sentence, tr("It starts again with your next action."), {}, {}});
    emit died(sentence);
}

void ServeClient::failAll(const ServeProblem& problem) {
    m_silence.stop();
    auto pending = std::move(m_pending);
    m_pending.clear();
    if (!pending.empty()) emit busyChanged(false);
    for (auto& [id, entry] : pending)
        if (entry.context && entry.handlers.problem) entry.handlers.problem(problem);
}

}  // namespace luthier::ui
