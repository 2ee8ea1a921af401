using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Http;

/// <summary>The process's logs for the web framework, which may only warn: each request would be a line otherwise.</summary>
internal sealed class FrameworkLogs(ILoggerFactory logs) : ILoggerFactory
{
    public ILogger CreateLogger(string categoryName)
    {
        if (categoryName == TlsTrouble.FrameworkCategory)
        {
            return TlsTrouble.Logger;
        }

        ILogger logger = logs.CreateLogger(categoryName);
        if (categoryName == "Microsoft.AspNetCore.Server.Kestrel")
        {
            // Warns that HTTP/2 needs TLS, which is not so here: see Http2Port.
            return new AtLeast(logger, LogLevel.Error);
        }

        if (categoryName == "Microsoft.Extensions.Hosting.Internal.Host")
        {
            // What keeps a server from its start is thrown besides, and said in a line by whoever started it; here it would be a page of calls.
            return new AtLeast(logger, LogLevel.Critical);
        }

        bool framework = categoryName.StartsWith("Microsoft.", StringComparison.Ordinal)
            || categoryName.StartsWith("Grpc.", StringComparison.Ordinal);
        return framework ? new AtLeast(logger, LogLevel.Warning) : logger;
    }

    public void AddProvider(ILoggerProvider provider) => logs.AddProvider(provider);

    /// <summary>The factory belongs to the process.</summary>
    public void Dispose()
    {
    }

    private sealed class AtLeast(ILogger logger, LogLevel least) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => logger.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => logLevel >= least && logger.IsEnabled(logLevel);

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                logger.Log(logLevel, eventId, state, exception, formatter);
            }
        }
    }
}
