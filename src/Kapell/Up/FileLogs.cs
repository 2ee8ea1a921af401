using System.Collections.Concurrent;
using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Kapell.Cli.Up;

/// <summary>A log file per component, one line an entry, turned over once at 32 MiB. Lines are written by the caller, under a lock.</summary>
internal sealed class FileLogs(string path, LogLevel level, TimeProvider time) : ILoggerFactory
{
    private const long BytesMax = 32 << 20;
    private readonly ConcurrentDictionary<string, ILogger> _loggers = new(StringComparer.Ordinal);
    private readonly Lock _gate = new(); // guards _file
    private StreamWriter? _file;

    public ILogger CreateLogger(string categoryName) => _loggers.GetOrAdd(categoryName, name => new Entry(this, name));

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("a log file takes no further provider");

    public void Dispose()
    {
        lock (_gate)
        {
            _file?.Dispose();
            _file = null;
        }
    }

    private void Write(string line)
    {
        lock (_gate)
        {
            if (_file is null || _file.BaseStream.Length > BytesMax)
            {
                bool turn = _file is not null;
                _file?.Dispose();
                if (turn)
                {
                    File.Move(path, path + ".1", overwrite: true);
                }

                _file = new StreamWriter(new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete)) { AutoFlush = true };
            }

            _file.WriteLine(line);
        }
    }

    private sealed class Entry(FileLogs owner, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) =>
            logLevel >= (category.StartsWith("Microsoft.", StringComparison.Ordinal) || category.StartsWith("System.", StringComparison.Ordinal) ? LogLevel.Warning : owner.Level);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                string now = owner.Time.GetUtcNow().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
                string text = exception is null ? "" : "\n" + exception;
                owner.Write($"{now} {Letter(logLevel)} {category} {formatter(state, exception)}{text}");
            }
        }

        private static char Letter(LogLevel level) => level switch
        {
            LogLevel.Trace or LogLevel.Debug => 'D',
            LogLevel.Information => 'I',
            LogLevel.Warning => 'W',
            _ => 'E',
        };
    }

    private LogLevel Level => level;

    private TimeProvider Time => time;
}
