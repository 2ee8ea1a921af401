using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Kapell.Cli;

/// <summary>Logs of a component that runs alone: one line an entry, on standard error.</summary>
internal sealed class ConsoleLogs(LogLevel level, TimeProvider time) : ILoggerFactory
{
    public ILogger CreateLogger(string categoryName) => new Entry(this, categoryName);

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("the console takes no further provider");

    public void Dispose()
    {
    }

    private LogLevel Level => level;

    private TimeProvider Time => time;

    private sealed class Entry(ConsoleLogs owner, string category) : ILogger
    {
        private readonly LogLevel _least = category.StartsWith("Microsoft.", StringComparison.Ordinal) ? LogLevel.Warning : owner.Level;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= _least;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                string now = owner.Time.GetUtcNow().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
                Console.Error.WriteLine($"{now} {logLevel.ToString()[0]} {category} {formatter(state, exception)}{(exception is null ? "" : "\n" + exception)}");
            }
        }
    }
}
