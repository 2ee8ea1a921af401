using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Logging;

/// <summary>
/// The log of a member that runs alone, as etcd writes it: one JSON object a line (level, ts, caller, msg, then what the entry speaks of),
/// or the same in columns. etcd: client/pkg/logutil/zap.go
/// </summary>
internal sealed class EtcdLogs : ILoggerFactory
{
    private static readonly JsonWriterOptions AsGoWrites = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly LogSettings _settings;
    private readonly TimeProvider _time;
    private readonly IReadOnlyList<TextWriter> _outputs;
    private readonly Lock _gate = new();
    private readonly TextWriter _stderr;
    private bool _isTold;

    /// <param name="settings">What is written, and how.</param>
    /// <param name="time">For the time of each line.</param>
    /// <param name="stdout">What "stdout" means.</param>
    /// <param name="stderr">What "stderr" and "default" mean.</param>
    /// <exception cref="IOException">A file cannot be opened.</exception>
    public EtcdLogs(LogSettings settings, TimeProvider time, TextWriter stdout, TextWriter stderr)
    {
        _settings = settings;
        _time = time;
        _stderr = stderr;
        _outputs = [.. settings.Outputs.Select(output => output switch
        {
            "stdout" => stdout,
            "stderr" or "default" => stderr,
            _ => new RotatingFile(output, settings.Rotation, time),
        })];
    }

    public ILogger CreateLogger(string categoryName) => new Entry(this, categoryName);

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("this log takes no further provider");

    public void Dispose()
    {
        foreach (RotatingFile file in _outputs.OfType<RotatingFile>())
        {
            file.Dispose();
        }
    }

    private void Write(string line)
    {
        lock (_gate)
        {
            foreach (TextWriter output in _outputs)
            {
                try
                {
                    output.Write(line);
                    output.Flush();
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException or ObjectDisposedException)
                {
                    Tell(output, e);
                }
            }
        }
    }

    /// <summary>A disk for logs that is full is no reason to stop: said once where it can be, and the next line is tried again. As zap does.</summary>
    private void Tell(TextWriter output, Exception trouble)
    {
        if (_isTold || ReferenceEquals(output, _stderr))
        {
            return;
        }

        _isTold = true;
        try
        {
            _stderr.WriteLine($"the log cannot be written, lines are lost: {trouble.Message}");
        }
        catch (IOException)
        {
            // There is nobody left to tell.
        }
    }

    private static string NameOf(LogLevel level) => level switch
    {
        LogLevel.Trace or LogLevel.Debug => "debug",
        LogLevel.Information => "info",
        LogLevel.Warning => "warn",
        LogLevel.Error => "error",
        _ => "fatal",
    };

    /// <summary><c>MemberId</c> is <c>member-id</c>.</summary>
    private static string Dashed(string name)
    {
        StringBuilder dashed = new();
        foreach (char c in name)
        {
            if (char.IsAsciiLetterUpper(c) && dashed.Length > 0)
            {
                dashed.Append('-');
            }

            dashed.Append(char.ToLowerInvariant(c));
        }

        return dashed.ToString();
    }

    private sealed class Entry(EtcdLogs owner, string category) : ILogger
    {
        private readonly LogLevel _least =
            category.StartsWith("Microsoft.", StringComparison.Ordinal) && owner._settings.Level < LogLevel.Warning ? LogLevel.Warning : owner._settings.Level;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= _least && logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!IsEnabled(logLevel))
            {
                return;
            }

            string now = owner._time.GetUtcNow().ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);
            string caller = eventId.Name is { Length: > 0 } name ? $"{category}/{name}" : category;
            string message = formatter(state, exception);
            IEnumerable<KeyValuePair<string, object?>> fields = state as IEnumerable<KeyValuePair<string, object?>> ?? [];
            owner.Write(owner._settings.Json
                ? AsJson(json =>
                {
                    json.WriteString("level", NameOf(logLevel));
                    json.WriteString("ts", now);
                    json.WriteString("caller", caller);
                    json.WriteString("msg", message);
                    WriteFields(json, fields, exception);
                })
                : $"{now}\t{NameOf(logLevel)}\t{caller}\t{message}\t{AsJson(json => WriteFields(json, fields, exception))}");
        }

        private static void WriteFields(Utf8JsonWriter json, IEnumerable<KeyValuePair<string, object?>> fields, Exception? exception)
        {
            foreach ((string key, object? value) in fields)
            {
                if (key != "{OriginalFormat}")
                {
                    WriteField(json, Dashed(key), value);
                }
            }

            if (exception is not null)
            {
                json.WriteString("error", exception.Message);
                json.WriteString("stacktrace", exception.ToString());
            }
        }

        // Numbers are numbers, as zap writes them: who reads the log by machine compares them.
        private static void WriteField(Utf8JsonWriter json, string name, object? value)
        {
            switch (value)
            {
                case int number: json.WriteNumber(name, number); break;
                case long number: json.WriteNumber(name, number); break;
                case ulong number: json.WriteNumber(name, number); break;
                case double number when double.IsFinite(number): json.WriteNumber(name, number); break;
                case bool truth: json.WriteBoolean(name, truth); break;
                default: json.WriteString(name, Convert.ToString(value, CultureInfo.InvariantCulture)); break;
            }
        }

        private static string AsJson(Action<Utf8JsonWriter> fill)
        {
            using MemoryStream bytes = new();
            using (Utf8JsonWriter json = new(bytes, AsGoWrites))
            {
                json.WriteStartObject();
                fill(json);
                json.WriteEndObject();
            }

            return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length)) + "\n";
        }
    }
}
